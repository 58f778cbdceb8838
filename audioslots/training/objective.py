"""The training objective: the cost of slots that are matched to sources (PIT), or of sums of slots (MixIT)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioslots.config.variant import Variant
from audioslots.losses import LOSSES, losses_where, snr
from audioslots.models.base import Estimates, compress
from audioslots.separation.reconstruction import ratio_masks
from audioslots.training.matching import match, unmatched
from audioslots.training.mixit import MixIT
from audioslots.training.schedule import grown

MASK_POWER = 1.5  # of the ratio masks of training.ratio: the default of separation.power
DISCOUNT = 0.5  # weight of a refinement iteration's loss relative to the next iteration's
FORBIDDEN = 1e9  # more than any cost: a slot that is not to be matched
OCCUPIED = 0.01  # share of the mixture's energy from which a slot counts as occupied


def occupancy(waveforms: Tensor, mixture: Tensor) -> Tensor:
    """How many of the slots (B, K, T) hold more energy than -20 dB of the mixture (B, T)'s: (B,)."""
    energy = waveforms.square().sum(dim=-1)
    return (energy > OCCUPIED * mixture.square().sum(dim=-1, keepdim=True)).sum(dim=-1).float()


def is_silent(sources: Tensor) -> Tensor:
    """Which of sources (B, S, T) are silent throughout: (B, S) bool."""
    return (sources == 0).all(dim=-1)


