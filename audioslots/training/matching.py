"""Matching slots to sources: the assignment of least cost."""

from __future__ import annotations

from functools import cache
from itertools import permutations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

EXHAUSTIVE = 3  # up to so many slots all assignments are tried, on the device, and so for two sources of any number;
# beyond, SciPy's Hungarian method, on the host


def match(cost: Tensor) -> Tensor:
    """The slot of each source, such that no two sources share one and the summed cost is least.

    Args:
        cost: (B, S, K) cost of giving slot k to source s; K >= S.

    Returns:
        (B, S) int64 slot indices.

    Raises:
        ValueError: fewer slots than sources.
    """
    sources, slots = cost.shape[1:]
    if slots < sources:
        raise ValueError(f"{slots} slots for {sources} sources; expected at least as many slots as sources")
    cost = cost.detach()
    if slots <= EXHAUSTIVE or sources <= 2:
        rows, assignments = _assignments(sources, slots, cost.device)  # (S,), (P, S)
        totals = cost[:, rows, assignments].sum(dim=-1)  # (B, P)
        return assignments[totals.argmin(dim=-1)]
    # A cost that is no number must reach the trainer as a loss that is none, not end here.
    finite = cost.nan_to_num(nan=0.0).cpu().numpy()
    columns = np.stack([linear_sum_assignment(item)[1] for item in finite])
    return torch.as_tensor(columns, device=cost.device)


@cache
def _assignments(sources: int, slots: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The sources, and every choice of a slot for each; made once: no step waits for them."""
    choices = torch.tensor(list(permutations(range(slots), sources)), device=device)
    return torch.arange(sources, device=device), choices


def unmatched(matched: Tensor, slots: int) -> Tensor:
    """The slots that no source was given: (B, S) of ``match`` -> (B, K) bool, true where unmatched."""
    free = torch.ones(len(matched), slots, dtype=torch.bool, device=matched.device)
    return free.scatter(1, matched, False)
