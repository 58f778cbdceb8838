"""The tables of a benchmark and of its studies: results, comparisons, costs, conclusions, what a variant changes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audioslots.reporting.formatting import (
    EMPTY,
    format_count,
    format_duration,
    format_estimate,
    format_number,
    format_p,
    format_si,
    format_text,
    join_words,
)
from audioslots.reporting.results import Run
from audioslots.reporting.table import STITCHING, TIE, TITLE, Column, Table, estimate_column
from audioslots.runtime.stage import flat
from audioslots.scoring.metrics import LATER, REPORTED
from audioslots.stats.comparisons import MARGIN, TRAINED_DB

SLOT_SIZE = (
    "Slot size / spectrogram size: numbers per slot, numbers per source spectrogram of one chunk (frequency bins × "
    "frames), and their ratio."
)
LITERATURE = Path(__file__).with_name("published.csv")
"""Results that others published on Libri2Mix, each with the source that this project has read."""
_NAMES = frozenset("benchmark oracle_bound data_identity identity name provenance run_identity seed title".split())


def add_titles(frame: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """A copy with the titles of its variants as the second column; the name where a variant has none."""
    frame = frame.copy()
    frame.insert(1, "title", [titles.get(name, name) for name in frame["variant"]])
    return frame


def split_views(data: pd.DataFrame) -> dict[str, list[bool]]:
    """The views of a table with a row per stitching: without the oracle's rows, and all."""
    return {"Without oracle stitching": (data["stitching"] != "oracle").tolist(), "All rows": [True] * len(data)}


def slot_size_column() -> Column:
    """The column of a slot's size, its spectrogram's, and the ratio."""

    def show(row: Any) -> str:
        slot, source = row["slot_size"], row["spectrogram_size"]
        if pd.isna(slot) or pd.isna(source):
            return EMPTY
        ratio = source / slot
        return f"{format_count(slot)} / {format_count(source)} [1 / {format_number(ratio, 0 if ratio >= 10 else 1)}]"

    return Column("Slot size / spectrogram size", "slot_size", show, of_row=True)


def tabulate_results(
    summary: pd.DataFrame,
    costs: pd.DataFrame,
    titles: Mapping[str, str],
    bounds: Mapping[str, str],
    members: Mapping[str, Sequence[str]],
    baselines: Sequence[str] = (),
) -> Table:
    """The main table, one row per variant and stitching: untrained systems, baselines, the others by blind mean.

    Args:
        summary: of ``summarise``.
        costs: one row per trained variant: variant, train_subset, train_hours.
        titles: variant -> title.
        bounds: variant -> the oracle that bounds its kind of output, of variants that have one.
        members: title of a study -> its variants.
        baselines: of the studies.
    """
    means = summary.drop_duplicates("variant").set_index("variant")  # "blind" comes before "oracle"
    place = (-means["si_sdri_db"]).where(means["stitching"] != "none", -np.inf)
    place[means.index.isin(baselines)] = -sys.float_info.max  # finite: after untrained systems
    data = summary.sort_values("variant", key=lambda names: names.map(place), kind="stable", ignore_index=True)
    data = add_titles(data, titles)
    data["oracle_bound"] = data["variant"].map(bounds)
    data["gap_to_oracle_db"] = data["oracle_bound"].map(means["si_sdri_db"]).astype(float) - data["si_sdri_db"]
    for key in ("train_subset", "train_hours"):
        data[key] = data["variant"].map(costs.set_index("variant")[key])
    # Scores of an earlier version lack some metrics altogether.
    metrics = {key: metric for key, metric in REPORTED.items() if key not in LATER or data[key].notna().any()}
    columns = [
        TITLE,
        STITCHING,
        *(estimate_column(metric.title, key, key) for key, metric in metrics.items()),
        Column("Gap to oracle (dB)", "gap_to_oracle_db", format_number),
        *(Column(heading, heading.lower(), format_count) for heading in ("n", "Seeds", "Failures")),
    ]
    missing = {
        metric.title.split(" (")[0]: data.loc[data["stitching"] != "oracle", f"{key}_missing"].max()
        for key, metric in metrics.items()
        if key not in LATER or data[key].notna().all()
    }
    if undefined := join_words([name for name, count in missing.items() if count]):
        undefined = f"Undefined for up to {format_count(max(missing.values()), 'score')} per row: {undefined}."
    caption = [
        f"Means over {format_count(data['n'].max(), 'test mixture')} and {format_count(data['seeds'].max(), 'seed')}, "
        f"with 95 % intervals. {describe_training(costs)}",
        undefined,
        f"Bold: highest mean of the blind rows; {TIE.strip()}: not shown to be below it."
        if (data["si_sdri_db_standing"] != "").any()
        else "",
    ]
    views = split_views(data)
    for title, names in members.items() if len(members) > 1 else ():
        views[f"Study: {title}"] = ((data["stitching"] != "oracle") & data["variant"].isin(names)).tolist()
    return Table("main", " ".join(filter(None, caption)), data, columns, views)


