"""The spatial broadcast decoder: an MLP at every point."""

from __future__ import annotations

from torch import Tensor, nn

from audioslots import config
from audioslots.model.parts import Shape
from audioslots.model.transformer import sinusoids

POSITION = 64  # features of a frequency's and of a time's position


class Decoder(nn.Module):
    """Spatial broadcast decoder (Watters et al. 2019): an MLP on (slot, frequency, time) at every point.

    The slot is the only way from the mixture to the output: the paper's bottleneck. The first layer, linear on the
    concatenation of slot and positions, is computed as the sum of its three parts: the same numbers, far cheaper.
    """

    def __init__(self, variant: config.Variant, shape: Shape) -> None:
        super().__init__()
        width = variant.decoder.width
        self.register_buffer("frequencies", sinusoids(shape.bins, POSITION), persistent=False)
        self.register_buffer("times", sinusoids(shape.frames, POSITION), persistent=False)
        self.slot = nn.Linear(variant.slot_width, width)
        self.frequency = nn.Linear(POSITION, width, bias=False)
        self.time = nn.Linear(POSITION, width, bias=False)
        hidden = [nn.Sequential(nn.GELU(), nn.Linear(width, width)) for _ in range(variant.decoder.layers - 1)]
        self.hidden = nn.Sequential(*hidden, nn.GELU(), nn.Linear(width, shape.channels))

    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Slots (B, K, W) -> (B, K, C, F, N); the tokens are not looked at."""
        slot = self.slot(slots)[:, :, None, None]  # (B, K, 1, 1, H)
        frequency = self.frequency(self.frequencies)[:, None]  # (F, 1, H)
        time = self.time(self.times)[None]  # (1, N, H)
        return self.hidden(slot + (frequency + time)).movedim(-1, 2)
