"""What goes from one chunk to the next, where slots are carried.

A kind is a module that makes a state of each chunk, and of that state what the next chunk begins with: what the tokens
of its slots start from in place of the learned queries, or what its own tokens attend to. All slots share its weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioslots.config import architecture
from audioslots.models.transformer import Layer

REMEMBERED = 64  # chunks whose slots are attended to, at most: bounds memory
HEARD = 16  # chunks whose tokens are attended to, at most


class Last(nn.Module):
    """The slots of the chunk before, through a linear layer.

    Args:
        encoder: whose tokens are W wide.
    """

    def __init__(self, encoder: architecture.Encoder) -> None:
        super().__init__()
        width = encoder.width
        self.norm, self.start = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, tokens: Tensor, queries: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """A chunk's tokens (B, C, W), its queries (B, K M, W) and the state before -> both as the slots are to read."""
        return tokens, queries if state is None else self.started(state, queries)

    def started(self, state: Tensor, queries: Tensor) -> Tensor:
        """State, and the queries (B, K M, W) -> what the tokens of the next chunk's slots start from, (B, K M, W)."""
        return self.start(self.norm(state))

    def next(self, tokens: Tensor, read: Tensor, state: Tensor | None) -> Tensor:
        """The chunk's own tokens (B, C', W), what was read (B, K M, W), and the state before -> the state after."""
        return read


class Mean(Last):
    """The queries, plus a linear layer of the mean of what was read in all chunks so far.

    The layer is zero at first: what is carried adds to a model that separates without it. A chunk whose slots are
    wrong moves the mean but little. The last number of the state says how many chunks there were.
    """

    def __init__(self, encoder: architecture.Encoder) -> None:
        super().__init__(encoder)
        silenced(self.start)

    def started(self, state: Tensor, queries: Tensor) -> Tensor:
        """As of ``Last``; the state is (B, K M, W + 1)."""
        return queries + super().started(state[..., :-1], queries)

    def next(self, tokens: Tensor, read: Tensor, state: Tensor | None) -> Tensor:
        """As of ``Last``; the state is (B, K M, W + 1)."""
        state = F.pad(torch.zeros_like(read), (0, 1)) if state is None else state
        mean, number = state[..., :-1], state[..., -1:] + 1
        return torch.cat([mean + (read - mean) / number, number], dim=-1)


class Gated(Last):
    """A state that a GRU makes of all chunks before (Cho et al. 2014)."""

    def __init__(self, encoder: architecture.Encoder) -> None:
        super().__init__(encoder)
        self.gru = nn.GRUCell(encoder.width, encoder.width)

    def next(self, tokens: Tensor, read: Tensor, state: Tensor | None) -> Tensor:
        """As of ``Last``."""
        before = torch.zeros_like(read) if state is None else state
        return self.gru(read.flatten(0, 1), before.flatten(0, 1)).view_as(read)


class Memory(Last):
    """Each token attends to what it has read in the last chunks, 64 at most, beginning with the chunk before."""

    def __init__(self, encoder: architecture.Encoder) -> None:
        super().__init__(encoder)
        self.query, self.key, self.value = (nn.Linear(encoder.width, encoder.width, bias=False) for _ in range(3))

    def started(self, state: Tensor, queries: Tensor) -> Tensor:
        """As of ``Last``; the state is (B, K M, P, W), of P chunks."""
        past, last = self.norm(state), state[:, :, -1]
        scores = (self.query(self.norm(last))[:, :, None] * self.key(past)).sum(dim=-1) / past.shape[-1] ** 0.5
        remembered = (scores.softmax(dim=-1)[..., None] * self.value(past)).sum(dim=2)
        return self.start(self.norm(last) + remembered)

    def next(self, tokens: Tensor, read: Tensor, state: Tensor | None) -> Tensor:
        """As of ``Last``; the state is (B, K M, P, W)."""
        last = read[:, :, None]
        return last if state is None else torch.cat([state[:, :, 1 - REMEMBERED :], last], dim=2)


class Heard(nn.Module):
    """A chunk's tokens attend to those of the last chunks, 16 at most, as they were when those were read.

    So features that are let through to the decoder go on in the order that they had, and the slots with them. The
    layer changes nothing at first.
    """

    def __init__(self, encoder: architecture.Encoder) -> None:
        super().__init__()
        self.layer = Layer(encoder.width, encoder.heads, encoder.mlp, cross=True)
        silenced(*self.layer.added)
        self.nothing = nn.Parameter(torch.zeros(1, 1, encoder.width))  # what there is to attend to in any case
        self.ages = nn.Parameter(0.1 * torch.randn(HEARD, 1, encoder.width))

    def forward(self, tokens: Tensor, queries: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """As of ``Last``; the state is (B, P, C', W), of P chunks, the latest first."""
        before = self.nothing.expand(tokens.shape[0], -1, -1)
        if state is not None:
            before = torch.cat([before, (state + self.ages[: state.shape[1]]).flatten(1, 2)], dim=1)
        return self.layer(tokens, before), queries

    def next(self, tokens: Tensor, read: Tensor, state: Tensor | None) -> Tensor:
        """As of ``Last``; the state is (B, P, C', W)."""
        latest = tokens[:, None]
        return latest if state is None else torch.cat([latest, state[:, : HEARD - 1]], dim=1)


def silenced(*layers: nn.Module) -> None:
    """Set all weights of layers to zero."""
    for layer in layers:
        for weight in layer.parameters():
            nn.init.zeros_(weight)


CARRIES: dict[str, type[Last] | type[Heard]] = {
    "last": Last,
    "mean": Mean,
    "gated": Gated,
    "memory": Memory,
    "tokens": Heard,
}