def tabulate_costs(costs: pd.DataFrame, titles: Mapping[str, str]) -> Table:
    """The cost of each trained variant.

    Args:
        costs: of ``results.collect_costs``.
        titles: variant -> title.
    """

    def show_occupied(row: Any) -> str:
        occupied = row["occupied_slots"]
        return EMPTY if pd.isna(occupied) else f"{format_number(occupied, 1)} of {format_count(row['slots'])}"

    def show_device(row: Any) -> str:
        return f"{format_text(row['device'])}, {format_count(row['threads'])} threads"

    columns = [
        TITLE,
        Column("Parameters", "parameters", format_si),
        Column("MACs per second of audio", "macs_per_second", format_si),
        Column("Real-time factor", "real_time_factor", lambda value: format_number(value, 4)),
        Column("Delay (ms)", "delay_ms", format_count),
        Column("Training time", "train_s", format_duration),
        Column("Steps", "steps", format_count),
        Column("Train split", "train_subset", format_text, numeric=False),
        Column("Hours", "train_hours", lambda value: format_number(value, 1)),
        Column("Speakers", "train_speakers", format_count),
        Column("Occupied slots", "occupied_slots", show_occupied, of_row=True),
        slot_size_column(),
        Column("Peak memory (MiB)", "peak_memory_bytes", lambda value: format_count(value / 2**20)),
        Column("Device", "device", show_device, numeric=False, of_row=True),
    ]
    caption = (
        "Costs: means over seeds; the maximum for peak memory. Real-time factor: seconds of computation per second of "
        "audio. Delay: of separation chunk by chunk. Training time: per seed. Occupied slots: those with more energy "
        f"than −20 dB of the mixture's. {SLOT_SIZE}"
    )
    return Table("costs", caption, add_titles(costs, titles), columns)


def tabulate_comparison(
    comparison: pd.DataFrame,
    name: str,
    baseline: str,
    titles: Mapping[str, str] | None = None,
    costs: pd.DataFrame | None = None,
) -> Table:
    """The comparison of a study, with the cost of each variant where it is known.

    Args:
        comparison: of ``compare_with_baseline`` or ``TrainingLengths.judge``.
        name: of the table and its files.
        baseline: title of the baseline.
        titles: variant -> title; the name where it has none.
        costs: indexed by variant: macs_per_second, real_time_factor.
    """

    def show_difference(row: Any) -> str:
        return format_estimate(row["difference"], row["low"], row["high"], row["metric"], sign=True)

    data = add_titles(comparison, titles or {})
    columns = [TITLE, Column("Difference [95 % interval]", "difference", show_difference, of_row=True)]
    for key in map(str, comparison.filter(like="difference_x")):
        heading = f"At {key.removeprefix('difference_x')} × the steps"
        columns.append(Column(heading, key, lambda value: format_number(value, sign=True)))
    has_lengths = "difference_equal_time" in comparison
    if has_lengths:
        columns.append(estimate_column("At equal time", "difference_equal_time"))
    columns += [
        Column("p", "p", format_p),
        Column("p (Holm)", "p_holm", format_p),
        Column("Effect size", "effect", lambda value: format_number(value, sign=True)),
        *(Column(heading, heading.lower(), format_count) for heading in ("n", "Missing", "Speakers", "Seeds")),
    ]
    if costs is not None and len(costs):
        for key in ("macs_per_second", "real_time_factor"):
            data[key] = data["variant"].map(costs[key])
        columns.append(Column("MACs per second", "macs_per_second", format_si))
        columns.append(Column("Real-time factor", "real_time_factor", lambda value: format_number(value, 4)))
    columns.append(Column("Verdict", "verdict", format_text, numeric=False))
    caption = (
        f"Difference in SI-SDRi (dB) to “{baseline}” on the same mixtures and seeds, stitched blindly. Better, worse: "
        f"p below 0.05, corrected by Holm for {format_count(len(comparison), 'comparison')}"
        f"{', and the same sign at every training length' if has_lengths else ''}. Equivalent: interval within "
        f"±{MARGIN} dB. Not trained: the model of one of the two is below {TRAINED_DB:g} dB. Else inconclusive."
    )
    return Table(name, caption, data, columns)


