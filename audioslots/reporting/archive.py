"""Published runs: what a folder of ``results/reference`` keeps of them, so that every table can be made again from it.

scores.parquet    the rows of all runs, as small as they go, to the bit
runs.json         ``benchmark`` (benchmark.json), ``command``, and ``runs``: variant -> seed -> the files of its folder
                  by name; of history.csv, as text, the validated rows, the first and the last
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audioslots.config.untrained import MIXTURE
from audioslots.layout import SCORES, run_folder
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, write_json, write_text, written_aside
from audioslots.runtime.stage import Stage
from audioslots.scoring.evaluate import read_scores

RUNS, HISTORY = "runs.json", "history.csv"
DESCRIBED = ("config.json", "system.json", "evaluation.json")
LEVEL = 19  # of zstd: slow to write, as fast to read
INPUT_TOLERANCE_DB = 1e-3  # between machines, of the input SI-SDR of the same mixtures
Run = tuple[str, int]
"""Variant and seed."""


@dataclass(frozen=True)
class Archive:
    """The content of a folder of published results.

    Attributes:
        folder: where it was read.
        benchmark: content of ``benchmark.json``.
        runs: variant -> seed -> files of the run by name.
        scores: rows of all runs.
        command: what a reader types to make them again.
    """

    folder: Path
    benchmark: dict[str, Any]
    runs: dict[str, dict[str, dict[str, Any]]]
    scores: pd.DataFrame
    command: str = ""

    @classmethod
    def read(cls, folder: Path) -> Archive:
        """Read a folder.

        Raises:
            InputError: it keeps no scores, or lacks the description of a run.
        """
        folder = Path(folder)
        scores, kept = read_scores(folder / SCORES), read_json(folder / RUNS)
        if not isinstance(kept, dict) or not {"benchmark", "runs"} <= set(kept):
            raise InputError(f"{folder / RUNS}: damaged; expected the keys benchmark and runs")
        for variant, seed in runs_of(scores):
            if str(seed) not in kept["runs"].get(variant, {}):
                raise InputError(f"{folder / RUNS}: no seed {seed} of {variant!r}; expected every run of {SCORES}")
        return cls(folder, kept["benchmark"], kept["runs"], scores, kept.get("command", ""))

    def rows(self, variant: str, seed: int) -> pd.DataFrame:
        """The scores of a run."""
        return self.scores[(self.scores["variant"] == variant) & (self.scores["seed"] == seed)]

    def identity(self, variant: str, seed: int | str) -> str | None:
        """What the scores of a run depend on, hashed; None of a run that is not there or was not trained."""
        files = self.runs.get(variant, {}).get(str(seed), {})
        return files.get("config.json", {}).get("run_identity")

    def require_same_data(self, benchmark: Mapping[str, Any]) -> None:
        """Check that its runs can stand beside those of a benchmark: the same speech and the same test mixtures.

        Raises:
            InputError: they are of other data.
        """
        for key in ("test_identity", "data_identity"):
            theirs, ours = self.benchmark.get(key), benchmark.get(key)
            if theirs != ours:
                raise InputError(f"{self.folder}: {key} is {theirs}; expected {ours}, that of {benchmark['name']}")

    def require_same_mixtures(self, mixture: pd.DataFrame) -> None:
        """Check that its test mixtures are those of some scores of the mixture itself.

        Raises:
            InputError: other mixtures, or the same names with other audio.
        """
        keys = ["mixture_id", "source"]
        theirs = self.scores[self.scores["variant"] == MIXTURE].set_index(keys)["si_sdr_db"].sort_index()
        ours = mixture.set_index(keys)["si_sdr_db"].sort_index()
        if not theirs.index.equals(ours.index):
            raise InputError(f"{self.folder}: scores of other test mixtures; expected the same mixtures and sources")
        apart = np.abs(theirs.to_numpy(float) - ours.to_numpy(float))
        if (worst := float(np.nanmax(apart, initial=0.0))) > INPUT_TOLERANCE_DB:
            name = ours.index[int(np.nanargmax(apart))][0]
            raise InputError(
                f"{self.folder}: input SI-SDR of mixture {name} differs by {worst:.3g} dB; expected the same audio"
            )


def published_runs(folder: str | None, benchmark: Mapping[str, Any]) -> dict[str, set[int]]:
    """Variant -> seeds of the published runs that serve a benchmark, those of its identities.

    Args:
        folder: of published results; None where none are to be taken.
        benchmark: content of ``benchmark.json``.

    Raises:
        InputError: the published results are of other data, or damaged.
    """
    if folder is None:
        return {}
    archive = Archive.read(Path(folder))
    archive.require_same_data(benchmark)
    found: dict[str, set[int]] = {}
    for variant, identities in benchmark["identities"].items():
        seeds = {int(seed) for seed, identity in identities.items() if archive.identity(variant, seed) == identity}
        if seeds:
            found[variant] = seeds
    return found


def read_files(folder: Path, needed: bool = True) -> dict[str, Any]:
    """The files of a run's folder by name, as they are published.

    Args:
        folder: of the run.
        needed: whether config.json and evaluation.json have to be there.
    """
    found = {
        name: read_json(folder / name)
        for name in DESCRIBED
        if (folder / name).is_file() or (needed and name != "system.json")
    }
    if (folder / HISTORY).is_file():
        found[HISTORY] = (folder / HISTORY).read_text(encoding="utf-8")
    return found


def thinned(history: str) -> str:
    """The rows of a history that were validated, the first and the last, their numbers as they were written."""
    rows = pd.read_csv(io.StringIO(history), dtype=str, keep_default_na=False)
    validated = (rows.filter(regex="^validation_") != "").any(axis=1)
    ends = (rows.index == 0) | (rows.index == len(rows) - 1)
    return str(rows[validated | ends].to_csv(index=False, lineterminator="\n"))


def keep(archive: Archive) -> None:
    """Write published runs into their folder."""
    order = {name: place for place, name in enumerate(archive.benchmark["variants"])}
    place = [order.get(name, len(order)) for name in archive.scores["variant"]]
    scores = archive.scores.assign(_place=place).sort_values(["_place", "seed"], kind="stable").drop(columns="_place")
    runs = {name: dict(sorted(archive.runs[name].items())) for name in sorted(archive.runs)}
    write_json(archive.folder / RUNS, {"benchmark": archive.benchmark, "command": archive.command, "runs": runs})
    table = pa.Table.from_pandas(scores.reset_index(drop=True), preserve_index=False)
    recurring = [name for name in table.column_names if 2 * pc.count_distinct(table[name]).as_py() < table.num_rows]
    with written_aside(archive.folder / SCORES) as aside:
        pq.write_table(table, aside, compression="zstd", compression_level=LEVEL, use_dictionary=recurring)


def unpack(folder: Path, out: Path) -> list[Path]:
    """Lay published runs out again, as ``audioslots report`` reads them; runs that ``out`` has already stay.

    Args:
        folder: of published results.
        out: results folder; its benchmark.json is written where it has none.

    Returns:
        The run folders written.

    Raises:
        InputError: as ``Archive.read``.
    """
    archive = Archive.read(folder)
    places = {run: run_folder(out, *run) for run in runs_of(archive.scores)}
    new = {run: place for run, place in places.items() if not (place / SCORES).exists()}
    with Stage(out, "report", {}, ()).locked():
        for (variant, seed), place in new.items():
            for name, content in archive.runs[variant][str(seed)].items():
                (write_text if name == HISTORY else write_json)(place / name, content)
            with written_aside(place / SCORES) as aside:
                archive.rows(variant, seed).to_parquet(aside, index=False)
        if not (out / "benchmark.json").is_file():
            write_json(out / "benchmark.json", archive.benchmark)
    return list(new.values())


def runs_of(scores: pd.DataFrame) -> Iterable[Run]:
    """The runs that rows are of, in order of appearance."""
    pairs = scores[["variant", "seed"]].drop_duplicates()
    return [(str(variant), int(seed)) for variant, seed in pairs.itertuples(index=False)]
