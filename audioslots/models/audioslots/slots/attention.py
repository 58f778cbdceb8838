"""Slot attention: slots compete for the tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audioslots.config import architecture
from audioslots.models.audioslots.readers import Readers

TINY = 1e-8


class Slots(nn.Module):
    """Slot Attention (Locatello et al. 2020), its slots starting from learned queries instead of random draws.

    In each of ``iterations`` steps of the same weights every token is shared out among the slots by a softmax over
    *slots*, each slot takes the weighted mean of what it got, and a GRU and an MLP make the new slot of it. Learned
    queries make the output a function of the mixture alone, and let the slots keep preferences across chunks. Where
    several tokens read for a slot, each of them competes by itself.

    Three axes. ``update: sum`` keeps how much a slot got: a sum over the number of tokens in place of the mean.
    ``gradient: last`` is that of the last step, passed straight to the queries (Jia et al. 2023). ``start: gaussian``
    draws slots from one learned Gaussian, as the original does: anew at every step of training, else always alike.
    """

    draws: Tensor

    def __init__(self, settings: architecture.Slots, encoder: architecture.Encoder) -> None:
        super().__init__()
        width = encoder.width
        self.settings = settings
        drawn = settings.start == "gaussian"
        self.queries = nn.Parameter(torch.randn(1 if drawn else settings.count, width))
        if drawn:
            self.log_deviation = nn.Parameter(torch.zeros(width))
            draws = torch.randn(settings.count, width, generator=torch.Generator("cpu").manual_seed(0), device="cpu")
            self.register_buffer("draws", draws.to(self.queries.device), persistent=False)
        self.readers = Readers(settings.tokens, width)
        self.tokens_norm, self.slots_norm, self.mlp_norm = (nn.LayerNorm(width) for _ in range(3))
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.gru = nn.GRUCell(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, encoder.mlp), nn.GELU(), nn.Linear(encoder.mlp, width))
        self.norm = nn.LayerNorm(width)

    def start(self, batch: int) -> Tensor:
        """What the slots start from: (B, K M, W)."""
        if self.settings.start == "queries":
            return self.readers(self.queries, batch)
        draws = torch.randn_like(self.draws) if self.training else self.draws
        return self.readers(self.queries + draws * self.log_deviation.exp(), batch)

    def forward(self, tokens: Tensor, start: Tensor | None = None) -> Tensor:
        """Tokens (B, C, W), and what reads them instead of the queries (B, K M, W) -> what was read (B, K M, W)."""
        slots = first = self.start(tokens.shape[0]) if start is None else start
        tokens = self.tokens_norm(tokens)
        keys, values = self.key(tokens), self.value(tokens)
        for left in range(self.settings.iterations, 0, -1):
            if left == 1 and self.settings.gradient == "last":
                slots = slots.detach() + (first - first.detach())  # the same values
            scores = self.query(self.slots_norm(slots)) @ keys.transpose(1, 2) / keys.shape[-1] ** 0.5  # (B, K, C)
            shares = scores.softmax(dim=1) + TINY
            got = shares.sum(dim=2, keepdim=True) if self.settings.update == "mean" else shares.shape[2]
            updates = shares / got @ values  # (B, K, W)
            slots = self.gru(updates.flatten(0, 1), slots.flatten(0, 1)).unflatten(0, slots.shape[:2])
            slots = slots + self.mlp(self.mlp_norm(slots))
        return self.norm(slots)
