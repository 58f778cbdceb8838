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
TINY = torch.finfo(torch.float64).tiny


def ideal_binary_mask(sources: Tensor, mixture: Tensor) -> Tensor:
    """1 for the source with the largest magnitude in a bin, 0 for the others."""
    return torch.zeros_like(sources.real).scatter_(0, sources.abs().argmax(0, keepdim=True), 1.0)


def ideal_ratio_mask(sources: Tensor, mixture: Tensor, power: int = 1) -> Tensor:
    """``|s_i|^power / sum_j |s_j|^power``; 0 where all are silent."""
    weights = sources.abs() if power == 1 else sources.abs().square()
    return weights / weights.sum(0, keepdim=True).clamp_min(TINY)


def wiener_mask(sources: Tensor, mixture: Tensor) -> Tensor:
    """The ratio mask of power 2."""
    return ideal_ratio_mask(sources, mixture, 2)


def phase_sensitive_mask(sources: Tensor, mixture: Tensor) -> Tensor:
    """``Re(s_i / x)``, clipped to 0..1 (Erdogan et al., 2015)."""
    return (sources / mixture).real.nan_to_num(0.0).clamp(0.0, 1.0)


def magnitude_mask(sources: Tensor, mixture: Tensor) -> Tensor:
    """``|s_i| / |x|``: the true magnitude with the mixture's phase, the bound of every model that borrows it."""
    return sources.abs() / mixture.abs().clamp_min(TINY)


MASKS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ibm": ideal_binary_mask,
    "irm": ideal_ratio_mask,
    "wiener": wiener_mask,
    "psm": phase_sensitive_mask,
    "magnitude": magnitude_mask,
}
"""Kind of oracle -> function of (sources [sources, bins, frames], mixture [bins, frames]), both complex, to real masks
[sources, bins, frames]. The others, ``ratio`` and ``misi``, are a model's reconstruction of true magnitudes."""


@dataclass(frozen=True)
class _Untrained:
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
class Mixture(_Untrained):
    """The unprocessed mixture as the estimate of every source: what improvements are measured against."""

    rate: int
    name: str = "mixture"
    seed: int = 0

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        """``{"none": [sources, samples]}`` from the mixture [samples]."""
        return {"none": np.broadcast_to(mixture, sources.shape)}


@dataclass(frozen=True)
class Oracle(_Untrained):
    """Estimates made with the true sources by way of the mixture's STFT (Hann window, in samples).

    The residual, mixture − Σ sources, is noise and has a mask of its own where it is more than the rounding of files of
    16 bits.

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

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        """``{"none": [sources, samples]}`` from the mixture [samples] and the sources [sources, samples]."""
        stft, count = _STFT(self.window, self.hop), len(sources)
        noise = mixture.astype(np.float64) - sources.sum(axis=0, dtype=np.float64)
        parts = sources if np.abs(noise).max() * PCM <= count + 1 else np.vstack([sources, noise[None]])
        waveforms = torch.from_numpy(np.vstack([parts, mixture[None]]).astype(np.float64))
        spectra = stft(waveforms)  # [sources, noise if any, mixture; bins, frames]
        match self.kind:
            case "misi":
                estimates = misi(spectra[:-1].abs(), waveforms[-1], stft, int(self.number or 0))
            case "ratio":
                masks = ratio_masks(spectra[:-1].abs(), float(self.number or 1))
                estimates = stft.inverse(masks * spectra[-1], len(mixture))
            case _:
                masks = MASKS[self.kind](spectra[:-1], spectra[-1])
                estimates = stft.inverse(masks * spectra[-1], len(mixture))
        return {"none": estimates[:count].numpy().astype(np.float32)}


class _STFT:
    """The STFT of the oracles: double precision, zeros beyond the borders."""

    def __init__(self, window: int, hop: int) -> None:
        self.window, self.hop = window, hop
        self.hann = torch.hann_window(window, dtype=torch.float64)

    def __call__(self, waveform: Tensor, /) -> Tensor:
        return torch.stft(waveform, self.window, self.hop, window=self.hann, pad_mode="constant", return_complex=True)

    def inverse(self, spectra: Tensor, samples: int, /) -> Tensor:
        return torch.istft(spectra, self.window, self.hop, window=self.hann, length=samples)


def open_baseline(name: str, rate: int) -> Mixture | Oracle:
    """The system of a name of ``config.untrained``, at ``rate`` Hz; its STFT is the name's, else that of ``STFTS``.

    Raises:
        InputError: an unknown name, or a rate without a default STFT.
    """
    if name == MIXTURE:
        return Mixture(rate)
    oracle = parse(name)
    if oracle is None:
        raise InputError(
            f"{name}: unknown baseline; expected one of {', '.join(BASELINES)}, oracle-ratio-<power> or "
            "oracle-misi-<iterations>, each with -<window>-<hop> for another STFT"
        )
    if oracle.stft is None and rate not in STFTS:
        raise InputError(f"rate: {rate} Hz has no default STFT; expected one of {sorted(STFTS)}")
    window, hop = oracle.stft or STFTS[rate]
    return Oracle(name, rate, window, hop, oracle.kind, oracle.number)
