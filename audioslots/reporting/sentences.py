"""Conclusions in sentences: the best variant, and what each study found, by how much and how sure."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from audioslots.reporting.formatting import format_count, format_duration, format_number, format_p, join_words
from audioslots.reporting.table import Table
from audioslots.stats.comparisons import BETTER, NO_DIFFERENCE, WORSE
from audioslots.stats.summaries import BEST, TIED
from audioslots.stats.verdicts import INCONCLUSIVE


def conclude_study(
    comparison: pd.DataFrame, baseline: str, titles: Mapping[str, str], costs: pd.DataFrame | None = None
) -> str:
    """One sentence on a study: the best variant first, those without a difference together.

    Args:
        comparison: of ``compare_with_baseline`` or ``TrainingLengths.judge``.
        baseline: name of the baseline.
        titles: variant -> title.
        costs: indexed by variant: steps and train_s (s); the sentence gives the baseline's.
    """
    if comparison.empty:
        return f"Nothing was compared with {_quote(baseline, titles)}."
    comparison = comparison.sort_values("difference", ascending=False, kind="stable")
    scored, unscored = (
        comparison[mask] for mask in (comparison["difference"].notna(), comparison["difference"].isna())
    )
    clauses = []
    for verdict in (BETTER, INCONCLUSIVE, NO_DIFFERENCE, WORSE):
        rows = scored[scored["verdict"] == verdict]
        if rows.empty:
            continue
        if verdict == NO_DIFFERENCE:
            clauses.append(_describe_equals(rows, titles))
        elif verdict == INCONCLUSIVE:
            clauses += [_describe_inconclusive(row, titles) for _, row in rows.iterrows()]
        else:
            clauses.append(_describe_difference(rows, verdict, titles))
    if len(unscored):
        clauses.append(f"for {_quote_all(unscored, titles)} there is no score to compare")
    compared = "Compared"
    if costs is not None and baseline in costs.index[costs["steps"].notna()]:
        steps, train_s = costs.loc[baseline, ["steps", "train_s"]]
        compared = f"After {format_count(steps)} steps ({format_duration(train_s)} per run), compared"
    return f"{compared} with {_quote(baseline, titles)}, {'; '.join(clauses)}."


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
        verdict = {BETTER: "more", WORSE: "fewer"}.get(row["verdict"], NO_DIFFERENCE)
        clauses.append(
            f"in {format_number(shares[row['variant']], 1)} % with {_quote(row['variant'], titles)} ({verdict}: "
            f"{format_number(row['difference'], 1, sign=True)} points, 95 % interval {format_number(row['low'], 1)} to "
            f"{format_number(row['high'], 1)}, {_show_p(row['p_holm'])})"
        )
    return f"The number of speakers is correct {join_words(clauses)}."


def _describe_difference(rows: pd.DataFrame, verdict: str, titles: Mapping[str, str]) -> str:
    """Variants that are all better, or all worse."""
    clauses = []
    for place, (_, row) in enumerate(rows.iterrows()):
        size = f"by {format_number(abs(row['difference']))} dB"
        first = f"is {verdict} {size} SI-SDRi", f"95 % interval {_show_evidence(row)}"
        does, evidence = (size, _show_evidence(row)) if place else first
        clauses.append(f"{_quote(row['variant'], titles)} {does} ({evidence})")
    return join_words(clauses)


def _describe_inconclusive(row: pd.Series, titles: Mapping[str, str]) -> str:
    """A difference that is significant only at the longest training."""
    keys = [key for key in row.index if key.startswith("difference_x")]
    path = ", ".join(format_number(row[key], sign=True) for key in (*keys, "difference"))
    return f"against {_quote(row['variant'], titles)} {INCONCLUSIVE} ({path} dB at doubling lengths)"


def _describe_equals(rows: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Variants without a difference shown: of several, how far the differences and their intervals reach."""
    if len(rows) == 1:
        row = rows.iloc[0]
        evidence = f"{format_number(row['difference'], sign=True)} dB, 95 % interval {_show_evidence(row)}"
    else:
        low, high = (format_number(rows["difference"].agg(end), sign=True) for end in ("min", "max"))
        reach = f"{format_number(rows['low'].min())} to {format_number(rows['high'].max())}"
        p = format_p(rows["p_holm"].min())
        evidence = f"{low} to {high} dB, 95 % intervals within {reach}, p {p if p.startswith('<') else f'≥ {p}'}"
    return f"for {_quote_all(rows, titles)} {NO_DIFFERENCE.replace(' shown', ' is shown')} ({evidence})"


def _show_evidence(row: pd.Series) -> str:
    equal = row.get("difference_equal_time")
    equal_time = "" if equal is None or pd.isna(equal) else f"; at equal time {format_number(equal, sign=True)}"
    return f"{format_number(row['low'])} to {format_number(row['high'])}, {_show_p(row['p_holm'])}{equal_time}"


def _show_p(value: float) -> str:
    p = format_p(value)
    return f"p {p}" if p.startswith("<") else f"p = {p}"


def _quote(variant: str, titles: Mapping[str, str]) -> str:
    """A title in quotation marks, since it may hold commas."""
    return f"“{titles[variant]}”"


def _quote_all(rows: pd.DataFrame, titles: Mapping[str, str]) -> str:
    return join_words([_quote(name, titles) for name in rows["variant"]])
