"""What the two encoders of convolutions share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audioslots.config import architecture
from audioslots.models.transformer import Layer


class Flattened(nn.Module):
    """An image of features, flattened to tokens with a learned position each; then Transformer layers.

    Args:
        settings: width and Transformer layers.
        channels: of the image.
        grid: the image's height and length, (F', N').
    """

    def __init__(self, settings: architecture.Encoder, channels: int, grid: tuple[int, int]) -> None:
        super().__init__()
        width = settings.width
        self.project = nn.Linear(channels, width)
        self.positions = nn.Parameter(torch.randn(grid[0] * grid[1], width) * 0.02)
        self.layers = nn.ModuleList([Layer(width, settings.heads, settings.mlp) for _ in range(settings.layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, F', N') -> tokens (B, F' N', W)."""
        tokens = self.project(image.flatten(2).transpose(1, 2)) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens)


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm of 32 groups where that divides, else of the largest power of two that does."""
    return nn.GroupNorm(next(groups for groups in (32, 16, 8, 4, 2, 1) if channels % groups == 0), channels)


def stage_channels(settings: architecture.Encoder) -> list[int]:
    """Channels by stage: they double and end at the tokens' width."""
    stages = len(settings.blocks)
    return [max(8, settings.width >> (stages - 1 - stage)) for stage in range(stages)]


def halved(bins: int, frames: int, times: int) -> tuple[int, int]:
    """Height and length after so many strides of 2, each rounding up."""
    for _ in range(times):
        bins, frames = -(-bins // 2), -(-frames // 2)
    return bins, frames
