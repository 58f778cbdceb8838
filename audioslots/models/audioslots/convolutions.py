"""What the convolutional parts share."""

from __future__ import annotations

from torch import nn


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm of 32 groups where that divides, else of the largest power of two that does."""
    return nn.GroupNorm(next(groups for groups in (32, 16, 8, 4, 2, 1) if channels % groups == 0), channels)


def halved(bins: int, frames: int, times: int) -> tuple[int, int]:
    """Height and length after so many strides of 2, each rounding up."""
    for _ in range(times):
        bins, frames = -(-bins // 2), -(-frames // 2)
    return bins, frames
