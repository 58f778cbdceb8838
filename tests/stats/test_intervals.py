"""Intervals held against values worked by hand, against sums over all pairs of scores, and at their limits."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from audioslots.stats.intervals import Estimate, Mixtures, holm

PAIRS = list(combinations("abcdef", 2))


def test_holm_against_values_worked_by_hand():
    # Sorted: 0.005 x 4 = 0.02, 0.01 x 3 = 0.03, 0.03 x 2 = 0.06, 0.04 x 1 = 0.04, raised to 0.06.
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1.0, 1.0])
    np.testing.assert_allclose(holm(np.array([0.01, 0.04]), family=6), [0.06, 0.2])
    np.testing.assert_allclose(holm(np.array([0.02, np.nan, 0.03])), [0.04, np.nan, 0.04])


def one(values: np.ndarray, speakers=PAIRS) -> Estimate:
    """Of (seeds, mixtures)."""
    found = Mixtures(speakers).estimate(values[..., None])
    return Estimate(found.mean[0], found.low[0], found.high[0], found.p[0])


def width(found: Estimate) -> float:
    return float(found.high - found.low)


def test_where_no_speaker_recurs_it_is_the_t_test():
    values = np.random.default_rng(0).normal(1, 2, 12)
    found = one(values[None], [(f"a{k}", f"b{k}") for k in range(12)])
    known = stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(known.pvalue)
    np.testing.assert_allclose([found.low, found.high], known.confidence_interval(0.95))


def test_mixtures_of_the_same_speakers_count_as_one():
    values = np.random.default_rng(0).normal(1, 2, 12)
    found = one(np.repeat(values, 5)[None], [(f"a{k}", f"b{k}") for k in range(12) for _ in range(5)])
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_where_mixtures_do_not_matter_it_is_the_t_test_over_seeds():
    values = np.array([1.0, 1.4, 2.2])
    found = one(np.repeat(values[:, None], len(PAIRS), axis=1))
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_speakers_alone_against_values_worked_by_hand():
    """Every mixture of six speakers, scored by the sum of what each is worth: the variance of a mean is 4 s^2 / 6."""
    worth = dict(zip("abcdef", (1.0, 4.0, -2.0, 0.5, 3.0, -1.0), strict=True))
    found = one(np.array([[worth[a] + worth[b] for a, b in PAIRS]]))
    values = np.array(list(worth.values()))
    error = 2 * values.std(ddof=1) / np.sqrt(6)
    by_set = np.array([sum(pair) for pair in combinations(values, 2)]).var(ddof=1) / len(PAIRS)
    r = by_set / error**2
    freedom = 1 / ((1 - r**2) * (1 + r) ** 2 / 5 + r**2 / 14)
    assert found.mean == pytest.approx(2 * values.mean())
    assert width(found) == pytest.approx(2 * stats.t.ppf(0.975, freedom) * error)


@pytest.mark.parametrize("sizes", [(2,), (3,), (1, 2, 3, 4)])
def test_sums_by_speaker_are_those_over_all_pairs_of_mixtures(sizes):
    rng = np.random.default_rng(1)
    speakers = [tuple(rng.choice(list("abcdefgh"), rng.choice(sizes), replace=False)) for _ in range(40)]
    values = rng.normal(size=(40, 3))
    share = np.array([[bool(set(one) & set(other)) for other in speakers] for one in speakers])
    np.testing.assert_allclose(Mixtures(speakers)._by_speaker(values), np.einsum("mc,mn,nc->c", values, share, values))


def test_the_variance_is_minus_the_mean_product_of_scores_that_share_neither_speaker_nor_seed():
    """Also where some are missing."""
    rng = np.random.default_rng(2)
    worth = {name: rng.normal(0, 3) for name in "abcdef"}
    values = np.array([worth[a] + worth[b] for a, b in PAIRS]) + rng.normal(0, [[1], [2], [0]], (3, 1))
    values = values + rng.normal(0, 0.5, (3, len(PAIRS)))
    values[0, 3] = values[1, :2] = np.nan
    mean = np.nanmean(values)
    places = [place for place in product(range(3), range(len(PAIRS))) if np.isfinite(values[place])]
    products = [
        (values[one] - mean) * (values[other] - mean)
        for one, other in product(places, places)
        if one[0] != other[0] and not set(PAIRS[one[1]]) & set(PAIRS[other[1]])
    ]
    found = one(values)
    error = np.sqrt(-np.mean(products))
    t = stats.norm.isf(found.p / 2)  # at most as large as the t that gives this p
    assert found.mean == pytest.approx(mean) and t < abs(mean) / error
    for freedom in np.linspace(2, 7, 5001):
        if width(found) == pytest.approx(2 * stats.t.ppf(0.975, freedom) * error, rel=1e-3):
            break
    else:
        pytest.fail("no number of degrees of freedom makes this interval of this variance")


def test_speakers_that_recur_widen_the_interval():
    rng = np.random.default_rng(3)
    worth = {name: rng.normal() for name in "abcdef"}
    values = np.array([[worth[a] + worth[b] for a, b in PAIRS]])
    apart = [(f"{a}{k}", f"{b}{k}") for k, (a, b) in enumerate(PAIRS)]
    assert width(one(values)) > 1.4 * width(one(values, apart))


def test_seeds_that_differ_widen_the_interval_and_one_seed_is_taken_as_given():
    mixtures = np.random.default_rng(4).normal(0, 1, len(PAIRS))
    widths = [width(one(mixtures + shift * np.array([[-1.0], [0.0], [1.0]]))) for shift in (0.0, 1.0)]
    assert widths[0] == pytest.approx(width(one(mixtures[None])))
    assert widths[1] > 2 * widths[0]


def test_no_part_of_the_variance_is_cut_off_where_another_hides_it():
    """Seeds as near to each other as mixtures would make them by chance still count in full."""
    rng = np.random.default_rng(5)
    for _ in range(50):
        values = rng.normal(0, 1, (3, len(PAIRS)))
        assert width(one(values)) >= 2 * 1.96 * stats.sem(values.mean(axis=1))


@pytest.mark.parametrize("speakers", [[("a", "b")], [("a", "b")] * 4, [("a", "b"), ("a", "c"), ("b", "c")]])
def test_where_no_two_mixtures_are_independent_there_is_no_interval(speakers):
    found = one(np.arange(1.0, 1.0 + 2 * len(speakers)).reshape(2, -1), speakers)
    assert found.mean > 0 and np.isnan([found.low, found.high, found.p]).all()


def test_no_value_at_all_has_no_mean():
    found = one(np.full((2, len(PAIRS)), np.nan))
    assert np.isnan([found.mean, found.low, found.high, found.p]).all()


def test_a_seed_or_a_speaker_without_any_value_is_left_out():
    values = np.random.default_rng(6).normal(5, 1, (3, len(PAIRS)))
    values[1] = np.nan
    assert one(values) == one(values[[0, 2]])
    without = [k for k, pair in enumerate(PAIRS) if "f" not in pair]
    missing = np.full_like(values, np.nan)
    missing[:, without] = values[:, without]
    kept = one(values[:, without], [PAIRS[k] for k in without])
    np.testing.assert_allclose(
        [one(missing).low, one(missing).high, one(missing).p], [kept.low, kept.high, kept.p], rtol=1e-9
    )


def test_columns_do_not_touch_each_other():
    values = np.random.default_rng(7).normal(size=(3, len(PAIRS), 4))
    values[0, :5, 1] = np.nan
    together = Mixtures(PAIRS).estimate(values)
    for k in range(4):
        assert together.low[k] == pytest.approx(one(values[..., k]).low)


def test_constant_scores_are_certain():
    same = one(np.zeros((2, len(PAIRS))))
    assert (same.low, same.high, same.p) == (0, 0, 1)
    apart = one(np.full((2, len(PAIRS)), 2.0))
    assert (apart.low, apart.high, apart.p) == (2, 2, 0)
