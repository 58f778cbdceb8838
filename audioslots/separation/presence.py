"""Which outputs of a recording hold a source: as many as are known to speak, or as many as are estimated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

NumSpeakers = int | Literal["auto"] | None
"""Speakers of a recording; auto: estimated; None: what the model was trained for."""
AUDIBLE = 0.01  # share of the mixture's energy, -20 dB, from which an output counts as a source without a logit
FRAME = 256  # samples per frame of an envelope, 32 ms at 8 kHz and 16 at 16
TINY = 1e-12


@dataclass
class Presence:
    """Statistics of a recording's outputs, gathered while it is separated; their size is that of one frame.

    Attributes:
        samples: of the mixture, so far.
        energy: of the mixture.
        energies: (K,) of the outputs.
        logits: (K,) mean presence logits over chunks; empty of a model without a presence head.
        frames: whole frames of the outputs' envelopes (root mean square per frame).
        envelope_sums: (K,) over frames.
        envelope_products: (K, K) over frames.
        partial_frame: (K, n) powers of the outputs in the frame that is not whole yet.
    """

    samples: int = 0
    energy: float = 0.0
    energies: Tensor = torch.zeros(())
    logits: Tensor = torch.zeros(0)
    frames: int = 0
    envelope_sums: Tensor = torch.zeros(())
    envelope_products: Tensor = torch.zeros(())
    partial_frame: Tensor = torch.zeros(0)

    def add_mixture(self, block: Tensor) -> None:
        """Count the next samples (n,) of the mixture."""
        self.samples += len(block)
        self.energy += float(block.double().square().sum())

    def add_outputs(self, piece: Tensor) -> None:
        """Count the next samples (K, n) of the outputs."""
        powers = piece.double().square()
        self.energies = self.energies + powers.sum(dim=-1)
        powers = torch.cat([self.partial_frame, powers], dim=-1)
        frames = powers.shape[-1] // FRAME
        envelopes = powers[:, : frames * FRAME].unflatten(-1, (frames, FRAME)).mean(dim=-1).sqrt()  # (K, frames)
        self.frames, self.partial_frame = self.frames + frames, powers[:, frames * FRAME :]
        self.envelope_sums = self.envelope_sums + envelopes.sum(dim=-1)
        self.envelope_products = self.envelope_products + envelopes @ envelopes.T

    def count_sources(self, most: int) -> int:
        """Number of outputs that hold a source, from 1 to ``most``: by logits above 0, else by their energy."""
        is_present = self.logits > 0 if len(self.logits) else self.energies > AUDIBLE * self.energy
        return min(max(1, int(is_present.sum())), most)

    def select_outputs(self, count: int) -> list[int]:
        """The ``count`` outputs that most likely hold a source, by logits, else the loudest; in their order."""
        likely = self.logits if len(self.logits) else self.energies
        return likely.argsort(descending=True, stable=True)[:count].sort().values.tolist()

    def group_outputs(self, count: int, merge: bool = False) -> list[list[int]]:
        """The outputs that are summed to each of a recording's estimates.

        Args:
            count: estimates, each begun with one of ``select_outputs``.
            merge: add every other output to the estimate whose envelope is most correlated with its own: slots beyond
                the sources may hold parts of them.
        """
        groups = [[output] for output in self.select_outputs(count)]
        if merge and self.frames:
            means = self.envelope_sums / self.frames
            covariance = self.envelope_products / self.frames - means.outer(means)
            deviation = covariance.diagonal().clamp_min(TINY).sqrt()
            correlation = covariance / deviation.outer(deviation)
            for extra in sorted(set(range(len(self.energies))) - {group[0] for group in groups}):
                max(groups, key=lambda group: float(correlation[group[0], extra])).append(extra)
        return groups
