"""Slot attention: slots compete for the tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audioslots import config
from audioslots.model.readers import Readers

TINY = 1e-8


class Slots(nn.Module):
    """Slot Attention (Locatello et al. 2020), its slots starting from learned queries instead of random draws.

    In each of ``iterations`` steps of the same weights every token is shared out among the slots by a softmax over
    *slots*, each slot takes the weighted mean of what it got, and a GRU and an MLP make the new slot of it. Learned
    queries make the output a function of the mixture alone, and let the slots keep preferences across chunks. Where
    several tokens read for a slot, each of them competes by itself.
    """

    def __init__(self, settings: config.Slots, encoder: config.Encoder) -> None:
        super().__init__()
        width = encoder.width
        self.iterations = settings.iterations
        self.queries = nn.Parameter(torch.randn(settings.count, width))
        self.readers = Readers(settings.tokens, width)
        self.tokens_norm, self.slots_norm, self.mlp_norm = (nn.LayerNorm(width) for _ in range(3))
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.gru = nn.GRUCell(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, encoder.mlp), nn.GELU(), nn.Linear(encoder.mlp, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, start: Tensor | None = None) -> Tensor:
        """Tokens (B, C, W), and what reads them instead of the queries (B, K M, W) -> what was read (B, K M, W)."""
        slots = self.readers(self.queries, len(tokens)) if start is None else start
        tokens = self.tokens_norm(tokens)
        keys, values = self.key(tokens), self.value(tokens)
        for _ in range(self.iterations):
            scores = self.query(self.slots_norm(slots)) @ keys.transpose(1, 2) / keys.shape[-1] ** 0.5  # (B, K, C)
            shares = scores.softmax(dim=1) + TINY
            updates = shares / shares.sum(dim=2, keepdim=True) @ values  # (B, K, W)
            slots = self.gru(updates.flatten(0, 1), slots.flatten(0, 1)).unflatten(0, slots.shape[:2])
            slots = slots + self.mlp(self.mlp_norm(slots))
        return self.norm(slots)
