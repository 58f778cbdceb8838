"""The training objective: slots matched to sources by permutation-invariant training (PIT), and what they cost then.

Where a variant is trained by MixIT, some or all steps have its objective instead.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioslots.config.variant import Variant
from audioslots.losses import LOSSES, snr, such
from audioslots.models.audioslots.outputs import compress
from audioslots.models.estimates import Estimates
from audioslots.models.reconstruction import ratio_masks
from audioslots.models.spectrogram import STFT
from audioslots.training.matching import match, unmatched
from audioslots.training.mixit import MixIT
from audioslots.training.schedule import grown

TEMPERATURE = 0.1  # of the contrastive loss
MASK_POWER = 1.5  # of the ratio masks of training.ratio: what they have in separation, unless told otherwise
BARRED = 1e9  # more than any cost: a slot that is not to be matched
OCCUPIED = 0.01  # share of the mixture's energy from which a slot counts as occupied


def occupancy(waveforms: Tensor, mixture: Tensor) -> Tensor:
    """How many of the slots (B, K, T) hold more energy than -20 dB of the mixture (B, T)'s: (B,)."""
    energy = waveforms.square().sum(dim=-1)
    return (energy > OCCUPIED * mixture.square().sum(dim=-1, keepdim=True)).sum(dim=-1).float()


def silent(sources: Tensor) -> Tensor:
    """Which of sources (B, S, T) are silent throughout: (B, S) bool."""
    return (sources == 0).all(dim=-1)


def contrast(voices: Tensor) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, equation 2) of a batch's voices.

    Args:
        voices: (B, C, S, V) of S sources in each of C chunks; a source is one speaker in all its chunks, and is taken
            to be another than all others of the batch.

    Returns:
        () mean over all of them, nats.
    """
    chunks = voices.shape[1]
    unit = F.normalize(voices.transpose(1, 2).flatten(0, 2), dim=-1)  # (B S C, V)
    alone = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    likeness = (unit @ unit.T / TEMPERATURE).masked_fill(alone, -torch.inf).log_softmax(dim=-1)
    owner = torch.arange(len(unit), device=unit.device) // chunks
    same = (owner[:, None] == owner) & ~alone
    return -likeness.masked_fill(~same, 0.0).sum() / same.sum()


class Matched(nn.Module):
    """Mean cost of the slots, each matched to a source or to silence so that the sum over all slots is least (PIT).

    Of a model that takes sources in turn, what each turn leaves is compared with the sum of the sources that are left,
    and the mean cost of that is added. Of a model that refines its estimates, the passes before the last are matched as
    the last one is, and cost less and less the earlier they are.

    With ``training.ratio``, what separation makes of the slots' magnitudes as ratio masks is compared too: the spectra
    that the masks cut out of the mixture, phase and all.

    Args:
        variant: kind of loss, exponent of its magnitudes, ``order``, ``unmatched`` and ``ratio``; the spectrogram.
        together: chunks that lie side by side in a batch and are matched as one, by the mean of their costs; what
            ``training.contrast`` compares them by is added.
        varies: sources may be silent, as where the number of speakers varies. The slot of a silent source is to be
            silent, which costs what it costs an unmatched slot.
        noisy: the last of the sources is noise. Where ``slots.noise_slot`` says so, the last slot is matched to it,
            else it is no slot's and costs nothing.
    """

    def __init__(self, variant: Variant, together: int = 1, varies: bool = False, noisy: bool = False) -> None:
        super().__init__()
        self.together, self.varies, self.noisy, self.own = together, varies, noisy, noisy and variant.slots.noise_slot
        self.settings, self.kind = variant.training, LOSSES[variant.training.loss]
        self.exponent = variant.spectrogram.exponent
        self.stft = STFT(variant.spectrogram.window, variant.spectrogram.hop)

    def forward(self, estimates: Estimates, sources: Tensor) -> Tensor:
        """Estimates of K slots and sources (B, S, T), S <= K -> scalar.

        Raises:
            ValueError: fewer slots than sources, more slots that a loss cannot pull to silence, or a loss of magnitudes
                for a model without a spectrogram.
        """
        mixture = sources.sum(dim=1)
        if self.noisy and not self.own:
            sources = sources[:, :-1]
        costs, silence = self._costs(estimates, sources, mixture)
        if self.settings.assignment == "fixed":
            matched = torch.arange(costs.shape[1], device=costs.device).expand(len(costs), -1)
        else:  # a source that takes a slot saves that slot's cost of silence
            matched = match(costs - silence[:, None] + (self._barred(costs) if self.own else 0.0))
        cost = self._mean(costs, silence, matched)
        for age, before in enumerate(reversed(estimates.earlier), start=1):
            cost = cost + self.settings.discount**age * self._mean(*self._costs(before, sources, mixture), matched)
        if estimates.left is not None:
            cost = cost + self._left(estimates.left, sources, matched)
        if self.settings.contrast and self.together > 1 and estimates.voices is not None:
            voices = estimates.voices.unflatten(0, (-1, self.together))  # (B, C, K, V)
            chosen = matched[:, None, :, None].expand(-1, self.together, -1, voices.shape[-1])
            cost = cost + self.settings.contrast * contrast(voices.gather(2, chosen))
        if self.settings.presence and estimates.existence is not None:
            cost = cost + self.settings.presence * self._existence(estimates.existence, sources, matched)
        return cost

    def _barred(self, costs: Tensor) -> Tensor:
        """What keeps the last slot to the noise, the last of the sources, in costs (B, S, K): (S, K)."""
        barred = torch.zeros_like(costs[0])
        barred[:-1, -1] = barred[-1, :-1] = BARRED
        return barred

    def _left(self, left: Estimates, sources: Tensor, matched: Tensor) -> Tensor:
        """Mean cost of what R turns have left (Takahashi et al. 2019): the sum of the sources that later turns took."""
        turns = torch.arange(left.waveforms.shape[1], device=matched.device)
        later = matched.repeat_interleave(self.together, dim=0)[:, None] > turns[:, None]  # (B, R, S)
        costs, silence = self._costs(left, later.to(sources.dtype) @ sources)
        return self._mean(costs, silence, turns.expand(len(costs), -1))

    def _existence(self, told: Tensor, sources: Tensor, matched: Tensor) -> Tensor:
        """Binary cross-entropy of logits (B, K), nats: a slot holds a source if it is matched to one that speaks."""
        told = told.unflatten(0, (-1, self.together))  # (B, C, K)
        speaks = (~silent(sources)).unflatten(0, (-1, self.together)).any(dim=1)  # (B, S)
        holds = torch.zeros_like(told[:, 0]).scatter(1, matched, speaks.to(told.dtype))
        return F.binary_cross_entropy_with_logits(told, holds[:, None].expand_as(told))

    def _costs(self, estimates: Estimates, sources: Tensor, mixture: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Costs (B, S, K) of each slot for each source, and of each slot's silence (B, K); of those together, means.

        ``training.ratio`` has what ratio masks make of a ``mixture`` (B, T) compared too.
        """
        signals, references = self.compared(estimates, sources / estimates.level[:, None])
        costs = self.kind.cost(signals[:, None], references[:, :, None])
        if self.settings.ratio and mixture is not None:
            costs = costs + self.settings.ratio * self._ratio(estimates, sources, mixture)
        silence = costs.new_zeros(len(costs), costs.shape[2])
        if self._silences(costs) or self.varies:
            if self.kind.silence is None:
                others = such(lambda loss: loss.silence is not None)
                raise ValueError(
                    f"loss {self.settings.loss} cannot pull slots beyond the sources to silence; expected {others}"
                )
            silence = self.kind.silence(signals)
        if self.varies:
            costs = torch.where(silent(sources)[..., None], silence[:, None], costs)
        if self.together > 1:
            costs, silence = (cost.unflatten(0, (-1, self.together)).mean(dim=1) for cost in (costs, silence))
        return costs, silence

    def _ratio(self, estimates: Estimates, sources: Tensor, mixture: Tensor) -> Tensor:
        """Negative SNR (B, S, K), dB, of the spectra that ratio masks of the slots' magnitudes make of a mixture."""
        assert estimates.compressed is not None  # of a model with slots, the config saw to it
        masks = ratio_masks(estimates.compressed, MASK_POWER / self.exponent)  # (B, K, F, N)
        shared = torch.view_as_real(masks * self.stft(mixture / estimates.level)[:, None]).flatten(2)
        spectra = torch.view_as_real(self.stft(sources / estimates.level[:, None])).flatten(2)
        return -snr(shared[:, None], spectra[:, :, None])

    def _mean(self, costs: Tensor, silence: Tensor, matched: Tensor) -> Tensor:
        """Mean cost, over slots or over sources, of a matching (B, S)."""
        batch, count, slots = costs.shape
        total = costs.gather(2, matched[..., None]).sum() + (silence * unmatched(matched, slots)).sum()
        return total / (batch * (slots if self._silences(costs) else count))

    def _silences(self, costs: Tensor) -> bool:
        """Whether there are slots that are to be silent."""
        return costs.shape[2] > costs.shape[1] and self.settings.unmatched == "silence"

    def compared(self, estimates: Estimates, sources: Tensor) -> tuple[Tensor, Tensor]:
        """What the loss compares, of slots (B, K, ...) and of sources (B, S, ...), at unit level of the mixture."""
        if not self.kind.spectral:
            return estimates.waveforms / estimates.level[:, None], sources
        if estimates.compressed is None:
            others = such(lambda loss: not loss.spectral)
            raise ValueError(f"loss {self.settings.loss} of a model without a spectrogram; expected {others}")
        signals = estimates.compressed
        if self.settings.exponent != self.exponent:
            signals = signals ** (self.settings.exponent / self.exponent)
        return signals, compress(self.stft(sources).abs(), self.settings.exponent)


