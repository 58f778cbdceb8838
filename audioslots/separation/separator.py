"""Separating whole recordings with a trained model.

Chunks of a recording go through the model and ``reconstruct``, each slot to an output by an ``Order``, and outputs are
made of chunks by ``overlap_add``, as a stream; a whole recording is the concatenation of its stream.
"""

from __future__ import annotations

import hashlib
import math
import numbers
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, tee
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from audioslots.config.variant import Resolved
from audioslots.models import modules_of
from audioslots.models.base import SeparationModel, center_crop
from audioslots.runtime.errors import InputError
from audioslots.separation.chunking import Chunk, chunk_hop, overlap_add, pad_context, stream_chunks
from audioslots.separation.ordering import Order, Strategy, create_order
from audioslots.separation.presence import NumSpeakers, Presence
from audioslots.separation.reconstruction import reconstruct
from audioslots.separation.resampling import resample
from audioslots.separation.weights import load_model

BATCH_S = {"cpu": 8.0, "other": 64.0}  # seconds of estimates, all slots together, made at a time: bounds memory

Waveforms = NDArray[np.float32]


@dataclass(frozen=True)
class Separator:
    """A trained model applied to whole recordings; a ``System`` of ``evaluate``.

    Attributes:
        model: on its device, in evaluation mode.
        config: the resolved variant it was trained as.
    """

    model: SeparationModel
    config: Resolved

    @classmethod
    def load(cls, path: Path, device: str = "cpu", config: Path | None = None) -> Separator:
        """Load a run folder or one safetensors file.

        Raises:
            InputError: no such model, it cannot be read, or ``config`` (the ``config.json`` of a variant) differs from
                the model's own not only in ``separation``.
        """
        model, trained = load_model(path)
        used = trained if config is None else Resolved.read(config)
        if used.identity != trained.identity:
            raise InputError(f"{path}: has identity {trained.identity}; expected {used.identity}, of {config}")
        return cls(model.to(device), used)

    @property
    def name(self) -> str:
        """Name of the variant."""
        return self.config.name

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return self.config.seed

    @property
    def rate(self) -> int:
        """Sample rate, Hz."""
        return self.config.rate

    @cached_property
    def identity(self) -> str:
        """Hash of the weights and of the config, ``separation`` included: of all that decides the estimates."""
        digest = hashlib.sha256(self.config.run_identity.encode())
        for tensor in self.model.state_dict().values():
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules of this package whose code decides the estimates."""
        return (__name__, *modules_of(self.config.model))

    def is_counted(self, num_speakers: NumSpeakers = None) -> bool:
        """Whether the number of speakers is estimated: "auto", or None of a model trained with several numbers.

        Raises:
            InputError: more speakers than the model has slots, or none; "auto" of a model trained with one number.
        """
        slots, counts = self.config.model.num_speech_slots, self.config.counts
        if num_speakers == "auto" and not counts:
            trained = f"the model was trained with {self.config.sources} speakers only"
            expected = "expected a number, or a model trained with several, as in config/mini-counting.yaml"
            raise InputError(f"number of speakers: auto: {trained}; {expected}")
        if isinstance(num_speakers, int) and not 1 <= num_speakers <= slots:
            raise InputError(f"number of speakers: {num_speakers}: the model has {slots} slots; expected 1 to {slots}")
        return bool(counts) and not isinstance(num_speakers, int)

    def group_outputs(self, presence: Presence, num_speakers: NumSpeakers = None) -> list[list[int]]:
        """The outputs that are summed to each estimate of a separated recording; raises as ``is_counted``."""
        if self.is_counted(num_speakers):
            count = presence.count_sources(self.config.sources)
        else:
            count = num_speakers if isinstance(num_speakers, int) else self.config.sources
        return presence.group_outputs(count, self.config.separation.extra_slots == "merge")

    def stream(
        self,
        blocks: Iterable[Tensor],
        at_once: int | None = None,
        presence: Presence | None = None,
        strategy: Strategy = "blind",
    ) -> Iterator[Tensor]:
        """Separate a recording of any length as it comes.

        Args:
            blocks: (n,) each, at the model's rate.
            at_once: chunks that go through the model together. 1: every sample is there as soon as the samples that it
                depends on, ``config.delay``, and one more are; None: some seconds of them, which takes less time.
            presence: gathers which outputs hold a source, and is complete at the end.
            strategy: order of the slots of each chunk, "blind" or "none".

        Yields:
            (K, n) outputs, one per slot; together as long as the recording. Memory is that of a batch of chunks,
            however long the recording; that of its longest block where blocks are longer.
        """
        order = create_order(strategy, self.config.separation)
        for (piece,) in self._stream(blocks, [order], Presence() if presence is None else presence, at_once):
            yield piece

    def separate(
        self, waveform: ArrayLike, rate: int, mixture_consistency: bool = False, num_speakers: NumSpeakers = None
    ) -> Waveforms:
        """Separate a recording in memory.

        Args:
            waveform: (T,) or (T, channels), as soundfile reads it; channels are averaged. Integers are scaled from
                their full range to [-1, 1).
            rate: its sample rate, Hz; any.
            mixture_consistency: make the estimates add up to the waveform.
            num_speakers: as of ``is_counted``.

        Returns:
            (S, T) estimates at the same rate and level.

        Raises:
            InputError: no samples, samples that are not finite, more channels than samples, or as of ``is_counted``.
        """
        if not isinstance(rate, numbers.Real) or not 0 < rate < math.inf:
            raise InputError(f"rate: {rate!r}; expected a number of samples per second above 0")
        samples = _scale(waveform)
        if samples.ndim not in (1, 2) or not samples.size or (samples.ndim == 2 and samples.shape[1] > len(samples)):
            raise InputError(f"waveform: has shape {samples.shape}; expected (samples,) or (samples, channels)")
        if not np.isfinite(samples).all():
            raise InputError("waveform: holds samples that are not finite numbers; expected audio")
        mixture = samples if samples.ndim == 1 else samples.mean(axis=1)
        length = max(1, round(len(mixture) * self.rate / rate))
        resampled = torch.from_numpy(resample(mixture[:, None], rate, self.rate, length)[:, 0])
        presence = Presence()
        outputs = torch.cat(list(self.stream([resampled], presence=presence)), dim=-1)
        estimates = sum_groups(outputs.numpy(), self.group_outputs(presence, num_speakers))
        estimates = resample(estimates.T, self.rate, rate, len(mixture))
        return (add_residual(estimates, mixture) if mixture_consistency else estimates).T

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        """Estimates of a mixture (T,) with known sources (S, T), by the column ``stitching`` of scores.

        Returns:
            ``blind`` (S, T): in blind order, as many as there are sources. ``oracle`` (S, T): in the order of the
            sources. Of a model that was trained with several numbers of speakers also ``counted``: in blind order, as
            many as are estimated, with silence where sources are more; and ``every`` (K, T): all outputs.
        """
        settings, presence = self.config.separation, Presence()
        orders = [create_order("blind", settings), create_order("oracle", settings, torch.from_numpy(sources))]
        pieces = zip(*self._stream([torch.from_numpy(mixture)], orders, presence), strict=True)
        every, oracle = (torch.cat(of_order, dim=-1).numpy() for of_order in pieces)
        count = len(sources) if self.config.counts else self.config.sources
        by = {"blind": sum_groups(every, self.group_outputs(presence, count)), "oracle": oracle[: len(sources)]}
        if self.config.counts:
            counted = sum_groups(every, self.group_outputs(presence, "auto"))
            missing = max(0, len(sources) - len(counted))
            by |= {"counted": np.pad(counted, ((0, missing), (0, 0))), "every": every}
        return by

    def _stream(
        self, blocks: Iterable[Tensor], orders: list[Order], presence: Presence, at_once: int | None = None
    ) -> Iterator[tuple[Tensor, ...]]:
        """Outputs (K, n) by each of some orders, of chunks that are computed once; ``presence`` is of the first."""

        def read() -> Iterator[Tensor]:
            for block in blocks:
                presence.add_mixture(block)
                yield block

        copies = tee(self._separate_chunks(read(), at_once), len(orders))
        overlap, done = self.config.separation.overlap, 0
        streams = [overlap_add(chunks, order, overlap) for chunks, order in zip(copies, orders, strict=True)]
        for pieces in zip(*streams, strict=True):
            pieces = tuple(piece[:, : presence.samples - done] for piece in pieces)  # the last chunk may reach beyond
            if not all(piece.isfinite().all() for piece in pieces):
                raise InputError("estimates: not finite numbers; expected sound weights and an input of usual level")
            done += pieces[0].shape[-1]
            presence.add_outputs(pieces[0])
            if pieces[0].shape[-1]:
                yield pieces
        presence.logits = orders[0].presence

    def _separate_chunks(self, blocks: Iterable[Tensor], at_once: int | None = None) -> Iterator[Chunk]:
        """The chunks of a recording that comes in blocks (n,), by the model and the config's reconstruction."""
        settings, samples, context = self.config.separation, self.config.chunk, self.config.context
        if self.model.any_length:  # one chunk is all of a recording, or the longest that is set
            blocks, samples = _measure(iter(blocks), round(settings.longest_s * self.rate))
        hop, start, state = chunk_hop(samples, settings.overlap), 0, None
        speech = self.config.model.num_speech_slots  # all but the noise's, which is no estimate of a source
        device = next(self.model.parameters()).device
        batch = at_once or chunks_per_batch(self.config, samples, device.type)
        for crops in stream_chunks(pad_context(blocks, context), samples + 2 * context, hop, batch):
            with torch.inference_mode():
                crops = crops.to(device)
                estimates = self.model(crops, len(crops), state)
                mixture, stft, exponent = center_crop(crops, samples), self.model.stft, self.model.exponent
                waveforms = reconstruct(estimates, mixture, stft, exponent, settings)
            state = estimates.state
            parts = (waveforms, estimates.slots, estimates.presence)
            rows = ([None] * len(crops) if part is None else part[:, :speech].cpu() for part in parts)
            for row in zip(*rows, strict=True):
                yield Chunk(start, *row)
                start += hop


