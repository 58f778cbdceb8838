"""Tokens of frames, decoded from the slot alone."""

from __future__ import annotations

from torch import Tensor, nn

from audioslots.config import variant as config
from audioslots.models.audioslots.parts import Shape
from audioslots.models.transformer import Layer, sinusoids


class FrameLayers(nn.Module):
    """Transformer layers on tokens of frames, each of which then gives the maps of its bins."""

    def __init__(self, variant: config.Variant, shape: Shape) -> None:
        super().__init__()
        encoder = variant.encoder
        self.shape = shape
        self.layers = nn.ModuleList(
            [
                Layer(encoder.width, encoder.heads, encoder.mlp, kernel=encoder.kernel)
                for _ in range(variant.decoder.layers)
            ]
        )
        self.norm = nn.LayerNorm(encoder.width)
        self.bins = nn.Linear(encoder.width, shape.channels * shape.bins)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames of each slot (B, K, N, W) -> (B, K, C, F, N)."""
        hidden = frames.flatten(0, 1)
        for layer in self.layers:
            hidden = layer(hidden)
        maps = self.bins(self.norm(hidden)).unflatten(-1, (self.shape.channels, self.shape.bins))  # (B K, N, C, F)
        return maps.permute(0, 2, 3, 1).unflatten(0, frames.shape[:2])


class Decoder(nn.Module):
    """The slot is broadcast to every frame's position; Transformer layers follow; each frame gives its bins.

    The slot is the only way from the mixture to the output: the paper's bottleneck, far cheaper than a point at a time.
    """

    def __init__(self, variant: config.Variant, shape: Shape) -> None:
        super().__init__()
        width = variant.encoder.width
        self.register_buffer("times", sinusoids(shape.frames, width), persistent=False)
        self.slot = nn.Linear(variant.slot_width, width)
        self.frames = FrameLayers(variant, shape)

    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Slots (B, K, W) -> (B, K, C, F, N); the tokens are not looked at."""
        return self.frames(self.slot(slots)[:, :, None] + self.times)
