"""Slots: learned queries that become the embeddings of the sources."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audioslots import config
from audioslots.model.transformer import Layer


class LearnedQueries(nn.Module):
    """Queries attend to one another and cross-attend to the tokens; permuting the queries permutes the slots."""

    def __init__(self, slots: config.Slots, encoder: config.Encoder) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(slots.count, encoder.width))
        self.layers = nn.ModuleList(
            [Layer(encoder.width, encoder.heads, encoder.mlp, cross=True) for _ in range(slots.layers)]
        )
        self.norm = nn.LayerNorm(encoder.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, W) -> slots (B, K, W)."""
        slots = self.queries.expand(len(tokens), -1, -1)
        for layer in self.layers:
            slots = layer(slots, tokens)
        return self.norm(slots)
