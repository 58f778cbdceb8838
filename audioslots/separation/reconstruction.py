"""Reconstruction of waveforms from decoded magnitudes; nothing is trained for it.

*direct* takes the model's own waveforms: of decoded magnitudes those with the mixture's phase. *ratio* uses the
magnitudes as ratio masks on the mixture: errors that all slots share cancel. *misi* finds, by iteration, phases that
fit the magnitudes and add up to the mixture.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from audioslots.config.separation import Separation
from audioslots.models.base import Estimates

TINY = 1e-12


class Transform(Protocol):
    """A short-time Fourier transform: ``models.spectrogram.STFT``, or an oracle's."""

    def __call__(self, waveform: Tensor, /) -> Tensor:
        """Waveforms (..., T) -> complex spectra (..., F, N)."""

    def inverse(self, spectra: Tensor, samples: int, /) -> Tensor:
        """Complex spectra (..., F, N) -> waveforms (..., ``samples``)."""


def ratio_masks(magnitudes: Tensor, power: float) -> Tensor:
    """Ratio masks (..., K, F, N) of magnitudes (..., K, F, N): m_k^power / sum_j m_j^power.

    Power 1 gives the ideal ratio mask, power 2 the Wiener-like one. They add up to 1; where all magnitudes are 0, so
    are the masks.
    """
    scaled = magnitudes / (magnitudes.amax(dim=-3, keepdim=True) + TINY)  # else powers of quiet bins vanish
    powers = scaled**power
    return powers / (powers.sum(dim=-3, keepdim=True) + TINY)


def misi(magnitudes: Tensor, mixture: Tensor, stft: Transform, iterations: int) -> Tensor:
    """Multiple input spectrogram inversion (Gunawan and Sen 2010).

    Phases start as the mixture's. In each iteration the estimates are made to add up to the mixture, each taking an
    equal share of the residual, and their phases replace the last ones.

    Args:
        magnitudes: (..., K, F, N).
        mixture: (..., T).
        stft: of the magnitudes.
        iterations: 0 for the mixture's phase only.

    Returns:
        (..., K, T) waveforms.
    """
    samples, slots = mixture.shape[-1], magnitudes.shape[-3]
    spectrum = stft(mixture)
    phases = (spectrum / (spectrum.abs() + TINY)).unsqueeze(-3)
    for _ in range(iterations):
        waveforms = stft.inverse(magnitudes * phases, samples)
        waveforms = waveforms + ((mixture - waveforms.sum(dim=-2)) / slots).unsqueeze(-2)
        spectra = stft(waveforms)
        phases = spectra / (spectra.abs() + TINY)
    return stft.inverse(magnitudes * phases, samples)


def reconstruct(
    estimates: Estimates, mixture: Tensor, stft: Transform | None, exponent: float, settings: Separation
) -> Tensor:
    """Waveforms (B, K, T) of a batch of chunks, at the mixture's level, by ``settings.reconstruction``.

    Args:
        estimates: of a model, for the mixture.
        mixture: (B, T).
        stft: the model's; None of a model of waveforms, which is reconstructed directly.
        exponent: of the model's compression.
        settings: the reconstruction, the power of ``ratio``, the iterations of ``misi``.
    """
    if settings.reconstruction == "direct":
        return estimates.waveforms
    if estimates.compressed is None or stft is None:
        raise ValueError(f"reconstruction {settings.reconstruction} of a model without a spectrogram; expected direct")
    magnitudes = estimates.compressed ** (1 / exponent)
    unit = mixture / estimates.level
    if settings.reconstruction == "ratio":
        masked = ratio_masks(magnitudes, settings.power) * stft(unit)[:, None]
        waveforms = stft.inverse(masked, mixture.shape[-1])
    else:
        waveforms = misi(magnitudes, unit, stft, settings.misi_iterations)
    return waveforms * estimates.level[:, None]
