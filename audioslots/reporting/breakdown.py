"""Breakdown by condition: speakers' sexes, input level, duration, time, speaker, and number of speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from audioslots.reporting.formatting import EMPTY, format_count, format_number, format_share, join_words
from audioslots.reporting.sentences import describe_counting
from audioslots.reporting.table import STITCHING, TITLE, Column, Table, estimate_column
from audioslots.reporting.tables import add_titles, split_views
from audioslots.scoring.assignment_accuracy import PERIODS_S
from audioslots.scoring.metrics import OVER_TIME
from audioslots.stats.comparisons import compare_with_baseline
from audioslots.stats.summaries import average_sources, collect_speakers, summarise

INPUT_EDGES_DB = (-5, 0, 5)
DURATION_EDGES_S = (4, 6, 10)
WORST = ("Worst", "Second worst", "Third worst")
COUNTED, EVERY = "counted", "every"
"""Stitchings beside blind and oracle: with as many outputs as were detected, and with all outputs."""
QUIET_DB = -20.0
"""Level that the other outputs should stay under, relative to the output of a single speaker, dB."""


def tabulate_breakdowns(scores: pd.DataFrame, titles: Mapping[str, str]) -> list[Table]:
    """The tables of a test set, of those conditions that it has."""
    sexes = scores["pair"].fillna("")
    known = sorted(sexes.unique(), key=lambda sex: (not sex, len(sex), sex))  # unknown ones last
    pairs = {sex or "unknown": scores[sexes == sex] for sex in known}
    inputs, durations = (
        _split_at(scores, *edges) for edges in (("input_si_sdr_db", INPUT_EDGES_DB), ("duration_s", DURATION_EDGES_S))
    )
    level = "by the input SI-SDR of the source (dB): the lower, the weaker the source in the mixture"
    tables = [
        _tabulate("pairs", "by the sexes of the speakers (F, M)", "mixtures", pairs, titles, scores),
        _tabulate("input", level, "mixtures with such a source", inputs, titles, scores),
        _tabulate("duration", "by the duration of the mixture (s)", "mixtures", durations, titles, scores),
        tabulate_worst_speakers(scores, titles),
        tabulate_over_time(scores, titles),
    ]
    return [table for table in tables if table is not None]


def tabulate_over_time(scores: pd.DataFrame, titles: Mapping[str, str]) -> Table | None:
    """Assignment accuracy along recordings of more than half a minute; None where there are none."""
    long = scores[scores["mixture_id"].isin(scores.loc[scores[OVER_TIME[-1]].notna(), "mixture_id"])]
    if long.empty:
        return None
    ends = [*(f"to {end:g} s" for end in PERIODS_S[1:]), "to the end"]
    periods = {f"{start:g} {end}": key for start, end, key in zip(PERIODS_S, ends, OVER_TIME, strict=True)}
    caption = (
        "Assignment accuracy along a recording, with 95 % intervals: the share of a speaker's active time in which the "
        f"output that held most of them in the first {PERIODS_S[1]:g} s holds more of them than any other. Number of "
        f"mixtures: {format_count(long['mixture_id'].nunique())}."
    )
    data = add_titles(summarise(long, OVER_TIME), titles)
    columns = [TITLE, STITCHING, *(estimate_column(*period, "assignment_accuracy") for period in periods.items())]
    return Table("time", caption, data, columns, split_views(data))


def tabulate_worst_speakers(scores: pd.DataFrame, titles: Mapping[str, str]) -> Table:
    """The speakers with each trained variant's lowest SI-SDRi, stitched blindly, means over seeds."""
    keys = ["speaker_id", "sex", "si_sdri_db", "mixtures"]
    records = []
    for variant, rows in scores[scores["stitching"] == "blind"].groupby("variant", sort=False):
        speakers = rows.groupby("speaker_id", as_index=False).agg(
            sex=("sex", "first"), si_sdri_db=("si_sdri_db", "mean"), mixtures=("mixture_id", "nunique")
        )
        worst = speakers.dropna(subset="si_sdri_db").nsmallest(len(WORST), "si_sdri_db")
        places = enumerate(worst.to_dict("records"), start=1)
        values = {f"worst_{place}_{key}": value for place, row in places for key, value in row.items()}
        records.append({"variant": variant} | values)
    columns = ["variant", *(f"worst_{place}_{key}" for place in range(1, len(WORST) + 1) for key in keys)]
    data = add_titles(pd.DataFrame(records).reindex(columns=columns), titles)

    def column(heading: str, place: int) -> Column:
        def show(row: pd.Series) -> str:
            speaker, sex, mean, mixtures = (row[f"worst_{place}_{key}"] for key in keys)
            who = f"{speaker} {sex}" if sex and not pd.isna(sex) else speaker
            return EMPTY if pd.isna(speaker) else f"{format_number(mean)} [{who}, {format_count(mixtures)}]"

        return Column(heading, f"worst_{place}_si_sdri_db", show, of_row=True)

    caption = (
        "Speakers with each variant's lowest mean SI-SDRi (dB), stitched blindly, over seeds: mean, speaker, sex and "
        "number of mixtures. One speaker far below the others indicates an error in the data or in the variant."
    )
    return Table("speakers", caption, data, [TITLE, *map(column, WORST, range(1, len(WORST) + 1))])


