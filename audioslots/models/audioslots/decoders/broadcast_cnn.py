"""The spatial broadcast decoder with convolutions."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from audioslots.models.audioslots.convolutions import group_norm, halved
from audioslots.models.audioslots.parts import Sizes
from audioslots.models.transformer import sinusoids
from audioslots.schema import Section, hyper

UPSAMPLINGS = 3  # at most so many of the layers double frequency and time


class Config(Section):
    """Convolutions on a coarse grid, upsampled."""

    kind: Literal["broadcast_cnn"] = hyper("broadcast_cnn", "bottleneck: convolutions on a coarse grid, upsampled")
    width: int = hyper(512, "channels", ge=8)
    layers: int = hyper(5, "convolutions", secondary=5, ge=1)


class Decoder(nn.Module):
    """The slot is broadcast to a coarse grid of positions; convolutions follow, the last ones upsampling to all points.

    As in Slot Attention (Locatello et al. 2020). Neighbours are decoded together, unlike in ``broadcast``; the slot is
    still the only way from the mixture to the output. Channels halve with every upsampling.
    """

    frequencies: Tensor
    times: Tensor

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__()
        width, layers = config.width, config.layers
        upsamplings = min(layers, UPSAMPLINGS)
        self.points = (sizes.bins, sizes.frames)
        self.grid = halved(*self.points, upsamplings)
        height, length = self.grid
        self.register_buffer("frequencies", sinusoids(height, width).T[:, :, None], persistent=False)
        self.register_buffer("times", sinusoids(length, width).T[:, None, :], persistent=False)
        self.slot = nn.Linear(sizes.slot_size, width)
        convolutions: list[nn.Module] = []
        for _ in range(layers - upsamplings):
            convolutions += [nn.Conv2d(width, width, 3, padding=1), group_norm(width), nn.GELU()]
        for _ in range(upsamplings):
            half = max(4, width // 2)
            convolutions += [nn.ConvTranspose2d(width, half, 4, stride=2, padding=1), group_norm(half), nn.GELU()]
            width = half
        self.convolutions = nn.Sequential(*convolutions, nn.Conv2d(width, sizes.channels, 3, padding=1))

    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Slots (B, K, S) -> (B, K, C, F, N); the tokens are not used."""
        positions = self.frequencies + self.times  # (H, F', N')
        images = self.slot(slots).flatten(0, 1)[:, :, None, None] + positions
        maps = self.convolutions(images)[..., : self.points[0], : self.points[1]]
        return maps.unflatten(0, slots.shape[:2])