class Matched(nn.Module):
    """Mean cost of the slots, each matched to a source or to silence so that the sum over all slots is least (PIT).

    What each recursion of a recursive model leaves is compared with the sum of the sources that are left, and the mean
    cost of that is added. Earlier refinement iterations are matched as the last one is, and cost ``DISCOUNT`` times as
    much as the next. With ``training.ratio``, the spectra that the slots' magnitudes cut out of the mixture as ratio
    masks are compared too, phase included.

    Args:
        variant: kind of loss, exponent of its magnitudes, ``assignment``, ``unmatched`` and ``ratio``; the spectrogram.
        group: chunks that are neighbours in a batch and share one assignment, by the mean of their costs.
        may_be_silent: sources may be silent, as where the number of speakers varies. The slot of a silent source is to
            be silent, which costs what it costs an unmatched slot.
        has_noise: the last of the sources is noise. With a noise slot, the last slot is matched to it, else no slot is.
    """

    def __init__(self, variant: Variant, group: int = 1, may_be_silent: bool = False, has_noise: bool = False) -> None:
        super().__init__()
        self.group, self.may_be_silent, self.has_noise = group, may_be_silent, has_noise
        self.has_noise_slot = has_noise and variant.model.has_noise_slot
        self.settings, self.kind = variant.training, LOSSES[variant.training.loss]
        transform = variant.model.transform
        self.exponent = transform.exponent if transform else 1.0
        self.stft = transform.stft if transform else None

    def forward(self, estimates: Estimates, sources: Tensor) -> Tensor:
        """Estimates of K slots and sources (B, S, T), S <= K -> scalar.

        Raises:
            ValueError: fewer slots than sources, more slots that a loss cannot pull to silence, or a loss of magnitudes
                for a model without a spectrogram.
        """
        mixture = sources.sum(dim=1)
        if self.has_noise and not self.has_noise_slot:
            sources = sources[:, :-1]
        costs, silence = self._costs(estimates, sources, mixture)
        if self.settings.assignment == "fixed":
            matched = torch.arange(costs.shape[1], device=costs.device).expand(len(costs), -1)
        else:  # a source that takes a slot saves that slot's cost of silence
            matched = match(costs - silence[:, None] + (self._forbid(costs) if self.has_noise_slot else 0.0))
        cost = self._mean(costs, silence, matched)
        for age, earlier in enumerate(reversed(estimates.earlier), start=1):
            cost = cost + DISCOUNT**age * self._mean(*self._costs(earlier, sources, mixture), matched)
        if estimates.rests is not None:
            cost = cost + self._rest_cost(estimates.rests, sources, matched)
        if estimates.presence is not None:
            cost = cost + self.settings.presence_weight * self._presence_cost(estimates.presence, sources, matched)
        return cost

    def _forbid(self, costs: Tensor) -> Tensor:
        """What is added to costs (B, S, K), so that the last slot is the noise's, the last of the sources: (S, K)."""
        forbidden = torch.zeros_like(costs[0])
        forbidden[:-1, -1] = forbidden[-1, :-1] = FORBIDDEN
        return forbidden

    def _rest_cost(self, rests: Estimates, sources: Tensor, matched: Tensor) -> Tensor:
        """Mean cost of the rests of R recursions (Takahashi et al. 2019): each is the sum of the later sources."""
        recursions = torch.arange(rests.waveforms.shape[1], device=matched.device)
        later = matched.repeat_interleave(self.group, dim=0)[:, None] > recursions[:, None]  # (B, R, S)
        costs, silence = self._costs(rests, later.to(sources.dtype) @ sources)
        return self._mean(costs, silence, recursions.expand(len(costs), -1))

    def _presence_cost(self, logits: Tensor, sources: Tensor, matched: Tensor) -> Tensor:
        """Binary cross-entropy of logits (B, K), nats: a slot holds a source if it is matched to one that speaks."""
        logits = logits.unflatten(0, (-1, self.group))  # (B, C, K)
        speaks = (~is_silent(sources)).unflatten(0, (-1, self.group)).any(dim=1)  # (B, S)
        holds = torch.zeros_like(logits[:, 0]).scatter(1, matched, speaks.to(logits.dtype))
        return F.binary_cross_entropy_with_logits(logits, holds[:, None].expand_as(logits))

    def _costs(self, estimates: Estimates, sources: Tensor, mixture: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Costs (B, S, K) of each slot for each source, and of each slot's silence (B, K); means over groups.

        With ``training.ratio`` and a ``mixture`` (B, T), the cost of ratio masks on it is added.
        """
        signals, references = self.compared(estimates, sources / estimates.level[:, None])
        costs = self.kind.cost(signals[:, None], references[:, :, None])
        if self.settings.ratio and mixture is not None:
            costs = costs + self.settings.ratio * self._ratio_cost(estimates, sources, mixture)
        silence = costs.new_zeros(len(costs), costs.shape[2])
        if self._has_silent_slots(costs) or self.may_be_silent:
            if self.kind.silence is None:
                others = losses_where(lambda loss: loss.silence is not None)
                raise ValueError(
                    f"loss {self.settings.loss} cannot train extra slots towards silence; expected {others}"
                )
            silence = self.kind.silence(signals)
        if self.may_be_silent:
            costs = torch.where(is_silent(sources)[..., None], silence[:, None], costs)
        if self.group > 1:
            costs, silence = (cost.unflatten(0, (-1, self.group)).mean(dim=1) for cost in (costs, silence))
        return costs, silence

    def _ratio_cost(self, estimates: Estimates, sources: Tensor, mixture: Tensor) -> Tensor:
        """Negative SNR (B, S, K), dB, of the spectra that the slots' magnitudes as ratio masks make of a mixture."""
        assert estimates.compressed is not None and self.stft is not None  # the config is checked for it
        masks = ratio_masks(estimates.compressed, MASK_POWER / self.exponent)  # (B, K, F, N)
        masked = torch.view_as_real(masks * self.stft(mixture / estimates.level)[:, None]).flatten(2)
        spectra = torch.view_as_real(self.stft(sources / estimates.level[:, None])).flatten(2)
        return -snr(masked[:, None], spectra[:, :, None])

    def _mean(self, costs: Tensor, silence: Tensor, matched: Tensor) -> Tensor:
        """Mean cost, over slots or over sources, of a matching (B, S)."""
        batch, count, slots = costs.shape
        total = costs.gather(2, matched[..., None]).sum() + (silence * unmatched(matched, slots)).sum()
        return total / (batch * (slots if self._has_silent_slots(costs) else count))

    def _has_silent_slots(self, costs: Tensor) -> bool:
        """Whether there are slots that are to be silent."""
        return costs.shape[2] > costs.shape[1] and self.settings.unmatched == "silence"

    def compared(self, estimates: Estimates, sources: Tensor) -> tuple[Tensor, Tensor]:
        """What the loss compares, of slots (B, K, ...) and of sources (B, S, ...), at unit level of the mixture."""
        if not self.kind.spectral:
            return estimates.waveforms / estimates.level[:, None], sources
        if estimates.compressed is None or self.stft is None:
            others = losses_where(lambda loss: not loss.spectral)
            raise ValueError(f"loss {self.settings.loss} of a model without a spectrogram; expected {others}")
        signals = estimates.compressed
        if self.settings.exponent != self.exponent:
            signals = signals ** (self.settings.exponent / self.exponent)
        return signals, compress(self.stft(sources).abs(), self.settings.exponent)


class Objective(nn.Module):
    """What each step of a variant is trained on, and its cost: sources, or mixtures without sources.

    Args as of ``Matched``.
    """

    def __init__(self, variant: Variant, group: int = 1, may_be_silent: bool = False, has_noise: bool = False) -> None:
        super().__init__()
        self.settings = variant.training
        self.matched, self.mixit = Matched(variant, group, may_be_silent, has_noise), MixIT(group)

    def is_supervised(self, step: int) -> bool:
        """Whether a step is trained on sources; of MixIT a share of the steps is, evenly spread."""
        share = self.settings.supervised if self.settings.assignment == "mixit" else 1.0
        return int((step + 1) * share) > int(step * share)

    def references(self, sources: Tensor, step: int) -> Tensor:
        """What the input of a step is the sum of, at the level of its curriculum: the sources (B, S, T).

        MixIT draws the sources (B, 2 S, T) of two mixtures: the mixtures (B, 2, T), or the first one's sources.
        """
        if self.settings.assignment == "mixit":
            mixtures = sources.unflatten(1, (2, -1))  # (B, 2, S, T)
            sources = mixtures[:, 0] if self.is_supervised(step) else mixtures.sum(dim=2)
        return grown(sources, step, self.settings.curriculum * self.settings.steps)

    def forward(self, estimates: Estimates, references: Tensor, step: int) -> Tensor:
        """Estimates of K slots and the ``references`` of a step -> scalar."""
        if self.is_supervised(step):
            return self.matched(estimates, references)
        return self.mixit(estimates, references, DISCOUNT)