def chunks_per_batch(config: Resolved, chunk: int, device: str) -> int:
    """Chunks of ``chunk`` samples that go through the model together on a kind of device, fewer with more slots."""
    return max(1, int(BATCH_S.get(device, BATCH_S["other"]) * config.rate / (chunk * config.model.num_slots)))


def _scale(waveform: ArrayLike) -> NDArray[np.float32]:
    """Samples as 32-bit floats; integers by their full range, unsigned ones around its middle."""
    if isinstance(waveform, Tensor):
        waveform = waveform.detach().cpu()
        waveform = waveform.float() if waveform.is_floating_point() else waveform
    samples = np.asarray(waveform)
    if not np.issubdtype(samples.dtype, np.integer):
        return samples.astype(np.float32)
    bounds = np.iinfo(samples.dtype)
    middle, half = (bounds.max + bounds.min + 1) / 2, (bounds.max - bounds.min + 1) / 2
    return ((samples - middle) / half).astype(np.float32)


def sum_groups(outputs: Waveforms, groups: list[list[int]]) -> Waveforms:
    """Outputs (K, T) -> estimates (S, T), each the sum of a group of outputs."""
    return np.stack([outputs[group].sum(axis=0) for group in groups])


def add_residual(estimates: Waveforms, mixture: Waveforms) -> Waveforms:
    """Estimates (n, S) made to add up to the mixture (n,): each takes an equal share of the residual (Wisdom 2019)."""
    return estimates + (mixture - estimates.sum(axis=1))[:, None] / estimates.shape[1]


def _measure(blocks: Iterator[Tensor], longest: int) -> tuple[Iterator[Tensor], int]:
    """The same blocks, and the length of the recording, at most ``longest`` samples."""
    head: list[Tensor] = []
    samples = 0
    while samples < longest and (block := next(blocks, None)) is not None:
        head.append(block)
        samples += len(block)
    return chain(head, blocks), min(samples, longest)