def tabulate_counting(scores: pd.DataFrame, titles: Mapping[str, str]) -> Table | None:
    """How often each variant counts the speakers correctly; None where all test mixtures have the same number.

    Args:
        scores: rows of scores.parquet, all stitchings.
        titles: variant -> title.
    """
    true, rows = _count(scores)
    numbers = sorted(int(number) for number in true.unique())
    if len(numbers) < 2 or rows.empty:
        return None
    data = summarise(rows, ["correct"])[["variant", "correct", "correct_low", "correct_high"]].set_index("variant")
    outputs = rows.drop_duplicates(["variant", "seed", "mixture_id"]).set_index(["variant", "true"])["outputs"]
    for number in numbers:
        shares = (outputs == number).groupby(level=["variant", "true"]).mean().unstack()
        data = data.join(shares.add_prefix("share_").add_suffix(f"_as_{number}"))
    scores = scores[scores["variant"].isin(data.index)]
    for key, stitching in (("known", "blind"), ("counted", COUNTED)):
        means = average_sources(scores[scores["stitching"] == stitching], ["si_sdri_db"])
        several = means[means["mixture_id"].map(true) > 1].groupby("variant")["si_sdri_db"]
        data[f"{key}_si_sdri_db"] = several.mean()
    data["too_few"] = several.size() - several.count()
    single = scores[(scores["stitching"] == EVERY) & (scores["mixture_id"].map(true) == 1)]
    leak = single["leak_db"].fillna(-np.inf)
    single = single.assign(leak_db=leak, quiet=(leak <= QUIET_DB).astype(float))
    for key, average in (("si_sdr_db", "median"), ("leak_db", "median"), ("quiet", "mean")):
        data[f"single_{key}"] = single.groupby("variant")[key].agg(average)
    data = data.reset_index()

    def confusion_column(speakers: int) -> Column:
        keys = [f"share_{speakers}_as_{number}" for number in numbers]
        heading = f"Of {speakers}: {', '.join(map(str, numbers))} detected (%)"
        return Column(heading, keys[0], lambda row: " / ".join(f"{100 * row[key]:.0f}" for key in keys), of_row=True)

    def show_correct(row: Any) -> str:
        return format_share(row["correct"], row["correct_low"], row["correct_high"])

    columns = [
        TITLE,
        Column("Correct (%)", "correct", show_correct, of_row=True),
        *map(confusion_column, numbers),
        Column("SI-SDRi, number known (dB)", "known_si_sdri_db", format_number),
        Column("SI-SDRi, number detected (dB)", "counted_si_sdri_db", format_number),
        Column("Too few detected", "too_few", format_count),
    ]
    counts = join_words([f"{number} ({int((true == number).sum())})" for number in numbers])
    caption = (
        f"Numbers of speakers detected, of {counts} speakers (mixtures). Correct: of all mixtures and seeds, with 95 % "
        f"interval. Of mixtures of each number: the share (%) in which {', '.join(map(str, numbers[:-1]))} or "
        f"{numbers[-1]} are detected. SI-SDRi: of mixtures of two speakers or more, with the number known, and with as "
        "many outputs as are detected; the latter leaves out mixtures with fewer outputs than sources, and counts them."
    )
    if 1 in numbers:
        columns += [
            Column("One speaker: SI-SDR (dB)", "single_si_sdr_db", format_number),
            Column("One speaker: other outputs (dB)", "single_leak_db", format_number),
            Column("One speaker: 20 dB apart (%)", "single_quiet", lambda share: format_number(100 * share, 0)),
        ]
        caption += (
            " A single speaker has no improvement: medians over recordings of the best output's SI-SDR and of the "
            "energy of all others together relative to it; and how often that is −20 dB at most."
        )
    return Table("counting", caption, add_titles(data, titles), columns)


