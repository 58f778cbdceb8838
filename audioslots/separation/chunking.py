"""Overlapping chunks of a recording, and their overlap-add."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Chunk(NamedTuple):
    """Estimates of one chunk, slots in the model's own order.

    Attributes:
        start: place of its first sample in the recording.
        waveforms: (K, chunk).
        embeddings: (K, W) of the slots; None of a model without.
        presence: (K,) logits of whether the slots hold a source; None of a model without a presence head.
    """

    start: int
    waveforms: Tensor
    embeddings: Tensor | None = None
    presence: Tensor | None = None


def chunk_hop(chunk: int, overlap: float) -> int:
    """Samples from one chunk's start to the next's; ``overlap`` is the share of a chunk that its successor covers."""
    return max(1, round(chunk * (1 - overlap)))


def split_chunks(waveform: Tensor, chunk: int, hop: int) -> Tensor:
    """Split (..., T) into overlapping chunks (C, ..., chunk), the end padded with zeros so that every sample is in one.

    A recording no longer than a chunk is one chunk.
    """
    samples = waveform.shape[-1]
    count = 1 + max(0, -(-(samples - chunk) // hop))
    padded = F.pad(waveform, (0, (count - 1) * hop + chunk - samples))
    return padded.unfold(-1, chunk, hop).movedim(-2, 0)


def stream_chunks(blocks: Iterable[Tensor], chunk: int, hop: int, batch: int) -> Iterator[Tensor]:
    """The chunks of ``split_chunks`` from a recording that comes in blocks (n,), as soon as they are complete.

    Yields:
        (B, chunk), B at most ``batch``. Neither blocks nor batches change what the chunks are.
    """
    waiting = torch.zeros(0)
    span = (batch - 1) * hop + chunk
    for block in blocks:
        waiting = torch.cat([waiting, block])
        while len(waiting) > span:  # more than that: so what is left at the end holds something new
            yield split_chunks(waiting[:span], chunk, hop)
            waiting = waiting[batch * hop :]
    if len(waiting):
        yield split_chunks(waiting, chunk, hop)


def pad_context(blocks: Iterable[Tensor], samples: int) -> Iterator[Tensor]:
    """Blocks (n,) of a recording between two blocks of silence."""
    yield torch.zeros(samples)
    yield from blocks
    yield torch.zeros(samples)


@lru_cache(maxsize=4)
def fade_window(chunk: int) -> Tensor:
    """Cross-fade window (chunk,): a Hann window that never reaches zero, so the outermost samples keep a weight."""
    steps = torch.arange(1, chunk + 1, dtype=torch.float64)  # in single precision long windows do reach zero
    return torch.sin(steps * (math.pi / (chunk + 1))).square().float()


def overlap_add(
    chunks: Iterable[Chunk], order: Callable[[Chunk, Tensor | None], Tensor], overlap: float
) -> Iterator[Tensor]:
    """Order and cross-fade the chunks of a recording, one after the other.

    Args:
        chunks: from left to right, ``chunk_hop`` samples apart.
        order: of ``ordering.py``: a chunk and the outputs so far where it overlaps with them, (K, chunk - hop) (None
            for the first chunk) -> its waveforms (K, chunk) in the order of the outputs.
        overlap: as of ``chunk_hop``.

    Yields:
        (K, hop) samples per chunk, which no later chunk changes; at last (K, chunk - hop). Memory is that of a chunk.
    """
    tail: Tensor | None = None
    for chunk in chunks:
        waveforms = order(chunk, tail)
        if tail is None:
            samples = waveforms.shape[-1]
            hop, window = chunk_hop(samples, overlap), fade_window(samples).to(waveforms)
            total, weight = torch.zeros_like(waveforms), torch.zeros_like(window)
        total = total + waveforms * window
        weight = weight + window
        yield total[:, :hop] / weight[:hop]
        total, weight = F.pad(total[:, hop:], (0, hop)), F.pad(weight[hop:], (0, hop))
        tail = total[:, : samples - hop] / weight[: samples - hop]
    if tail is not None:
        yield tail
