"""The table of numbers of speakers, against one counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from audioslots.reporting.counting import counting, sentence

TRUE = {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3}
FOUND = {"a": 1, "b": 2, "c": 2, "d": 1, "e": 3}


def rows(stitching: str, seeds: tuple[int, ...] = (0, 1)) -> list[dict]:
    made = []
    for seed in seeds:
        for mixture, count in TRUE.items():
            for source in range(1, count + 1):
                lost = stitching == "counted" and source > FOUND[mixture]
                gain = {"blind": 6.0, "counted": 5.0, "oracle": 7.0, "every": 6.5}[stitching]
                made.append(
                    {
                        **{"variant": "v", "stitching": stitching, "seed": seed, "mixture_id": mixture},
                        **{"source": source, "speaker_id": f"{mixture}{source}", "failure": ""},
                        "si_sdri_db": np.nan if lost or count == 1 else gain,
                        "si_sdr_db": {"a": 30.0, "b": 20.0}.get(mixture, 5.0),
                        "leak_db": {"a": -40.0, "b": -15.0}.get(mixture, -3.0) if stitching == "every" else np.nan,
                        "outputs": FOUND[mixture] if stitching == "counted" else 4,
                    }
                )
    return made


def scores() -> pd.DataFrame:
    return pd.DataFrame([row for one in ("blind", "oracle", "counted", "every") for row in rows(one)])


def test_numbers_found_are_counted_by_true_number() -> None:
    table = counting(scores(), {"v": "V"})
    assert table is not None
    row = table.data.iloc[0]
    assert row["right"] == pytest.approx(3 / 5)
    assert [row[f"share_1_as_{k}"] for k in (1, 2, 3)] == [0.5, 0.5, 0.0]
    assert [row[f"share_2_as_{k}"] for k in (1, 2, 3)] == [0.5, 0.5, 0.0]
    assert [row[f"share_3_as_{k}"] for k in (1, 2, 3)] == [0.0, 0.0, 1.0]
    assert (row["known_si_sdri_db"], row["found_si_sdri_db"], row["too_few"]) == (6.0, 5.0, 2)
    assert (row["alone_si_sdr_db"], row["alone_leak_db"], row["alone_apart"]) == (25.0, -27.5, 0.5)
    text = table.markdown()
    assert (
        "1 (2), 2 (2) and 3 (1) speakers (mixtures)" in text and "| 50 / 50 / 0 | 50 / 50 / 0 | 0 / 0 / 100 |" in text
    )


def test_a_test_set_of_one_number_has_no_such_table() -> None:
    made = scores()
    assert counting(made[made["mixture_id"].isin(["c", "d"])], {"v": "V"}) is None
    assert counting(made[made["stitching"].isin(["blind", "oracle"])], {"v": "V"}) is None


def test_outputs_that_hold_nothing_are_apart_from_a_speaker() -> None:
    made = scores()
    made.loc[made["stitching"] == "every", "leak_db"] = np.nan
    table = counting(made, {"v": "V"})
    assert table is not None and table.data.iloc[0]["alone_apart"] == 1.0


def test_without_single_speakers_there_are_no_columns_of_them() -> None:
    made = scores()
    table = counting(made[~made["mixture_id"].isin(["a", "b"])], {"v": "V"})
    assert table is not None and not [column for column in table.columns if "One speaker" in column.heading]


def test_a_study_says_how_often_the_number_is_right_and_how_sure_that_is() -> None:
    better = scores().assign(variant="w")
    better.loc[better["stitching"] == "counted", "outputs"] = better["mixture_id"].map(TRUE)
    said = sentence(pd.concat([scores(), better]), "v", {"v": "Energy", "w": "Head"})
    assert said.startswith(
        " The number of speakers is found right in 60.0 % of the mixtures with “Energy” and in 100.0 %"
    )
    assert "with “Head” (no difference shown: +40.0 points, 95 % interval " in said
    made = scores()
    assert sentence(made[made["mixture_id"].isin(["c", "d"])], "v", {"v": "Energy"}) == ""
