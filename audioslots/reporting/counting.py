"""How many speakers: of test mixtures of several numbers of them, how many each system finds, and what is left over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from audioslots.reporting.table import Column, Table
from audioslots.reporting.tables import titled, valued
from audioslots.reporting.words import EMPTY, listed, number, p_value
from audioslots.stats.comparisons import compare
from audioslots.stats.intervals import Mixtures
from audioslots.stats.summaries import per_mixture, speakers_of, values_of

COUNTED, EVERY = "counted", "every"
"""Rows of the scores beside blind and oracle ones: as many outputs as were found; and all of them."""
APART_DB = -20.0
"""Level below a recording's own output that the others together are to stay under, dB."""


def counting(scores: pd.DataFrame, titles: Mapping[str, str]) -> Table | None:
    """The table of numbers of speakers; None where all test mixtures have as many.

    Args:
        scores: rows of scores.parquet, all stitchings.
        titles: variant -> title.
    """
    true = _true(scores)
    numbers = sorted(int(one) for one in true.unique())
    rows = scores[scores["stitching"] == COUNTED]
    if len(numbers) < 2 or rows.empty:
        return None
    speakers, records = speakers_of(scores), []
    for variant in rows["variant"].unique():
        own = scores[scores["variant"] == variant]
        record: dict[str, Any] = {"variant": variant, "title": titles[str(variant)]}
        record |= _found(own[own["stitching"] == COUNTED], true, speakers)
        for part, stitching in (("known", "blind"), ("found", COUNTED)):
            means = per_mixture(own[own["stitching"] == stitching], ["si_sdri_db"])
            several = means[means["mixture_id"].map(true) > 1]
            record[f"{part}_si_sdri_db"] = several["si_sdri_db"].mean()
        record["too_few"] = int(several["si_sdri_db"].isna().sum())
        record |= _alone(own[(own["stitching"] == EVERY) & (own["mixture_id"].map(true) == 1)])
        records.append(record)
    data = pd.DataFrame(records)
    columns = [
        titled(),
        Column("Right (%)", "right", lambda row: _percent(row["right"], row["right_low"], row["right_high"])),
        *(_confused(one, numbers) for one in numbers),
        valued("SI-SDRi, number known (dB)", "known_si_sdri_db", number),
        valued("SI-SDRi, number found (dB)", "found_si_sdri_db", number),
        valued("Too few found", "too_few", lambda value: number(value, 0)),
    ]
    if 1 in numbers:
        columns += [
            valued("One speaker: SI-SDR (dB)", "alone_si_sdr_db", number),
            valued("One speaker: other outputs (dB)", "alone_leak_db", number),
            valued("One speaker: 20 dB apart (%)", "alone_apart", lambda value: number(100 * value, 0)),
        ]
    among = listed([f"{one} ({int((true == one).sum())})" for one in numbers])
    caption = (
        f"Numbers of speakers that are found, of {among} speakers (mixtures). Right: of all mixtures and seeds, with "
        "95 % interval. Of mixtures of each number: the share (%) in which "
        f"{', '.join(map(str, numbers[:-1]))} or {numbers[-1]} are found. SI-SDRi: of mixtures of two speakers or "
        "more, with the number known, and with as many outputs as are found; mixtures with fewer outputs than sources "
        "are left out of the latter, and counted."
    )
    if 1 in numbers:
        caption += (
            " Alone, a speaker has no improvement; medians over recordings of the SI-SDR of the best output, and of "
            "the energy of all others together against it; and how often that is −20 dB at most."
        )
    return Table("counting", caption, data, columns)


def sentence(scores: pd.DataFrame, baseline: str, titles: Mapping[str, str]) -> str:
    """How often each of a study's variants finds the right number, and how sure a difference is; "" of one number.

    Args:
        scores: rows of scores.parquet of the study's variants, all stitchings.
        baseline: name of the variant compared with.
        titles: variant -> title.
    """
    true = _true(scores)
    rows = scores[scores["stitching"] == COUNTED]
    if true.nunique() < 2 or rows.empty:
        return ""
    right = 100 * (rows["outputs"] == rows["mixture_id"].map(true)).astype(float)
    rows = rows.assign(right=right, stitching="blind")  # the outputs that a user would get
    shares = rows.drop_duplicates(["variant", "seed", "mixture_id"]).groupby("variant")["right"].mean()
    clauses = [f"in {number(shares[baseline], 1)} % of the mixtures with “{titles[baseline]}”"]
    for _, row in compare(rows, baseline, "right").iterrows():
        p = p_value(row["p_holm"])
        shown = f"{number(row['low'], 1)} to {number(row['high'], 1)}, p {p if p.startswith('<') else f'= {p}'}"
        sure = {"better": "more", "worse": "fewer"}.get(str(row["verdict"]), "no difference shown")
        clauses.append(
            f"in {number(shares[row['variant']], 1)} % with “{titles[str(row['variant'])]}” ({sure}: "
            f"{number(row['difference'], 1, sign=True)} points, 95 % interval {shown})"
        )
    return f" The number of speakers is found right {listed(clauses)}."


def _true(scores: pd.DataFrame) -> pd.Series:
    """Mixture -> its number of speakers."""
    first = scores.drop_duplicates(["mixture_id", "source"])
    return first.groupby("mixture_id", sort=False)["source"].nunique()


def _found(rows: pd.DataFrame, true: pd.Series, speakers: pd.Series) -> dict[str, float]:
    """How often the number found is right, and how often it is each other number."""
    found = rows.drop_duplicates(["seed", "mixture_id"]).copy()
    actual = found["mixture_id"].map(true)
    found["right"] = (found["outputs"] == actual).astype(float)
    order = found["mixture_id"].unique()
    estimate = Mixtures(speakers[order].tolist()).estimate(values_of(found, order, ["right"]))
    shares = {
        f"share_{one}_as_{other}": float((found["outputs"][actual == one] == other).mean())
        for one in sorted(true.unique())
        for other in sorted(true.unique())
    }
    return {"right": estimate.mean[0], "right_low": estimate.low[0], "right_high": estimate.high[0]} | shares


def _alone(rows: pd.DataFrame) -> dict[str, float]:
    """Of recordings of one speaker, all outputs: the SI-SDR of its own, and what the others hold against it."""
    leak = rows["leak_db"].fillna(-np.inf)
    return {
        "alone_si_sdr_db": rows["si_sdr_db"].median(),
        "alone_leak_db": leak.median() if len(rows) else np.nan,
        "alone_apart": float((leak <= APART_DB).mean()) if len(rows) else np.nan,
    }


def _confused(one: int, numbers: list[int]) -> Column:
    """How often each number was found of mixtures of one number of speakers."""
    keys = [f"share_{one}_as_{other}" for other in numbers]
    heading = f"Of {one}: {', '.join(map(str, numbers))} found (%)"
    return Column(heading, f"share_{one}_as_{one}", lambda row: " / ".join(number(100 * row[key], 0) for key in keys))


def _percent(mean: float, low: float, high: float) -> str:
    """A share with its interval, in percent."""
    return EMPTY if pd.isna(mean) else f"{number(100 * mean, 1)} [{number(100 * low, 1)}, {number(100 * high, 1)}]"
