"""Learning rates that were tried, and which is the best of each variant on dev speakers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from audioslots.config.variant import Resolved
from audioslots.reporting.runs import read_history
from audioslots.reporting.table import Table
from audioslots.reporting.tables import valued
from audioslots.reporting.words import number, whole
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import written_aside


def choose(folder: Path, out: Path) -> Table:
    """Write the table of the rates that were tried, the best of each variant marked as chosen.

    Best is the highest SI-SDRi at the end of training, on chunks of validation speakers, in the order that suits the
    references best and by the variant's own reconstruction; of equals the lowest rate.

    Args:
        folder: runs, ``<variant>/<factor>/`` with ``config.json`` and ``history.csv``.
        out: CSV file: variant, learning_rate, steps, seed, validation_si_sdri_db, chosen.

    Raises:
        InputError: there are no such runs, or one was not validated.
    """
    rows = []
    for path in sorted(folder.glob("*/*/config.json")):
        run, history = Resolved.read(path), path.with_name("history.csv")
        validated = read_history(history, run.separation.reconstruction == "ratio")
        if validated is None:
            raise InputError(f"{history}: absent or without validated steps; expected a finished training")
        tried = {"variant": run.name, "learning_rate": run.training.learning_rate, "steps": run.training.steps}
        reached = round(float(validated["validation_si_sdri_db"].iloc[-1]), 4)
        rows.append(tried | {"seed": run.seed, "validation_si_sdri_db": reached})
    if not rows:
        raise InputError(
            f"{folder}: no <variant>/<factor>/config.json in it; expected runs of `snakemake learning_rates`"
        )
    data = pd.DataFrame(rows).sort_values(["variant", "learning_rate"], ignore_index=True)
    data["chosen"] = data.index.isin(data.groupby("variant")["validation_si_sdri_db"].idxmax())
    with written_aside(out) as aside:
        data.to_csv(aside, index=False, lineterminator="\n")
    columns = [
        valued("Variant", "variant", str, numeric=False),
        valued("Learning rate", "learning_rate", "{:.3g}".format),
        valued("Steps", "steps", whole),
        valued("Validation SI-SDRi (dB)", "validation_si_sdri_db", number),
        valued("Chosen", "chosen", lambda chosen: "yes" if chosen else "", numeric=False),
    ]
    return Table("rates", "Learning rates that were tried.", data, columns)
