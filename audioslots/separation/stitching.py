"""Putting the slots of neighbouring chunks in one order and cross-fading them.

A model names its slots afresh in every chunk. *Blind* order asks only the estimates themselves: where two chunks
overlap, estimates of one source are alike. *Oracle* order asks the references, and shows what blind order costs.
"""

from __future__ import annotations

from scipy.optimize import linear_sum_assignment
from torch import Tensor

from audioslots.separation.chunking import cut, fade

SILENT = 1e-6  # overlap with less energy than this share of the loudest chunk's cannot tell slots apart


def stitch(chunks: Tensor, hop: int, samples: int, references: Tensor | None = None) -> Tensor:
    """Order the slots of every chunk and cross-fade to whole estimates.

    Args:
        chunks: (C, K, chunk) estimates of each chunk, slots in any order.
        hop: samples from one chunk's start to the next's.
        samples: length of the recording, T.
        references: (S, T), S <= K, for oracle order; None for blind order.

    Returns:
        (K, T) estimates. In oracle order the first S are in the references' order.
    """
    count, slots, length = chunks.shape
    window = fade(length).to(chunks)
    total = chunks.new_zeros(slots, (count - 1) * hop + length)
    weight = chunks.new_zeros(total.shape[-1])
    silent = SILENT * float(chunks.square().sum(dim=(1, 2)).max())
    wanted = None if references is None else cut(references, length, hop)  # (C, S, chunk)
    order = list(range(slots))
    for number, chunk in enumerate(chunks):
        here = slice(number * hop, number * hop + length)
        if wanted is not None:
            likeness = wanted[number] @ chunk.T  # (S, K)
        else:
            done = weight[here] > 0
            before = total[:, here][:, done] / weight[here][done]
            likeness = before @ (chunk * window)[:, done].T  # (K, K)
        order = _order(likeness, order, silent)
        total[:, here] += chunk[order] * window
        weight[here] += window
    return (total / weight)[:, :samples]


def _order(likeness: Tensor, last: list[int], silent: float) -> list[int]:
    """The slot of each output that makes the summed likeness (O, K) greatest; the last order where nothing tells."""
    if float(likeness.abs().max()) <= silent:
        return last
    chosen = linear_sum_assignment(likeness.cpu().numpy(), maximize=True)[1].tolist()
    return chosen + [slot for slot in last if slot not in chosen]
