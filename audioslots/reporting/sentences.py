"""Conclusions in sentences: verdict first, then the difference, then its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from audioslots.reporting.formatting import format_count, format_number, format_p, join_words
from audioslots.reporting.table import Table
from audioslots.stats.comparisons import BETTER, EQUIVALENT, INCONCLUSIVE, MARGIN, NOT_TRAINED, TRAINED_DB, WORSE
from audioslots.stats.summaries import BEST, TIED
from audioslots.stats.verdicts import is_conclusive

HEADINGS = {
    BETTER: "Better",
    EQUIVALENT: f"Equivalent within ±{MARGIN} dB",
    INCONCLUSIVE: "Inconclusive",
    WORSE: "Worse",
    "": "Too few mixtures or speakers to test",
    NOT_TRAINED: f"Not trained (below {TRAINED_DB:g} dB)",
}


def conclude_study(
    comparison: pd.DataFrame, baseline: str, titles: Mapping[str, str], costs: pd.DataFrame | None = None
) -> str:
    """The verdicts of a study, the best variant first, each with its difference and interval.

    Args:
        comparison: of ``compare_with_baseline`` or ``TrainingLengths.judge``.
        baseline: name of the baseline.
        titles: variant -> title.
        costs: indexed by variant: steps; the sentence gives the baseline's.
    """
    if comparison.empty:
        return f"Nothing was compared with {_quote(baseline, titles)}."
    comparison = comparison.sort_values("difference", ascending=False, kind="stable")
    is_scored = comparison["difference"].notna()
    groups = {"No score": _quote_all(comparison[~is_scored], titles)}
    for verdict, heading in HEADINGS.items():
        rows = comparison[is_scored & (comparison["verdict"] == verdict)]
        groups[heading] = join_words([_describe_difference(row, titles) for _, row in rows.iterrows()])
    sentences = [f"{heading}: {groups[heading]}." for heading in (*HEADINGS.values(), "No score") if groups[heading]]
    return " ".join([*sentences, f"Compared with {_quote(baseline, titles)}{_describe_steps(baseline, costs)}."])


def describe_result(row: pd.Series, titles: Mapping[str, str], costs: pd.DataFrame) -> str:
    """One comparison in a sentence, for the top of a page: verdict, difference, interval and steps."""
    quoted = _quote(row["variant"], titles), _quote(row["baseline"], titles)
    verb = {BETTER: "beats", WORSE: "is worse than", EQUIVALENT: "is equivalent to"}
    return (
        f"{quoted[0]} {verb.get(row['verdict'], 'is inconclusive against')} {quoted[1]}: "
        f"{format_number(row['difference'], sign=True)} dB SI-SDRi (95 % CI {format_number(row['low'])} to "
        f"{format_number(row['high'])}){_describe_steps(row['baseline'], costs)}."
    )


def describe_best(main: Table) -> str:
    """A sentence on the best variant of the main table; empty where none was trained."""
    best = main.data[main.data["si_sdri_db_standing"] == BEST]
    if best.empty:
        return ""
    row = best.iloc[0]
    sentence = (
        f"The highest mean is that of “{row['title']}”: {format_number(row['si_sdri_db'], sign=True)} dB SI-SDRi "
        f"(95 % interval {format_number(row['si_sdri_db_low'])} to {format_number(row['si_sdri_db_high'])}), stitched "
        "blindly"
    )
    if pd.notna(row["gap_to_oracle_db"]):
        sentence += f", {format_number(row['gap_to_oracle_db'])} dB below the oracle of its kind of output"
    tied = int((main.data["si_sdri_db_standing"] == TIED).sum())
    if tied:
        sentence += f"; {format_count(tied, 'other variant')} {'is' if tied == 1 else 'are'} not shown to be below it"
    return sentence + "."


def describe_counting(comparison: pd.DataFrame, baseline: str, shares: pd.Series, titles: Mapping[str, str]) -> str:
    """A sentence on how often each variant of a study counts the speakers correctly.

    Args:
        comparison: of ``compare_with_baseline`` on the percentage of mixtures with the correct number.
        baseline: name of the baseline.
        shares: variant -> that percentage.
        titles: variant -> title.
    """
    clauses = [f"in {format_number(shares[baseline], 1)} % of the mixtures with {_quote(baseline, titles)}"]
    for _, row in comparison.iterrows():
        verdict = {BETTER: "more", WORSE: "fewer"}.get(row["verdict"], INCONCLUSIVE)
        clauses.append(
            f"in {format_number(shares[row['variant']], 1)} % with {_quote(row['variant'], titles)} ({verdict}: "
            f"{format_number(row['difference'], 1, sign=True)} points, 95 % interval {format_number(row['low'], 1)} to "
            f"{format_number(row['high'], 1)}, {_show_p(row['p_holm'])})"
        )
    return f"The number of speakers is correct {join_words(clauses)}."


def _describe_difference(row: pd.Series, titles: Mapping[str, str]) -> str:
    """A variant with its difference and interval; or its differences at all lengths, where these leave it open."""
    path = row[[key for key in row.index if key.startswith("difference_x")] + ["difference"]].to_numpy(float)
    excludes_zero = row["low"] > 0 or row["high"] < 0
    if row["verdict"] == INCONCLUSIVE and excludes_zero and np.isfinite(path).all() and not is_conclusive(path):
        differences = ", ".join(format_number(value, sign=True) for value in path)
        return f"{_quote(row['variant'], titles)} ({differences} dB at doubling training lengths)"
    interval = f"{format_number(row['low'])} to {format_number(row['high'])}"
    return f"{_quote(row['variant'], titles)} ({format_number(row['difference'], sign=True)} dB, {interval})"


def _describe_steps(baseline: str, costs: pd.DataFrame | None) -> str:
    if costs is None or baseline not in costs.index[costs["steps"].notna()]:
        return ""
    return f" after {format_count(costs.loc[baseline, 'steps'])} training steps"


def _show_p(value: float) -> str:
    p = format_p(value)
    return f"p {p}" if p.startswith("<") else f"p = {p}"


def _quote(variant: str, titles: Mapping[str, str]) -> str:
    """A title in quotation marks, since it may hold commas."""
    return f"“{titles[variant]}”"


def _quote_all(rows: pd.DataFrame, titles: Mapping[str, str]) -> str:
    return join_words([_quote(name, titles) for name in rows["variant"]])
