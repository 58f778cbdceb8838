"""Breakdowns: every source in one part, the same part for every run, and the worst speakers named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_results import scores

from audioslots.reporting import breakdown, published


def two() -> pd.DataFrame:
    return pd.concat([scores("a", 5.0), scores("b", 6.0)], ignore_index=True)


TITLES = {"a": "The a", "b": "The b"}


def test_pairs_show_a_part_a_column_with_its_size():
    frame = two()
    table = breakdown.by_pair(frame[frame["pair"] != "MM"], TITLES)
    assert [column.heading for column in table.columns] == ["Variant", "Stitching", "FF", "FM"]
    assert "FF: 6, FM: 18" in table.caption


def test_mixtures_without_known_sexes_are_a_part_of_their_own():
    frame = two()
    frame.loc[frame["mixture_id"] == frame["mixture_id"].iloc[0], "pair"] = ""
    assert breakdown.by_pair(frame, TITLES).columns[-1].heading == "unknown"


def test_durations_are_cut_at_fixed_edges():
    table = breakdown.by_duration(two(), TITLES)
    assert [column.heading for column in table.columns[2:]] == ["below 4", "4 to 6"]
    assert "below 4: 15, 4 to 6: 15" in table.caption


def test_assignment_accuracy_along_recordings_is_of_the_long_ones_alone():
    frame = two().assign(
        assignment_accuracy_from_0_s=0.9, assignment_accuracy_from_10_s=np.nan, assignment_accuracy_from_30_s=np.nan
    )
    assert breakdown.over_time(frame, TITLES) is None
    long = frame["mixture_id"] == frame["mixture_id"].iloc[0]
    frame.loc[
        long, ["assignment_accuracy_from_0_s", "assignment_accuracy_from_10_s", "assignment_accuracy_from_30_s"]
    ] = 1.0, 0.8, 0.6
    table = breakdown.over_time(frame, TITLES)
    assert table is not None and "Number of mixtures: 1." in table.caption
    assert [column.heading for column in table.columns[2:]] == ["0 to 10 s", "10 to 30 s", "30 to the end"]
    assert [cell.value for cell in table.cells()[0][2:]] == [1.0, 0.8, 0.6]


def test_a_part_by_input_holds_the_means_of_its_sources_alone():
    frame = two()
    frame["input_si_sdr_db"] = np.where(frame["source"] == 1, -6.0, 6.0)
    frame["si_sdri_db"] = np.where(frame["source"] == 1, 8.0, 2.0)
    row = breakdown.by_input(frame, TITLES).data.iloc[0]
    assert row["below_-5_si_sdri_db"] == pytest.approx(8.0) and row["from_5_si_sdri_db"] == pytest.approx(2.0)


def test_a_run_whose_input_differs_by_rounding_stays_in_the_same_part():
    frame = two().assign(input_si_sdr_db=0.0)
    frame.loc[frame["variant"] == "b", "input_si_sdr_db"] = -1e-9
    assert [column.heading for column in breakdown.by_input(frame, TITLES).columns[2:]] == ["0 to 5"]


def test_the_best_of_a_part_is_marked():
    table = breakdown.by_duration(two(), TITLES)
    assert [[cell.bold for cell in row[2:]] for row in table.cells()] == [[False] * 2] * 2 + [[True] * 2, [False] * 2]


def test_the_worst_speakers_come_first_and_rows_stitched_with_the_references_do_not_count():
    frame = scores("a", 5.0)
    frame.loc[(frame["speaker_id"] == "237") & (frame["stitching"] == "blind"), "si_sdri_db"] = -20.0
    frame.loc[(frame["speaker_id"] == "260") & (frame["stitching"] == "oracle"), "si_sdri_db"] = -90.0
    table = breakdown.worst_speakers(frame, TITLES)
    assert table.cells()[0][1].text == "−20.00 [237 F, 10]"
    assert table.data["worst_2_si_sdri_db"].iloc[0] > 3


def test_fewer_speakers_than_places_leave_cells_empty():
    frame = scores("a", 5.0)
    frame["speaker_id"] = np.where(frame["source"] == 1, "1", "2")
    assert breakdown.worst_speakers(frame, TITLES).cells()[0][3].text == "–"


def test_input_curves_have_as_many_sources_in_each_part():
    curves = breakdown.input_curves(two(), parts=4)
    assert curves.groupby("variant").size().to_dict() == {"a": 4, "b": 4}
    assert curves[curves["variant"] == "a"]["input_si_sdr_db"].is_monotonic_increasing


def test_each_published_figure_has_a_system_a_rate_and_a_source():
    data = published.published().data
    assert data[["system", "trained_on", "rate_hz", "si_sdri_db", "read_in"]].notna().all(axis=None)
    assert data["url"].str.startswith("https://").all()
    assert set(data["rate_hz"]) == {8000, 16000} and not data.duplicated().any()


def test_published_figures_are_ordered_by_rate_split_and_si_sdri():
    data = published.published().data
    splits = data["trained_on"].map({"train-100": 0, "train-360": 1, "not stated": 2})
    keys = list(zip(data["rate_hz"], splits, data["si_sdri_db"], strict=True))
    assert splits.notna().all() and keys == sorted(keys)


def test_the_caption_of_published_figures_says_that_the_paper_is_not_among_them():
    table = published.published()
    assert not table.data["system"].str.contains("AudioSlots").any()
    assert table.caption.endswith(
        "This project has not read the AudioSlots paper's own table of results, so the table lists no figure of it."
    )
