"""Where a variant does well and where not: by speakers' sexes, input level, duration, speaker, along a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from audioslots.reporting.table import Column, Table
from audioslots.reporting.tables import ranged, stitched, titled
from audioslots.reporting.words import EMPTY, number, whole
from audioslots.scoring.assignment_accuracy import PERIODS_S
from audioslots.scoring.metrics import OVER_TIME
from audioslots.stats.summaries import speakers_of, summarise

INPUT_EDGES_DB = (-5, 0, 5)
DURATION_EDGES_S = (4, 6, 10)
WORST = 3


def by_pair(scores: pd.DataFrame, titles: Mapping[str, str]) -> Table:
    """SI-SDRi by the sexes of the speakers."""
    sexes = scores["pair"].fillna("")
    known = sorted(sexes.unique(), key=lambda sex: (not sex, len(sex), sex))  # those that nobody knows come last
    parts = {sex or "unknown": scores[sexes == sex] for sex in known}
    return _table("pairs", "SI-SDRi (dB) by the sexes of the speakers (F, M)", "mixtures", parts, titles, scores)


def by_input(scores: pd.DataFrame, titles: Mapping[str, str]) -> Table:
    """SI-SDRi by the input SI-SDR of a source: how much weaker or louder it is than what it is mixed with."""
    words = "SI-SDRi (dB) by the input SI-SDR of the source (dB): the lower, the more of the other speaker is in it"
    parts = _named(_cut(scores, "input_si_sdr_db", INPUT_EDGES_DB))
    return _table("input", words, "mixtures with such a source", parts, titles, scores)


def by_duration(scores: pd.DataFrame, titles: Mapping[str, str]) -> Table:
    """SI-SDRi by the duration of the mixture."""
    parts = _named(_cut(scores, "duration_s", DURATION_EDGES_S))
    return _table("duration", "SI-SDRi (dB) by the duration of the mixture (s)", "mixtures", parts, titles, scores)


def over_time(scores: pd.DataFrame, titles: Mapping[str, str]) -> Table | None:
    """Assignment accuracy along recordings of more than half a minute; None where there are none."""
    long = scores[scores["mixture_id"].isin(scores.loc[scores[OVER_TIME[-1]].notna(), "mixture_id"])]
    if long.empty:
        return None
    summary = summarise(long, list(OVER_TIME))
    summary.insert(1, "title", summary["variant"].map(titles))
    ends = [*(f"to {number(end, 0)} s" for end in PERIODS_S[1:]), "to the end"]
    headings = [f"{number(start, 0)} {end}" for start, end in zip(PERIODS_S, ends, strict=True)]
    periods = zip(headings, OVER_TIME, strict=True)
    columns = [titled(), stitched(), *(ranged(*period, "assignment_accuracy") for period in periods)]
    caption = (
        "Assignment accuracy along a recording, with 95 % intervals: the share of a speaker's active time in which the "
        f"output that held most of them in the first {number(PERIODS_S[1], 0)} s holds more of them than any other. "
        f"Number of mixtures: {whole(long['mixture_id'].nunique())}."
    )
    user = (summary["stitching"] != "oracle").tolist()
    return Table("time", caption, summary, columns, {"Without oracle stitching": user, "All rows": [True] * len(user)})


def _cut(scores: pd.DataFrame, column: str, edges: Sequence[float]) -> list[tuple[tuple[float, float], pd.DataFrame]]:
    """Rows by the value of a source in ``column``: in the same part for every run, since the first run's decides."""
    keys = ["mixture_id", "source"]
    first = scores.dropna(subset=[column]).drop_duplicates(keys).set_index(keys)[column]
    values = first.reindex(pd.MultiIndex.from_frame(scores[keys])).to_numpy(float)
    bounds = [-np.inf, *edges, np.inf]
    parts = [((low, high), scores[(values >= low) & (values < high)]) for low, high in pairwise(bounds)]
    return [(ends, rows) for ends, rows in parts if len(rows)]


