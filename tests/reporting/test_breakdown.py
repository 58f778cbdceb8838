"""Breakdowns by condition: every source in one, the same one for every run; numbers of speakers counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audioslots.reporting.breakdown import (
    conclude_counting,
    tabulate_breakdowns,
    tabulate_counting,
    tabulate_over_time,
    tabulate_worst_speakers,
)
from audioslots.reporting.table import Table
from audioslots.scoring.metrics import OVER_TIME
from tests.reporting.made_results import make_scores

TITLES = {"a": "The a", "b": "The b"}
TRUE = {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3}
DETECTED = {"a": 1, "b": 2, "c": 2, "d": 1, "e": 3}


@pytest.fixture
def two() -> pd.DataFrame:
    return pd.concat([make_scores("a", 5.0), make_scores("b", 6.0)], ignore_index=True)


def break_down(frame: pd.DataFrame, name: str) -> tuple[Table, list[str]]:
    """A table, and the conditions it has columns of."""
    frame = frame.assign(**dict.fromkeys(OVER_TIME, np.nan))
    (table,) = [table for table in tabulate_breakdowns(frame, TITLES) if table.name == name]
    return table, [column.heading for column in table.columns[2:]]


def test_sexes_and_durations_have_a_column_each_with_its_size(two: pd.DataFrame) -> None:
    two = two[two["pair"] != "MM"].copy()
    table, conditions = break_down(two, "pairs")
    assert conditions == ["FF", "FM"] and "FF: 6, FM: 18" in table.caption
    two.loc[two["mixture_id"] == two["mixture_id"].iloc[0], "pair"] = ""
    assert break_down(two, "pairs")[1] == ["FF", "FM", "unknown"]
    table, conditions = break_down(two, "duration")
    assert conditions == ["below 4", "4 to 6"] and "below 4: 12, 4 to 6: 12" in table.caption
    assert [[cell.bold for cell in row[2:]] for row in table.cells()] == [[False] * 2] * 2 + [[True] * 2, [False] * 2]


def test_input_levels_hold_the_means_of_their_sources_only(two: pd.DataFrame) -> None:
    two["input_si_sdr_db"] = np.where(two["source"] == 1, -6.0, 5.0)
    two["si_sdri_db"] = np.where(two["source"] == 1, 8.0, 2.0)
    two.loc[two["variant"] == "b", "input_si_sdr_db"] -= 1e-9  # rounding on another machine moves no source
    table, conditions = break_down(two, "input")
    row = table.data.iloc[-1]
    assert conditions == ["below −5", "from 5"]
    assert row["below_-5_si_sdri_db"] == pytest.approx(8.0) and row["from_5_si_sdri_db"] == pytest.approx(2.0)


def test_assignment_accuracy_over_time_is_of_the_long_recordings_only(two: pd.DataFrame) -> None:
    periods = [f"assignment_accuracy_from_{start}_s" for start in (0, 10, 30)]
    two = two.assign(**dict(zip(periods, (0.9, np.nan, np.nan), strict=True)))
    assert tabulate_over_time(two, TITLES) is None
    two.loc[two["mixture_id"] == two["mixture_id"].iloc[0], periods] = 1.0, 0.8, 0.6
    table = tabulate_over_time(two, TITLES)
    assert table is not None and "mixtures: 1." in table.caption
    assert [column.heading for column in table.columns[2:]] == ["0 to 10 s", "10 to 30 s", "30 to the end"]
    assert [cell.value for cell in table.cells()[0][2:]] == [1.0, 0.8, 0.6]


def test_the_worst_speakers_are_those_of_blind_rows() -> None:
    frame = make_scores("a", 5.0)
    frame.loc[(frame["speaker_id"] == "237") & (frame["stitching"] == "blind"), "si_sdri_db"] = -20.0
    frame.loc[(frame["speaker_id"] == "260") & (frame["stitching"] == "oracle"), "si_sdri_db"] = -90.0
    table = tabulate_worst_speakers(frame, TITLES)
    assert table.cells()[0][1].text == "−20.00 [237 F, 10]"
    assert table.data["worst_2_si_sdri_db"].iloc[0] > 3
    frame["speaker_id"] = np.where(frame["source"] == 1, "1", "2")
    assert tabulate_worst_speakers(frame, TITLES).cells()[0][3].text == "–", "there are only two"


# --- numbers of speakers -------------------------------------------------------------------------------------------


@pytest.fixture
def counted() -> pd.DataFrame:
    rows = []
    for stitching, gain in {"blind": 6.0, "oracle": 7.0, "counted": 5.0, "every": 6.5}.items():
        for seed, (mixture, count) in ((seed, item) for seed in (0, 1) for item in TRUE.items()):
            for source in range(1, count + 1):
                is_lost = stitching == "counted" and source > DETECTED[mixture]
                rows.append(
                    {
                        **{"variant": "v", "stitching": stitching, "seed": seed, "mixture_id": mixture},
                        **{"source": source, "speaker_id": f"{mixture}{source}", "failure": ""},
                        "si_sdri_db": np.nan if is_lost or count == 1 else gain,
                        "si_sdr_db": {"a": 30.0, "b": 20.0}.get(mixture, 5.0),
                        "leak_db": {"a": -40.0, "b": -15.0}.get(mixture, -3.0) if stitching == "every" else np.nan,
                        "outputs": DETECTED[mixture] if stitching == "counted" else 4,
                    }
                )
    return pd.DataFrame(rows)


def test_numbers_of_speakers_are_counted_by_true_number(counted: pd.DataFrame) -> None:
    table = tabulate_counting(counted, {"v": "V"})
    assert table is not None
    row = table.data.iloc[0]
    assert row["correct"] == pytest.approx(3 / 5)
    shares = [[row[f"share_{true}_as_{k}"] for k in (1, 2, 3)] for true in (1, 2, 3)]
    assert shares == [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    assert (row["known_si_sdri_db"], row["counted_si_sdri_db"], row["too_few"]) == (6.0, 5.0, 2)
    assert (row["single_si_sdr_db"], row["single_leak_db"], row["single_quiet"]) == (25.0, -27.5, 0.5)
    text = table.to_markdown()
    assert "1 (2), 2 (2) and 3 (1) speakers (mixtures)" in text
    assert "| 50 / 50 / 0 | 50 / 50 / 0 | 0 / 0 / 100 |" in text


def test_silent_outputs_and_absent_single_speakers(counted: pd.DataFrame) -> None:
    silent = tabulate_counting(counted.assign(leak_db=np.nan), {"v": "V"})
    assert silent is not None and silent.data.iloc[0]["single_quiet"] == 1.0
    several = tabulate_counting(counted[~counted["mixture_id"].isin(["a", "b"])], {"v": "V"})
    assert several is not None and not [column for column in several.columns if "One speaker" in column.heading]


def test_without_several_numbers_nothing_is_counted(counted: pd.DataFrame) -> None:
    assert tabulate_counting(counted[counted["mixture_id"].isin(["c", "d"])], {"v": "V"}) is None
    assert tabulate_counting(counted[counted["stitching"].isin(["blind", "oracle"])], {"v": "V"}) is None
    assert conclude_counting(counted[counted["mixture_id"].isin(["c", "d"])], "v", {"v": "V"}) == ""


def test_a_study_concludes_how_often_the_number_is_correct(counted: pd.DataFrame) -> None:
    better = counted.assign(variant="w", outputs=counted["mixture_id"].map(TRUE))
    sentence = conclude_counting(pd.concat([counted, better]), "v", {"v": "Energy", "w": "Head"})
    assert sentence.startswith(
        " The number of speakers is correct in 60.0 % of the mixtures with “Energy” and in 100.0 % with “Head” "
        "(inconclusive: +40.0 points, 95 % interval "
    )
