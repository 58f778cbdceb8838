"""Which of a recording's outputs hold a source: as many as are known to speak, or as many as are found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

Sources = int | Literal["auto"] | None
"""How many sources a recording is said to have; auto: as many as are found; None: what the model was trained for."""
HEARD = 0.01  # share of the mixture's energy, -20 dB, from which an output counts as a source where no logit says it


@dataclass
class Presence:
    """What is gathered of the outputs while a recording is separated.

    Attributes:
        mixture: energy of the mixture.
        energies: (K,) of the outputs.
        logits: (K,) mean over chunks of how likely each output holds a source; empty of a model that does not say it.
    """

    mixture: float = 0.0
    energies: Tensor = field(default_factory=lambda: torch.zeros(0))
    logits: Tensor = field(default_factory=lambda: torch.zeros(0))

    def hear(self, block: Tensor) -> None:
        """More of the mixture (n,)."""
        self.mixture += float(block.double().square().sum())

    def say(self, piece: Tensor) -> None:
        """More of the outputs (K, n)."""
        energies = piece.double().square().sum(dim=-1)
        self.energies = energies if not len(self.energies) else self.energies + energies

    def found(self, most: int) -> int:
        """Number of outputs that hold a source, from 1 to ``most``: by logits above 0, else by their energy."""
        holds = self.logits > 0 if len(self.logits) else self.energies > HEARD * self.mixture
        return min(max(1, int(holds.sum())), most)

    def outputs(self, count: int) -> Tensor:
        """The ``count`` outputs that hold a source most likely, by logits, else the loudest; in their order."""
        likely = self.logits if len(self.logits) else self.energies
        return likely.argsort(descending=True, stable=True)[:count].sort().values
