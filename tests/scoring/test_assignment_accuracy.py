"""The share of time that a source keeps to its output, of signals whose swaps are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from audioslots.scoring.assignment_accuracy import (
    PERIODS_S,
    WINDOW_S,
    assignment_accuracy,
    assignment_accuracy_over_time,
)
from audioslots.scoring.metrics import OVER_TIME, score

RATE = 8000
Signals = NDArray[np.float64]


def conversation(turns: str = "abab", seconds: float = 2.0) -> Signals:
    """Two sources [2, samples] of noise; of each turn "a" or "b" speaks, of "x" both, of "-" nobody."""
    rng = np.random.default_rng(0)
    samples = round(seconds * RATE)
    sources = rng.standard_normal((2, len(turns) * samples))
    for place, turn in enumerate(turns):
        part = slice(place * samples, (place + 1) * samples)
        sources[0, part] *= turn in "ax"
        sources[1, part] *= turn in "bx"
    return sources


def test_true_sources_stay_in_their_output_whatever_their_overlap_and_level():
    for turns in ("abab", "xxxx", "a-xb"):
        sources = conversation(turns)
        for level in (1.0, 1e-3, 1e30, -1.0):
            assert assignment_accuracy([sources[0], level * sources[1]], sources, RATE).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("turns", ["xxxx", "abab", "xaxb"])
def test_a_swap_counts_for_as_long_as_it_lasts(turns):
    sources = conversation(turns)
    swapped = sources.copy()
    quarter = sources.shape[-1] // 4
    swapped[:, 3 * quarter :] = sources[::-1, 3 * quarter :]
    windows = np.repeat([1.0, 1.0, 1.0, 0.0], round(quarter / RATE / WINDOW_S))
    for accuracy, source in zip(assignment_accuracy(swapped, sources, RATE), sources, strict=True):
        active = source.reshape(len(windows), -1).any(-1)
        assert accuracy == pytest.approx((windows * active).sum() / active.sum())


def test_outputs_that_hold_the_same_share_a_window():
    sources = conversation("xxxx")
    mixture = sources.sum(0)
    assert assignment_accuracy([mixture, mixture], sources, RATE).mean() == 0.5


def test_leakage_alone_is_no_swap():
    sources = conversation("abxb")
    leaky = sources + 0.4 * sources[::-1]
    assert assignment_accuracy(leaky, sources, RATE).tolist() == [1.0, 1.0]


def test_a_source_that_moves_to_a_third_output_has_left_its_own():
    sources = conversation("xxxx")
    outputs = np.vstack([sources, np.zeros_like(sources[:1])])
    half = sources.shape[-1] // 2
    outputs[2, half:], outputs[0, half:] = sources[0, half:], 0.0
    assert assignment_accuracy(outputs, sources, RATE).tolist() == [0.5, 1.0]


@pytest.mark.filterwarnings("error")
def test_what_cannot_be_measured_is_missing_and_hurts_nothing_else():
    sources = conversation("xx")
    silent = np.stack([np.zeros_like(sources[0]), sources[1]])
    accuracy = assignment_accuracy(sources, silent, RATE)
    assert np.isnan(accuracy[0]) and accuracy[1] == 1.0
    broken = np.vstack([sources, np.full_like(sources[:1], np.nan)])
    assert assignment_accuracy(broken, sources, RATE).tolist() == [1.0, 1.0]
    assert assignment_accuracy(silent, sources, RATE).tolist() == [0.0, 1.0]
    assert np.isnan(assignment_accuracy(sources[:, :-1], sources, RATE)).all()
    assert assignment_accuracy(sources[:, :100], sources[:, :100], RATE).tolist() == [1.0, 1.0]  # shorter than a window


def test_the_permutation_of_a_mixture_decides_which_output_is_a_source_s_own():
    sources = conversation("xaxb")
    rows = score(sources[::-1], sources, sources.sum(0) + 1e-3, RATE)
    assert [row["assignment_accuracy"] for row in rows] == [1.0, 1.0]
    assert rows[0]["permutation"] == "1,0"


def test_an_order_that_is_lost_shows_in_all_that_comes_after():
    sources = conversation("x" * 50, seconds=1.0)  # 10 s, 20 s and 20 s
    lost = sources.copy()
    lost[:, 20 * RATE :] = sources[::-1, 20 * RATE :]
    assert assignment_accuracy_over_time(sources, sources, RATE).tolist() == [[1.0, 1.0]] * 3
    assert assignment_accuracy_over_time(lost, sources, RATE).tolist() == [[1.0, 1.0], [0.5, 0.5], [0.0, 0.0]]
    assert assignment_accuracy_over_time(lost[::-1], sources, RATE).tolist() == [[1.0, 1.0], [0.5, 0.5], [0.0, 0.0]]
    rows = score(lost, sources, sources.sum(0) + 1e-3, RATE)
    assert rows[0]["permutation"] == "1,0" and [rows[0][name] for name in OVER_TIME] == [1.0, 0.5, 0.0]


@pytest.mark.filterwarnings("error")
def test_a_period_in_which_a_source_is_silent_is_missing():
    accuracy = assignment_accuracy_over_time(conversation("ab" * 6), conversation("ab" * 6), RATE)
    assert accuracy[:2].tolist() == [[1.0, 1.0]] * 2 and np.isnan(accuracy[2]).all()
    late = conversation("a" * 5 + "b")  # the second speaks after 10 s alone
    accuracy = assignment_accuracy_over_time(late, late, RATE)
    assert accuracy[0, 0] == accuracy[1, 1] == 1.0 and np.isnan([accuracy[0, 1], accuracy[1, 0]]).all()
    assert assignment_accuracy_over_time(late[:, :-1], late, RATE).shape == (len(PERIODS_S), 2)
    assert np.isnan(assignment_accuracy_over_time(late[:, :-1], late, RATE)).all()
