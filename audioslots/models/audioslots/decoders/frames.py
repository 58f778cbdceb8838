"""Frames, decoded from the slot only: the slot is broadcast to every frame."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from audioslots.models.audioslots.frame_layers import FrameConfig, FrameLayers
from audioslots.models.audioslots.parts import Sizes
from audioslots.models.transformer import sinusoids
from audioslots.schema import hyper


class Config(FrameConfig):
    """The slot, broadcast to every frame."""

    kind: Literal["frames"] = hyper("frames", "bottleneck: the slot is broadcast to frames; Transformer layers follow")


class Decoder(nn.Module):
    """The slot is broadcast to every frame's position; Transformer layers follow; each frame gives its bins.

    The slot is the only path from the mixture to the output: the paper's bottleneck, far cheaper than an MLP per bin.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__()
        self.register_buffer("times", sinusoids(sizes.frames, sizes.width), persistent=False)
        self.slot = nn.Linear(sizes.slot_size, sizes.width)
        self.frames = FrameLayers(config, sizes)

    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Slots (B, K, S) -> (B, K, C, F, N); the tokens are not used."""
        return self.frames(self.slot(slots)[:, :, None] + self.times)
