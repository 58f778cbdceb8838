"""Losses: what a slot costs as the estimate of a source, and the sum of it over the slots once they are matched."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from audioslots.config import Variant
from audioslots.model.estimates import Estimates
from audioslots.model.outputs import compress
from audioslots.model.spectrogram import STFT
from audioslots.training.matching import match, unmatched

TINY = 1e-8
SNR_LIMIT = 1e-3  # of the reference's energy: an error below it, an SNR above 30 dB, earns nothing more
OCCUPIED = 0.01  # share of the mixture's energy from which a slot counts as occupied


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
    return 10 * torch.log10((target.square().sum(dim=-1) + TINY) / (noise.square().sum(dim=-1) + TINY))


def snr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Thresholded signal-to-noise ratio, dB, at most 30 (Wisdom et al. 2020, MixIT, equation 2).

    Args and shapes as ``si_sdr``; a silent reference gives a large negative number.
    """
    energy = reference.square().sum(dim=-1) + TINY
    noise = (estimate - reference).square().sum(dim=-1)
    return 10 * torch.log10(energy / (noise + SNR_LIMIT * energy))


def energy_db(estimate: Tensor) -> Tensor:
    """Cost of energy where there should be none, dB above -30 of a mixture at unit level (Wisdom et al. 2021, FUSS)."""
    return 10 * torch.log10(estimate.square().mean(dim=-1) / SNR_LIMIT + 1)


def occupancy(waveforms: Tensor, mixture: Tensor) -> Tensor:
    """How many of the slots (B, K, T) hold more energy than -20 dB of the mixture (B, T)'s: (B,)."""
    energy = waveforms.square().sum(dim=-1)
    return (energy > OCCUPIED * mixture.square().sum(dim=-1, keepdim=True)).sum(dim=-1).float()


class Loss(NamedTuple):
    """A kind of loss.

    Attributes:
        spectral: it compares compressed magnitudes (..., F, N); else waveforms (..., T) at unit level of the mixture.
        cost: of an estimate for a reference, (...) of both broadcast.
        silence: cost of an estimate that no source is matched to; None of a kind that leaves the level of the others
            free, so that all estimates made quieter would escape it.
    """

    spectral: bool
    cost: Callable[[Tensor, Tensor], Tensor]
    silence: Callable[[Tensor], Tensor] | None


LOSSES = {
    "squared": Loss(True, lambda a, b: (a - b).square().mean((-2, -1)), lambda a: a.square().mean((-2, -1))),
    "absolute": Loss(True, lambda a, b: (a - b).abs().mean((-2, -1)), lambda a: a.abs().mean((-2, -1))),
    "si_sdr": Loss(False, lambda a, b: -si_sdr(a, b), None),
    "snr": Loss(False, lambda a, b: -snr(a, b), energy_db),
}


class Matched(nn.Module):
    """Mean cost of the slots, each matched to a source or to silence so that the sum over all slots is least.

    Args:
        variant: kind of loss, exponent of its magnitudes, ``order`` and ``unmatched``; the spectrogram.
        together: chunks that lie side by side in a batch and are matched as one, by the mean of their costs.
    """

    def __init__(self, variant: Variant, together: int = 1) -> None:
        super().__init__()
        self.together = together
        self.settings, self.kind = variant.training, LOSSES[variant.training.loss]
        self.exponent = variant.spectrogram.exponent
        self.stft = STFT(variant.spectrogram.window, variant.spectrogram.hop)

    def forward(self, estimates: Estimates, sources: Tensor) -> Tensor:
        """Estimates of K slots and sources (B, S, T), S <= K -> scalar.

        Raises:
            ValueError: fewer slots than sources, more slots that a loss cannot pull to silence, or a loss of magnitudes
                for a model without a spectrogram.
        """
        signals, references = self.compared(estimates, sources / estimates.level[:, None])
        costs = self.kind.cost(signals[:, None], references[:, :, None])  # (B, S, K)
        batch, count, slots = costs.shape
        silent = slots > count and self.settings.unmatched == "silence"
        silence = costs.new_zeros(batch, slots)  # (B, K)
        if silent:
            if self.kind.silence is None:
                kind = self.settings.loss
                raise ValueError(f"loss {kind} cannot pull slots beyond the sources to silence; expected snr")
            silence = self.kind.silence(signals)
        if self.together > 1:
            costs, silence = (cost.unflatten(0, (-1, self.together)).mean(dim=1) for cost in (costs, silence))
            batch = len(costs)
        if self.settings.order == "fixed":
            matched = torch.arange(count, device=costs.device).expand(batch, -1)
        else:  # a source that takes a slot saves that slot's cost of silence
            matched = match(costs - silence[:, None])
        total = costs.gather(2, matched[..., None]).sum() + (silence * unmatched(matched, slots)).sum()
        return total / (batch * (slots if silent else count))

    def compared(self, estimates: Estimates, sources: Tensor) -> tuple[Tensor, Tensor]:
        """What the loss compares, of slots (B, K, ...) and of sources (B, S, ...), at unit level of the mixture."""
        if not self.kind.spectral:
            return estimates.waveforms / estimates.level[:, None], sources
        if estimates.compressed is None:
            raise ValueError(f"loss {self.settings.loss} of a model without a spectrogram; expected si_sdr or snr")
        signals = estimates.compressed
        if self.settings.exponent != self.exponent:
            signals = signals ** (self.settings.exponent / self.exponent)
        return signals, compress(self.stft(sources).abs(), self.settings.exponent)
