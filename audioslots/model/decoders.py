"""Decoders: one slot -> one map over frequency and time; every slot alone, by the same weights.

A decoder is a class built as ``Decoder(config, bins, frames)`` and called as ``decoder(slots, tokens)``; it returns
(B, K, F, N) before the output's non-linearity. Name it in ``DECODERS`` and a config can choose it.
"""

from __future__ import annotations

from torch import Tensor, nn

from audioslots import config
from audioslots.model.transformer import Layer, sinusoids


class BroadcastDecoder(nn.Module):
    """Spatial broadcast decoder (Watters et al. 2019): an MLP on (slot, frequency, time) at every point.

    The slot is the only way from the mixture to the output: the paper's bottleneck. The first layer, linear on the
    concatenation of slot and positions, is computed as the sum of its three parts: the same numbers, far cheaper.
    """

    POSITION = 64  # features of a frequency's and of a time's position

    def __init__(self, variant: config.Variant, bins: int, frames: int) -> None:
        super().__init__()
        width = variant.decoder.width
        self.register_buffer("frequencies", sinusoids(bins, self.POSITION), persistent=False)
        self.register_buffer("times", sinusoids(frames, self.POSITION), persistent=False)
        self.slot = nn.Linear(variant.encoder.width, width)
        self.frequency = nn.Linear(self.POSITION, width, bias=False)
        self.time = nn.Linear(self.POSITION, width, bias=False)
        hidden = [nn.Sequential(nn.GELU(), nn.Linear(width, width)) for _ in range(variant.decoder.layers - 1)]
        self.hidden = nn.Sequential(*hidden, nn.GELU(), nn.Linear(width, 1))

    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Slots (B, K, W) -> (B, K, F, N); the tokens are not looked at."""
        slot = self.slot(slots)[:, :, None, None]  # (B, K, 1, 1, H)
        frequency = self.frequency(self.frequencies)[:, None]  # (F, 1, H)
        time = self.time(self.times)[None]  # (1, N, H)
        return self.hidden(slot + (frequency + time)).squeeze(-1)


class ModulatedDecoder(nn.Module):
    """The slot scales and shifts the tokens of frames, Transformer layers follow, each frame gives its bins.

    The encoder's features are let through, so the slot needs only to say *whose* energy is wanted, not what it is:
    no bottleneck. It needs an encoder whose tokens are frames.
    """

    def __init__(self, variant: config.Variant, bins: int, frames: int) -> None:
        super().__init__()
        encoder = variant.encoder
        self.scale_shift = nn.Linear(encoder.width, 2 * encoder.width)
        self.layers = nn.ModuleList(
            [
                Layer(encoder.width, encoder.heads, encoder.mlp, kernel=encoder.kernel)
                for _ in range(variant.decoder.layers)
            ]
        )
        self.norm = nn.LayerNorm(encoder.width)
        self.bins = nn.Linear(encoder.width, bins)

    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Slots (B, K, W), tokens of frames (B, N, W) -> (B, K, F, N)."""
        scale, shift = self.scale_shift(slots)[:, :, None].chunk(2, dim=-1)  # (B, K, 1, W) each
        frames = (tokens[:, None] * (1 + scale) + shift).flatten(0, 1)  # (B K, N, W)
        for layer in self.layers:
            frames = layer(frames)
        maps = self.bins(self.norm(frames)).transpose(1, 2)  # (B K, F, N)
        return maps.unflatten(0, slots.shape[:2])


DECODERS = {"broadcast": BroadcastDecoder, "modulated": ModulatedDecoder}
