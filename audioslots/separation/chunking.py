"""Cutting a recording into overlapping chunks, and the window they are cross-faded with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def hop_of(chunk: int, overlap: float) -> int:
    """Samples from one chunk's start to the next's; ``overlap`` is the share of a chunk its successor sees too."""
    return max(1, round(chunk * (1 - overlap)))


def cut(waveform: Tensor, chunk: int, hop: int) -> Tensor:
    """Cut (..., T) into overlapping chunks (C, ..., chunk), the end padded with zeros so that every sample is in one.

    A recording no longer than a chunk is one chunk.
    """
    samples = waveform.shape[-1]
    count = 1 + max(0, -(-(samples - chunk) // hop))
    padded = F.pad(waveform, (0, (count - 1) * hop + chunk - samples))
    return padded.unfold(-1, chunk, hop).movedim(-2, 0)


def batches(blocks: Iterable[Tensor], chunk: int, hop: int, count: int) -> Iterator[Tensor]:
    """The chunks of ``cut`` from a recording that comes in blocks (n,), as soon as they are there.

    Yields:
        (B, chunk), B at most ``count``. Neither blocks nor batches change what the chunks are.
    """
    waiting = torch.zeros(0)
    span = (count - 1) * hop + chunk
    for block in blocks:
        waiting = torch.cat([waiting, block])
        while len(waiting) > span:  # more than that: so what is left at the end holds something new
            yield cut(waiting[:span], chunk, hop)
            waiting = waiting[count * hop :]
    if len(waiting):
        yield cut(waiting, chunk, hop)


def surrounded(blocks: Iterable[Tensor], samples: int) -> Iterator[Tensor]:
    """Blocks (n,) of a recording with so many samples of silence before them and after them."""
    if samples:
        yield torch.zeros(samples)
    yield from blocks
    if samples:
        yield torch.zeros(samples)


def fade(chunk: int) -> Tensor:
    """Cross-fade window (chunk,): a Hann window that never reaches zero, so the outermost samples keep a weight."""
    steps = torch.arange(1, chunk + 1, dtype=torch.float64)  # in single precision long windows do reach zero
    return torch.sin(steps * (math.pi / (chunk + 1))).square().float()
