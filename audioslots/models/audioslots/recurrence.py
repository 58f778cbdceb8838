"""Recurrent slots: what goes from one chunk of a recording to the next."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audioslots.models.audioslots.config import Config
from audioslots.models.audioslots.model import AudioSlots
from audioslots.models.base import Estimates
from audioslots.models.transformer import Layer

MOST_CHUNKS = 16  # chunks whose tokens are attended to, at most: bounds memory


class RecurrentAudioSlots(AudioSlots):
    """AudioSlots whose slots, or tokens, depend on the chunks before.

    Args as of ``AudioSlots``; ``config.recurrence`` is a kind of ``RECURRENCES``.
    """

    def __init__(self, config: Config, samples: int, context: int = 0) -> None:
        super().__init__(config, samples, context)
        self.recurrence = RECURRENCES[config.recurrence](config)

    def forward(self, mixture: Tensor, chunks: int = 1, state: Tensor | None = None) -> Estimates:
        """As of ``AudioSlots``; ``chunks`` neighbours in the batch are chunks of one recording, in order of time."""
        encoded = self.encode(mixture)
        all_tokens, all_slots = [], []
        for tokens in encoded.tokens.unflatten(0, (-1, chunks)).unbind(dim=1):  # (B, C, W) of one chunk each
            queries = self.slots.query_tokens(self.slots.queries, tokens.shape[0])  # (B, K M, W)
            tokens, queries = self.recurrence(tokens, queries, state)
            slots = self.slots(tokens, queries)  # (B, K, S)
            state = self.recurrence.next_state(self.crop_tokens(tokens), self.slots.query_tokens.split(slots), state)
            all_tokens.append(tokens)
            all_slots.append(slots)
        tokens, slots = (torch.stack(items, dim=1).flatten(0, 1) for items in (all_tokens, all_slots))
        maps = self.decoder(slots, self.crop_tokens(tokens))  # (B, K, C, F, N)
        return self.estimate(maps, slots, encoded)._replace(state=state)


class LastSlots(nn.Module):
    """Query tokens start from those of the chunk before, through a linear layer; all slots share its weights."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm, self.start = nn.LayerNorm(config.width), nn.Linear(config.width, config.width)

    def forward(self, tokens: Tensor, queries: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Tokens (B, C, W) and query tokens (B, K M, W) of a chunk -> the same, as the slots are to read them."""
        return tokens, queries if state is None else self.start(self.norm(state))

    def next_state(self, tokens: Tensor, slots: Tensor, state: Tensor | None) -> Tensor:
        """Tokens (B, C', W) and slots (B, K M, W) of a chunk, and the state before it -> the state after it."""
        return slots


class EarlierTokens(nn.Module):
    """A chunk's tokens attend to those of the last chunks, 16 at most; the layer changes nothing at first."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layer = Layer(config.width, config.heads, config.mlp, cross=True)
        for last in self.layer.added:
            for weight in last.parameters():
                nn.init.zeros_(weight)
        self.nothing = nn.Parameter(torch.zeros(1, 1, config.width))  # something to attend to in the first chunk
        self.ages = nn.Parameter(0.1 * torch.randn(MOST_CHUNKS, 1, config.width))

    def forward(self, tokens: Tensor, queries: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """As of ``LastSlots``; the state is (B, P, C', W), of P chunks, the latest first."""
        earlier = self.nothing.expand(tokens.shape[0], -1, -1)
        if state is not None:
            earlier = torch.cat([earlier, (state + self.ages[: state.shape[1]]).flatten(1, 2)], dim=1)
        return self.layer(tokens, earlier), queries

    def next_state(self, tokens: Tensor, slots: Tensor, state: Tensor | None) -> Tensor:
        """As of ``LastSlots``; the state is (B, P, C', W)."""
        latest = tokens[:, None]
        return latest if state is None else torch.cat([latest, state[:, : MOST_CHUNKS - 1]], dim=1)


RECURRENCES: dict[str, type[LastSlots] | type[EarlierTokens]] = {"last": LastSlots, "tokens": EarlierTokens}
