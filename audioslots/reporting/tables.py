"""The tables of a benchmark and of its studies: results, comparisons, costs and conclusions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from audioslots.reporting.table import TIE, Column, Table
from audioslots.reporting.words import EMPTY, counted, duration, estimate, number, p_value, scaled, text, whole
from audioslots.scoring.metrics import LATER, REPORTED

BOTTLENECK = (
    "Numbers a slot : a source: how many numbers a slot holds, to how many a source's spectrogram of one chunk has "
    "(frequency bins × frames), and the ratio."
)


def valued(heading: str, key: str, show: Callable[[Any], str], numeric: bool = True) -> Column:
    """A column that shows one value of a row."""
    return Column(heading, key, lambda row: show(row[key]), numeric)


def titled() -> Column:
    """The column of a variant's title."""
    return valued("Variant", "title", str, numeric=False)


def stitched() -> Column:
    """The column that says how the chunks were put together."""
    return valued("Stitching", "stitching", lambda value: EMPTY if value == "none" else value, numeric=False)


def ranged(heading: str, key: str, metric: str = "si_sdri_db") -> Column:
    """A column of means with their intervals."""
    return Column(heading, key, lambda row: estimate(row[key], row[f"{key}_low"], row[f"{key}_high"], metric))


def bottleneck() -> Column:
    """The column of what a slot holds: its numbers, to those of a source's spectrogram, and the ratio."""

    def show(row: Any) -> str:
        slot, source = row["numbers_a_slot"], row["numbers_a_source"]
        if pd.isna(slot) or pd.isna(source):
            return EMPTY
        times = source / slot
        return f"{whole(slot)} : {whole(source)} [1 : {number(times, 0 if times >= 10 else 1)}]"

    return Column("Numbers a slot : a source", "numbers_a_slot", show)


def results(
    summary: pd.DataFrame,
    trained: pd.DataFrame,
    titles: Mapping[str, str],
    ceilings: Mapping[str, str],
    members: Mapping[str, Sequence[str]],
    baselines: Sequence[str] = (),
) -> Table:
    """The main table, one row a variant and stitching: what is not trained, the baselines, the rest by blind mean.

    Args:
        summary: of ``statistics.summarise``.
        trained: one row a trained variant: variant, train_subset, train_hours.
        titles: variant -> title.
        ceilings: variant -> the oracle row that bounds its kind of output; without one where nothing bounds it.
        members: title of a study -> its variants.
        baselines: of the studies: what all others are compared with.
    """
    means = summary.drop_duplicates("variant").set_index("variant")  # "blind" comes before "oracle"
    place = (-means["si_sdri_db"]).where(means["stitching"] != "none", -np.inf)
    place[means.index.isin(baselines)] = -sys.float_info.max  # finite: after what is not trained
    data = summary.sort_values("variant", key=lambda names: names.map(place), kind="stable", ignore_index=True)
    data.insert(1, "title", data["variant"].map(titles))
    data["ceiling"] = data["variant"].map(ceilings)
    data["below_ceiling_db"] = data["ceiling"].map(means["si_sdri_db"]).astype(float) - data["si_sdri_db"]
    for key in ("train_subset", "train_hours"):
        data[key] = data["variant"].map(trained.set_index("variant")[key])
    columns = [
        titled(),
        stitched(),
        *(ranged(metric.title, key, key) for key, metric in REPORTED.items() if _measured(data, key)),
        valued("Below its ceiling (dB)", "below_ceiling_db", number),
        valued("n", "n", whole),
        valued("Seeds", "seeds", whole),
        valued("Failures", "failures", whole),
    ]
    caption = (
        f"Means over {counted(data['n'].max(), 'test mixture')} and {counted(data['seeds'].max(), 'seed')} (untrained "
        f"systems: one), with 95 % intervals. {interval_in_words(data)} {training_in_words(trained)} Stitching: "
        "how chunks are put together, blind or, as a bound, in the order of the references (oracle). The ceiling of a "
        "variant is the oracle that bounds its kind of output, where one does. Failures: rows with a score that a "
        f"metric could not give.{missing_in_words(data)} What the studies compare with comes before what they compare."
    )
    if (data["si_sdri_db_standing"] != "").any():
        caption += (
            f" Bold: best of the variants stitched blindly; {TIE.strip()}: not shown to be below it, by paired tests "
            "against it at 5 %, corrected by Holm for the number of all pairs."
        )
    user = data["stitching"] != "oracle"
    views = {"Without oracle stitching": user.tolist(), "All rows": [True] * len(data)}
    for title, names in members.items() if len(members) > 1 else ():
        views[f"Study: {title}"] = (user & data["variant"].isin(names)).tolist()
    return Table("main", caption, data, columns, views)


