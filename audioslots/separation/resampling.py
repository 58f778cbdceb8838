"""Resampling of recordings that come in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

Frames = NDArray[np.float32]


def resample_blocks(blocks: Iterable[Frames], rate: int, new_rate: int, length: int) -> Iterator[Frames]:
    """Resample blocks (n, channels) from ``rate`` to ``new_rate`` Hz by libsoxr; the cuts do not change the result.

    Yields:
        Blocks of ``length`` frames in all: where the rates do not divide the last frame is cut, or silence is added.
    """
    left = length
    for block in blocks if rate == new_rate else _convert(blocks, rate, new_rate):
        yield block[:left]
        left -= len(block[:left])
        channels = block.shape[1]
    if left:
        yield np.zeros((left, channels), np.float32)


def resample(frames: Frames, rate: int, new_rate: int, length: int) -> Frames:
    """The same in memory: (T, channels) to (length, channels)."""
    return np.concatenate(list(resample_blocks([frames], rate, new_rate, length)))


def _convert(blocks: Iterable[Frames], rate: int, new_rate: int) -> Iterator[Frames]:
    stream = None
    for block in blocks:
        stream = stream or soxr.ResampleStream(rate, new_rate, block.shape[1], dtype="float32")
        yield stream.resample_chunk(np.ascontiguousarray(block))
    if stream is not None:
        yield stream.resample_chunk(np.zeros((0, block.shape[1]), np.float32), last=True)
