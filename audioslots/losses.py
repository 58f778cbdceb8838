"""Losses: what one slot costs as the estimate of one source. A loss is a function and a record of ``LOSSES``.

What a config may name, what it says of it and which models it suits derive from the record. PyTorch is not imported:
functions call methods of tensors, so that a config is read quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

TINY = 1e-8
SNR_LIMIT = 1e-3  # of the reference's energy: an error below it, an SNR above 30 dB, earns nothing more


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio, dB (Le Roux et al. 2019), both made zero-mean first.

    Args:
        estimate: (..., T).
        reference: (..., T), broadcast against the estimate.

    Returns:
        (...) dB, finite whatever comes in: a silent estimate gives 0, a silent reference a large negative number.
    """
    estimate = estimate - estimate.mean(dim=-1, keepdim=True)
    reference = reference - reference.mean(dim=-1, keepdim=True)
    scale = (estimate * reference).sum(dim=-1, keepdim=True) / (reference.square().sum(dim=-1, keepdim=True) + TINY)
    target = scale * reference
    noise = estimate - target
    return 10 * ((target.square().sum(dim=-1) + TINY) / (noise.square().sum(dim=-1) + TINY)).log10()


def snr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Thresholded signal-to-noise ratio, dB, at most 30 (Wisdom et al. 2020, MixIT, equation 2).

    Args and shapes as ``si_sdr``; a silent reference gives a large negative number.
    """
    energy = reference.square().sum(dim=-1) + TINY
    noise = (estimate - reference).square().sum(dim=-1)
    return 10 * (energy / (noise + SNR_LIMIT * energy)).log10()


def energy_db(estimate: Tensor) -> Tensor:
    """Cost of energy where there should be none, dB above -30 of a mixture at unit level (Wisdom et al. 2021, FUSS)."""
    return 10 * (estimate.square().mean(dim=-1) / SNR_LIMIT + 1).log10()


class Loss(NamedTuple):
    """A kind of loss.

    Attributes:
        about: what it is, for the documentation of the config.
        spectral: it compares compressed magnitudes (..., F, N); else waveforms (..., T) at unit level of the mixture.
        cost: of an estimate for a reference, (...) of both broadcast.
        silence: cost of an estimate that no source is matched to; None of a kind that leaves the level of the others
            free, so that all estimates made quieter would escape it.
    """

    about: str
    spectral: bool
    cost: Callable[[Tensor, Tensor], Tensor]
    silence: Callable[[Tensor], Tensor] | None


LOSSES = {
    "squared": Loss(
        "squared error of compressed magnitudes",
        spectral=True,
        cost=lambda a, b: (a - b).square().mean((-2, -1)),
        silence=lambda a: a.square().mean((-2, -1)),
    ),
    "absolute": Loss(
        "absolute error of compressed magnitudes",
        spectral=True,
        cost=lambda a, b: (a - b).abs().mean((-2, -1)),
        silence=lambda a: a.abs().mean((-2, -1)),
    ),
    "si_sdr": Loss("negative SI-SDR of waveforms", spectral=False, cost=lambda a, b: -si_sdr(a, b), silence=None),
    "snr": Loss(
        "negative SNR of waveforms, saturating at 30 dB",
        spectral=False,
        cost=lambda a, b: -snr(a, b),
        silence=energy_db,
    ),
}


def losses_where(fits: Callable[[Loss], bool]) -> str:
    """Names of the losses that fit, for an error message."""
    return " or ".join(name for name, loss in LOSSES.items() if fits(loss))
