"""What a chunk's slots start from, where they are carried from one chunk to the next.

A kind is a module that makes a state of what the tokens of the slots have read, chunk by chunk, and of that state what
the next chunk's tokens start from in place of the learned queries. All slots share its weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

REMEMBERED = 64  # chunks, at most: bounds memory


class Last(nn.Module):
    """The slots of the chunk before, through a linear layer.

    Args:
        width: W, of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.start = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, state: Tensor, queries: Tensor) -> Tensor:
        """State, and the queries (B, K M, W) -> what the tokens of the next chunk start from, (B, K M, W)."""
        return self.start(self.norm(state))

    def next(self, read: Tensor, state: Tensor | None) -> Tensor:
        """What the tokens have read (B, K M, W), and the state before -> the state after."""
        return read


class Mean(Last):
    """The queries, plus a linear layer of the mean of what was read in all chunks so far.

    The layer is zero at first: what is carried adds to a model that separates without it. A chunk whose slots are
    wrong moves the mean but little. The last number of the state says how many chunks there were.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        nn.init.zeros_(self.start.weight)
        nn.init.zeros_(self.start.bias)

    def forward(self, state: Tensor, queries: Tensor) -> Tensor:
        """As of ``Last``; the state is (B, K M, W + 1)."""
        return queries + super().forward(state[..., :-1], queries)

    def next(self, read: Tensor, state: Tensor | None) -> Tensor:
        """As of ``Last``; the state is (B, K M, W + 1)."""
        state = F.pad(torch.zeros_like(read), (0, 1)) if state is None else state
        mean, number = state[..., :-1], state[..., -1:] + 1
        return torch.cat([mean + (read - mean) / number, number], dim=-1)


class Gated(Last):
    """A state that a GRU makes of all chunks before (Cho et al. 2014)."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.gru = nn.GRUCell(width, width)

    def next(self, read: Tensor, state: Tensor | None) -> Tensor:
        """As of ``Last``."""
        before = torch.zeros_like(read) if state is None else state
        return self.gru(read.flatten(0, 1), before.flatten(0, 1)).view_as(read)


class Memory(Last):
    """Each token attends to what it has read in the last chunks, 64 at most, beginning with the chunk before."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, state: Tensor, queries: Tensor) -> Tensor:
        """As of ``Last``; the state is (B, K M, P, W), of P chunks."""
        past, last = self.norm(state), state[:, :, -1]
        scores = (self.query(self.norm(last))[:, :, None] * self.key(past)).sum(dim=-1) / past.shape[-1] ** 0.5
        remembered = (scores.softmax(dim=-1)[..., None] * self.value(past)).sum(dim=2)
        return self.start(self.norm(last) + remembered)

    def next(self, read: Tensor, state: Tensor | None) -> Tensor:
        """As of ``Last``; the state is (B, K M, P, W)."""
        last = read[:, :, None]
        return last if state is None else torch.cat([state[:, :, 1 - REMEMBERED :], last], dim=2)


CARRIES: dict[str, type[Last]] = {"last": Last, "mean": Mean, "gated": Gated, "memory": Memory}
