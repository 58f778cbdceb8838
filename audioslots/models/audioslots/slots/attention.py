"""Slot attention: slots compete for the tokens."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from audioslots.models.audioslots.parts import Sizes
from audioslots.models.audioslots.query_tokens import QueryTokens
from audioslots.schema import Section, hyper

TINY = 1e-8


class Config(Section):
    """Slot attention."""

    kind: Literal["attention"] = hyper("attention", "slot attention: slots compete for the tokens")
    count: int = hyper(2, "number of slots, at least the number of sources", ge=1)
    tokens: int = hyper(1, "query tokens per slot; side by side they are its embedding", ge=1, le=64)
    iterations: int = hyper(3, "iterations, all of the same weights", ge=1, le=10)


class Slots(nn.Module):
    """Slot Attention (Locatello et al. 2020), its slots starting from learned queries instead of random draws.

    In each iteration every token is shared among the slots by a softmax over *slots*; each slot takes the weighted mean
    of its shares, and a GRU and an MLP make the new slot of it. Learned queries make the output a function of the
    mixture only. Where a slot has several query tokens, each of them competes independently.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        self.iterations = config.iterations
        self.queries = nn.Parameter(torch.randn(config.count, width))
        self.query_tokens = QueryTokens(config.tokens, width)
        self.tokens_norm, self.slots_norm, self.mlp_norm = (nn.LayerNorm(width) for _ in range(3))
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.gru = nn.GRUCell(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, sizes.mlp), nn.GELU(), nn.Linear(sizes.mlp, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, queries: Tensor | None = None) -> Tensor:
        """Tokens (B, C, W), and query tokens (B, K M, W) instead of the learned ones -> slots (B, K, M W)."""
        slots = self.query_tokens(self.queries, tokens.shape[0]) if queries is None else queries
        tokens = self.tokens_norm(tokens)
        keys, values = self.key(tokens), self.value(tokens)  # (B, C, W)
        for _ in range(self.iterations):
            scores = self.query(self.slots_norm(slots)) @ keys.transpose(1, 2) / keys.shape[-1] ** 0.5  # (B, K M, C)
            shares = scores.softmax(dim=1) + TINY
            updates = shares / shares.sum(dim=2, keepdim=True) @ values  # (B, K M, W)
            slots = self.gru(updates.flatten(0, 1), slots.flatten(0, 1)).unflatten(0, slots.shape[:2])
            slots = slots + self.mlp(self.mlp_norm(slots))
        return self.query_tokens.join(self.norm(slots))
