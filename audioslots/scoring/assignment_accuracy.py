"""How steadily a source keeps to its output: the figure of merit for swaps, which SI-SDR of a whole recording hides."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from audioslots.scoring.signals import Signal

WINDOW_S = 0.25
"""Length of the windows in s, which follow each other: half of the shortest chunk that the suite separates."""
ACTIVE_DB = 30.0
"""A source is active where its level is at most this much below that of its loudest window, in dB."""
RIDGE = 1e-9
"""Of the loudest window's energy, added where sources are fitted: a silent one then has no part of any output."""

PERIODS_S = (0.0, 10.0, 30.0)
"""Where the periods of ``assignment_accuracy_over_time`` begin, s; the last goes on to the end."""


def assignment_accuracy(estimates: ArrayLike, sources: ArrayLike, rate: int) -> Signal:
    """Share of the time in which a source is active that its own output holds more of it than any other does.

    In each window every output is fitted by a sum of the sources (least squares); the output with the largest weight of
    a source holds it. Outputs are compared at the level of their sources, since losses such as SI-SDR leave their level
    free. The measure is this project's own: 1 for estimates without a swap, 0.5 on average for two outputs that cannot
    be told apart, and for two sources that swap halfway.

    Args:
        estimates: [estimates, samples], the sources' own first, in their order; what is not finite is silence.
        sources: [sources, samples].
        rate: Hz.

    Returns:
        [sources], 0 to 1; outputs that hold the same of a source share the window. NaN for a silent source, and where
        estimates and sources differ in length.
    """
    found = _holding(estimates, sources, rate)
    if found is None:
        return np.full(len(np.asarray(sources)), np.nan)
    held, active = found
    own = np.diagonal(held, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray((own * active).sum(0) / active.sum(0))


def assignment_accuracy_over_time(estimates: ArrayLike, sources: ArrayLike, rate: int) -> Signal:
    """``assignment_accuracy`` in each of ``PERIODS_S``, with the outputs assigned by the first of them alone.

    So an order that is lost on the way, and not found again, shows in all that comes after.

    Args:
        estimates: as of ``assignment_accuracy``.
        sources: likewise.
        rate: Hz.

    Returns:
        [periods, sources], 0 to 1. NaN for a period in which a source is not active, and as of ``assignment_accuracy``.
    """
    found = _holding(estimates, sources, rate)
    if found is None:
        return np.full((len(PERIODS_S), len(np.asarray(sources))), np.nan)
    held, active = found
    edges = [*(round(start / WINDOW_S) for start in PERIODS_S), len(held)]
    parts = [slice(begin, end) for begin, end in pairwise(edges)]
    first = (held * active[..., None])[parts[0]].sum(0)
    own = held[:, np.arange(len(first)), linear_sum_assignment(first, maximize=True)[1]]
    with np.errstate(invalid="ignore"):
        return np.stack([(own * active)[part].sum(0) / active[part].sum(0) for part in parts])


def _holding(estimates: ArrayLike, sources: ArrayLike, rate: int) -> tuple[Signal, Signal] | None:
    """Which output holds a source, window by window, and where a source is active.

    Returns:
        Shares [windows, sources, estimates], which add up to 1 over estimates, and [windows, sources], 0 or 1. None
        where estimates and sources differ in length, and of no samples.
    """
    sources = np.asarray(sources, np.float64)
    estimates = np.nan_to_num(np.asarray(estimates, np.float64), posinf=0.0, neginf=0.0)
    if estimates.shape[-1] != sources.shape[-1] or not sources.size:
        return None
    estimates = _at_level(estimates, sources)
    samples = min(sources.shape[-1], round(WINDOW_S * rate))
    outputs, heard = _windows(estimates, samples), _windows(sources, samples)
    gram = heard @ heard.swapaxes(-1, -2)  # [windows, sources, sources]
    energy = np.diagonal(gram, axis1=-2, axis2=-1)
    ridge = RIDGE * energy.max(initial=0.0) + np.finfo(np.float64).tiny
    weights = np.linalg.solve(gram + ridge * np.eye(len(sources)), heard @ outputs.swapaxes(-1, -2))
    held = np.abs(weights)  # [windows, sources, estimates]
    most = held >= held.max(-1, keepdims=True)
    active = (energy > 0) & (energy >= energy.max(0) * 10 ** (-ACTIVE_DB / 10))
    return most / most.sum(-1, keepdims=True), active.astype(np.float64)


def _windows(signals: Signal, samples: int) -> Signal:
    """[signals, samples] as [windows, signals, samples of a window], without an incomplete last window."""
    count = signals.shape[-1] // samples
    return signals[:, : count * samples].reshape(len(signals), count, samples).swapaxes(0, 1)


def _at_level(estimates: Signal, sources: Signal) -> Signal:
    """Each source's own output at that source's level (RMS), further ones scaled by the mean of those factors."""
    own, level = _rms(estimates[: len(sources)]), _rms(sources)
    factors = np.where(own > 0, level / np.where(own > 0, own, 1.0), 1.0)
    further = np.full(len(estimates) - len(sources), factors.mean())
    return estimates * np.concatenate([factors, further])[:, None]


def _rms(signals: Signal) -> Signal:
    return np.asarray(np.sqrt(np.square(signals).mean(-1)))
