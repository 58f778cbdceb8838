"""The M query tokens of each slot; side by side, what they become is the slot's embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class QueryTokens(nn.Module):
    """Offsets (M, W) that tell the query tokens of a slot apart; all slots share them.

    Args:
        tokens: per slot, M; a single one needs no offset.
        width: W.
    """

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.offsets = nn.Parameter(torch.randn(tokens, width)) if tokens > 1 else None

    def forward(self, queries: Tensor, batch: int) -> Tensor:
        """Queries (K, W) -> query tokens (B, K M, W), those of a slot side by side."""
        if self.offsets is not None:
            queries = (queries[:, None] + self.offsets).flatten(0, 1)  # (K M, W)
        return queries.expand(batch, -1, -1)

    def join(self, tokens: Tensor) -> Tensor:
        """Tokens (B, K M, W) -> slots (B, K, M W)."""
        return tokens.unflatten(1, (-1, self.tokens)).flatten(2)

    def split(self, slots: Tensor) -> Tensor:
        """Slots (B, K, M W) -> tokens (B, K M, W)."""
        return slots.unflatten(2, (self.tokens, -1)).flatten(1, 2)
