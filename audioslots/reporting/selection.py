"""Choices made on dev speakers: runs ranked by their mean, and the learning rate of each variant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from audioslots.config.variant import Resolved
from audioslots.reporting.formatting import format_count, format_number
from audioslots.reporting.results import HISTORY, select_validated
from audioslots.reporting.table import Column, Table
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import written_aside
from audioslots.scoring.evaluate import read_scores
from audioslots.stats.summaries import average_sources


def rank_runs(paths: Sequence[Path], out: Path) -> pd.DataFrame:
    """Write the mean SI-SDRi of every run as CSV, the highest first.

    Args:
        paths: scores.parquet of runs.
        out: one row per ``variant``, ``seed`` and ``stitching``; ``si_sdri_db``, the mean over ``mixtures`` that have a
            value.

    Raises:
        InputError: a file is no score file, a run is given twice, or the runs do not share one set of mixtures.
    """
    means = average_sources(pd.concat([read_scores(path) for path in paths], ignore_index=True), ["si_sdri_db"])
    runs = means.groupby(["variant", "seed", "stitching"], sort=False)["si_sdri_db"]
    table = runs.agg(si_sdri_db="mean", mixtures="count").reset_index()
    table = table.sort_values("si_sdri_db", ascending=False, kind="stable", ignore_index=True)
    with written_aside(out) as aside:
        table.to_csv(aside, index=False)
    return table


def select_learning_rates(folder: Path, out: Path) -> Table:
    """Write a CSV table of the learning rates that were tried, with the best of each variant marked as chosen.

    The best one has the highest SI-SDRi at the end of training, on chunks of validation speakers, with the best order
    and by the variant's own reconstruction; of equals the lowest rate.

    Args:
        folder: runs, ``<variant>/<factor>/`` with ``config.json`` and ``history.csv``.
        out: CSV file: variant, learning_rate, steps, seed, validation_si_sdri_db, chosen.

    Raises:
        InputError: there are no such runs, or one was not validated.
    """
    rows = []
    for path in sorted(folder.glob("*/*/config.json")):
        run, history = Resolved.read(path), path.with_name(HISTORY)
        is_ratio = run.separation.reconstruction == "ratio"
        validated = select_validated(history.read_text(), str(history), is_ratio) if history.is_file() else None
        if validated is None:
            raise InputError(f"{history}: absent or without validated steps; expected a finished training")
        reached = round(float(validated["validation_si_sdri_db"].iloc[-1]), 4)
        rows.append((run.name, run.training.learning_rate, run.training.steps, run.seed, reached))
    if not rows:
        raise InputError(
            f"{folder}: no <variant>/<factor>/config.json in it; expected runs of `snakemake learning_rates`"
        )
    data = pd.DataFrame(rows, columns=["variant", "learning_rate", "steps", "seed", "validation_si_sdri_db"])
    data = data.sort_values(["variant", "learning_rate"], ignore_index=True)
    data["chosen"] = data.index.isin(data.groupby("variant")["validation_si_sdri_db"].idxmax())
    with written_aside(out) as aside:
        data.to_csv(aside, index=False, lineterminator="\n")
    columns = [
        Column("Variant", "variant", str, numeric=False),
        Column("Learning rate", "learning_rate", "{:.3g}".format),
        Column("Steps", "steps", format_count),
        Column("Validation SI-SDRi (dB)", "validation_si_sdri_db", format_number),
        Column("Chosen", "chosen", lambda chosen: "yes" if chosen else "", numeric=False),
    ]
    return Table("rates", "Learning rates that were tried.", data, columns)