def _named(parts: list[tuple[tuple[float, float], pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    def words(low: float, high: float) -> str:
        if np.isinf(low):
            return f"below {number(high, 0)}"
        return f"from {number(low, 0)}" if np.isinf(high) else f"{number(low, 0)} to {number(high, 0)}"

    return {words(*ends): rows for ends, rows in parts}


def _table(
    name: str,
    words: str,
    counted: str,
    parts: Mapping[str, pd.DataFrame],
    titles: Mapping[str, str],
    scores: pd.DataFrame,
) -> Table:
    speakers = speakers_of(scores)  # a part may have one source of a mixture, whose score depends on the other too
    columns = [titled(), stitched()]
    data, sizes = pd.DataFrame(columns=["variant", "stitching"]), []
    for part, rows in parts.items():
        summary = summarise(rows, ["si_sdri_db"], speakers)
        key = f"{part.replace(' ', '_').replace('−', '-')}_si_sdri_db"
        names = {f"si_sdri_db{end}": f"{key}{end}" for end in ("", "_low", "_high", "_missing", "_standing")}
        names["n"] = f"{key}_n"
        shown = summary[["variant", "stitching", *names]].rename(columns=names)
        data = shown if data.empty else data.merge(shown, how="left", on=["variant", "stitching"])
        sizes.append(f"{part}: {whole(summary['n'].max())}")
        columns.append(ranged(part, key))
    data.insert(1, "title", data["variant"].map(titles))
    caption = f"{words}, with 95 % intervals. Number of {counted}: {', '.join(sizes)}."
    user = (data["stitching"] != "oracle").tolist()
    return Table(name, caption, data, columns, {"Without oracle stitching": user, "All rows": [True] * len(user)})


def worst_speakers(scores: pd.DataFrame, titles: Mapping[str, str]) -> Table:
    """The speakers that each trained variant separates worst, stitched blindly, means over seeds."""
    rows = scores[scores["stitching"] == "blind"]
    records = []
    for variant, part in rows.groupby("variant", sort=False):
        speakers = part.groupby("speaker_id").agg(
            sex=("sex", "first"), si_sdri_db=("si_sdri_db", "mean"), mixtures=("mixture_id", "nunique")
        )
        record: dict[str, Any] = {"variant": variant, "title": titles[str(variant)]}
        worst = speakers.dropna(subset="si_sdri_db").nsmallest(WORST, "si_sdri_db").reset_index()
        for place, speaker in enumerate(worst.to_dict("records"), start=1):
            record |= {f"worst_{place}_{key}": value for key, value in speaker.items()}
        records.append(record)
    fixed = ["variant", "title"]
    keys = [f"worst_{place}" for place in range(1, WORST + 1)]
    each = [f"{key}_{part}" for key in keys for part in ("speaker_id", "sex", "si_sdri_db", "mixtures")]
    data = pd.DataFrame(records).reindex(columns=[*fixed, *each])
    headings = ("Worst", "Second worst", "Third worst")
    columns = [titled(), *(_speaker(heading, key) for heading, key in zip(headings, keys, strict=True))]
    caption = (
        "Speakers with the lowest mean SI-SDRi (dB) of each variant, stitched blindly, over seeds: speaker, sex, mean "
        "and number of mixtures. One speaker far below the others points at a fault of the data or of the variant."
    )
    return Table("speakers", caption, data, columns)


def _speaker(heading: str, key: str) -> Column:
    def show(row: pd.Series) -> str:
        if pd.isna(row[f"{key}_speaker_id"]):
            return EMPTY
        who = " ".join(
            str(part) for part in (row[f"{key}_speaker_id"], row[f"{key}_sex"]) if part and not pd.isna(part)
        )
        return f"{number(row[f'{key}_si_sdri_db'])} [{who}, {whole(row[f'{key}_mixtures'])}]"

    return Column(heading, f"{key}_si_sdri_db", show)


def input_curves(scores: pd.DataFrame, parts: int = 6) -> pd.DataFrame:
    """SI-SDRi along the input SI-SDR, stitched blindly, in parts of about as many sources each.

    Returns:
        One row a part and variant: part, input_si_sdr_db (its mean in the part), variant and what ``summarise`` gives.
    """
    rows = scores[scores["stitching"] == "blind"]
    inputs = rows.drop_duplicates(["mixture_id", "source"])["input_si_sdr_db"]
    edges = np.unique(inputs.quantile(np.linspace(0, 1, parts + 1)[1:-1]).dropna())
    speakers, curves = speakers_of(rows), []
    for place, (_, part) in enumerate(_cut(rows, "input_si_sdr_db", edges.tolist())):
        summary = summarise(part, ["si_sdri_db"], speakers)
        curves.append(summary.assign(part=place, input_si_sdr_db=part["input_si_sdr_db"].mean()))
    return pd.concat(curves, ignore_index=True)
