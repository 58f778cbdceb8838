"""Learned queries that cross-attend to the tokens."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from audioslots.models.audioslots.parts import Sizes
from audioslots.models.audioslots.query_tokens import QueryTokens
from audioslots.models.transformer import Layer
from audioslots.schema import Section, hyper


class Config(Section):
    """Learned queries."""

    kind: Literal["queries"] = hyper("queries", "learned queries cross-attend to the tokens", secondary="queries")
    count: int = hyper(2, "number of slots, at least the number of sources", ge=1)
    tokens: int = hyper(1, "query tokens per slot; side by side they are its embedding", ge=1, le=64)
    layers: int = hyper(2, "layers of self-attention, cross-attention and MLP", ge=1)


class Slots(nn.Module):
    """Queries attend to one another and cross-attend to the tokens, layer by layer."""

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(config.count, sizes.width))
        self.query_tokens = QueryTokens(config.tokens, sizes.width)
        self.layers = nn.ModuleList(
            [Layer(sizes.width, sizes.heads, sizes.mlp, cross=True) for _ in range(config.layers)]
        )
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, tokens: Tensor, queries: Tensor | None = None) -> Tensor:
        """Tokens (B, C, W), and query tokens (B, K M, W) instead of the learned ones -> slots (B, K, M W)."""
        slots = self.query_tokens(self.queries, tokens.shape[0]) if queries is None else queries
        for layer in self.layers:
            slots = layer(slots, tokens)
        return self.query_tokens.join(self.norm(slots))
