"""A small CNN over frequency and time."""

from __future__ import annotations

from torch import Tensor, nn

from audioslots.config import architecture
from audioslots.models.audioslots.convolutions import Flattened, group_norm, halved, stage_channels


class Encoder(nn.Module):
    """5x5 convolutions with GroupNorm, flattened to tokens; then Transformer layers.

    ``blocks`` says how many convolutions a stage has; the first of each has stride 2. Without a ResNet's shortcuts:
    what Slot Attention (Locatello et al. 2020) reads images with.
    """

    def __init__(self, settings: architecture.Encoder, bins: int, frames: int) -> None:
        super().__init__()
        channels = stage_channels(settings)
        self.grid = halved(bins, frames, len(channels))
        layers: list[nn.Module] = []
        inputs = 1
        for outputs, count in zip(channels, settings.blocks, strict=True):
            for index in range(count):
                layers += [
                    nn.Conv2d(inputs, outputs, 5, 2 if index == 0 else 1, padding=2, bias=False),
                    group_norm(outputs),
                    nn.ReLU(),
                ]
                inputs = outputs
        self.convolutions = nn.Sequential(*layers)
        self.transformer = Flattened(settings, inputs, self.grid)

    def forward(self, compressed: Tensor) -> Tensor:
        """Compressed magnitudes (B, F, N) -> tokens (B, F' N', W)."""
        return self.transformer(self.convolutions(compressed[:, None]))