def costs(runs: pd.DataFrame, titles: Mapping[str, str]) -> Table:
    """What each trained variant costs.

    Args:
        runs: one row a trained variant: variant, seeds, parameters, macs_per_second, real_time_factor, delay_ms,
            train_s, steps, train_subset, train_hours, train_speakers, peak_memory_bytes, slots, numbers_a_slot,
            numbers_a_source, occupied_slots, device, threads.
        titles: variant -> title.
    """
    data = runs.copy()
    data.insert(1, "title", data["variant"].map(titles))
    columns = [
        titled(),
        valued("Parameters", "parameters", scaled),
        valued("MACs a second of audio", "macs_per_second", scaled),
        valued("Real-time factor", "real_time_factor", lambda value: number(value, 4)),
        valued("Delay (ms)", "delay_ms", whole),
        valued("Training time", "train_s", duration),
        valued("Steps", "steps", whole),
        valued("Train split", "train_subset", text, numeric=False),
        valued("Hours", "train_hours", lambda value: number(value, 1)),
        valued("Speakers", "train_speakers", whole),
        Column("Occupied slots", "occupied_slots", _occupied),
        bottleneck(),
        valued("Peak memory (MiB)", "peak_memory_bytes", lambda value: whole(value / 2**20)),
        Column("Device", "device", lambda row: f"{text(row['device'])}, {whole(row['threads'])} threads", False),
    ]
    caption = (
        "Costs: means over seeds; of peak memory the largest. MACs: multiply-accumulates. Real-time factor: seconds to "
        "separate one second of audio, several chunks at once. Delay: the algorithmic delay of separation chunk by "
        "chunk, the longest wait for what an output depends on. Training time is of one seed. Occupied slots: with "
        f"more energy than −20 dB of the mixture's, in a chunk of the validation. {BOTTLENECK}"
    )
    return Table("costs", caption, data, columns)


def lengths(curves: pd.DataFrame, titles: Mapping[str, str]) -> Table:
    """What each variant reaches at each training length.

    Args:
        curves: of ``Lengths.curves``.
        titles: variant -> title.
    """
    data = curves.copy()
    data.insert(1, "title", data["variant"].map(titles))
    columns = [
        titled(),
        valued("Steps", "steps", whole),
        valued("Training time", "train_s", duration),
        ranged("SI-SDRi (dB)", "si_sdri_db"),
        valued("Seeds", "seeds", whole),
    ]
    caption = (
        "SI-SDRi at each training length, every row a training with a learning-rate schedule of its own, stitched "
        "blindly: means with 95 % intervals. Training time: steps by the least time a step of the variant's runs."
    )
    return Table("lengths", caption, data, columns)


def _occupied(row: pd.Series) -> str:
    occupied = row["occupied_slots"]
    return EMPTY if pd.isna(occupied) else f"{number(occupied, 1)} of {whole(row['slots'])}"


def comparison(
    frame: pd.DataFrame,
    name: str,
    caption: str,
    titles: Mapping[str, str] | None = None,
    spent: pd.DataFrame | None = None,
) -> Table:
    """A table of ``comparisons.compare``, with the cost of each variant where it is known.

    Args:
        frame: of ``comparisons.compare``.
        name: of the table and its files.
        caption: of ``comparison_caption``.
        titles: variant -> title; the name where it has none.
        spent: indexed by variant: macs_per_second, real_time_factor.
    """
    data = frame.copy()
    data.insert(1, "title", [(titles or {}).get(name, name) for name in data["variant"]])
    columns = [
        titled(),
        Column(
            "Difference [95 % interval]",
            "difference",
            lambda row: estimate(row["difference"], row["low"], row["high"], row["metric"], sign=True),
        ),
        valued("p", "p", p_value),
        valued("p (Holm)", "p_holm", p_value),
        valued("Effect size", "effect", lambda value: number(value, sign=True)),
        valued("n", "n", whole),
        valued("Missing", "missing", whole),
        valued("Speakers", "speakers", whole),
        valued("Seeds", "seeds", whole),
        valued("Verdict", "verdict", str, numeric=False),
    ]
    columns[2:2] = _at_lengths(frame)
    if spent is not None and len(spent):
        for key in ("macs_per_second", "real_time_factor"):
            data[key] = data["variant"].map(spent[key])
        columns.insert(-1, valued("MACs a second", "macs_per_second", scaled))
        columns.insert(-1, valued("Real-time factor", "real_time_factor", lambda value: number(value, 4)))
    return Table(name, caption, data, columns)