def tabulate_conclusions(studies: Sequence[tuple[str, str, str]]) -> Table:
    """The questions and conclusions of the studies: rows of (title, question, conclusion)."""
    data = pd.DataFrame(studies, columns=["study", "question", "conclusion"])
    columns = [Column(heading, heading.lower(), str, numeric=False) for heading in ("Study", "Question", "Conclusion")]
    caption = "Question and conclusion of each study: differences in SI-SDRi, stitched blindly, with 95 % intervals."
    return Table("conclusions", caption, data, columns)


def tabulate_changes(runs: Sequence[Run], studies: Sequence[tuple[str, Sequence[str]]]) -> Table:
    """The config keys in which a variant differs from its study's baseline.

    Args:
        runs: of a benchmark, all seeds.
        studies: (title, variants), the baseline first.
    """
    first = {run.variant: run for run in reversed(runs)}
    rows = []
    for study, (baseline, *others) in studies:
        for name in (baseline, *others):
            changes = "another system"
            if ("model" in first[name].config) == ("model" in first[baseline].config):
                changed = compare_configs(first[name].config, first[baseline].config)
                changes = "; ".join(f"{key} {_show(old)} → {_show(new)}" for key, old, new in changed) or EMPTY
            rows.append((study, name, first[name].title, changes))
    data = pd.DataFrame(rows, columns=["study", "variant", "title", "changes"])
    caption = "Config keys in which each variant differs from its study's baseline, the first row: old → new value."
    columns = [TITLE, *(Column(heading, heading.lower(), str, numeric=False) for heading in ("Study", "Changes"))]
    return Table("changes", caption, data, columns)


def compare_configs(config: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(Key, the baseline's value, the variant's) of every setting that differs; names and identities do not count.

    Args:
        config: of the variant, the content of ``config.json``; a key inside a section is named ``section.key``.
        baseline: of the baseline. A key that one of them lacks is None there.
    """
    new, old = (flat({key: value for key, value in each.items() if key not in _NAMES}) for each in (config, baseline))
    return [(key, old.get(key), new.get(key)) for key in {**old, **new} if new.get(key) != old.get(key)]


def _show(value: Any) -> str:
    """A value as YAML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return EMPTY if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)


def tabulate_literature() -> Table:
    """The results in ``LITERATURE``, by rate, training split and SI-SDRi.

    Where the source's table leaves out the training split, the note says whether it was read elsewhere or inferred.
    """
    texts = {"System": "system", "Trained on": "trained_on", "Mixtures in training": "training"}
    numbers = {"SI-SDRi (dB)": "si_sdri_db", "SDRi (dB)": "sdri_db"}
    columns = [
        *(Column(heading, key, format_text, numeric=False) for heading, key in texts.items()),
        Column("Rate (Hz)", "rate_hz", format_count),
        *(Column(heading, key, lambda value: format_number(value, 1)) for heading, key in numbers.items()),
        Column("Read in", "read_in", format_text, numeric=False),
        Column("Note", "note", format_text, numeric=False),
    ]
    caption = (
        "Published elsewhere: Libri2Mix, test, 3,000 clean mixtures, min. Comparable with a row above only where test "
        "mixtures, rate and training split are the same. Nothing here is measured by this project. This project has "
        "not read the AudioSlots paper's own table of results, so the table lists no figure of it."
    )
    return Table("published", caption, pd.read_csv(LITERATURE), columns)


def describe_training(costs: pd.DataFrame) -> str:
    """The training data of the variants: split and hours."""
    sets = costs[["train_subset", "train_hours"]].drop_duplicates()
    words = [
        f"{format_text(row['train_subset'])} ({format_number(row['train_hours'], 1)} h)" for _, row in sets.iterrows()
    ]
    return f"Trained on {', '.join(words)}." if words else "Nothing was trained."
