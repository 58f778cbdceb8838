"""Separating whole recordings with a trained model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from audioslots.config.variant import Resolved
from audioslots.models import modules_of
from audioslots.models.base import Estimates, SeparationModel, center_crop
from audioslots.runtime.errors import InputError
from audioslots.separation.chunking import batches, hop_of, surrounded
from audioslots.separation.presence import Presence, Sources
from audioslots.separation.reconstruction import reconstruct
from audioslots.separation.resampling import resample
from audioslots.separation.stitching import Stitcher, stitch
from audioslots.separation.weights import load_model

BATCH_S = {"cpu": 8.0, "other": 64.0}  # seconds of estimates, all slots together, made at a time: bounds memory

Waveforms = NDArray[np.float32]


@dataclass(frozen=True)
class Separator:
    """A trained model applied chunk by chunk; what ``evaluate`` asks of a system.

    Attributes:
        model: on its device, in evaluation mode.
        config: the resolved variant it was trained as.
    """

    model: SeparationModel
    config: Resolved

    @classmethod
    def load(cls, path: Path, device: str = "cpu", config: Path | None = None) -> Separator:
        """Load a run folder or one safetensors file.

        Args:
            path: of either.
            device: as torch names it.
            config: ``config.json`` of a variant that differs from the model's own in separation alone.

        Raises:
            InputError: no such model, it cannot be read, or the variant would have to be trained otherwise.
        """
        model, trained = load_model(path)
        asked = trained if config is None else Resolved.read(config)
        if asked.identity != trained.identity:
            raise InputError(f"{path}: has identity {trained.identity}; expected {asked.identity}, of {config}")
        return cls(model.to(device), asked)

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
        """Hash of the weights and of the config, stitching included: of all that decides the estimates."""
        digest = hashlib.sha256(self.config.run_identity.encode())
        for tensor in self.model.state_dict().values():
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules of this package whose code decides the estimates."""
        return (__name__, *modules_of(self.config.model))

    def finds(self, sources: Sources = None) -> bool:
        """Whether the number of a recording's sources is to be found.

        Args:
            sources: where it is known; ``auto``: it is found; None: it is found by a model that was trained with
                several numbers of speakers, else it is the number that the model was trained with.

        Raises:
            InputError: more than the model has slots, or none; ``auto`` of a model trained with one number.
        """
        slots = self.config.model.num_speech_slots
        if sources == "auto" and not self.config.counts:
            expected = "expected a number, or a model of several, as of config/mini-counting.yaml"
            raise InputError(f"sources: auto of a model that was trained with {self.config.sources} alone; {expected}")
        if isinstance(sources, int) and not 1 <= sources <= slots:
            raise InputError(f"sources: {sources} of a model with {slots} slots; expected 1 to {slots}")
        return bool(self.config.counts) and not isinstance(sources, int)

    def count(self, presence: Presence, sources: Sources = None) -> int:
        """How many sources a recording has, as ``finds`` says: by what its separation has gathered, if it is found."""
        if self.finds(sources):
            return presence.found(self.config.sources)
        return sources if isinstance(sources, int) else self.config.sources

    def kept(self, presence: Presence, count: int) -> list[list[int]]:
        """The outputs that make up each of a recording's estimates, as ``separation.extra_slots`` says."""
        return presence.kept(count, self.config.separation.extra_slots == "merge")

    def separate(
        self,
        waveform: ArrayLike,
        rate: int,
        mixture_consistency: bool = False,
        sources: Sources = None,
    ) -> Waveforms:
        """Separate one recording in memory.

        Args:
            waveform: (T,) or (T, channels), as soundfile reads it; channels are averaged.
            rate: its sample rate, Hz; any.
            mixture_consistency: make the estimates add up to the waveform.
            sources: how many it has, as of ``count``.

        Returns:
            (S, T) estimates at the same rate and level.

        Raises:
            InputError: no samples, samples that are not finite, more channels than samples, or as of ``count``.
        """
        samples = np.asarray(waveform, np.float32)
        if samples.ndim not in (1, 2) or not samples.size or (samples.ndim == 2 and samples.shape[1] > len(samples)):
            raise InputError(f"waveform: has shape {samples.shape}; expected (samples,) or (samples, channels)")
        if not np.isfinite(samples).all():
            raise InputError("waveform: holds samples that are not finite numbers; expected audio")
        mixture = samples if samples.ndim == 1 else samples.mean(axis=1)
        length = max(1, round(len(mixture) * self.rate / rate))
        resampled = torch.from_numpy(resample(mixture[:, None], rate, self.rate, length)[:, 0])
        every, presence, _ = self._whole(resampled, None)
        blind = summed(every, self.kept(presence, self.count(presence, sources)))
        estimates = resample(blind.numpy().T, self.rate, rate, len(mixture))
        return (consistent(estimates, mixture) if mixture_consistency else estimates).T

    def stream(
        self, blocks: Iterable[Tensor], at_once: int | None = None, presence: Presence | None = None
    ) -> Iterator[Tensor]:
        """Separate one recording of any length as it comes.

        Args:
            blocks: (n,) each, at the model's rate.
            at_once: chunks that go through the model together. 1: every sample is there as soon as the samples that it
                depends on, ``config.delay``, and one more are; None: some seconds of them, which takes less time.
            presence: gathers which outputs hold a source, and is whole at the end.

        Yields:
            (K, n) estimates of all slots in blind order; together as long as the recording. Memory is that of a batch
            of chunks, however long the recording; that of its longest block where blocks are longer.
        """
        heard, said, presence = 0, 0, Presence() if presence is None else presence

        def listened() -> Iterator[Tensor]:
            nonlocal heard
            for block in blocks:
                heard += len(block)
                presence.hear(block)
                yield block

        stitcher: Stitcher | None = None
        for hop, chunks, found in self._separated(listened(), at_once):
            stitcher = stitcher or self._stitcher(hop)
            piece = stitcher.add(chunks, found.slots, existence=found.existence)
            piece = piece[:, : heard - said]  # the last chunk may reach beyond the end
            said += piece.shape[-1]
            presence.say(piece)
            yield piece
        if stitcher is not None:
            rest = stitcher.rest()[:, : heard - said]
            presence.say(rest)
            presence.logits = stitcher.existence
            if rest.shape[-1]:
                yield rest

    def estimates(self, mixture: Tensor, references: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Separate one recording in memory.

        Args:
            mixture: (T,) at the model's rate.
            references: (S, T) true sources, for oracle order besides.

        Returns:
            (S, T) estimates in blind order, the loudest where there are more slots than sources; and (S, T) in oracle
            order where references are given.
        """
        every, presence, oracle = self._whole(mixture, references)
        return summed(every, self.kept(presence, self.count(presence))), oracle

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        """Estimates by stitching of a mixture (T,) with known sources (S, T).

        ``blind`` (S, T): in blind order, as many as there are sources. ``oracle`` (S, T): in the order that suits the
        sources best. Of a model that was trained with several numbers of speakers also ``counted``: in blind order, as
        many as were found, with silence where sources are more; and ``every`` (K, T): all outputs in blind order.
        """
        every, presence, oracle = self._whole(torch.from_numpy(mixture), torch.from_numpy(sources))
        assert oracle is not None
        several = bool(self.config.counts)
        known = summed(every, self.kept(presence, len(sources) if several else self.config.sources))
        by = {"blind": known.numpy(), "oracle": oracle.numpy()}
        if several:
            counted = summed(every, self.kept(presence, self.count(presence, "auto"))).numpy()
            missing = max(0, len(sources) - len(counted))
            by |= {"counted": np.pad(counted, ((0, missing), (0, 0))), "every": every.numpy()}
        return by

    def _whole(self, mixture: Tensor, references: Tensor | None) -> tuple[Tensor, Presence, Tensor | None]:
        """All outputs (K, T) of a recording in blind order, which hold a source, and (S, T) in oracle order."""
        hops, batches_of_chunks, told = zip(*self._separated([mixture]), strict=True)
        blind, samples, presence = self._stitcher(hops[0]), mixture.shape[-1], Presence()
        pieces = [
            blind.add(chunks, one.slots, existence=one.existence)
            for chunks, one in zip(batches_of_chunks, told, strict=True)
        ]
        every = torch.cat([*pieces, blind.rest()], dim=-1)[:, :samples]
        presence.hear(mixture)
        presence.say(every)
        presence.logits = blind.existence
        if references is None:
            return every, presence, None
        merge = self.config.separation.extra_slots == "merge"
        oracle = stitch(torch.cat(batches_of_chunks), hops[0], samples, references, merge=merge)
        return every, presence, oracle[: len(references)]

    def _stitcher(self, hop: int) -> Stitcher:
        """What puts chunks together in blind order."""
        how = self.config.separation
        return Stitcher(hop, how.embedding_weight, how.spectrum_weight, how.quiet_db, how.speaker_weight)

    def _separated(self, blocks: Iterable[Tensor], at_once: int | None = None) -> Iterator[tuple[int, Tensor, Told]]:
        """Hop, chunks' estimates (B, K, chunk) and what is told of their slots, batch by batch of a recording."""
        settings, chunk = self.config.separation, self.config.chunk
        if self.model.any_length:  # all of a recording, or the longest that is set
            blocks, chunk = _measured(iter(blocks), round(settings.longest_s * self.rate))
        hop = hop_of(chunk, settings.overlap)
        device = next(self.model.parameters()).device
        count = at_once or chunks_at_once(self.config, chunk, device.type)
        context, state = self.config.context, None
        for batch in batches(surrounded(blocks, context), chunk + 2 * context, hop, count):
            with torch.inference_mode():
                found, waveforms = self._reconstructed(batch.to(device), chunk, state)
            state, embeddings = found.state, found.slots
            speech = (
                self.config.model.num_speech_slots
            )  # the slots but for the noise's, which is no estimate of a source
            told = (None if one is None else one[:, :speech].cpu() for one in (embeddings, found.presence))
            yield hop, waveforms[:, :speech].cpu(), Told(*told)

    def _reconstructed(self, crops: Tensor, chunk: int, state: Tensor | None) -> tuple[Estimates, Tensor]:
        """What the model says of crops in a row, and its waveforms (B, K, chunk) by the config's reconstruction."""
        found = self.model(crops, len(crops), state)
        if self.model.stft is None:
            return found, found.waveforms
        how = self.config.separation
        return found, reconstruct(found, center_crop(crops, chunk), self.model.stft, self.model.exponent, how)


class Told(NamedTuple):
    """What a model says of the slots of chunks.

    Attributes:
        slots: (B, K, W) embeddings that the order goes by.
        existence: (B, K) logits of whether they hold a source.
    """

    slots: Tensor | None
    existence: Tensor | None


def chunks_at_once(config: Resolved, chunk: int, device: str) -> int:
    """Chunks of so many samples that go through the model together on a kind of device, the fewer the more slots."""
    return max(1, int(BATCH_S.get(device, BATCH_S["other"]) * config.rate / (chunk * config.model.num_slots)))


def summed(every: Tensor, kept: list[list[int]]) -> Tensor:
    """All outputs (K, T) -> a recording's estimates (S, T), each made up of those that are ``kept`` for it."""
    return torch.stack([every[parts].sum(dim=0) for parts in kept])


def consistent(estimates: Waveforms, mixture: Waveforms) -> Waveforms:
    """Estimates (n, S) made to add up to the mixture (n,): each takes an equal share of the residual (Wisdom 2019)."""
    return estimates + (mixture - estimates.sum(axis=1))[:, None] / estimates.shape[1]


def _measured(blocks: Iterator[Tensor], longest: int) -> tuple[Iterator[Tensor], int]:
    """The same blocks, and how long the recording is, at most ``longest``."""
    head: list[Tensor] = []
    samples = 0
    while samples < longest and (block := next(blocks, None)) is not None:
        head.append(block)
        samples += len(block)
    return chain(head, blocks), min(samples, longest)
