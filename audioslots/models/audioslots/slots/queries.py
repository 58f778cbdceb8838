"""Learned queries that cross-attend to the tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audioslots.config import architecture
from audioslots.models.audioslots.readers import Readers
from audioslots.models.transformer import Layer


class Slots(nn.Module):
    """Queries attend to one another and cross-attend to the tokens, layer by layer."""

    def __init__(self, settings: architecture.Slots, encoder: architecture.Encoder) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(settings.count, encoder.width))
        self.readers = Readers(settings.tokens, encoder.width)
        self.layers = nn.ModuleList(
            [Layer(encoder.width, encoder.heads, encoder.mlp, cross=True) for _ in range(settings.layers)]
        )
        self.norm = nn.LayerNorm(encoder.width)

    def start(self, batch: int) -> Tensor:
        """What the slots start from: (B, K M, W)."""
        return self.readers(self.queries, batch)

    def forward(self, tokens: Tensor, start: Tensor | None = None) -> Tensor:
        """Tokens (B, C, W), and what reads them instead of the queries (B, K M, W) -> what was read (B, K M, W)."""
        slots = self.start(tokens.shape[0]) if start is None else start
        for layer in self.layers:
            slots = layer(slots, tokens)
        return self.norm(slots)
