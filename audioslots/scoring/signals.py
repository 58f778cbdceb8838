"""What the metrics share: signals, when a metric is undefined, and levels that no arithmetic overflows at."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Signal = NDArray[np.float64]


class Undefined(ValueError):
    """A metric has no value for these signals; the message says why."""


def problem_of(signal: Signal, role: str) -> str:
    """Why no metric at all is defined for a signal, or an empty string."""
    problems = {
        "is empty": signal.size == 0,
        "has NaN samples": np.isnan(signal).any(),
        "has infinite samples": np.isinf(signal).any(),
        "is silent": not signal.any(),
        "is constant": signal.size > 0 and (signal == signal[0]).all(),
    }
    return next((f"{role} {words}" for words, found in problems.items() if found), "")


def centred(signal: ArrayLike) -> Signal:
    """[..., samples] with zero mean, at a peak of one so that no square over- or underflows."""
    signal = at_peak_one(signal)
    return signal - signal.mean(-1, keepdims=True)


def at_peak_one(signal: ArrayLike) -> Signal:
    """[..., samples] divided by its peak; silence becomes NaN."""
    signal = np.asarray(signal, np.float64)
    with np.errstate(invalid="ignore"):
        return signal / np.abs(signal).max(-1, keepdims=True)
