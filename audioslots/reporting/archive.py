"""What a reference keeps of its runs, so that every table can be made again from it: scores, and what is beside them.

REFERENCE/scores.parquet    the benchmark's rows, as small as they go, to the bit
REFERENCE/runs.json         ``benchmark`` (benchmark.json) and ``runs``: variant -> seed -> the files of its folder by
                            name; of history.csv, as text, the validated rows, the first and the last
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audioslots.errors import InputError
from audioslots.files import read_json, write_json, write_text, written_aside
from audioslots.reporting.runs import run_folder
from audioslots.scoring.evaluate import read_scores
from audioslots.stage import Stage

SCORES, RUNS, HISTORY = "scores.parquet", "runs.json", "history.csv"
DESCRIBED = ("config.json", "system.json", "evaluation.json")
LEVEL = 19  # of zstd: slow to write, as fast to read
Run = tuple[str, int]
"""Variant and seed."""


def keep(results: Path, folder: Path) -> None:
    """Write the scores of ``results``, and what describes their runs, into the reference ``folder``.

    Raises:
        InputError: results hold no scores.parquet of a report, or it is damaged.
    """
    runs: dict[str, dict[str, Any]] = {}
    for variant, seed in _runs(read_scores(results / SCORES)):
        place = run_folder(results, variant, seed)
        found = {name: read_json(place / name) for name in DESCRIBED if (place / name).is_file()}
        if (place / HISTORY).is_file():
            found[HISTORY] = _thinned((place / HISTORY).read_text(encoding="utf-8"))
        runs.setdefault(variant, {})[str(seed)] = found
    write_json(folder / RUNS, {"benchmark": read_json(results / "benchmark.json"), "runs": runs})
    table = pq.read_table(results / SCORES)
    recurring = [name for name in table.column_names if 2 * pc.count_distinct(table[name]).as_py() < table.num_rows]
    with written_aside(folder / SCORES) as aside:
        pq.write_table(table, aside, compression="zstd", compression_level=LEVEL, use_dictionary=recurring)


def unpack(folder: Path, out: Path) -> list[Path]:
    """Lay the runs of a reference out again, as ``audioslots report`` reads them; other runs in ``out`` stay.

    Args:
        folder: a reference that holds scores.parquet and runs.json.
        out: results folder; its benchmark.json is written where it has none.

    Returns:
        The run folders written.

    Raises:
        InputError: the reference keeps no scores, or no description of a run, or ``out`` has one of the runs already.
    """
    scores, kept = read_scores(folder / SCORES), read_json(folder / RUNS)
    places = {run: run_folder(out, *run) for run in _runs(scores)}
    with Stage(out, "report", {}, ()).locked():
        _lay_out(folder, out, scores, kept, places)
    return list(places.values())


def _lay_out(folder: Path, out: Path, scores: pd.DataFrame, kept: dict[str, Any], places: dict[Run, Path]) -> None:
    for (variant, seed), place in places.items():
        if str(seed) not in kept["runs"].get(variant, {}):
            raise InputError(f"{folder / RUNS}: no seed {seed} of {variant!r}; expected every run of {SCORES}")
        if place.exists():
            raise InputError(f"{place}: is there already; expected results without this run")
    for (variant, seed), place in places.items():
        for name, content in kept["runs"][variant][str(seed)].items():
            (write_text if name == HISTORY else write_json)(place / name, content)
        rows = scores[(scores["variant"] == variant) & (scores["seed"] == seed)]
        with written_aside(place / SCORES) as aside:
            rows.to_parquet(aside, index=False)
    if not (out / "benchmark.json").is_file():
        write_json(out / "benchmark.json", kept["benchmark"])


def _runs(scores: pd.DataFrame) -> list[Run]:
    """The runs that rows are of, in order of appearance."""
    pairs = scores[["variant", "seed"]].drop_duplicates()
    return [(str(variant), int(seed)) for variant, seed in pairs.itertuples(index=False)]


def _thinned(history: str) -> str:
    """The rows of a history that were validated, the first and the last, their numbers as they were written."""
    rows = pd.read_csv(io.StringIO(history), dtype=str, keep_default_na=False)
    validated = (rows.filter(regex="^validation_") != "").any(axis=1)
    ends = (rows.index == 0) | (rows.index == len(rows) - 1)
    return str(rows[validated | ends].to_csv(index=False, lineterminator="\n"))
