"""Batches made ahead of the trainer, by threads: the same whatever their number, and whatever step they begin at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from audioslots.data.training.mixing import Mixer
from audioslots.runtime.workers import ahead


def batches(mixer: Mixer, steps: range, items: range, workers: int = 1, pinned: bool = False) -> Iterator[Tensor]:
    """Sources (items, S, T) of some steps, mixed on the host.

    Mixing is NumPy's work on large arrays, which leaves Python to the trainer: threads need no copies, no start-up.

    Args:
        mixer: says what each item of each step is.
        steps: in a row.
        items: of each batch; a process of several makes its share alone.
        workers: threads, as of ``workers.ahead``.
        pinned: in memory that a GPU reads by itself.
    """

    def made(step: int) -> Tensor:
        sources = torch.from_numpy(np.stack([mixer.item(step, item) for item in items]))
        return sources.pin_memory() if pinned else sources

    return ahead(workers, made, steps)


def split_crops(sources: Tensor, samples: int, hop: int) -> Tensor:
    """Crops of sources (B, S, L) -> overlapping chunks, those of a crop as neighbours: (B C, S, samples)."""
    return sources.unfold(-1, samples, hop).transpose(1, 2).flatten(0, 1)
