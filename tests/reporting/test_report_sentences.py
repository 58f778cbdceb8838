"""Conclusions: one readable sentence per study, the best first, and never more than what was shown."""

from __future__ import annotations

import pandas as pd
import pytest

from audioslots.reporting.sentences import conclude_study, describe_best, describe_result
from audioslots.reporting.tables import tabulate_results
from audioslots.scoring.metrics import REPORTED
from audioslots.stats.summaries import summarise
from tests.reporting.made_results import make_scores

TITLES = {"base": "Base", "a": "A", "b": "B", "c": "C", "d": "D"}


def conclude(*rows: tuple) -> str:
    columns = ["variant", "difference", "low", "high", "p_holm", "verdict", "difference_x0.5"][: len(rows[0])]
    return conclude_study(pd.DataFrame(rows, columns=columns), "base", TITLES)


def test_verdicts_come_first_and_the_best_variant_of_each() -> None:
    rows = [
        ("a", 0.02, -0.1, 0.15, 0.9, "equivalent"),
        ("b", 0.8, 0.7, 0.9, 0.0001, "better"),
        ("c", -0.5, -0.8, -0.2, 0.01, "worse"),
        ("d", 1.25, 1.0, 1.5, 0.0123, "better"),
    ]
    assert conclude(*rows) == (
        "Better: “D” (+1.25 dB, 1.00 to 1.50) and “B” (+0.80 dB, 0.70 to 0.90). Equivalent within ±0.5 dB: “A” "
        "(+0.02 dB, −0.10 to 0.15). Worse: “C” (−0.50 dB, −0.80 to −0.20). Compared with “Base”."
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("a", 0.1, -0.9, 1.1, 0.4, "inconclusive"), "Inconclusive: “A” (+0.10 dB, −0.90 to 1.10)."),
        (("a", 0.1, -0.9, 1.1, 0.4, "inconclusive", 0.3), "Inconclusive: “A” (+0.10 dB, −0.90 to 1.10)."),
        (("a", 0.5, 0.1, 0.9, 0.01, "inconclusive", -0.2), "“A” (−0.20, +0.50 dB at doubling training lengths)."),
        (("a", 0.5, 0.1, 0.9, 0.07, "inconclusive", 0.4), "Inconclusive: “A” (+0.50 dB, 0.10 to 0.90)."),
        (("a", *[float("nan")] * 4, "inconclusive"), "No score: “A”. Compared"),
    ],
)
def test_what_stays_open_is_shown_with_its_interval_or_its_lengths(row: tuple, words: str) -> None:
    assert words in conclude(row)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("better", "“A” beats “Base”: +0.50"), ("inconclusive", "“A” is inconclusive against “Base”: +0.50")],
)
def test_one_result_is_a_sentence_with_interval_and_steps(verdict: str, words: str) -> None:
    row = pd.Series(
        {"variant": "a", "baseline": "base", "difference": 0.5, "low": 0.1, "high": 0.9, "verdict": verdict}
    )
    sentence = describe_result(row, TITLES, pd.DataFrame({"steps": [1500]}, index=["base"]))
    assert sentence == f"{words} dB SI-SDRi (95 % CI 0.10 to 0.90) after 1,500 training steps."


def test_a_study_of_one_variant_concludes_nothing() -> None:
    assert conclude_study(pd.DataFrame(), "base", TITLES) == "Nothing was compared with “Base”."


@pytest.mark.parametrize(("names", "has_bound"), [("ab", True), ("a", False), ("", False)])
def test_the_best_variant_is_described_with_its_bound_and_ties(names: str, has_bound: bool) -> None:
    frames = [make_scores("oracle-psm", 12.0, (0,), ("none",)), *(make_scores(name, 5.0) for name in names)]
    summary = summarise(pd.concat(frames, ignore_index=True), list(REPORTED))
    costs = pd.DataFrame(columns=["variant", "train_subset", "train_hours"])
    bounds = dict.fromkeys(names, "oracle-psm") if has_bound else {}
    sentence = describe_best(tabulate_results(summary, costs, TITLES | {"oracle-psm": "Oracle"}, bounds, {}))
    assert sentence.startswith("The highest mean is that of “") is bool(names)
    assert ("dB below the oracle" in sentence) is has_bound
    assert ("1 other variant is not shown to be below it" in sentence) is (len(names) > 1)
