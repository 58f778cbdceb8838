"""Means and intervals of made scores, held against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_results import scores

from audioslots.errors import InputError
from audioslots.reporting import statistics


def test_a_resample_draws_pairs_with_all_their_mixtures():
    """Two pairs, 0 and 0 dB against 3 and 9 dB: every resampled mean is that of the pairs drawn."""
    values = np.array([0.0, 0.0, 3.0, 9.0])[None, :, None]
    (means,) = statistics.bootstrap([values], np.array(["a", "a", "b", "b"]), 500)
    np.testing.assert_allclose(np.unique(means), [0.0, 3.0, 6.0])


def test_pairs_of_unequal_size_weigh_by_their_mixtures():
    (means,) = statistics.bootstrap([np.array([0.0, 0.0, 4.0])[None, :, None]], np.array(["a", "a", "b"]), 500)
    np.testing.assert_allclose(np.unique(means), [0.0, 4 / 3, 4.0])


def test_resamples_are_the_same_every_time_and_in_any_company():
    rng = np.random.default_rng(5)
    values, other, groups = rng.normal(size=(3, 300, 1)), rng.normal(size=(2, 300, 2)), np.repeat(np.arange(100), 3)
    (once,) = statistics.bootstrap([values], groups, 200)
    _, again = statistics.bootstrap([other, values], groups, 200)
    assert once.shape == (200, 1)
    np.testing.assert_allclose(once, again)


def test_blocks_bound_the_memory_and_change_no_shape(monkeypatch):
    monkeypatch.setattr(statistics, "_CELLS", 1000)
    (means,) = statistics.bootstrap([np.ones((1, 300, 1))], np.repeat(np.arange(100), 3), 105)
    assert means.shape == (105, 1) and (means == 1).all()


def test_a_seed_without_any_value_is_left_out():
    values = np.random.default_rng(0).normal(5, 1, (3, 40, 1))
    without = values.copy()
    without[1] = np.nan
    (means,), (two,) = (statistics.bootstrap([v], np.arange(40), 300) for v in (without, values[[0, 2]]))
    np.testing.assert_allclose(means, two)


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


def test_the_best_is_marked_and_what_ties_with_it():
    frames = [scores("a", 5.0), scores("same", 5.0), scores("worse", 4.0), scores("oracle-psm", 12.0, (0,), ("none",))]
    summary = statistics.summarise(pd.concat(frames, ignore_index=True), resamples=500)
    standings = summary.set_index(["variant", "stitching"])["si_sdri_db_standing"]
    assert sorted(standings[["a", "same"]].xs("blind", level=1)) == ["best", "tied"]
    assert (standings.drop([("a", "blind"), ("same", "blind")]) == "").all()


@pytest.mark.parametrize("column", ["variant", "seed", "mixture_id", "source", "speaker_id"])
def test_rows_that_do_not_say_what_they_are_of_are_refused(column):
    frame = scores("a", 5.0, stitchings=("blind",)).astype({"seed": object, "source": object})
    frame.loc[3, column] = None
    with pytest.raises(InputError, match=f"{column}: missing in some rows"):
        statistics.per_mixture(frame)
