"""Conclusions: one readable sentence per study, the best first, and never more than what was shown."""

from __future__ import annotations

import pandas as pd
import pytest

from audioslots.reporting.sentences import conclude_study, describe_best
from audioslots.reporting.tables import tabulate_results
from audioslots.scoring.metrics import REPORTED
from audioslots.stats.summaries import summarise
from tests.reporting.made_results import make_scores

TITLES = {"base": "Base", "a": "A", "b": "B", "c": "C", "d": "D"}
NONE = "no difference shown"


def conclude(*rows: tuple) -> str:
    columns = ["variant", "difference", "low", "high", "p_holm", "verdict", "difference_x0.5"][: len(rows[0])]
    return conclude_study(pd.DataFrame(rows, columns=columns), "base", TITLES)


def test_the_best_comes_first_and_those_alike_are_joined() -> None:
    rows = [
        ("a", 0.02, -0.1, 0.15, 0.9, NONE),
        ("b", 0.8, 0.7, 0.9, 0.0001, "better"),
        ("c", -0.03, -0.2, 0.1, 0.25, NONE),
        ("d", 1.25, 1.0, 1.5, 0.0123, "better"),
    ]
    assert conclude(*rows) == (
        "Compared with “Base”, “D” is better by 1.25 dB SI-SDRi (95 % interval 1.00 to 1.50, p = 0.012) and “B” by "
        "0.80 dB (0.70 to 0.90, p < 0.001); for “A” and “C” no difference is shown (−0.03 to +0.02 dB, 95 % intervals "
        "within −0.20 to 0.15, p ≥ 0.250)."
    )


@pytest.mark.parametrize(
    ("row", "clause"),
    [
        (("a", -0.5, -0.8, -0.2, 0.0123, "worse"), "“A” is worse by 0.50 dB SI-SDRi (95 % interval −0.80 to −0.20,"),
        (("a", 0.1, -0.2, 0.4, 0.4, NONE), "for “A” no difference is shown (+0.10 dB, 95 % interval −0.20 to 0.40,"),
        (("a", 0.5, 0.1, 0.9, 0.01, "inconclusive", -0.2), "against “A” inconclusive (−0.20, +0.50 dB at doubling"),
        (("a", *[float("nan")] * 4, NONE), "for “A” there is no score to compare."),
    ],
)
def test_each_verdict_has_its_words(row: tuple, clause: str) -> None:
    assert conclude(row).startswith(f"Compared with “Base”, {clause}")


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
