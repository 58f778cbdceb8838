"""The spatial broadcast decoder: an MLP at every time-frequency bin."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from audioslots.models.audioslots.parts import Sizes
from audioslots.models.transformer import sinusoids
from audioslots.schema import Section, hyper

POSITION = 64  # features of a frequency's and of a time's position


class Config(Section):
    """An MLP at every time-frequency bin."""

    kind: Literal["broadcast"] = hyper("broadcast", "bottleneck: an MLP at every bin", paper="broadcast")
    width: int = hyper(512, "hidden units", ge=8)
    layers: int = hyper(5, "hidden layers", secondary=5, ge=1)
    stride: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = hyper(
        (1, 1), "every so many-th bin and frame is decoded, and those between are interpolated"
    )


class Decoder(nn.Module):
    """Spatial broadcast decoder (Watters et al. 2019): an MLP on (slot, frequency, time) at every bin.

    The slot is the only way from the mixture to the output: the paper's bottleneck. The first layer, linear on the
    concatenation of slot and positions, is computed as the sum of its three parts: the same numbers, far cheaper.

    With a ``stride`` above 1 only every so many-th bin and frame is decoded, and the maps between are interpolated.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__()
        width = config.width
        self.sparse = config.stride != (1, 1)
        axes = {"frequencies": sizes.bins, "times": sizes.frames}
        for (name, points), stride in zip(axes.items(), config.stride, strict=True):
            weights = interpolation(points, stride)
            positions = sinusoids(stride * (weights.shape[1] - 1) + 1, POSITION)[::stride]
            self.register_buffer(name, positions, persistent=False)
            if self.sparse:
                self.register_buffer(f"between_{name}", weights, persistent=False)
        self.slot = nn.Linear(sizes.slot_size, width)
        self.frequency = nn.Linear(POSITION, width, bias=False)
        self.time = nn.Linear(POSITION, width, bias=False)
        hidden = [nn.Sequential(nn.GELU(), nn.Linear(width, width)) for _ in range(config.layers - 1)]
        self.hidden = nn.Sequential(*hidden, nn.GELU(), nn.Linear(width, sizes.channels))

    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Slots (B, K, S) -> (B, K, C, F, N); the tokens are not used."""
        slot = self.slot(slots)[:, :, None, None]  # (B, K, 1, 1, H)
        frequency = self.frequency(self.frequencies)[:, None]  # (F, 1, H)
        time = self.time(self.times)[None]  # (1, N, H)
        maps = self.hidden(slot + (frequency + time)).movedim(-1, 2)
        return self.between_frequencies @ maps @ self.between_times.T if self.sparse else maps


def interpolation(points: int, stride: int) -> Tensor:
    """Weights (points, P) of linear interpolation from P points, ``stride`` apart and the first at 0, to all."""
    place = torch.arange(points) / stride
    known = torch.arange(-(-(points - 1) // stride) + 1)
    return (1 - (place[:, None] - known).abs()).clamp_min(0.0)