def _at_lengths(frame: pd.DataFrame) -> list[Column]:
    """Columns of what shorter lengths, and equal time, say of a difference; none where there are no lengths."""
    words = {"0.5": "half the steps", "0.25": "a quarter of the steps", "0.125": "an eighth of the steps"}
    columns = []
    for key in frame.columns:
        if key.startswith("difference_x"):
            share = key.removeprefix("difference_x")
            at = words.get(share, f"{share} of the steps")
            columns.append(valued(f"At {at}", key, lambda value: number(value, sign=True)))
    if "difference_equal_time" in frame:
        columns.append(ranged("At equal time", "difference_equal_time"))
    return columns


def comparison_caption(frame: pd.DataFrame, baseline: str) -> str:
    """How to read a table of ``comparisons.compare`` with the baseline titled ``baseline``."""
    settled = ""
    if "difference_equal_time" in frame:
        settled = (
            ", and a difference that has one sign at every length and that another doubling of the steps like the last "
            "would not turn; else it is not converged. At equal time: where the slower of the two has had as much "
            "training time as the faster took for all its steps, between two lengths by the logarithm of time"
        )
    return (
        f"Difference in SI-SDRi (dB) to the baseline, {baseline}, on the same mixtures and seeds, stitched blindly. "
        f"{interval_in_words(frame)} p: of the same t-test, and corrected by Holm for the "
        f"{counted(len(frame), 'comparison')} of this table. Verdict: corrected p below 0.05{settled}. Effect size: "
        "the difference in its standard deviations over mixtures."
    )


def conclusions(studies: Sequence[tuple[str, str, str]]) -> Table:
    """What each study found: rows of (title, question, conclusion)."""
    data = pd.DataFrame(studies, columns=["study", "question", "conclusion"])
    columns = [valued(key.capitalize(), key, str, numeric=False) for key in ("study", "question", "conclusion")]
    return Table("conclusions", "What each study asked and found.", data, columns)


def interval_in_words(frame: pd.DataFrame) -> str:
    """How the intervals of a table with a ``seeds`` column were made."""
    seeds = frame["seeds"].max() if len(frame) else 1
    levels = "that share a speaker or a seed" if seeds > 1 else "that share a speaker (the one seed is taken as given)"
    return f"Intervals: Student's t, with a variance that allows for correlation of scores {levels}."


def _measured(data: pd.DataFrame, key: str) -> bool:
    """Whether a metric has a column: one that earlier scores lack has none where no row has a value."""
    return key not in LATER or bool(data[key].notna().any())


def missing_in_words(data: pd.DataFrame) -> str:
    """Which means of the main table leave values out, and how many; empty where none does.

    A metric that the scores of an earlier version lack altogether is not named.
    """
    parts = [
        f"{row['title']} ({row['stitching']}) {metric.title.split(' (')[0]} {whole(row[f'{key}_missing'])} of "
        f"{whole(row['n'] * row['seeds'])}"
        for _, row in data.iterrows()
        for key, metric in REPORTED.items()
        if _measured(data, key) and row[f"{key}_missing"] and not (key in LATER and pd.isna(row[key]))
    ]
    return f" Missing, and left out of the mean: {'; '.join(parts)}." if parts else ""


def training_in_words(trained: pd.DataFrame) -> str:
    """On what the variants were trained: split and hours."""
    sets = trained[["train_subset", "train_hours"]].drop_duplicates()
    words = [f"{text(row['train_subset'])} ({number(row['train_hours'], 1)} h)" for _, row in sets.iterrows()]
    return f"Trained on {', '.join(words)}." if words else "Nothing was trained."
