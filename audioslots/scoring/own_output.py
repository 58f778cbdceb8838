"""How steadily a source keeps to its output: the figure of merit for swaps, which SI-SDR of a whole recording hides."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from audioslots.scoring.signals import Signal

WINDOW_S = 0.25
"""Length of the windows in s, which follow each other: half of the shortest chunk that the suite separates."""
ACTIVE_DB = 30.0
"""A source is active where its level is at most this much below that of its loudest window, in dB."""
RIDGE = 1e-9
"""Of the loudest window's energy, added where sources are fitted: a silent one then has no part of any output."""


def own_output(estimates: ArrayLike, sources: ArrayLike, rate: int) -> Signal:
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
    sources = np.asarray(sources, np.float64)
    estimates = np.nan_to_num(np.asarray(estimates, np.float64), posinf=0.0, neginf=0.0)
    if estimates.shape[-1] != sources.shape[-1] or not sources.size:
        return np.full(len(sources), np.nan)
    estimates = _at_level(estimates, sources)
    samples = min(sources.shape[-1], round(WINDOW_S * rate))
    outputs, heard = _windows(estimates, samples), _windows(sources, samples)
    gram = heard @ heard.swapaxes(-1, -2)  # [windows, sources, sources]
    energy = np.diagonal(gram, axis1=-2, axis2=-1)
    ridge = RIDGE * energy.max(initial=0.0) + np.finfo(np.float64).tiny
    weights = np.linalg.solve(gram + ridge * np.eye(len(sources)), heard @ outputs.swapaxes(-1, -2))
    held = np.abs(weights)  # [windows, sources, estimates]
    most = held >= held.max(-1, keepdims=True)
    own = np.diagonal(most, axis1=-2, axis2=-1) / most.sum(-1)
    active = (energy > 0) & (energy >= energy.max(0) * 10 ** (-ACTIVE_DB / 10))
    with np.errstate(invalid="ignore"):
        return np.asarray((own * active).sum(0) / active.sum(0))


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