def conclude_counting(scores: pd.DataFrame, baseline: str, titles: Mapping[str, str]) -> str:
    """A sentence on the counting of a study's variants; "" where all test mixtures have the same number of speakers.

    Args:
        scores: rows of scores.parquet of the study's variants, all stitchings.
        baseline: name of the baseline.
        titles: variant -> title.
    """
    true, rows = _count(scores)
    if true.nunique() < 2 or rows.empty:
        return ""
    rows = rows.assign(percent=100 * rows["correct"], stitching="blind")  # the outputs that a user would get
    shares = rows.drop_duplicates(["variant", "seed", "mixture_id"]).groupby("variant")["percent"].mean()
    return " " + describe_counting(compare_with_baseline(rows, baseline, "percent"), baseline, shares, titles)


def _count(scores: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame]:
    """Mixture -> its number of speakers; the ``COUNTED`` rows with that as ``true``, and whether it is ``correct``."""
    sources = scores.drop_duplicates(["mixture_id", "source"])
    true = sources.groupby("mixture_id", sort=False)["source"].nunique()
    rows = scores[scores["stitching"] == COUNTED]
    rows = rows.assign(true=rows["mixture_id"].map(true))
    return true, rows.assign(correct=(rows["outputs"] == rows["true"]).astype(float))


def _split_at(scores: pd.DataFrame, column: str, edges: Sequence[float]) -> dict[str, pd.DataFrame]:
    """Rows by the value of a source in ``column``. The first run decides, so that every run has the same split."""
    keys = ["mixture_id", "source"]
    first = scores.dropna(subset=[column]).drop_duplicates(keys).set_index(keys)[column]
    values = first.reindex(pd.MultiIndex.from_frame(scores[keys])).to_numpy(float)
    numbers = [format_number(edge, 0) for edge in edges]
    names = [f"below {numbers[0]}", *(f"{low} to {high}" for low, high in pairwise(numbers)), f"from {numbers[-1]}"]
    bounds = pairwise([-np.inf, *edges, np.inf])
    split = {name: scores[(values >= low) & (values < high)] for name, (low, high) in zip(names, bounds, strict=True)}
    return {name: rows for name, rows in split.items() if len(rows)}


def _tabulate(
    name: str,
    condition: str,
    counted: str,
    split: Mapping[str, pd.DataFrame],
    titles: Mapping[str, str],
    scores: pd.DataFrame,
) -> Table:
    """SI-SDRi by a condition, a column per value of it."""
    speakers = collect_speakers(scores)  # rows may hold one source of a mixture, whose score depends on the other too
    columns, sizes = [TITLE, STITCHING], []
    data = scores[["variant", "stitching"]].drop_duplicates()
    for value, rows in split.items():
        summary = summarise(rows, speakers=speakers)
        key = f"{value.replace(' ', '_').replace('−', '-')}_si_sdri_db"
        names = {f"si_sdri_db{end}": f"{key}{end}" for end in ("", "_low", "_high", "_missing", "_standing")}
        names["n"] = f"{key}_n"
        shown = summary[["variant", "stitching", *names]].rename(columns=names)
        data = data.merge(shown, how="left", on=["variant", "stitching"])
        sizes.append(f"{value}: {format_count(summary['n'].max())}")
        columns.append(estimate_column(value, key))
    caption = f"SI-SDRi (dB) {condition}, with 95 % intervals. Number of {counted}: {', '.join(sizes)}."
    data = add_titles(data, titles)
    return Table(name, caption, data, columns, split_views(data))