class Objective(nn.Module):
    """What each step of a variant is trained on, and what its slots cost: sources, or mixtures and no sources.

    Args as of ``Matched``.
    """

    def __init__(self, variant: Variant, together: int = 1, varies: bool = False, noisy: bool = False) -> None:
        super().__init__()
        self.settings = variant.training
        self.matched, self.mixit = Matched(variant, together, varies, noisy), MixIT(together)

    def hears_sources(self, step: int) -> bool:
        """Whether the sources of a step are known to it; of MixIT's a share, evenly spread."""
        share = self.settings.supervised if self.settings.assignment == "mixit" else 1.0
        return int((step + 1) * share) > int(step * share)

    def references(self, sources: Tensor, step: int) -> Tensor:
        """What a step hears together and compares with, at the level of its curriculum: the sources (B, S, T).

        MixIT draws the sources (B, 2 S, T) of two mixtures: the mixtures (B, 2, T), or the first one's sources.
        """
        if self.settings.assignment == "mixit":
            mixtures = sources.unflatten(1, (2, -1))  # (B, 2, S, T)
            sources = mixtures[:, 0] if self.hears_sources(step) else mixtures.sum(dim=2)
        return grown(sources, step, self.settings.curriculum * self.settings.steps)

    def forward(self, estimates: Estimates, references: Tensor, step: int) -> Tensor:
        """Estimates of K slots and the ``references`` of a step -> scalar."""
        if self.hears_sources(step):
            return self.matched(estimates, references)
        return self.mixit(estimates, references, self.settings.discount)
