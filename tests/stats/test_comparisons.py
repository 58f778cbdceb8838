"""Paired comparisons of made scores, held against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audioslots.runtime.errors import InputError
from audioslots.stats.comparisons import compare_all_pairs, find_not_trained
from audioslots.stats.comparisons import compare_with_baseline as compare_frame
from audioslots.stats.intervals import holm
from audioslots.stats.summaries import summarise
from tests.reporting.made_results import make_scores as scores


def compare(frames: list[pd.DataFrame], baseline: str) -> pd.DataFrame:
    return compare_frame(pd.concat(frames, ignore_index=True), baseline)


def test_compare_finds_what_is_better_and_what_is_the_same() -> None:
    frames = [scores("base", 5.0), scores("better", 7.0), scores("same", 5.0), scores("worse", 4.0)]
    table = compare(frames, "base").set_index("variant")
    assert table["verdict"].to_dict() == {"better": "better", "same": "equivalent", "worse": "worse"}
    assert table.loc["better", "difference"] == pytest.approx(2, abs=0.1)
    assert table.loc["better", "low"] < 2 < table.loc["better", "high"]
    assert table.loc["better", "effect"] > 1 > abs(table.loc["same", "effect"])
    assert (table[["n", "speakers", "seeds", "missing"]] == [30, 6, 2, 0]).all(axis=None)
    assert (table["p_holm"] >= table["p"]).all()


def test_a_model_below_1_db_in_all_its_variants_has_no_verdict_but_not_trained() -> None:
    gains = {"base": 5.0, "failed": 0.2, "direct": 0.1}
    frame = pd.concat([scores(name, gain) for name, gain in gains.items()], ignore_index=True)
    models = {"base": "a", "failed": "b", "direct": "a"}
    failed = find_not_trained(summarise(frame), models)
    assert failed == {"failed"}
    table = compare_frame(frame, "base", not_trained=failed).set_index("variant")
    assert table["verdict"].to_dict() == {"failed": "not trained", "direct": "worse"}


def test_what_is_not_trained_is_paired_with_every_seed() -> None:
    table = compare([scores("a", 5.0), scores("mixture", 0.0, (0,), ("none",))], "mixture")
    assert table["seeds"].tolist() == [2]


def test_a_baseline_alone_is_compared_with_nothing() -> None:
    table = compare([scores("base", 5.0)], "base")
    assert table.empty and "verdict" in table


def test_missing_differences_are_counted() -> None:
    broken = scores("a", 5.0)
    broken.loc[(broken["stitching"] == "blind") & (broken["seed"] == 1), "si_sdri_db"] = np.nan
    (row,) = compare([scores("base", 4.0), broken], "base").itertuples()
    assert row.missing == 30 and row.n == 30 and row.verdict == "better"


def test_all_pairs_are_corrected_for_their_number() -> None:
    frames = [scores("base", 5.0), scores("better", 7.0), scores("same", 5.0)]
    table = compare_all_pairs(pd.concat(frames, ignore_index=True))
    assert table[["variant", "baseline"]].to_numpy().tolist() == [
        ["better", "base"],
        ["same", "base"],
        ["same", "better"],
    ]
    assert table["verdict"].tolist() == ["better", "equivalent", "worse"]
    np.testing.assert_allclose(table["p_holm"], holm(table["p"].to_numpy()))


def test_the_effect_is_the_difference_in_its_standard_deviations_over_mixtures() -> None:
    base, other = scores("base", 5.0), scores("other", 6.0)
    (row,) = compare([base, other], "base").itertuples()
    means = [f[f["stitching"] == "blind"].groupby("mixture_id")["si_sdri_db"].mean() for f in (other, base)]
    difference = means[0] - means[1]
    assert row.effect == pytest.approx(difference.mean() / difference.std())


def test_of_two_speakers_alone_no_difference_can_be_shown() -> None:
    frames = [scores(name, gain) for name, gain in (("base", 1.0), ("better", 5.0))]
    pair = [frame[frame["mixture_id"].str.contains("^1089.*_121")] for frame in frames]
    (row,) = compare(pair, "base").itertuples()
    assert row.difference == pytest.approx(4, abs=1) and row.verdict == ""
    assert np.isnan([row.low, row.high, row.p, row.p_holm]).all() and (row.n, row.speakers) == (2, 2)


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
        compare(frames, "base")
