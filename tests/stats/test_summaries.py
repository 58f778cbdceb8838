"""Means, intervals and standings of made scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audioslots.runtime.errors import InputError
from audioslots.stats.comparisons import compare_with_baseline
from audioslots.stats.summaries import average_sources, collect_speakers, summarise
from tests.reporting.made_results import make_scores


def find_standings(*frames: pd.DataFrame, **options) -> dict[str, str]:
    """Variant -> standing of its blind rows in SI-SDRi."""
    summary = summarise(pd.concat(frames, ignore_index=True), **options)
    return summary[summary["stitching"] == "blind"].set_index("variant")["si_sdri_db_standing"].to_dict()


def test_sources_are_averaged_to_mixtures_of_sorted_speakers() -> None:
    frame = make_scores("a", 5.0, seeds=(1,), stitchings=("blind",))
    means = average_sources(frame, ["pesq"])
    assert len(means) == frame["mixture_id"].nunique()
    first = frame[frame["mixture_id"] == frame["mixture_id"].iloc[0]]
    assert means["pesq"].iloc[0] == pytest.approx(first["pesq"].mean())
    frame.loc[[0, 1], "speaker_id"] = ["2", "10"]
    assert collect_speakers(frame).iloc[0] == ("10", "2")


def test_missing_values_are_left_out_and_counted() -> None:
    frame = make_scores("a", 5.0, stitchings=("blind",)).assign(stoi=np.nan)
    frame.loc[0, ["pesq", "failure"]] = [np.nan, "pesq: no utterance"]
    frame.loc[3, "si_sdri_db"] = np.inf
    (row,) = summarise(frame, ["si_sdri_db", "pesq", "stoi"]).itertuples()
    assert (row.n, row.seeds, row.failures) == (30, 2, 1)
    assert (row.pesq_missing, row.si_sdri_db_missing, row.stoi_missing) == (1, 1, 60)
    kept = average_sources(frame, ["pesq"])["pesq"].dropna()
    assert len(kept) == 59 and row.pesq == pytest.approx(kept.mean())
    assert row.pesq_low < row.pesq < row.pesq_high and np.isnan([row.stoi, row.stoi_low, row.stoi_high]).all()


def test_the_best_blind_row_is_marked_and_those_tied_with_it() -> None:
    """Also those of other seeds."""
    frames = [make_scores("a", 5.0, (1, 2, 3)), make_scores("same", 5.0, (3,)), make_scores("worse", 3.0, (7, 8))]
    standings = find_standings(*frames, make_scores("oracle-psm", 12.0, (0,), ("none",)))
    assert sorted([standings["a"], standings["same"]]) == ["best", "tied"] and standings["worse"] == ""
    lowest = find_standings(*frames, lower_is_better=["si_sdri_db"])
    assert lowest == {"a": "", "same": "", "worse": "best"}


def test_ties_are_corrected_for_the_number_of_rows() -> None:
    """A row that on its own is below the best is not among forty that are as good as the best."""
    best, below = make_scores("best", 5.0), make_scores("below", 4.7)
    p = compare_with_baseline(pd.concat([best, below]), "best")["p"].item()
    assert 0.05 / 41 < p < 0.05
    assert find_standings(best, below)["below"] == ""
    assert find_standings(best, below, *(best.assign(variant=f"v{k}") for k in range(40)))["below"] == "tied"


def test_without_an_interval_nothing_is_shown_to_be_below_the_best() -> None:
    frames = [make_scores(name, gain, stitchings=("blind",)).iloc[:2] for name, gain in (("a", 5.0), ("b", 1.0))]
    assert find_standings(*frames) == {"a": "best", "b": "tied"}


def test_one_source_of_a_mixture_is_correlated_by_both_its_speakers() -> None:
    """A breakdown may hold only one source; its score depends on the other speaker all the same."""
    frame = make_scores("a", 5.0, seeds=(1,), stitchings=("blind",))
    rows = frame[frame["source"] == 1]
    alone, whole = summarise(rows), summarise(rows, speakers=collect_speakers(frame))
    assert alone["si_sdri_db"].item() == whole["si_sdri_db"].item()
    assert alone["si_sdri_db_low"].item() != whole["si_sdri_db_low"].item()


@pytest.mark.parametrize("column", ["variant", "seed", "mixture_id", "source", "speaker_id"])
def test_rows_without_a_key_are_refused(column: str) -> None:
    frame = make_scores("a", 5.0, stitchings=("blind",)).astype({"seed": object, "source": object})
    frame.loc[3, column] = None
    with pytest.raises(InputError, match=f"{column}: missing in some rows"):
        average_sources(frame, ["pesq"])
