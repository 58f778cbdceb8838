"""Mixture invariant training (MixIT, Wisdom et al. 2020): separation learned from mixtures without their sources.

The model's input is the sum of two mixtures. Each slot is assigned to one of them, and the two sums of slots are
compared with the mixtures. A slot that holds parts of both makes both sums worse, so slots learn to hold one source.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import torch
from torch import Tensor, nn

from audioslots.losses import SNR_LIMIT, TINY, snr
from audioslots.models.base import Estimates


class MixIT(nn.Module):
    """Negative thresholded SNR (dB) of the two sums of slots, with the assignment of slots for which it is least.

    Args:
        group: chunks that are neighbours in a batch and share an assignment.
    """

    def __init__(self, group: int = 1) -> None:
        super().__init__()
        self.group = group

    def forward(self, estimates: Estimates, mixtures: Tensor, discount: float = 0.0) -> Tensor:
        """Estimates of K slots for the sum of two mixtures (B, 2, T) -> scalar.

        Earlier refinement iterations are assigned as the last one is, and cost ``discount`` times as much as the next.
        """
        mixtures = mixtures / estimates.level[:, None]
        iterations = [one.waveforms / one.level[:, None] for one in (estimates, *reversed(estimates.earlier))]
        choice = assign(iterations[0], mixtures, self.group)
        costs = [-snr(choice @ waveforms, mixtures).mean() for waveforms in iterations]
        return sum((discount**age * cost for age, cost in enumerate(costs[1:], start=1)), start=costs[0])


def assign(waveforms: Tensor, mixtures: Tensor, group: int = 1) -> Tensor:
    """Which of two mixtures each slot is part of, such that the sums of slots have the highest mean SNR.

    All 2^K assignments are compared by products of the waveforms with one another, and none is summed up: the error of
    a sum is |m - A s|^2 = |m|^2 - 2 A (s m) + A (s s) A.

    Args:
        waveforms: (B, K, T).
        mixtures: (B, 2, T).
        group: neighbours that share an assignment.

    Returns:
        (B, 2, K) of zeros and ones, each slot once.
    """
    with torch.no_grad():
        choices = _choices(waveforms.shape[1], waveforms.device).to(waveforms.dtype)  # (P, 2, K)
        among = waveforms @ waveforms.mT  # (B, K, K)
        along = mixtures @ waveforms.mT  # (B, 2, K)
        energy = mixtures.square().sum(dim=-1)[:, None]  # (B, 1, 2)
        crossed = torch.einsum("pmk,bmk->bpm", choices, along)
        summed = torch.einsum("pmk,bkl,pml->bpm", choices, among, choices)
        noise = (energy - 2 * crossed + summed).clamp_min(0)
        costs = (noise + SNR_LIMIT * (energy + TINY)).log10().sum(dim=-1)  # (B, P); SNR but for what all share
        costs = costs.unflatten(0, (-1, group)).mean(dim=1)
        return choices[costs.argmin(dim=-1)].repeat_interleave(group, dim=0)


@cache
def _choices(slots: int, device: torch.device) -> Tensor:
    """Every assignment of slots to two mixtures: (2^K, 2, K), made once."""
    first = torch.tensor(list(product((0, 1), repeat=slots)), device=device)
    return torch.stack([1 - first, first], dim=1)
