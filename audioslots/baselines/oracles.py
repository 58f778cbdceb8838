"""Systems that need no training: the mixture itself, and masks computed from the true sources (upper bounds)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioslots.errors import InputError

Waveforms = NDArray[np.float32]

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
    "oracle-ibm": ideal_binary_mask,
    "oracle-irm": ideal_ratio_mask,
    "oracle-wiener": wiener_mask,
    "oracle-psm": phase_sensitive_mask,
    "oracle-magnitude": magnitude_mask,
}
"""Name -> function of (sources [sources, bins, frames], mixture [bins, frames]), both complex, to real masks
[sources, bins, frames]."""

BASELINES = {
    "mixture": "Mixture",
    "oracle-ibm": "Oracle: ideal binary mask",
    "oracle-irm": "Oracle: ideal ratio mask",
    "oracle-wiener": "Oracle: Wiener-like mask",
    "oracle-psm": "Oracle: phase-sensitive mask",
    "oracle-magnitude": "Oracle: true magnitude, mixture's phase",
}
"""Name of every system that is not trained -> its title in tables."""


class Untrained:
    """What needs no training is what its fields say."""

    @property
    def identity(self) -> str:
        """What decides its estimates."""
        return repr(self)


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
    """A mask computed from the true sources, applied to the mixture's STFT (Hann window, in samples)."""

    name: str
    rate: int
    window: int
    hop: int
    seed: int = 0

    def by_stitching(
        self, mixture: NDArray[np.float32], sources: NDArray[np.float32]
    ) -> dict[str, NDArray[np.float32]]:
        """``{"none": [sources, samples]}`` from the mixture [samples] and the sources [sources, samples]."""
        waveforms = torch.from_numpy(np.vstack([sources, mixture[None]]).astype(np.float64))
        hann = torch.hann_window(self.window, dtype=torch.float64)
        spectra = torch.stft(
            waveforms, self.window, self.hop, window=hann, pad_mode="constant", return_complex=True
        )  # [sources + 1, bins, frames]
        masked = MASKS[self.name](spectra[:-1], spectra[-1]) * spectra[-1]
        estimates = torch.istft(masked, self.window, self.hop, window=hann, length=len(mixture))
        return {"none": estimates.numpy().astype(np.float32)}


def oracle_stft(rate: int) -> tuple[int, int]:
    """Default STFT of the oracle masks at ``rate`` Hz: window and hop in samples.

    Raises:
        InputError: a rate other than 8000 and 16000 Hz.
    """
    if rate not in STFTS:
        raise InputError(f"rate: {rate} Hz has no default STFT; expected one of {sorted(STFTS)}")
    return STFTS[rate]


def baseline(name: str, rate: int, window: int | None = None, hop: int | None = None) -> Mixture | Oracle:
    """The system called ``name`` (a key of ``BASELINES``) at ``rate`` Hz; window and hop default to ``oracle_stft``.

    Raises:
        InputError: an unknown name.
    """
    if name == "mixture":
        return Mixture(rate)
    if name not in MASKS:
        raise InputError(f"{name}: unknown baseline; expected one of {', '.join(BASELINES)}")
    if window is None or hop is None:
        window, hop = oracle_stft(rate)
    return Oracle(name, rate, window, hop)


def _share(weights: Tensor) -> Tensor:
    """Each source's part of the sum over sources; 0 where all are silent."""
    return weights / weights.sum(0, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
