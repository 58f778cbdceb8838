"""The tokens that read for the slots, M for each; side by side they are its embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Readers(nn.Module):
    """Offsets (M, W) that tell the tokens of one slot apart; all slots share them, so permuted queries permute slots.

    Args:
        tokens: for each slot, M; one needs no offset.
        width: W.
    """

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.offsets = nn.Parameter(torch.randn(tokens, width)) if tokens > 1 else None

    def forward(self, queries: Tensor, batch: int) -> Tensor:
        """Queries of the slots (K, W) -> what reads for them (B, K M, W), the tokens of a slot one after the other."""
        if self.offsets is not None:
            queries = (queries[:, None] + self.offsets).flatten(0, 1)
        return queries.expand(batch, -1, -1)

    def joined(self, read: Tensor) -> Tensor:
        """What was read (B, K M, W) -> slots (B, K, M W)."""
        return read.unflatten(1, (-1, self.tokens)).flatten(2)
