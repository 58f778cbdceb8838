"""Encoders: compressed magnitudes of the mixture -> a set of tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioslots import config
from audioslots.model.transformer import Layer, sinusoids


class FramesEncoder(nn.Module):
    """Each frame of the spectrogram is one token, in order of time; then Transformer layers. Cheap on a CPU."""

    def __init__(self, encoder: config.Encoder, bins: int, frames: int) -> None:
        super().__init__()
        self.embed = nn.Linear(bins, encoder.width)
        self.register_buffer("positions", sinusoids(frames, encoder.width), persistent=False)
        self.layers = nn.ModuleList(
            [Layer(encoder.width, encoder.heads, encoder.mlp, kernel=encoder.kernel) for _ in range(encoder.layers)]
        )
        self.norm = nn.LayerNorm(encoder.width)

    def forward(self, compressed: Tensor) -> Tensor:
        """Compressed magnitudes (B, F, N) -> tokens (B, N, W)."""
        tokens = self.embed(compressed.transpose(1, 2)) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with GroupNorm around a shortcut (He et al. 2016, basic block)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.first_norm = nn.GroupNorm(_groups(outputs), outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.GroupNorm(_groups(outputs), outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, F, N) -> (B, C', F / stride, N / stride)."""
        hidden = F.relu(self.first_norm(self.first(images)))
        return F.relu(self.second_norm(self.second(hidden)) + self.shortcut(images))


class ResNetEncoder(nn.Module):
    """A ResNet over frequency and time, flattened to tokens with a learned position each; then Transformer layers.

    ``blocks`` (3, 4, 6, 3) is ResNet-34. The stem is 7x7 with stride 2 and no pooling follows it; stages after the
    first halve frequency and time again. Channels double by stage and end at the tokens' width.
    """

    def __init__(self, encoder: config.Encoder, bins: int, frames: int) -> None:
        super().__init__()
        stages = len(encoder.blocks)
        channels = [max(8, encoder.width >> (stages - 1 - stage)) for stage in range(stages)]
        self.stem = nn.Conv2d(1, channels[0], 7, stride=2, padding=3, bias=False)
        self.stem_norm = nn.GroupNorm(_groups(channels[0]), channels[0])
        blocks: list[nn.Module] = []
        inputs = channels[0]
        for stage, count in enumerate(encoder.blocks):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(ResidualBlock(inputs, channels[stage], stride))
                inputs = channels[stage]
        self.blocks = nn.Sequential(*blocks)
        self.project = nn.Linear(inputs, encoder.width)
        height, length = bins, frames
        for _ in range(stages):  # the stem and every stage but the first halve, rounding up
            height, length = -(-height // 2), -(-length // 2)
        self.positions = nn.Parameter(torch.randn(height * length, encoder.width) * 0.02)
        self.layers = nn.ModuleList([Layer(encoder.width, encoder.heads, encoder.mlp) for _ in range(encoder.layers)])
        self.norm = nn.LayerNorm(encoder.width)

    def forward(self, compressed: Tensor) -> Tensor:
        """Compressed magnitudes (B, F, N) -> tokens (B, F' N', W)."""
        images = self.blocks(F.relu(self.stem_norm(self.stem(compressed[:, None]))))  # (B, C, F', N')
        tokens = self.project(images.flatten(2).transpose(1, 2)) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens)


def _groups(channels: int) -> int:
    """Groups of a GroupNorm: 32 where that divides, else the largest power of two that does."""
    return next(groups for groups in (32, 16, 8, 4, 2, 1) if channels % groups == 0)


ENCODERS = {"frames": FramesEncoder, "resnet": ResNetEncoder}
