"""A ResNet over frequency and time."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from audioslots.models.audioslots.convolutions import group_norm, halved
from audioslots.models.audioslots.parts import Sizes
from audioslots.models.transformer import Layer
from audioslots.schema import Section, hyper


class Config(Section):
    """A ResNet on the spectrogram as an image."""

    kind: Literal["resnet"] = hyper("resnet", "a ResNet on the spectrogram as an image", secondary="resnet")
    blocks: tuple[Annotated[int, Field(ge=1)], ...] = hyper(
        (3, 4, 6, 3), "residual blocks per stage", secondary=(3, 4, 6, 3), min_length=1
    )
    layers: int = hyper(4, "Transformer layers", secondary=4, ge=0)


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
    """A ResNet with GroupNorm, its image flattened to tokens with a learned position each; then Transformer layers.

    ``blocks`` (3, 4, 6, 3) is ResNet-34. The stem is 7x7 with stride 2 and no pooling follows it; stages after the
    first halve frequency and time again. Channels double from stage to stage and end at the tokens' width.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__()
        stages = len(config.blocks)
        channels = [max(8, sizes.width >> (stages - 1 - stage)) for stage in range(stages)]
        self.grid = halved(sizes.bins, sizes.frames, stages)  # by the stem and every stage but the first
        self.stem = nn.Conv2d(1, channels[0], 7, stride=2, padding=3, bias=False)
        self.stem_norm = group_norm(channels[0])
        blocks: list[nn.Module] = []
        inputs = channels[0]
        for stage, count in enumerate(config.blocks):
            for block in range(count):
                blocks.append(ResidualBlock(inputs, channels[stage], 2 if stage > 0 and block == 0 else 1))
                inputs = channels[stage]
        self.blocks = nn.Sequential(*blocks)
        self.project = nn.Linear(inputs, sizes.width)
        self.positions = nn.Parameter(torch.randn(self.grid[0] * self.grid[1], sizes.width) * 0.02)
        self.layers = nn.ModuleList([Layer(sizes.width, sizes.heads, sizes.mlp) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, compressed: Tensor) -> Tensor:
        """Compressed magnitudes (B, F, N) -> tokens (B, F' N', W)."""
        image = self.blocks(F.relu(self.stem_norm(self.stem(compressed[:, None]))))  # (B, C, F', N')
        tokens = self.project(image.flatten(2).transpose(1, 2)) + self.positions  # (B, F' N', W)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens)
