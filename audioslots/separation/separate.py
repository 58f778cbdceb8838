"""Separating whole recordings with a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.signal import resample_poly
from torch import Tensor

from audioslots.config import Resolved
from audioslots.errors import InputError
from audioslots.files import written_aside
from audioslots.model.audioslots import AudioSlots
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

    model: AudioSlots
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
            (K, T) estimates in blind order, and in oracle order where references are given.
        """
        chunk = self.config.chunk
        hop = hop_of(chunk, self.config.separation.overlap)
        pieces = cut(mixture, chunk, hop)  # (C, chunk)
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            batches = pieces.split(max(1, int(BATCH_S / self.config.chunk_s)))
            separated = [self.model(batch.to(device)) for batch in batches]
            chunks = torch.cat([self.model.waveforms(part).cpu() for part in separated])  # (C, K, chunk)
            embeddings = torch.cat([part.slots.cpu() for part in separated])  # (C, K, W)
        samples = mixture.shape[-1]
        blind = stitch(chunks, hop, samples, None, embeddings, self.config.separation.embedding_weight)
        return blind, None if references is None else stitch(chunks, hop, samples, references)

    def separate(self, mixture: np.ndarray, sources: np.ndarray) -> dict[str, np.ndarray]:
        """Estimates (K, T) by stitching, ``blind`` and ``oracle``, of a mixture (T,) with known sources (S, T)."""
        blind, oracle = self.estimates(torch.from_numpy(mixture), torch.from_numpy(sources))
        assert oracle is not None
        return {"blind": blind.numpy(), "oracle": oracle.numpy()}


def separate_file(separator: Separator, audio: Path, out: Path) -> list[Path]:
    """Separate one audio file of any rate; several channels are averaged to one.

    Writes ``<stem>_s1.wav`` ... at the file's own rate and level, 16-bit; what would clip is scaled down together.
    Where the model has more slots than sources, the loudest are kept.

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
    loudest = blind.square().sum(dim=-1).argsort(descending=True, stable=True)[: separator.config.sources]
    estimates = blind[loudest.sort().values].numpy()
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
