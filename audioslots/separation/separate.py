"""Separating whole recordings with a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.signal import resample_poly
from torch import Tensor, nn

from audioslots.config import Resolved
from audioslots.errors import InputError
from audioslots.files import written_aside
from audioslots.model.weights import load_model
from audioslots.separation.chunking import cut, hop_of
from audioslots.separation.stitching import stitch

BATCH_S = 32.0  # seconds of chunks separated at a time: bounds memory


@dataclass(frozen=True)
class Separator:
    """A trained model applied chunk by chunk; what ``evaluate`` asks of a system.

    Attributes:
        model: on its device, in evaluation mode.
        config: the resolved variant it was trained as.
    """

    model: nn.Module
    config: Resolved

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Separator:
        """Load a run folder or one safetensors file.

        Raises:
            InputError: no such model, or it cannot be read.
        """
        model, config = load_model(path)
        return cls(model.to(device), config)

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

    def estimates(self, mixture: Tensor, references: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Separate one recording.

        Args:
            mixture: (T,) at the model's rate.
            references: (S, T) true sources, for oracle order besides.

        Returns:
            (S, T) estimates in blind order, the loudest where there are more slots than sources; and (S, T) in oracle
            order where references are given.
        """
        settings, chunk, samples = self.config.separation, self.config.chunk, mixture.shape[-1]
        if self.config.model == "conv_tasnet":  # it takes any length
            chunk = min(samples, round(settings.longest_s * self.rate))
        hop = hop_of(chunk, settings.overlap)
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            batches = cut(mixture, chunk, hop).split(max(1, int(BATCH_S * self.rate / chunk)))
            separated = [self.model(batch.to(device)) for batch in batches]
        chunks = torch.cat([part.waveforms.cpu() for part in separated])  # (C, K, chunk)
        slots = [part.slots.cpu() for part in separated if part.slots is not None]
        embeddings = torch.cat(slots) if slots else None  # (C, K, W)
        blind = stitch(chunks, hop, samples, None, embeddings, settings.embedding_weight)
        blind = blind[loudest(blind, self.config.sources)]
        if references is None:
            return blind, None
        return blind, stitch(chunks, hop, samples, references)[: len(references)]

    def separate(self, mixture: np.ndarray, sources: np.ndarray) -> dict[str, np.ndarray]:
        """Estimates (K, T) by stitching, ``blind`` and ``oracle``, of a mixture (T,) with known sources (S, T)."""
        blind, oracle = self.estimates(torch.from_numpy(mixture), torch.from_numpy(sources))
        assert oracle is not None
        return {"blind": blind.numpy(), "oracle": oracle.numpy()}


def loudest(estimates: Tensor, count: int) -> Tensor:
    """Which ``count`` of the estimates (K, T) have the most energy, in their order."""
    return estimates.square().sum(dim=-1).argsort(descending=True, stable=True)[:count].sort().values


def separate_file(separator: Separator, audio: Path, out: Path) -> list[Path]:
    """Separate one audio file of any rate; several channels are averaged to one.

    Writes ``<stem>_s1.wav`` ... at the file's own rate and level, 16-bit; what would clip is scaled down together.

    Returns:
        The files written.

    Raises:
        InputError: the file is absent, is no audio, or is empty.
    """
    if not audio.is_file():
        raise InputError(f"{audio}: no such file; expected an audio file")
    try:
        samples, rate = soundfile.read(audio, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(f"{audio}: cannot be read ({error}); expected WAV, FLAC, OGG or MP3") from None
    if not len(samples) or not np.isfinite(samples).all():
        what = "samples that are not finite numbers" if len(samples) else "no samples"
        raise InputError(f"{audio}: holds {what}; expected audio")
    mixture = samples.mean(axis=1)
    if rate != separator.rate:
        mixture = resample_poly(mixture, separator.rate, rate)
    blind, _ = separator.estimates(torch.from_numpy(np.ascontiguousarray(mixture, dtype=np.float32)))
    estimates = blind.numpy()
    if rate != separator.rate:
        estimates = resample_poly(estimates, rate, separator.rate, axis=-1)
    estimates = estimates[:, : len(samples)]
    estimates = estimates / max(1.0, float(np.abs(estimates).max()))
    written = []
    for number, estimate in enumerate(estimates, start=1):
        path = out / f"{audio.stem}_s{number}.wav"
        with written_aside(path) as aside:
            soundfile.write(aside, estimate, rate, subtype="PCM_16")
        written.append(path)
    return written
