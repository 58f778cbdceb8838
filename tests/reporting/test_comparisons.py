"""Paired comparisons of made scores, held against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_results import scores

from audioslots.errors import InputError
from audioslots.reporting import comparisons


def test_holm_against_values_worked_by_hand():
    # Sorted: 0.005 x 4 = 0.02, 0.01 x 3 = 0.03, 0.03 x 2 = 0.06, 0.04 x 1 = 0.04, raised to 0.06.
    np.testing.assert_allclose(comparisons.holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(comparisons.holm(np.array([0.9, 0.8])), [1.0, 1.0])
    np.testing.assert_allclose(comparisons.holm(np.array([0.02, np.nan, 0.03])), [0.04, np.nan, 0.04])


def test_signed_rank_against_values_worked_by_hand():
    # Ranks of the absolute differences 1 2 3 4 5, negative at rank 2: (13 - 2) / 15; W = 2, exact p = 2 x 3 / 32.
    p, effect = comparisons.signed_rank(np.array([0.1, -0.2, 0.3, 0.4, 0.5]))
    assert effect == pytest.approx(11 / 15)
    assert p == pytest.approx(6 / 32)
    assert comparisons.signed_rank(np.zeros(4)) == (1.0, 0.0)
    assert np.isnan(comparisons.signed_rank(np.array([]))).all()


def test_compare_finds_what_is_better_and_what_is_the_same():
    frames = [scores("base", 5.0), scores("better", 7.0), scores("same", 5.0), scores("worse", 4.0)]
    table = comparisons.compare(frames, "base", resamples=500).set_index("variant")
    assert table["verdict"].to_dict() == {"better": "better", "same": "no difference shown", "worse": "worse"}
    assert table.loc["better", "difference"] == pytest.approx(2, abs=0.1)
    assert table.loc["better", "low"] < 2 < table.loc["better", "high"]
    assert table.loc["better", "effect"] == 1
    assert (table[["n", "speaker_pairs", "seeds", "missing"]] == [30, 15, 2, 0]).all(axis=None)
    assert (table["p_holm"] >= table["p"]).all()


def test_what_is_not_trained_is_paired_with_every_seed():
    table = comparisons.compare([scores("a", 5.0), scores("mixture", 0.0, (0,), ("none",))], "mixture", resamples=50)
    assert table["seeds"].tolist() == [2]


def test_a_baseline_alone_is_compared_with_nothing():
    table = comparisons.compare(scores("base", 5.0), "base", resamples=50)
    assert table.empty and "verdict" in table


def test_missing_differences_are_counted():
    broken = scores("a", 5.0)
    broken.loc[(broken["stitching"] == "blind") & (broken["seed"] == 1), "si_sdri_db"] = np.nan
    (row,) = comparisons.compare([scores("base", 4.0), broken], "base", resamples=50).itertuples()
    assert row.missing == 30 and row.n == 30 and row.verdict == "better"


def test_all_pairs_are_corrected_for_their_number():
    frames = [scores("base", 5.0), scores("better", 7.0), scores("same", 5.0)]
    table = comparisons.pairwise(frames, resamples=300)
    assert table[["variant", "baseline"]].to_numpy().tolist() == [
        ["better", "base"],
        ["same", "base"],
        ["same", "better"],
    ]
    assert table["verdict"].tolist() == ["better", "no difference shown", "worse"]
    np.testing.assert_allclose(table["p_holm"], comparisons.holm(table["p"].to_numpy()))


def made_ranks(*gains: float) -> comparisons.Ranks | None:
    return comparisons.rank([scores(f"v{place}", gain) for place, gain in enumerate(gains)])


def test_ranks_against_values_worked_by_hand():
    ranks = made_ranks(3.0, 9.0, 6.0)
    assert ranks is not None
    assert ranks.mean.to_dict() == {"v1": 1.0, "v2": 2.0, "v0": 3.0} and ranks.speaker_pairs == 15
    # Demsar 2006, table 5: q at 5 % for three is 2.343; times the root of 3 x 4 / (6 x 15).
    assert ranks.critical_difference == pytest.approx(2.343 * np.sqrt(12 / 90), abs=1e-3)
    assert ranks.p == pytest.approx(np.exp(-30 / 2)), "chi-squared 30 with two degrees of freedom"
    assert ranks.tied_with("v1") == [] and not ranks.tied_with("v0")


def test_variants_that_are_alike_share_a_rank():
    same = [scores("a", 5.0)] + [scores("a", 5.0).assign(variant=name) for name in "bc"]
    ranks = comparisons.rank(same)
    assert ranks is not None
    assert ranks.mean.tolist() == [2.0] * 3 and ranks.p == 1.0 and ranks.tied_with("b") == ["a", "c"]


def test_fewer_than_three_variants_have_no_ranks():
    assert made_ranks(1.0, 2.0) is None


def test_speaker_pairs_without_values_of_all_are_not_ranked():
    broken = scores("b", 5.0)
    broken.loc[broken["speaker_id"] == "121", "si_sdri_db"] = np.nan
    ranks = comparisons.rank([scores("a", 5.0), broken, scores("c", 4.0)])
    assert ranks is not None and ranks.speaker_pairs == 10


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
        comparisons.compare(frames, "base", resamples=10)
