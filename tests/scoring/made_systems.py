"""Systems to evaluate, and the names of the mixtures they meet."""

from __future__ import annotations

import numpy as np

from audioslots.scoring.mixtures import Waveforms

RATE = 8000
IDS = ["z-first", "a-second", "m-third"]  # not in alphabetical order, as in official lists


class Leaky:
    """Sources in the wrong order with some of the mixture left in, twice too loud to be written as PCM.

    Counts what it separates, and is interrupted before mixture ``stop_at``.
    """

    name, seed, rate = "leaky", 2, RATE
    modules: tuple[str, ...] = ()

    def __init__(self, stop_at: int = -1, identity: str = "a") -> None:
        self.separated, self.stop_at, self.identity = 0, stop_at, identity

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        if self.separated == self.stop_at:
            raise KeyboardInterrupt
        self.separated += 1
        estimates = 2 * (sources + 0.1 * mixture) / np.abs(sources).max()
        return {"oracle": estimates[::-1], "blind": estimates[::-1] + 0.02}


class Broken(Leaky):
    """One estimate is NaN, the other silent; of the last mixture the end is missing."""

    name = "broken"

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        if len(mixture) > 9000:
            return {"blind": sources[:, :9000]}
        return {"blind": np.stack([np.full_like(mixture, np.nan), np.zeros_like(mixture)])}
