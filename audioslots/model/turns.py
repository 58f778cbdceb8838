"""One source at a time: each turn separates one from what the turns before have left of the mixture.

After recursive separation (Takahashi et al. 2019, OR-PIT), whose recursion here goes on within a chunk: a chunk's
estimates are those of all turns, and any number of sources up to the number of turns is separated by the same weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audioslots import config
from audioslots.model.audioslots import AudioSlots
from audioslots.model.estimates import Estimates, level_of


class InTurn(AudioSlots):
    """AudioSlots of a single slot, ``slots.count`` times in a row; the last turn reads what is left too.

    No gradient goes from a turn to the one before: what is left is taken as it is.

    Args:
        variant: as of ``AudioSlots``; its ``slots.count`` is the number of turns.
        samples: of a chunk, T.
        context: 0; nothing is decoded of a context, so nothing could be taken from it.
    """

    def __init__(self, variant: config.Variant, samples: int, context: int = 0) -> None:
        single = variant.model_copy(update={"slots": variant.slots.model_copy(update={"count": 1})})
        super().__init__(single, samples, context)
        self.turns = variant.slots.count

    def forward(self, mixture: Tensor, sequence: int = 1, state: Tensor | None = None) -> Estimates:
        """Mixtures (B, T) -> estimates of K sources, in the order in which they were taken."""
        left, taken = mixture, []
        for _ in range(self.turns):
            taken.append(super().forward(left, sequence, state))
            left = left - taken[-1].waveforms[:, 0].detach()
        return joined(taken, level_of(mixture), self.exponent)


def joined(taken: list[Estimates], level: Tensor, exponent: float) -> Estimates:
    """Turns of one slot each, as estimates of a mixture of a ``level`` (B, 1)."""

    def together(name: str) -> Tensor | None:
        parts = [getattr(one, name) for one in taken]
        return None if parts[0] is None else torch.cat(parts, dim=1)

    compressed = [one.compressed * ((one.level / level) ** exponent)[:, :, None, None] for one in taken]
    return Estimates(
        torch.cat([one.waveforms for one in taken], dim=1),
        level,
        torch.cat(compressed, dim=1),
        *(together(name) for name in ("slots", "voices", "existence")),
    )
