"""Frames, decoded from the slot only: the slot is unfolded to frames."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from audioslots.models.audioslots.frame_layers import FrameConfig, FrameLayers
from audioslots.models.audioslots.parts import Sizes
from audioslots.models.transformer import sinusoids
from audioslots.schema import hyper


class Config(FrameConfig):
    """A projection of the slot for each frame."""

    kind: Literal["unfolded"] = hyper("unfolded", "bottleneck: as frames, with a projection of the slot per frame")


class Decoder(nn.Module):
    """A linear layer unfolds the slot to a token for every frame; Transformer layers follow, as in ``frames``.

    The decoder ``frames`` gives every frame the same projection of the slot; here each frame has its own.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__()
        self.register_buffer("times", sinusoids(sizes.frames, sizes.width), persistent=False)
        self.slot = nn.Linear(sizes.slot_size, sizes.frames * sizes.width)
        self.frames = FrameLayers(config, sizes)

    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Slots (B, K, S) -> (B, K, C, F, N); the tokens are not used."""
        return self.frames(self.slot(slots).unflatten(-1, self.times.shape) + self.times)
