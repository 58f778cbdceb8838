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


def normalize(weights: Tensor) -> Tensor:
    """Each source's share of the sum over sources [sources, bins, frames]; 0 where all are silent."""
    return weights / weights.sum(0, keepdim=True).clamp_min(TINY)


MASKS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    # 1 for the source with the largest magnitude in a bin, 0 for the others
    "ibm": lambda s, x: torch.zeros_like(s.real).scatter_(0, s.abs().argmax(0, keepdim=True), 1.0),
    # |s_i| / sum_j |s_j|, and the same of powers
    "irm": lambda s, x: normalize(s.abs()),
    "wiener": lambda s, x: normalize(s.abs().square()),
    # Re(s_i / x), clipped to 0..1 (Erdogan et al., 2015)
    "psm": lambda s, x: (s / x).real.nan_to_num(0.0).clamp(0.0, 1.0),
    # |s_i| / |x|: the true magnitude with the mixture's phase, the bound of every model that borrows it
    "magnitude": lambda s, x: s.abs() / x.abs().clamp_min(TINY),
}
"""Kind of oracle -> function of (sources [sources, bins, frames], mixture [bins, frames]), both complex, to real masks
[sources, bins, frames]. The others, ``ratio`` and ``misi``, are a model's reconstruction of true magnitudes."""


class _Untrained:
    """A system that its fields describe in full."""

    modules = (__name__,)

    @property
    def identity(self) -> str:
        """What decides the estimates."""
        return repr(self)


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
    """Estimates made with the true sources by way of the mixture's STFT (Hann window; window and hop in samples).

    The residual, mixture − Σ sources, has a mask of its own where it is more than the rounding of files of 16 bits.
    ``kind`` is a key of ``MASKS``, ``ratio`` or ``misi``; ``number`` is the power of ratio or the iterations of misi.
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
