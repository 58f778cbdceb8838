"""Batches made ahead of the trainer, by threads: the same whatever their number, and whatever step they begin at."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from audioslots.data.mixing import Mixer

Made = TypeVar("Made")


def ahead(make: Callable[[int], Made], first: int, end: int, workers: int = 1) -> Iterator[Made]:
    """What ``make`` makes of steps ``first`` .. ``end`` - 1, in order.

    Mixing is NumPy's work on large arrays, which leaves Python to the trainer: threads need no copies, no start-up.

    Args:
        make: a pure function of the step.
        first: step.
        end: step.
        workers: threads; each may be a batch ahead, and one batch waits ready.
    """
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[Made]] = deque()
    try:
        for step in range(first, end):
            waiting.append(pool.submit(make, step))
            if len(waiting) > workers + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def batches(
    mixer: Mixer, first: int, end: int, items: range, workers: int = 1, pinned: bool = False
) -> Iterator[Tensor]:
    """Sources (items, S, T) of steps ``first`` .. ``end`` - 1, mixed on the host.

    Args:
        mixer: says what each item of each step is.
        first: step.
        end: step.
        items: of each batch; a process of several makes its share alone.
        workers: threads, as of ``ahead``.
        pinned: in memory that a GPU reads by itself.
    """

    def made(step: int) -> Tensor:
        sources = torch.from_numpy(np.stack([mixer.item(step, item) for item in items]))
        return sources.pin_memory() if pinned else sources

    return ahead(made, first, end, workers)


QUIETEST_DB = -40.0  # of the sources that grow, at the first step


def grown(sources: Tensor, step: int, until: float) -> Tensor:
    """Sources (B, S, T) of a step, all but the first quieter by what lacks to step ``until``, at which none is.

    A curriculum: the model first learns to decode one voice, then to tell two apart. The level rises by as many dB at
    every step.
    """
    if step >= until:
        return sources
    gains = sources.new_ones(sources.shape[1], 1)
    gains[1:] = 10 ** (QUIETEST_DB * (1 - step / until) / 20)
    return sources * gains
