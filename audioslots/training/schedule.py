"""What changes from step to step: the learning rate and the curriculum."""

from __future__ import annotations

import math

from torch import Tensor

QUIETEST_DB = -40.0  # of the sources that grow, at the first step


def rate_at(step: int, peak: float, warmup: int, steps: int) -> float:
    """Learning rate of a step: linear to ``peak`` over ``warmup`` steps, then a cosine to zero at ``steps``."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def grown(sources: Tensor, step: int, until: float) -> Tensor:
    """Sources (B, S, T) of a step, all but the first attenuated, less and less until step ``until``.

    A curriculum: the model first learns to decode one voice, then to tell two apart. The level rises by as many dB at
    every step.
    """
    if step >= until:
        return sources
    gains = sources.new_ones(sources.shape[1], 1)
    gains[1:] = 10 ** (QUIETEST_DB * (1 - step / until) / 20)
    return sources * gains
