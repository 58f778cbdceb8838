"""Recursive separation: one source and the rest, and the same again of the rest.

After Takahashi et al. 2019 (one-and-rest PIT), whose recursion here goes on within a chunk: the estimates are the
sources that were separated and the last rest. The same weights separate any number of sources.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audioslots.models.audioslots.config import Config
from audioslots.models.audioslots.model import AudioSlots
from audioslots.models.base import Estimates, level_of

ONE, REST = 0, 1


class RecursiveAudioSlots(AudioSlots):
    """AudioSlots of two slots, one source and the rest, ``slots.count - 1`` times in a row.

    No gradient goes from a recursion to the one before. Args as of ``AudioSlots``; the context is 0: nothing of it is
    decoded, so the next recursion could not read it.
    """

    def __init__(self, config: Config, samples: int, context: int = 0) -> None:
        pair = config.slots.model_copy(update={"count": 2})
        super().__init__(config.model_copy(update={"slots": pair}), samples, context)
        self.num_slots = config.slots.count

    def forward(self, mixture: Tensor, chunks: int = 1, state: Tensor | None = None) -> Estimates:
        """Mixtures (B, T) -> estimates of K sources, in the order of the recursions."""
        level, rest = level_of(mixture), mixture
        ones: list[Estimates] = []
        rests: list[Estimates] = []
        for _ in range(self.num_slots - 1):
            estimates = super().forward(rest)
            ones.append(select_slot(estimates, ONE))
            rests.append(select_slot(estimates, REST))
            rest = rests[-1].waveforms[:, 0].detach()
        joined = self._join([*ones, rests[-1]], level)
        return joined._replace(rests=self._join(rests[:-1], level)) if len(rests) > 1 else joined

    def _join(self, singles: list[Estimates], level: Tensor) -> Estimates:
        """Estimates of one slot each -> estimates of all, as slots of a mixture of ``level`` (B, 1)."""

        def join(name: str, exponent: float | None = None) -> Tensor:
            values = [getattr(one, name) for one in singles]
            if exponent is not None:  # to the level of the mixture
                scales = [(one.level / level)[:, :, None, None] ** exponent for one in singles]
                values = [value * scale for value, scale in zip(values, scales, strict=True)]
            return torch.cat(values, dim=1)

        compressed, spectra = join("compressed", self.exponent), join("spectra", 1.0)
        return Estimates(join("waveforms"), level, compressed, spectra, join("slots"))


def select_slot(estimates: Estimates, index: int) -> Estimates:
    """One slot of estimates, as estimates of a single slot."""
    fields = ("waveforms", "compressed", "spectra", "slots")
    return estimates._replace(**{name: getattr(estimates, name)[:, index : index + 1] for name in fields})
