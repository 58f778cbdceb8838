"""Which of a recording's outputs hold a source: as many as are known to speak, or as many as are found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

Sources = int | Literal["auto"] | None
"""How many sources a recording is said to have; auto: as many as are found; None: what the model was trained for."""
HEARD = 0.01  # share of the mixture's energy, -20 dB, from which an output counts as a source where no logit says it
FRAME = 256  # samples of a frame of an envelope, 32 ms at 8 kHz and 16 at 16
TINY = 1e-12


@dataclass
class Presence:
    """What is gathered of the outputs while a recording is separated; it is no longer for a longer recording.

    Attributes:
        mixture: energy of the mixture.
        energies: (K,) of the outputs.
        logits: (K,) mean over chunks of how likely each output holds a source; empty of a model that does not say it.
        frames: number of frames of the outputs' envelopes, their levels (RMS) frame by frame; with the sums over them,
            ``levels`` (K,) and ``products`` (K, K), they tell how much alike the outputs grow loud and quiet.
    """

    mixture: float = 0.0
    energies: Tensor = field(default_factory=lambda: torch.zeros(0))
    logits: Tensor = field(default_factory=lambda: torch.zeros(0))
    frames: int = 0
    levels: Tensor = field(default_factory=lambda: torch.zeros(0))
    products: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    waiting: Tensor = field(default_factory=lambda: torch.zeros(0))  # of the outputs, the frame that is not whole yet

    def hear(self, block: Tensor) -> None:
        """More of the mixture (n,)."""
        self.mixture += float(block.double().square().sum())

    def say(self, piece: Tensor) -> None:
        """More of the outputs (K, n)."""
        powers = piece.double().square()
        if not len(self.energies):
            outputs = len(piece)
            self.energies, self.levels = powers.new_zeros(outputs), powers.new_zeros(outputs)
            self.products, self.waiting = powers.new_zeros(outputs, outputs), powers.new_zeros(outputs, 0)
        self.energies = self.energies + powers.sum(dim=-1)
        powers = torch.cat([self.waiting, powers], dim=-1)
        whole = powers.shape[-1] // FRAME
        levels = powers[:, : whole * FRAME].unflatten(-1, (whole, FRAME)).mean(dim=-1).sqrt()  # (K, frames)
        self.frames, self.waiting = self.frames + whole, powers[:, whole * FRAME :]
        self.levels, self.products = self.levels + levels.sum(dim=-1), self.products + levels @ levels.T

    def found(self, most: int) -> int:
        """Number of outputs that hold a source, from 1 to ``most``: by logits above 0, else by their energy."""
        holds = self.logits > 0 if len(self.logits) else self.energies > HEARD * self.mixture
        return min(max(1, int(holds.sum())), most)

    def outputs(self, count: int) -> Tensor:
        """The ``count`` outputs that hold a source most likely, by logits, else the loudest; in their order."""
        likely = self.logits if len(self.logits) else self.energies
        return likely.argsort(descending=True, stable=True)[:count].sort().values

    def kept(self, count: int, merge: bool = False) -> list[list[int]]:
        """The outputs that make up each of a recording's estimates: one each, and further ones where they are merged.

        Args:
            count: estimates, of ``outputs``.
            merge: add every other output to that estimate whose envelope its own is most correlated with: slots beyond
                the sources may hold parts of them.
        """
        parts = [[output] for output in self.outputs(count).tolist()]
        if merge and self.frames:
            means = self.levels / self.frames
            covariance = self.products / self.frames - means.outer(means)
            deviation = covariance.diagonal().clamp_min(TINY).sqrt()
            likeness = covariance / deviation.outer(deviation)
            for spare in sorted(set(range(len(self.energies))) - {part[0] for part in parts}):
                max(parts, key=lambda part: float(likeness[part[0], spare])).append(spare)
        return parts
