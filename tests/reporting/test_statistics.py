"""Means, intervals and comparisons: calibrated by simulation, held against numbers worked by hand."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from made_results import scores

from audioslots.errors import InputError
from audioslots.reporting import statistics


def simulate(rng: np.random.Generator, seeds: int, pairs: int, per_pair: int, shift: float = 0.0):
    """Paired differences (seeds, mixtures) that vary by seed, speaker pair and mixture, and the pairs."""
    groups = np.repeat(np.arange(pairs), per_pair)
    by_seed = rng.normal(0, 0.02, (seeds, 1))
    by_pair = rng.normal(0, 0.7, pairs)[groups]
    return shift + by_seed + by_pair + rng.normal(0, 0.7, (seeds, len(groups))), groups


def test_the_interval_covers_the_true_mean_in_92_to_98_percent():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        values, groups = simulate(rng, seeds=3, pairs=40, per_pair=2, shift=5.0)
        (means,) = statistics.bootstrap([values[..., None]], groups, resamples=300)
        low, high = statistics.interval(means)
        covered.append(low[0] <= 5.0 <= high[0])
    assert 0.92 <= np.mean(covered) <= 0.98


def test_few_seeds_that_differ_widen_the_interval():
    rng = np.random.default_rng(2)
    values, groups = simulate(rng, seeds=3, pairs=40, per_pair=2)
    apart = values + np.array([-1.0, 0.0, 1.0])[:, None]
    widths = []
    for array in (values, apart):
        (means,) = statistics.bootstrap([array[..., None]], groups, resamples=500)
        low, high = statistics.interval(means)
        widths.append(high[0] - low[0])
    assert widths[1] > 2 * widths[0]


def test_an_a_a_comparison_is_significant_in_3_to_7_percent():
    rng = np.random.default_rng(3)
    p = []
    for _ in range(1000):
        values, groups = simulate(rng, seeds=2, pairs=25, per_pair=2)
        p.append(statistics.signed_rank(statistics.pair_means(values, groups))[0])
    assert 0.03 <= np.mean(np.array(p) < 0.05) <= 0.07


def test_a_verdict_between_equal_variants_is_rare_even_where_seeds_differ():
    """Wilcoxon over speaker pairs alone would speak up in about 13 % here: it does not know of the seeds."""
    rng = np.random.default_rng(6)
    wrong = []
    for _ in range(300):
        values, groups = simulate(rng, seeds=3, pairs=40, per_pair=2)
        values = values + rng.normal(0, 0.2, (3, 1))
        (means,) = statistics.bootstrap([values[..., None]], groups, resamples=300)
        low, high = statistics.interval(means)
        p, _ = statistics.signed_rank(statistics.pair_means(values, groups))
        wrong.append(p < 0.05 and not low[0] <= 0 <= high[0])
    assert np.mean(wrong) <= 0.07


def test_a_true_difference_of_0_3_db_is_found_at_the_official_size():
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(20):
        values, groups = simulate(rng, seeds=3, pairs=780, per_pair=4, shift=0.3)
        (means,) = statistics.bootstrap([values[..., None]], groups, resamples=40)
        found += (
            bool(statistics.interval(means)[0][0] > 0)
            and statistics.signed_rank(statistics.pair_means(values, groups))[0] < 0.05
        )
    assert found >= 16


def test_the_bootstrap_is_quick_in_bounded_blocks_and_the_same_every_time(monkeypatch):
    values, groups = simulate(np.random.default_rng(5), seeds=3, pairs=100, per_pair=3)
    begun = time.perf_counter()
    (once,) = statistics.bootstrap([values[..., None]], groups)
    assert time.perf_counter() - begun < 10
    (again,) = statistics.bootstrap([values[..., None]], groups)
    assert once.shape == (10_000, 1)
    np.testing.assert_array_equal(once, again)
    monkeypatch.setattr(statistics, "_CELLS", 1000)
    (blocks,) = statistics.bootstrap([values[..., None]], groups, resamples=100)
    assert blocks.shape == (100, 1)


def test_every_resample_draws_as_many_mixtures_as_its_pairs_hold():
    groups = np.array(["a", "a", "b", "b", "c", "c"])
    weights = np.concatenate(list(statistics._mixture_weights(groups, 200, np.random.default_rng(0))))
    assert (weights.sum(axis=1) == 6).all()
    pairs = weights.reshape(200, 3, 2).sum(axis=2)
    assert set(np.unique(pairs)) <= {0, 2, 4, 6}, "mixtures are drawn within their pair"
    assert weights.mean() == pytest.approx(1, abs=0.05)


def test_holm_against_values_worked_by_hand():
    # Sorted: 0.005 x 4 = 0.02, 0.01 x 3 = 0.03, 0.03 x 2 = 0.06, 0.04 x 1 = 0.04, raised to 0.06.
    np.testing.assert_allclose(statistics.holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(statistics.holm(np.array([0.9, 0.8])), [1.0, 1.0])
    np.testing.assert_allclose(statistics.holm(np.array([0.02, np.nan, 0.03])), [0.04, np.nan, 0.04])


def test_signed_rank_against_values_worked_by_hand():
    # Ranks of the absolute differences 1 2 3 4 5, negative at rank 2: (13 - 2) / 15; W = 2, exact p = 2 x 3 / 32.
    p, effect = statistics.signed_rank(np.array([0.1, -0.2, 0.3, 0.4, 0.5]))
    assert effect == pytest.approx(11 / 15)
    assert p == pytest.approx(6 / 32)
    assert statistics.signed_rank(np.zeros(4)) == (1.0, 0.0)
    assert np.isnan(statistics.signed_rank(np.array([]))).all()


def test_sources_are_averaged_to_mixtures_before_anything_else():
    frame = scores("a", 5.0, seeds=(1,), stitchings=("blind",))
    means = statistics.per_mixture(frame)
    assert len(means) == frame["mixture_id"].nunique()
    first = frame[frame["mixture_id"] == frame["mixture_id"].iloc[0]]
    assert means["pesq"].iloc[0] == pytest.approx(first["pesq"].mean())
    assert means["speakers"].iloc[0] == "1089 121"


def test_a_speaker_pair_is_the_same_in_either_order():
    frame = scores("a", 5.0, seeds=(1,), stitchings=("blind",), per_pair=1).iloc[:4].copy()
    frame["speaker_id"] = ["2", "10", "10", "2"]
    assert statistics.per_mixture(frame)["speakers"].nunique() == 1


def test_missing_values_are_left_out_and_counted():
    frame = scores("a", 5.0, stitchings=("blind",))
    frame.loc[0, ["pesq", "failure"]] = [np.nan, "pesq: no utterance"]
    frame.loc[3, "si_sdri_db"] = np.inf
    (row,) = statistics.summarise(frame, resamples=50).itertuples()
    assert (row.n, row.seeds, row.failures) == (30, 2, 1)
    assert (row.pesq_missing, row.si_sdri_db_missing, row.stoi_missing) == (1, 1, 0)
    kept = statistics.per_mixture(frame)["pesq"].dropna()
    assert len(kept) == 59 and row.pesq == pytest.approx(kept.mean())
    assert row.pesq_low < row.pesq < row.pesq_high


def test_a_metric_without_any_value_is_missing_and_not_zero():
    frame = scores("a", 5.0, stitchings=("blind",)).assign(pesq=np.nan)
    (row,) = statistics.summarise(frame, resamples=50).itertuples()
    assert np.isnan([row.pesq, row.pesq_low, row.pesq_high]).all()
    assert row.pesq_missing == 60


def test_compare_finds_what_is_better_and_what_is_the_same():
    frames = [scores("base", 5.0), scores("better", 7.0), scores("same", 5.0), scores("worse", 4.0)]
    table = statistics.compare(frames, "base", resamples=500).set_index("variant")
    assert table["verdict"].to_dict() == {"better": "better", "same": "no difference shown", "worse": "worse"}
    assert table.loc["better", "difference"] == pytest.approx(2, abs=0.1)
    assert table.loc["better", "low"] < 2 < table.loc["better", "high"]
    assert table.loc["better", "effect"] == 1
    assert (table[["n", "speaker_pairs", "seeds", "missing"]] == [30, 15, 2, 0]).all(axis=None)
    assert (table["p_holm"] >= table["p"]).all()


def test_what_is_not_trained_is_paired_with_every_seed():
    table = statistics.compare([scores("a", 5.0), scores("mixture", 0.0, (0,), ("none",))], "mixture", resamples=50)
    assert table["seeds"].tolist() == [2]


def test_a_baseline_alone_is_compared_with_nothing():
    table = statistics.compare(scores("base", 5.0), "base", resamples=50)
    assert table.empty and "verdict" in table


def test_missing_differences_are_counted():
    broken = scores("a", 5.0)
    broken.loc[(broken["stitching"] == "blind") & (broken["seed"] == 1), "si_sdri_db"] = np.nan
    (row,) = statistics.compare([scores("base", 4.0), broken], "base", resamples=50).itertuples()
    assert row.missing == 30 and row.n == 30 and row.verdict == "better"


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([scores("a", 1), scores("b", 1).iloc[2:]], "'b' seed 1 .* lacks mixture 1089-134686-0000_121-121726-0000"),
        ([scores("a", 1).iloc[2:], scores("b", 1)], "'a' seed 1 .* lacks mixture"),
        ([scores("base", 1), scores("a", 1, seeds=(7,))], "no seed in common"),
        ([scores("base", 1), scores("base", 1)], "appears twice"),
        ([scores("a", 1)], "no scores of 'base'"),
        ([scores("base", 1).drop(columns="si_sdri_db")], "no column si_sdri_db"),
        ([pd.DataFrame(columns=scores("a", 1).columns)], "no rows"),
    ],
)
def test_what_cannot_be_compared_is_refused(frames, message):
    with pytest.raises(InputError, match=message):
        statistics.compare(frames, "base", resamples=10)
