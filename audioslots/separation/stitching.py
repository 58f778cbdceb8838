"""Putting the slots of neighbouring chunks in one order and cross-fading them.

A model names its slots afresh in every chunk. *Blind* order asks only what the model itself said: where two chunks
overlap, estimates of one source are alike, and so, over the whole recording, are its embeddings. *Oracle* order asks
the references, and shows what blind order costs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from audioslots.separation.chunking import cut, fade

SILENT = 1e-6  # a chunk with less energy than this share of the loudest tells nothing of its order
TINY = 1e-12


def stitch(
    chunks: Tensor,
    hop: int,
    samples: int,
    references: Tensor | None = None,
    embeddings: Tensor | None = None,
    embedding_weight: float = 0.0,
) -> Tensor:
    """Order the slots of every chunk and cross-fade to whole estimates.

    From left to right, a chunk's slots go to the outputs where the summed likeness is greatest. In blind order the
    likeness of a slot and an output is the correlation of their waveforms in the overlap, plus ``embedding_weight``
    times the cosine similarity of the slot's embedding and the output's mean embedding so far. A chunk of silence
    carries the last order on.

    Args:
        chunks: (C, K, chunk) estimates of each chunk, slots in any order.
        hop: samples from one chunk's start to the next's.
        samples: length of the recording, T.
        references: (S, T), S <= K, for oracle order; None for blind order.
        embeddings: (C, K, W) of the slots, for blind order; None for waveforms alone.
        embedding_weight: 0 for waveforms alone.

    Returns:
        (K, T) estimates. In oracle order the first S are in the references' order.
    """
    count, slots, length = chunks.shape
    window = fade(length).to(chunks)
    total = chunks.new_zeros(slots, (count - 1) * hop + length)
    weight = chunks.new_zeros(total.shape[-1])
    named = chunks.new_zeros(count, slots, 1) if embeddings is None else F.normalize(embeddings, dim=-1)
    mean = torch.zeros_like(named[0])
    wanted = None if references is None else cut(references, length, hop)  # (C, S, chunk)
    energy = chunks.square().sum(dim=(1, 2))
    order = list(range(slots))
    for number, chunk in enumerate(chunks):
        here = slice(number * hop, number * hop + length)
        if energy[number] > SILENT * energy.max():
            if wanted is not None:
                order = _best(wanted[number] @ chunk.T)  # (S, K)
            elif number:
                done = weight[here] > 0
                before = (total[:, here] / weight[here] * window)[:, done]
                now = (chunk * window)[:, done]
                likeness = before @ now.T / (before.norm() * now.norm() + TINY)  # (K, K)
                order = _best(likeness + embedding_weight * F.normalize(mean, dim=-1) @ named[number].T)
            mean += named[number][order]
        total[:, here] += chunk[order] * window
        weight[here] += window
    return (total / weight)[:, :samples]


def _best(likeness: Tensor) -> list[int]:
    """The slot of each output that makes the summed likeness (O, K) greatest; slots left over follow."""
    chosen = linear_sum_assignment(likeness.cpu().numpy(), maximize=True)[1].tolist()
    return chosen + [slot for slot in range(likeness.shape[1]) if slot not in chosen]
