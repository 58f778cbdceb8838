"""Conclusions in sentences: what won, and what each study found, by how much and how sure."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from audioslots.reporting.lengths import NOT_CONVERGED
from audioslots.reporting.table import Table
from audioslots.reporting.words import counted, duration, listed, number, p_value, whole
from audioslots.stats.summaries import BEST


def conclusion(frame: pd.DataFrame, baseline: str, titles: Mapping[str, str], spent: pd.DataFrame | None = None) -> str:
    """One sentence on a study: the best first, those alike together.

    Args:
        frame: of ``comparisons.compare``, or of ``Lengths.settled``.
        baseline: name of the variant compared with.
        titles: variant -> title.
        spent: indexed by variant: steps and train_s (s); the sentence gives the baseline's.
    """
    if frame.empty:
        return f"Nothing was compared with {_quoted(baseline, titles)}."
    frame = frame.sort_values("difference", ascending=False, kind="stable")
    scored = frame[frame["difference"].notna()]
    clauses = []
    for verdict in ("better", NOT_CONVERGED, "no difference shown", "worse"):
        rows = scored[scored["verdict"] == verdict]
        if verdict == "no difference shown" and len(rows) > 1:
            clauses.append(_alike(rows, titles))
        elif verdict == "no difference shown" and len(rows) == 1:
            row = rows.iloc[0]
            shown = f"{number(row['difference'], sign=True)} dB, {_evidence(row)}"
            clauses.append(f"for {_quoted(row['variant'], titles)} no difference is shown ({shown})")
        elif verdict == NOT_CONVERGED:
            clauses += [_open(row, titles) for _, row in rows.iterrows()]
        elif len(rows):
            by = [f"by {number(abs(row['difference']))} dB" for _, row in rows.iterrows()]
            by[0] = f"is {verdict} {by[0]} SI-SDRi"
            sure = [_evidence(row, "" if place else "95 % interval ") for place, (_, row) in enumerate(rows.iterrows())]
            who = [_quoted(name, titles) for name in rows["variant"]]
            clauses.append(listed([f"{name} {how} ({why})" for name, how, why in zip(who, by, sure, strict=True)]))
    unscored = frame[frame["difference"].isna()]
    if len(unscored):
        names = listed([_quoted(name, titles) for name in unscored["variant"]])
        clauses.append(f"for {names} there is no score to compare")
    compared = "Compared"
    if spent is not None and baseline in spent.index[spent["steps"].notna()]:
        steps, train_s = spent.loc[baseline, ["steps", "train_s"]]
        compared = f"After {whole(steps)} steps ({duration(train_s)} a run), compared"
    return f"{compared} with {_quoted(baseline, titles)}, {'; '.join(clauses)}."


def _open(row: pd.Series, titles: Mapping[str, str]) -> str:
    """A difference that is sure at the largest length, and not settled."""
    shares = [key for key in row.index if key.startswith("difference_x")]
    path = [number(row[key], sign=True) for key in (*shares, "difference")]
    return f"against {_quoted(row['variant'], titles)} not converged ({', '.join(path)} dB at doubling lengths)"


def _alike(rows: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Several variants without a difference shown: how far the differences and their intervals reach."""
    names = listed([_quoted(name, titles) for name in rows["variant"]])
    low, high = (number(rows["difference"].agg(end), sign=True) for end in ("min", "max"))
    reach = f"{number(rows['low'].min())} to {number(rows['high'].max())}"
    p = p_value(rows["p_holm"].min())
    p = f"p {p}" if p.startswith("<") else f"p ≥ {p}"
    return f"for {names} no difference is shown ({low} to {high} dB, 95 % intervals within {reach}, {p})"


def _quoted(variant: str, titles: Mapping[str, str]) -> str:
    """A title, marked off from the sentence, since it may hold commas."""
    return f"“{titles[variant]}”"


def _evidence(row: pd.Series, interval: str = "95 % interval ") -> str:
    p = p_value(row["p_holm"])
    equal = row.get("difference_equal_time")
    after = "" if equal is None or pd.isna(equal) else f"; at equal time {number(equal, sign=True)}"
    return f"{interval}{number(row['low'])} to {number(row['high'])}, p {p if p.startswith('<') else f'= {p}'}{after}"


def headline(main: Table) -> str:
    """The best variant of the main table, in a sentence; empty where none was trained."""
    found = main.data[main.data["si_sdri_db_standing"] == BEST]
    if found.empty:
        return ""
    row = found.iloc[0]
    words = (
        f"The highest mean is that of “{row['title']}”: {number(row['si_sdri_db'], sign=True)} dB SI-SDRi "
        f"(95 % interval {number(row['si_sdri_db_low'])} to {number(row['si_sdri_db_high'])}), stitched blindly"
    )
    if pd.notna(row["below_ceiling_db"]):
        words += f", {number(row['below_ceiling_db'])} dB below the ceiling of its kind of output"
    tied = int((main.data["si_sdri_db_standing"] == "tied").sum())
    if tied:
        words += f"; {counted(tied, 'other variant')} {'is' if tied == 1 else 'are'} not shown to be below it"
    return words + "."
