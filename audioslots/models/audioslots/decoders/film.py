"""FiLM: frames, decoded from the encoder's features, which the slot scales and shifts."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from audioslots.models.audioslots.frame_layers import FrameConfig, FrameLayers
from audioslots.models.audioslots.parts import Sizes
from audioslots.models.transformer import sinusoids
from audioslots.schema import hyper


class Config(FrameConfig):
    """The encoder's features, scaled and shifted by the slot."""

    kind: Literal["film"] = hyper("film", "no bottleneck: the slot scales and shifts the encoder's features")


class Decoder(nn.Module):
    """The slot scales and shifts the encoder's features, frame by frame (FiLM, Perez et al. 2018); then as ``frames``.

    The features skip the slot, which needs only to say *whose* energy is wanted, not what it is: no bottleneck.
    Where tokens are not whole frames, those of one time are projected to one token, repeated for the frames that it
    stands for.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__()
        width, (height, length) = sizes.width, sizes.grid
        self.grid = sizes.grid
        self.whole_frames = sizes.grid == (1, sizes.frames)
        if not self.whole_frames:
            self.gather = nn.Linear(height * width, width)
            self.register_buffer("times", sinusoids(sizes.frames, width), persistent=False)
            self.register_buffer("token_of", torch.arange(sizes.frames) * length // sizes.frames, persistent=False)
        self.scale_shift = nn.Linear(sizes.slot_size, 2 * width)
        self.frames = FrameLayers(config, sizes)

    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Slots (B, K, S), tokens (B, F' N', W) -> (B, K, C, F, N)."""
        if not self.whole_frames:
            columns = tokens.unflatten(1, self.grid).transpose(1, 2).flatten(2)  # (B, N', F' W)
            tokens = self.gather(columns)[:, self.token_of] + self.times  # (B, N, W)
        scale, shift = self.scale_shift(slots)[:, :, None].chunk(2, dim=-1)  # (B, K, 1, W) each
        return self.frames(tokens[:, None] * (1 + scale) + shift)
