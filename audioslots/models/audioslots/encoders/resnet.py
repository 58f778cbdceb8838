"""A ResNet over frequency and time."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from audioslots.config import architecture
from audioslots.models.audioslots.convolutions import Flattened, group_norm, halved, stage_channels


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with GroupNorm around a shortcut (He et al. 2016, basic block)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.first_norm = group_norm(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = group_norm(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, F, N) -> (B, C', F / stride, N / stride)."""
        hidden = F.relu(self.first_norm(self.first(images)))
        return F.relu(self.second_norm(self.second(hidden)) + self.shortcut(images))


class Encoder(nn.Module):
    """A ResNet with GroupNorm, flattened to tokens; then Transformer layers.

    ``blocks`` (3, 4, 6, 3) is ResNet-34. The stem is 7x7 with stride 2 and no pooling follows it; stages after the
    first halve frequency and time again.
    """

    def __init__(self, settings: architecture.Encoder, bins: int, frames: int) -> None:
        super().__init__()
        channels = stage_channels(settings)
        self.grid = halved(bins, frames, len(channels))  # by the stem and every stage but the first
        self.stem = nn.Conv2d(1, channels[0], 7, stride=2, padding=3, bias=False)
        self.stem_norm = group_norm(channels[0])
        blocks: list[nn.Module] = []
        inputs = channels[0]
        for stage, count in enumerate(settings.blocks):
            for block in range(count):
                blocks.append(ResidualBlock(inputs, channels[stage], 2 if stage > 0 and block == 0 else 1))
                inputs = channels[stage]
        self.blocks = nn.Sequential(*blocks)
        self.transformer = Flattened(settings, inputs, self.grid)

    def forward(self, compressed: Tensor) -> Tensor:
        """Compressed magnitudes (B, F, N) -> tokens (B, F' N', W)."""
        return self.transformer(self.blocks(F.relu(self.stem_norm(self.stem(compressed[:, None])))))
