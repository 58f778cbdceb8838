"""Intervals and tests do what they promise, by simulation: coverage, false alarms, and differences found.

A paired difference varies by seed, by speaker pair, by mixture, and by mixture and seed together. The spreads are near
those of the committed reference results: between two of its variants 2 dB over mixtures, 1 dB over mixtures and seeds.
Tolerances are those of the project: of 95 % intervals 92 to 98 % hold the truth, of comparisons of equals 3 to 7 % are
significant. Random seeds are fixed.
"""

from __future__ import annotations

import numpy as np
import pytest

from audioslots.reporting import comparisons, statistics

REPEATS = 400


def simulate(
    rng: np.random.Generator, seeds: int, pairs: int, per_pair: int, shift: float, by_seed: float, residual: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Paired differences (seeds, mixtures, 1) in dB, and the speaker pair of each mixture."""
    groups = np.repeat(np.arange(pairs), per_pair)
    values = shift + rng.normal(0, by_seed, (seeds, 1)) + rng.normal(0, 1.4, pairs)[groups]
    values = values + rng.normal(0, 1.4, len(groups)) + rng.normal(0, residual, (seeds, len(groups)))
    return values[..., None], groups


def judged(values: np.ndarray, groups: np.ndarray, truth: float, resamples: int = 400) -> tuple[bool, bool, bool]:
    """Whether the interval holds the truth; whether Wilcoxon's test is significant; whether it comes to a verdict."""
    (means,) = statistics.bootstrap([values], groups, resamples)
    (low,), (high,) = statistics.interval(means)
    p, _ = comparisons.signed_rank(comparisons.pair_means(values[..., 0], groups))
    return low <= truth <= high, p < 0.05, p < 0.05 and not low <= 0 <= high


@pytest.mark.parametrize("by_seed", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(("seeds", "per_pair"), [(3, 2), (5, 4), (1, 2)])
def test_the_interval_covers_the_true_mean_in_92_to_98_percent(seeds, per_pair, by_seed):
    """However much seeds differ; where there is one seed, it is taken as given."""
    rng = np.random.default_rng([1, seeds, round(10 * by_seed)])
    spread = by_seed if seeds > 1 else 0.0
    covered = []
    for _ in range(REPEATS):
        values, groups = simulate(rng, seeds, 60, per_pair, 5.0, spread)
        (means,) = statistics.bootstrap([values], groups, 400)
        (low,), (high,) = statistics.interval(means)
        covered.append(low <= 5.0 <= high)
    assert 0.92 <= np.mean(covered) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("by_seed", [0.0, 0.5])
def test_an_a_a_comparison_is_significant_in_3_to_7_percent(by_seed):
    """A verdict needs the interval and Wilcoxon's test; the latter alone does not know of the seeds."""
    rng = np.random.default_rng([2, round(10 * by_seed)])
    found = np.array([judged(*simulate(rng, 3, 60, 2, 0.0, by_seed, 0.3), 0.0) for _ in range(800)])
    _, wilcoxon, verdict = found.mean(axis=0)
    assert 0.03 <= verdict <= 0.07
    if by_seed:
        assert wilcoxon > 0.15
    else:
        assert 0.03 <= wilcoxon <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "by_seed"), [(3, 0.05), (5, 0.1)])
def test_a_true_difference_of_0_3_db_is_found_at_the_official_size(seeds, by_seed):
    """3,000 mixtures of 40 speakers: found nearly always, unless seeds differ by more than this.

    Three seeds that differ by 0.08 dB already hide it one time in three: an interval over three seeds is that wide.
    """
    rng = np.random.default_rng(3)
    found = [judged(*simulate(rng, seeds, 750, 4, 0.3, by_seed), 0.3, 200)[2] for _ in range(80)]
    assert np.mean(found) >= 0.8


def test_few_seeds_that_differ_widen_the_interval():
    values, groups = simulate(np.random.default_rng(4), 3, 40, 2, 0.0, 0.0)
    widths = []
    for shift in (0.0, 1.0):
        apart = values + shift * np.array([-1.0, 0.0, 1.0])[:, None, None]
        (means,) = statistics.bootstrap([apart], groups, 500)
        low, high = statistics.interval(means)
        widths.append(high[0] - low[0])
    assert widths[1] > 3 * widths[0]
