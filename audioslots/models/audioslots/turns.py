"""One source at a time: each turn parts one source from the rest, and the next turn reads the rest.

After recursive separation (Takahashi et al. 2019, one-and-rest PIT), whose recursion here goes on within a chunk: the
estimates are what each turn took and what the last one left. The same weights separate any number of sources.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audioslots.config import variant as config
from audioslots.models.audioslots.model import AudioSlots
from audioslots.models.estimates import Estimates, level_of

ONE, REST = 0, 1


class InTurn(AudioSlots):
    """AudioSlots of two slots, one source and the rest, ``slots.count - 1`` times in a row.

    No gradient goes from a turn to the one before: what is left is an estimate that is trained as such.

    Args:
        variant: as of ``AudioSlots``; its ``slots.count`` is the number of estimates, K.
        samples: of a chunk, T.
        context: 0; nothing is decoded of a context, so none of it could be read by the next turn.
    """

    def __init__(self, variant: config.Variant, samples: int, context: int = 0) -> None:
        pair = variant.model_copy(update={"slots": variant.slots.model_copy(update={"count": 2})})
        super().__init__(pair, samples, context)
        self.turns = variant.slots.count - 1

    def forward(self, mixture: Tensor, sequence: int = 1, state: Tensor | None = None) -> Estimates:
        """Mixtures (B, T) -> estimates of K sources, in the order in which they were taken."""
        heard, ones, rests = mixture, [], []
        for _ in range(self.turns):
            found = super().forward(heard, sequence, state)
            ones.append(slot(found, ONE))
            rests.append(slot(found, REST))
            heard = rests[-1].waveforms[:, 0].detach()
        level = level_of(mixture)
        left = self._joined(rests[:-1], level) if self.turns > 1 else None
        return self._joined([*ones, rests[-1]], level)._replace(left=left)

    def _joined(self, parts: list[Estimates], level: Tensor) -> Estimates:
        """Estimates of one slot each as slots of a mixture of ``level`` (B, 1)."""
        compressed = []
        for part in parts:
            assert part.compressed is not None
            compressed.append(part.compressed * ((part.level / level) ** self.exponent)[:, :, None, None])

        def together(tensors: list[Tensor | None]) -> Tensor | None:
            there = [tensor for tensor in tensors if tensor is not None]
            return torch.cat(there, dim=1) if there else None

        return Estimates(
            torch.cat([part.waveforms for part in parts], dim=1),
            level,
            torch.cat(compressed, dim=1),
            together([part.slots for part in parts]),
            together([part.voices for part in parts]),
            together([part.existence for part in parts]),
        )


def slot(estimates: Estimates, index: int) -> Estimates:
    """One slot of estimates, as estimates of that alone."""

    def only(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[:, index : index + 1]

    return Estimates(
        estimates.waveforms[:, index : index + 1],
        estimates.level,
        only(estimates.compressed),
        only(estimates.slots),
        only(estimates.voices),
        only(estimates.existence),
    )
