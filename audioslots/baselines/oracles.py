"""Systems that need no training: the mixture itself, and estimates made with the true sources (upper bounds)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioslots.config.untrained import BASELINES, MIXTURE, parse
from audioslots.runtime.errors import InputError
from audioslots.separation.reconstruction import misi, ratio_masks

Waveforms = NDArray[np.float32]

PCM = 32_768  # steps of 16 bits to full scale
STFTS = {8000: (256, 64), 16000: (512, 125)}
"""Sample rate in Hz -> default STFT of the oracle masks: window and hop in samples."""


def ideal_binary_mask(sources: Tensor, mixture: Tensor) -> Tensor:
    """1 for the source with the largest magnitude in a bin, 0 for the others."""
    return torch.zeros_like(sources.real).scatter_(0, sources.abs().argmax(0, keepdim=True), 1.0)


def ideal_ratio_mask(sources: Tensor, mixture: Tensor) -> Tensor:
    """``|s_i| / sum_j |s_j|``."""
    return _share(sources.abs())


def wiener_mask(sources: Tensor, mixture: Tensor) -> Tensor:
    """``|s_i|^2 / sum_j |s_j|^2``."""
    return _share(sources.abs().square())


def phase_sensitive_mask(sources: Tensor, mixture: Tensor) -> Tensor:
    """``Re(s_i / x)``, clipped to 0..1 (Erdogan et al., 2015)."""
    return (sources / mixture).real.nan_to_num(0.0).clamp(0.0, 1.0)


def magnitude_mask(sources: Tensor, mixture: Tensor) -> Tensor:
    """``|s_i| / |x|``: the true magnitude with the mixture's phase, the ceiling of every model that borrows it."""
    return sources.abs() / mixture.abs().clamp_min(torch.finfo(torch.float64).tiny)


MASKS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ibm": ideal_binary_mask,
    "irm": ideal_ratio_mask,
    "wiener": wiener_mask,
    "psm": phase_sensitive_mask,
    "magnitude": magnitude_mask,
}
"""Kind of oracle -> function of (sources [sources, bins, frames], mixture [bins, frames]), both complex, to real masks
[sources, bins, frames]. The others, ``ratio`` and ``misi``, are a model's reconstruction of true magnitudes."""


class Untrained:
    """What needs no training is what its fields say."""

    @property
    def identity(self) -> str:
        """What decides its estimates."""
        return repr(self)

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules of this package whose code decides them."""
        return (__name__,)


@dataclass(frozen=True)
class Mixture(Untrained):
    """The unprocessed mixture as the estimate of every source: what improvements are measured against."""

    rate: int
    name: str = "mixture"
    seed: int = 0

    def by_stitching(
        self, mixture: NDArray[np.float32], sources: NDArray[np.float32]
    ) -> dict[str, NDArray[np.float32]]:
        """``{"none": [sources, samples]}`` from the mixture [samples]."""
        return {"none": np.broadcast_to(mixture, sources.shape)}


@dataclass(frozen=True)
class Oracle(Untrained):
    """Estimates made with the true sources by way of the mixture's STFT (Hann window, in samples).

    What the sources lack of the mixture, beyond the rounding of files of 16 bits, is noise, and has a mask of its own.

    Attributes:
        name: of ``audioslots.config.untrained``.
        kind: a key of ``MASKS``, ``ratio`` or ``misi``.
        number: power of the magnitudes (ratio) or iterations (misi).
    """

    name: str
    rate: int
    window: int
    hop: int
    kind: str
    number: float | None = None
    seed: int = 0

    def by_stitching(
        self, mixture: NDArray[np.float32], sources: NDArray[np.float32]
    ) -> dict[str, NDArray[np.float32]]:
        """``{"none": [sources, samples]}`` from the mixture [samples] and the sources [sources, samples]."""
        stft, given = _STFT(self.window, self.hop), len(sources)
        noise = mixture.astype(np.float64) - sources.sum(axis=0, dtype=np.float64)
        parts = sources if np.abs(noise).max() * PCM <= given + 1 else np.vstack([sources, noise[None]])
        waveforms = torch.from_numpy(np.vstack([parts, mixture[None]]).astype(np.float64))
        spectra = stft(waveforms)  # [sources, noise if any, mixture; bins, frames]
        if self.kind == "misi":
            estimates = misi(spectra[:-1].abs(), waveforms[-1], stft, int(self.number or 0))
        else:
            if self.kind == "ratio":
                masks = ratio_masks(spectra[:-1].abs(), float(self.number or 1))
            else:
                masks = MASKS[self.kind](spectra[:-1], spectra[-1])
            estimates = stft.inverse(masks * spectra[-1], len(mixture))
        return {"none": estimates[:given].numpy().astype(np.float32)}


class _STFT:
    """The STFT of the oracles: double precision, zeros beyond the borders."""

    def __init__(self, window: int, hop: int) -> None:
        self.window, self.hop = window, hop
        self.hann = torch.hann_window(window, dtype=torch.float64)

    def __call__(self, waveform: Tensor, /) -> Tensor:
        return torch.stft(waveform, self.window, self.hop, window=self.hann, pad_mode="constant", return_complex=True)

    def inverse(self, spectra: Tensor, samples: int, /) -> Tensor:
        return torch.istft(spectra, self.window, self.hop, window=self.hann, length=samples)


def oracle_stft(rate: int) -> tuple[int, int]:
    """Default STFT of the oracle masks at ``rate`` Hz: window and hop in samples.

    Raises:
        InputError: a rate other than 8000 and 16000 Hz.
    """
    if rate not in STFTS:
        raise InputError(f"rate: {rate} Hz has no default STFT; expected one of {sorted(STFTS)}")
    return STFTS[rate]


def baseline(name: str, rate: int) -> Mixture | Oracle:
    """The system of a name of ``config.untrained``, at ``rate`` Hz; its STFT is the name's, else ``oracle_stft``'s.

    Raises:
        InputError: an unknown name.
    """
    if name == MIXTURE:
        return Mixture(rate)
    oracle = parse(name)
    if oracle is None:
        raise InputError(
            f"{name}: unknown baseline; expected one of {', '.join(BASELINES)}, oracle-ratio-<power> or "
            "oracle-misi-<iterations>, each with -<window>-<hop> for another STFT"
        )
    window, hop = oracle.stft or oracle_stft(rate)
    return Oracle(name, rate, window, hop, oracle.kind, oracle.number)


def _share(weights: Tensor) -> Tensor:
    """Each source's part of the sum over sources; 0 where all are silent."""
    return weights / weights.sum(0, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
