"""Tokens of whole frames."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from audioslots.models.audioslots.parts import Sizes
from audioslots.models.transformer import Layer, check_kernel, sinusoids
from audioslots.schema import Section, hyper


class Config(Section):
    """Each frame is one token."""

    kind: Literal["frames"] = hyper("frames", "each frame is one token")
    layers: int = hyper(4, "Transformer layers", secondary=4, ge=0)
    kernel: int = hyper(0, "frames seen by a depth-wise convolution in each layer, odd; 0: none", ge=0)

    _check_kernel = check_kernel


class Encoder(nn.Module):
    """Each frame of the spectrogram is one token, in order of time; then Transformer layers. Cheap on a CPU."""

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__()
        self.grid = (1, sizes.frames)
        self.embed = nn.Linear(sizes.bins, sizes.width)
        self.register_buffer("positions", sinusoids(sizes.frames, sizes.width), persistent=False)
        self.layers = nn.ModuleList(
            [Layer(sizes.width, sizes.heads, sizes.mlp, kernel=config.kernel) for _ in range(config.layers)]
        )
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, compressed: Tensor) -> Tensor:
        """Compressed magnitudes (B, F, N) -> tokens (B, N, W)."""
        tokens = self.embed(compressed.transpose(1, 2)) + self.positions  # (B, N, W)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens)
