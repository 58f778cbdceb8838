"""Conclusions: one readable sentence a study, the best first, and never more than what was shown."""

from __future__ import annotations

import pandas as pd
from made_results import scores

from audioslots.reporting import tables
from audioslots.stats import summaries as statistics
from audioslots.stats.verdicts import conclusion, headline

TITLES = {"base": "Base", "a": "A", "b": "B", "c": "C", "d": "D"}


def compared(**rows: tuple[float, float, float, float, str]) -> pd.DataFrame:
    columns = ["variant", "difference", "low", "high", "p_holm", "verdict"]
    return pd.DataFrame([(name, *row) for name, row in rows.items()], columns=columns)


def test_a_conclusion_is_one_sentence_with_the_best_first():
    frame = compared(
        a=(-0.5, -0.8, -0.2, 0.0123, "worse"),
        b=(1.25, 1.0, 1.5, 0.00001, "better"),
        c=(0.1, -0.2, 0.4, 0.4, "no difference shown"),
    )
    assert conclusion(frame, "base", TITLES) == (
        "Compared with “Base”, “B” is better by 1.25 dB SI-SDRi (95 % interval 1.00 to 1.50, p < 0.001); for “C” no "
        "difference is shown (+0.10 dB, 95 % interval −0.20 to 0.40, p = 0.400); “A” is worse by 0.50 dB SI-SDRi "
        "(95 % interval −0.80 to −0.20, p = 0.012)."
    )


def test_a_study_of_one_variant_concludes_nothing():
    assert conclusion(compared(), "base", TITLES) == "Nothing was compared with “Base”."


def test_missing_scores_are_no_verdict():
    nan = float("nan")
    words = conclusion(compared(a=(nan, nan, nan, nan, "no difference shown")), "base", TITLES)
    assert words == "Compared with “Base”, for “A” there is no score to compare."


def test_several_that_win_are_told_in_one_clause_and_those_alike_in_another():
    frame = compared(
        a=(0.02, -0.1, 0.15, 0.9, "no difference shown"),
        b=(0.8, 0.7, 0.9, 0.0001, "better"),
        c=(-0.03, -0.2, 0.1, 0.25, "no difference shown"),
        d=(1.25, 1.0, 1.5, 0.0001, "better"),
    )
    assert conclusion(frame, "base", TITLES) == (
        "Compared with “Base”, “D” is better by 1.25 dB SI-SDRi (95 % interval 1.00 to 1.50, p < 0.001) and “B” by "
        "0.80 dB (0.70 to 0.90, p < 0.001); for “A” and “C” no difference is shown (−0.03 to +0.02 dB, 95 % intervals "
        "within −0.20 to 0.15, p ≥ 0.250)."
    )


def headlined(*names: str, ceilings: dict[str, str]) -> str:
    frames = [scores("oracle-psm", 12.0, (0,), ("none",)), *(scores(name, 5.0) for name in names)]
    summary = statistics.summarise(pd.concat(frames, ignore_index=True))
    trained = pd.DataFrame(columns=["variant", "train_subset", "train_hours"])
    titles = {name: name.upper() for name in (*names, "oracle-psm")}
    return headline(tables.results(summary, trained, titles, ceilings, {}))


def test_the_headline_names_the_best_its_ceiling_and_what_is_not_shown_to_be_below_it():
    words = headlined("a", "b", ceilings={"a": "oracle-psm", "b": "oracle-psm"})
    assert words.startswith("The highest mean is that of “") and "dB below the ceiling of its kind of output" in words
    assert words.endswith("; 1 other variant is not shown to be below it.")


def test_the_headline_does_without_a_ceiling_and_without_anything_trained():
    assert "ceiling" not in headlined("a", ceilings={})
    assert headlined(ceilings={}) == ""
