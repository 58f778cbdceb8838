"""How steadily a source stays in its output: the figure of merit for swaps, which SI-SDR of a whole recording hides."""

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
"""Of the loudest window's energy, added where sources are fitted: a silent one then has no share of any output."""
PERIODS_S = (0.0, 10.0, 30.0)
"""Where the periods of ``assignment_accuracy_over_time`` begin, s; the last goes on to the end."""


def assignment_accuracy(estimates: ArrayLike, sources: ArrayLike, rate: int) -> Signal:
    """Share of a source's active time in which the output assigned to it holds more of it than any other does.

    In each window every output is fitted by a sum of the sources (least squares); the output with the largest weight of
    a source holds it. Outputs are compared at the level of their sources, since losses such as SI-SDR leave their level
    free. The measure is this project's own: 1 for estimates without a swap, 0.5 on average for two outputs that cannot
    be told apart, and for two sources that swap halfway.

    Args:
        estimates: [estimates, samples], those assigned to the sources first, in their order; not finite is silence.
        sources: [sources, samples].
        rate: Hz.

    Returns:
        [sources], 0 to 1; outputs that hold the same of a source share the window. NaN for a silent source, and where
        estimates and sources differ in length.
    """
    shares, active = _shares_of_outputs(estimates, sources, rate)
    return _accuracy(np.diagonal(shares, axis1=-2, axis2=-1), active)


def assignment_accuracy_over_time(estimates: ArrayLike, sources: ArrayLike, rate: int) -> Signal:
    """``assignment_accuracy`` in each of ``PERIODS_S``, with the outputs assigned by the first of them alone.

    So an order that is lost on the way, and not recovered, shows in all that comes after. The result is [periods,
    sources], 0 to 1; NaN for a period in which a source is not active, and as of ``assignment_accuracy``.
    """
    shares, active = _shares_of_outputs(estimates, sources, rate)
    edges = [*(round(start / WINDOW_S) for start in PERIODS_S), len(shares)]
    periods = [slice(begin, end) for begin, end in pairwise(edges)]
    first = (shares * active[..., None])[periods[0]].sum(0)
    own = shares[:, np.arange(len(first)), linear_sum_assignment(first, maximize=True)[1]]
    return np.stack([_accuracy(own[period], active[period]) for period in periods])


def _accuracy(own: Signal, active: Signal) -> Signal:
    """[sources] of [windows, sources]."""
    with np.errstate(invalid="ignore"):
        return np.asarray((own * active).sum(0) / active.sum(0))


def _shares_of_outputs(estimates: ArrayLike, sources: ArrayLike, rate: int) -> tuple[Signal, Signal]:
    """Which output holds a source, window by window, and where a source is active.

    Returns:
        Shares [windows, sources, estimates], which add up to 1 over estimates, and [windows, sources], 0 or 1. No
        windows where estimates and sources differ in length.
    """
    sources = np.asarray(sources, np.float64)
    estimates = np.nan_to_num(np.asarray(estimates, np.float64), posinf=0.0, neginf=0.0)
    if estimates.shape[-1] != sources.shape[-1] or not sources.size:
        return np.zeros((0, len(sources), len(estimates))), np.zeros((0, len(sources)))
    samples = min(sources.shape[-1], round(WINDOW_S * rate))
    outputs, windows = _cut(_match_levels(estimates, sources), samples), _cut(sources, samples)
    gram = windows @ windows.swapaxes(-1, -2)  # [windows, sources, sources]
    energy = np.diagonal(gram, axis1=-2, axis2=-1)
    ridge = RIDGE * energy.max(initial=0.0) + np.finfo(np.float64).tiny
    weights = np.abs(np.linalg.solve(gram + ridge * np.eye(len(sources)), windows @ outputs.swapaxes(-1, -2)))
    largest = weights >= weights.max(-1, keepdims=True)  # [windows, sources, estimates]
    active = (energy > 0) & (energy >= energy.max(0) * 10 ** (-ACTIVE_DB / 10))
    return largest / largest.sum(-1, keepdims=True), active.astype(np.float64)


def _cut(signals: Signal, samples: int) -> Signal:
    """[signals, samples] as [windows, signals, samples of a window], without an incomplete last window."""
    count = signals.shape[-1] // samples
    return signals[:, : count * samples].reshape(len(signals), count, samples).swapaxes(0, 1)


def _match_levels(estimates: Signal, sources: Signal) -> Signal:
    """Each source's output at that source's level (RMS), further ones scaled by the mean of those factors."""
    own, level = (np.sqrt(np.square(signals).mean(-1)) for signals in (estimates[: len(sources)], sources))
    factors = np.where(own > 0, level / np.where(own > 0, own, 1.0), 1.0)
    further = np.full(len(estimates) - len(sources), factors.mean())
    return estimates * np.concatenate([factors, further])[:, None]
