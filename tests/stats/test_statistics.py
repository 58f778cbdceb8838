"""Means and intervals of made scores, held against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_results import scores

from audioslots.runtime.errors import InputError
from audioslots.stats import comparisons
from audioslots.stats import summaries as statistics


def test_sources_are_averaged_to_mixtures_before_anything_else():
    frame = scores("a", 5.0, seeds=(1,), stitchings=("blind",))
    means = statistics.per_mixture(frame)
    assert len(means) == frame["mixture_id"].nunique()
    first = frame[frame["mixture_id"] == frame["mixture_id"].iloc[0]]
    assert means["pesq"].iloc[0] == pytest.approx(first["pesq"].mean())
    assert statistics.speakers_of(frame).iloc[0] == ("1089", "121")


def test_speakers_are_the_same_in_either_order():
    frame = scores("a", 5.0, seeds=(1,), stitchings=("blind",), per_pair=1).iloc[:4].copy()
    frame["speaker_id"] = ["2", "10", "10", "2"]
    assert statistics.speakers_of(frame).nunique() == 1


def test_missing_values_are_left_out_and_counted():
    frame = scores("a", 5.0, stitchings=("blind",))
    frame.loc[0, ["pesq", "failure"]] = [np.nan, "pesq: no utterance"]
    frame.loc[3, "si_sdri_db"] = np.inf
    (row,) = statistics.summarise(frame).itertuples()
    assert (row.n, row.seeds, row.failures) == (30, 2, 1)
    assert (row.pesq_missing, row.si_sdri_db_missing, row.stoi_missing) == (1, 1, 0)
    kept = statistics.per_mixture(frame)["pesq"].dropna()
    assert len(kept) == 59 and row.pesq == pytest.approx(kept.mean())
    assert row.pesq_low < row.pesq < row.pesq_high


def test_a_metric_without_any_value_is_missing_and_not_zero():
    frame = scores("a", 5.0, stitchings=("blind",)).assign(pesq=np.nan)
    (row,) = statistics.summarise(frame).itertuples()
    assert np.isnan([row.pesq, row.pesq_low, row.pesq_high]).all()
    assert row.pesq_missing == 60


def test_the_best_is_marked_and_what_ties_with_it():
    frames = [scores("a", 5.0), scores("same", 5.0), scores("worse", 4.0), scores("oracle-psm", 12.0, (0,), ("none",))]
    summary = statistics.summarise(pd.concat(frames, ignore_index=True))
    standings = summary.set_index(["variant", "stitching"])["si_sdri_db_standing"]
    assert sorted(standings[["a", "same"]].xs("blind", level=1)) == ["best", "tied"]
    assert (standings.drop([("a", "blind"), ("same", "blind")]) == "").all()


def test_ties_are_corrected_for_the_number_of_rows():
    """A row that on its own is below the best is not among forty that are as good as the best."""
    best, below = scores("best", 5.0), scores("below", 4.7)
    p = comparisons.compare([best, below], "best")["p"].item()
    assert 0.05 / 41 < p < 0.05

    def standing(*frames: pd.DataFrame) -> str:
        summary = statistics.summarise(pd.concat([best, below, *frames], ignore_index=True), ["si_sdri_db"])
        return summary.set_index(["variant", "stitching"]).loc[("below", "blind"), "si_sdri_db_standing"]

    assert standing() == "" and standing(*(best.assign(variant=f"v{k}") for k in range(40))) == "tied"


def test_rows_of_other_seeds_are_compared_with_the_best_too():
    frames = [scores("a", 5.0, (1, 2, 3)), scores("same", 5.0, (3,)), scores("worse", 3.0, (7, 8))]
    summary = statistics.summarise(pd.concat(frames, ignore_index=True), ["si_sdri_db"])
    blind = summary[summary["stitching"] == "blind"].set_index("variant")["si_sdri_db_standing"]
    assert sorted(blind[["a", "same"]]) == ["best", "tied"] and blind["worse"] == ""


def test_without_an_interval_nothing_is_shown_to_be_below_the_best():
    frames = [scores(name, gain, stitchings=("blind",)).iloc[:2] for name, gain in (("a", 5.0), ("b", 1.0))]
    summary = statistics.summarise(pd.concat(frames), ["si_sdri_db"])
    assert summary["si_sdri_db_standing"].tolist() == ["best", "tied"] and summary["si_sdri_db_low"].isna().all()


def test_one_source_of_a_mixture_is_correlated_by_both_its_speakers():
    """A breakdown may hold one source alone; its score depends on the other speaker all the same."""
    frame = scores("a", 5.0, seeds=(1,), stitchings=("blind",))
    part = frame[frame["source"] == 1]
    alone = statistics.summarise(part, ["si_sdri_db"])
    whole = statistics.summarise(part, ["si_sdri_db"], statistics.speakers_of(frame))
    assert alone["si_sdri_db"].item() == whole["si_sdri_db"].item()
    assert alone["si_sdri_db_low"].item() != whole["si_sdri_db_low"].item()


@pytest.mark.parametrize("column", ["variant", "seed", "mixture_id", "source", "speaker_id"])
def test_rows_that_do_not_say_what_they_are_of_are_refused(column):
    frame = scores("a", 5.0, stitchings=("blind",)).astype({"seed": object, "source": object})
    frame.loc[3, column] = None
    with pytest.raises(InputError, match=f"{column}: missing in some rows"):
        statistics.per_mixture(frame)
