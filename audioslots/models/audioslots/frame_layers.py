"""What the decoders of frames share."""

from __future__ import annotations

from torch import Tensor, nn

from audioslots.models.audioslots.parts import Sizes
from audioslots.models.transformer import Layer, check_kernel
from audioslots.schema import Section, hyper


class FrameConfig(Section):
    """Transformer layers on frames."""

    layers: int = hyper(5, "Transformer layers", secondary=5, ge=1)
    kernel: int = hyper(0, "frames seen by a depth-wise convolution in each layer, odd; 0: none", ge=0)

    _check_kernel = check_kernel


class FrameLayers(nn.Module):
    """Transformer layers on tokens of frames, each of which then gives the maps of its bins."""

    def __init__(self, config: FrameConfig, sizes: Sizes) -> None:
        super().__init__()
        self.channels, self.bins_count = sizes.channels, sizes.bins
        self.layers = nn.ModuleList(
            [Layer(sizes.width, sizes.heads, sizes.mlp, kernel=config.kernel) for _ in range(config.layers)]
        )
        self.norm = nn.LayerNorm(sizes.width)
        self.bins = nn.Linear(sizes.width, sizes.channels * sizes.bins)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames of each slot (B, K, N, W) -> (B, K, C, F, N)."""
        hidden = frames.flatten(0, 1)  # (B K, N, W)
        for layer in self.layers:
            hidden = layer(hidden)
        maps = self.bins(self.norm(hidden)).unflatten(-1, (self.channels, self.bins_count))  # (B K, N, C, F)
        return maps.permute(0, 2, 3, 1).unflatten(0, frames.shape[:2])
