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
    left, stream = length, None
    for block in blocks:
        channels = block.shape[1]
        if rate != new_rate:
            stream = stream or soxr.ResampleStream(rate, new_rate, channels, dtype="float32")
            block = stream.resample_chunk(np.ascontiguousarray(block))
        yield block[:left]
        left -= len(block[:left])
    end = np.zeros((0, channels), np.float32)
    end = stream.resample_chunk(end, last=True)[:left] if stream else end
    yield np.pad(end, ((0, left - len(end)), (0, 0)))


def resample(frames: Frames, rate: int, new_rate: int, length: int) -> Frames:
    """The same in memory: (T, channels) to (length, channels)."""
    return np.concatenate(list(resample_blocks([frames], rate, new_rate, length)))
