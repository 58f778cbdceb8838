"""Tokens of frames, decoded from the slot and the encoder's features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audioslots.config import variant as config
from audioslots.models.audioslots.decoders.frames import FrameLayers
from audioslots.models.audioslots.parts import Shape
from audioslots.models.transformer import sinusoids


class Decoder(nn.Module):
    """The slot scales and shifts the encoder's features, frame by frame; then as in ``frames``.

    The features skip the slot, which needs only to say *whose* energy is wanted, not what it is: no bottleneck.
    Tokens of another grid than whole frames are first put together to frames: those of one time are projected to one
    token, which is repeated for the frames that it stands for.
    """

    def __init__(self, variant: config.Variant, shape: Shape) -> None:
        super().__init__()
        width, (height, length) = variant.encoder.width, shape.grid
        self.grid = shape.grid
        self.whole_frames = shape.grid == (1, shape.frames)
        if not self.whole_frames:
            self.gather = nn.Linear(height * width, width)
            self.register_buffer("times", sinusoids(shape.frames, width), persistent=False)
            self.register_buffer("token_of", torch.arange(shape.frames) * length // shape.frames, persistent=False)
        self.scale_shift = nn.Linear(variant.slot_width, 2 * width)
        self.frames = FrameLayers(variant, shape)

    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Slots (B, K, W), tokens (B, F' N', W) -> (B, K, C, F, N)."""
        if not self.whole_frames:
            columns = tokens.unflatten(1, self.grid).transpose(1, 2).flatten(2)  # (B, N', F' W)
            tokens = self.gather(columns)[:, self.token_of] + self.times  # (B, N, W)
        scale, shift = self.scale_shift(slots)[:, :, None].chunk(2, dim=-1)  # (B, K, 1, W) each
        return self.frames(tokens[:, None] * (1 + scale) + shift)
