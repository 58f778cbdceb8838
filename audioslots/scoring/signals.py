"""What the metrics share: signals, when a metric is undefined, and levels that no arithmetic overflows at."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Signal = NDArray[np.float64]


class Undefined(ValueError):
    """A metric has no value for these signals; the message says why."""


def problem_of_pair(estimate: Signal, source: Signal, role: str = "estimate") -> str:
    """Why no metric is defined for an estimate, called by its ``role``, and its source; an empty string if some are."""
    problem = _problem_of(source, "source") or _problem_of(estimate, role)
    if not problem and estimate.shape != source.shape:
        problem = f"{role} has {len(estimate)} samples and not {len(source)}"
    return problem


def _problem_of(signal: Signal, role: str) -> str:
    problems = {
        "is empty": signal.size == 0,
        "has NaN samples": np.isnan(signal).any(),
        "has infinite samples": np.isinf(signal).any(),
        "is silent": not signal.any(),
        "is constant": signal.size > 0 and (signal == signal[0]).all(),
    }
    return next((f"{role} {problem}" for problem, is_present in problems.items() if is_present), "")


def remove_mean(signal: ArrayLike) -> Signal:
    """[..., samples] with zero mean, at a peak of one so that no square over- or underflows."""
    signal = normalize_peak(signal)
    return signal - signal.mean(-1, keepdims=True)


def normalize_peak(signal: ArrayLike) -> Signal:
    """[..., samples] divided by its peak; silence becomes NaN."""
    signal = np.asarray(signal, np.float64)
    with np.errstate(invalid="ignore"):
        return signal / np.abs(signal).max(-1, keepdims=True)
