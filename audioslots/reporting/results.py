"""The scored runs of a benchmark, read from a results folder or from published results."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audioslots.config.untrained import is_untrained, title
from audioslots.config.variant import Resolved
from audioslots.layout import SCORES, run_folder
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, write_json, written_aside
from audioslots.scoring.evaluate import read_scores

DESCRIPTION, RUNS, HISTORY = "benchmark.json", "runs.json", "history.csv"
DESCRIBED = ("config.json", "system.json", "evaluation.json")
COMPRESSION_LEVEL = 19  # of zstd: slow to write, as fast to read
_KEYS: dict[str, type] = {"variants": list, "seeds": list, "studies": list} | dict.fromkeys(
    ("name", "title", "test_description", "train_description"), str
)


@dataclass(frozen=True)
class Run:
    """One variant, one seed.

    Attributes:
        folder: of the run, or of the published results.
        variant: its name.
        seed: 0 of untrained systems.
        files: name -> content of ``DESCRIBED``, and of history.csv, as text; those that are there.
        scores: its rows of scores.parquet.
        is_published: whether it is published and shown beside a user's own.
    """

    folder: Path
    variant: str
    seed: int
    files: Mapping[str, Any]
    scores: pd.DataFrame
    is_published: bool = False

    @property
    def is_trained(self) -> bool:
        """Whether it was trained here: not the mixture, an oracle or an external system."""
        return not is_untrained(self.variant)

    @property
    def config(self) -> Mapping[str, Any]:
        """The content of config.json."""
        return self.files.get("config.json", {})

    @property
    def system(self) -> Mapping[str, Any]:
        """The content of system.json, of trained variants."""
        return self.files.get("system.json", {}) if self.is_trained else {}

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """The content of evaluation.json."""
        return self.files.get("evaluation.json", {})

    @property
    def identity(self) -> str | None:
        """Hash of what its scores depend on; None of untrained systems."""
        return self.config.get("run_identity")

    @property
    def title(self) -> str:
        """The variant's title; published scores beside a user's are marked."""
        name = self.config.get("title") or title(self.variant) or self.variant
        return f"{name} (published)" if self.is_published and self.is_trained else name

    @property
    def oracle_bound(self) -> str | None:
        """Name of the oracle that bounds the variant's kind of output."""
        return self.config.get("oracle_bound") if self.is_trained else None

    @property
    def history(self) -> pd.DataFrame | None:
        """The validated steps of its training; None where there are none."""
        if not self.is_trained or HISTORY not in self.files:
            return None
        is_ratio = self.config.get("separation", {}).get("reconstruction") == "ratio"
        return select_validated(self.files[HISTORY], f"{self.folder / HISTORY}", is_ratio)

    def is_current(self, benchmark: Mapping[str, Any]) -> bool:
        """Whether it has the identity in ``benchmark.json``; a line on standard error if not."""
        expected = benchmark.get("identities", {}).get(self.variant, {}).get(str(self.seed))
        if expected in (None, self.identity) or not self.config:
            return True
        left_out = f"{self.variant}, seed {self.seed}, left out: of another configuration than the benchmark's now"
        print(f"{self.folder}: {left_out}", file=sys.stderr, flush=True)
        return False


@dataclass(frozen=True)
class Results:
    """The content of a results folder or of published results.

    A results folder, ``results/<benchmark>``, holds ``benchmark.json`` and ``runs/<variant>/seed<k>/``. Published
    results hold ``scores.parquet``, the rows of all runs, and ``runs.json``: ``benchmark``, ``command`` (which
    reproduces them) and ``runs``: variant -> seed -> files by name.
    """

    folder: Path
    benchmark: dict[str, Any]
    runs: Sequence[Run]
    command: str = ""

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Read a results folder. Runs of another configuration are left out, with a line on standard error.

        Raises:
            InputError: ``benchmark.json`` or a run is wrong, or no run has scores; names the file.
        """
        benchmark = read_json(folder / DESCRIPTION)
        for key, kind in _KEYS.items():
            if not isinstance(benchmark, dict) or not isinstance(benchmark.get(key), kind):
                raise InputError(f"{folder / DESCRIPTION}: {key}: absent or of another kind; expected {kind.__name__}")
        runs = []
        for variant in benchmark["variants"]:
            identities = benchmark.get("identities", {}).get(variant, benchmark["seeds"])
            for seed in [0] if is_untrained(variant) else map(int, identities):
                place = run_folder(folder, variant, seed)
                if not (place / SCORES).is_file():
                    continue
                files = read_files(place)
                if not is_untrained(variant) and (absent := {"config.json", "evaluation.json"} - set(files)):
                    raise InputError(f"{place / min(absent)}: no such file; expected it beside the scores")
                run = Run(place, variant, seed, files, pd.DataFrame())
                if run.is_current(benchmark):
                    rows = read_scores(place / SCORES)
                    if (holds := set(zip(rows["variant"], rows["seed"], strict=True))) != {(variant, seed)}:
                        expected = f"expected those of variant {variant!r}, seed {seed}"
                        raise InputError(f"{place / SCORES}: holds rows of {sorted(holds)}; {expected}")
                    runs.append(Run(place, variant, seed, files, rows))
        if not runs:
            raise InputError(f"{folder}: no run of the benchmark has scores; expected runs/<variant>/seed<k>/{SCORES}")
        return cls(folder, benchmark, runs)

    @classmethod
    def read_published(cls, folder: Path) -> Results:
        """Read published results.

        Raises:
            InputError: they have no scores, or lack the description of a run.
        """
        scores, kept = read_scores(folder / SCORES), read_json(folder / RUNS)
        if not isinstance(kept, dict) or not {"benchmark", "runs"} <= set(kept):
            raise InputError(f"{folder / RUNS}: damaged; expected the keys benchmark and runs")
        runs = []
        for (variant, seed), rows in scores.groupby(["variant", "seed"], sort=False):
            files = kept["runs"].get(variant, {}).get(str(seed))
            if files is None:
                raise InputError(f"{folder / RUNS}: no seed {seed} of {variant!r}; expected every run of {SCORES}")
            runs.append(Run(folder, str(variant), int(str(seed)), files, rows))
        return cls(folder, kept["benchmark"], runs, kept.get("command", ""))

    def write_published(self) -> None:
        """Write ``folder`` as published results, the scores as small as they go, to the bit."""
        order = list(self.benchmark["variants"])
        runs = sorted(self.runs, key=lambda run: (order.index(run.variant), run.seed))
        files: dict[str, dict[str, Any]] = {}
        for run in runs:
            files.setdefault(run.variant, {})[str(run.seed)] = run.files
        write_json(self.folder / RUNS, {"benchmark": self.benchmark, "command": self.command, "runs": files})
        table = pa.Table.from_pandas(pd.concat(run.scores for run in runs), preserve_index=False)
        recurring = [name for name in table.column_names if 2 * pc.count_distinct(table[name]).as_py() < table.num_rows]
        options: dict[str, Any] = {"compression_level": COMPRESSION_LEVEL, "use_dictionary": recurring}
        with written_aside(self.folder / SCORES) as aside:
            pq.write_table(table, aside, compression="zstd", **options)

    def collect_runs(self, published: Results | None = None, benchmark: Mapping[str, Any] | None = None) -> list[Run]:
        """The runs of a benchmark's variants, with the files of the training of variants that share a model.

        Args:
            published: its runs of the same configuration stand in, marked, for variants without any run here.
            benchmark: content of ``benchmark.json``, if other variants are to be taken than one's own.
        """
        benchmark = benchmark or self.benchmark
        own = {run.variant for run in self.runs}
        others = [run for run in published.runs if run.variant not in own] if published else []
        others = [replace(run, is_published=True) for run in others if run.is_current(benchmark)]
        by_variant: dict[str, list[Run]] = {name: [] for name in benchmark["variants"]}
        for run in (*self.runs, *others):
            if run.variant in by_variant:
                by_variant[run.variant].append(run)
        runs = []
        for run in (run for same in by_variant.values() for run in same):
            home = benchmark.get("models", {}).get(run.variant, run.variant)  # the variant that trained its model
            if home != run.variant:
                trained = next((each.files for each in by_variant.get(home, []) if each.seed == run.seed), None)
                trained = trained or read_files(run_folder(self.folder, home, run.seed))
                shared = {name: trained[name] for name in ("system.json", HISTORY) if name in trained}
                run = replace(run, files={**shared, **run.files})
            runs.append(run)
        return runs


def join_scores(runs: Iterable[Run]) -> pd.DataFrame:
    """The scores of runs in one frame."""
    return pd.concat([run.scores for run in runs], ignore_index=True)


def read_files(folder: Path) -> dict[str, Any]:
    """The files of a run folder, as of ``Run``."""
    files = {name: read_json(folder / name) for name in DESCRIBED if (folder / name).is_file()}
    if (folder / HISTORY).is_file():
        files[HISTORY] = (folder / HISTORY).read_text(encoding="utf-8")
    return files


def select_validated(history: str, place: str, is_ratio: bool = False) -> pd.DataFrame | None:
    """The validated steps of a history.csv, or None where there are none: step and validation_si_sdri_db.

    Args:
        history: content of the file.
        place: its path, for errors.
        is_ratio: whether to take the SI-SDRi of ratio masks.
    """
    try:
        table = pd.read_csv(io.StringIO(history))
        if is_ratio:
            table["validation_si_sdri_db"] = table["validation_ratio_si_sdri_db"]
        validated = table[["step", "validation_si_sdri_db"]].dropna()
    except (KeyError, ValueError) as error:
        raise InputError(f"{place}: {error}; expected columns step and validation_si_sdri_db") from None
    return validated if len(validated) else None


def collect_costs(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per variant of known cost: means over seeds, the largest peak memory, the least time per step.

    External systems have the costs that their evaluation.json states.
    """
    means: dict[str, tuple[str, str | Callable]] = {
        "seeds": ("seed", "nunique"),
        "real_time_factor": ("real_time_factor", "mean"),
        "train_s": ("wall_s", "mean"),
        "step_s": ("wall_s", "min"),  # of a run, divided below
        "steps": ("steps", "mean"),
        "peak_memory_bytes": ("peak_memory_bytes", "max"),
        "occupied_slots": ("occupied_slots", "mean"),
    }
    constant = "parameters macs_per_second delay_ms slots slot_size spectrogram_size train_subset train_hours"
    means |= {key: (key, "first") for key in f"{constant} train_speakers device threads commit".split()}
    records = []
    for run in runs:
        cost = {**run.system, **run.evaluation, "delay_ms": _compute_delay(run)}
        if not run.is_trained:
            cost = run.evaluation.get("cost", {})
        if cost:
            records.append({**cost, "variant": run.variant, "seed": run.seed})
    columns = dict.fromkeys(["variant", *(column for column, _ in means.values())])
    costs = pd.DataFrame(records).reindex(columns=list(columns)).groupby("variant", sort=False).agg(**means)
    return costs.reset_index().assign(step_s=lambda costs: costs["step_s"] / costs["steps"])


def describe_provenance(runs: Sequence[Run]) -> dict[str, str]:
    """Code, machine and versions of training and evaluation, by heading; unknown ones are left out."""

    def list_values(records: Iterable[Mapping[str, Any]], key: str) -> str:
        return ", ".join(sorted({str(record[key]) for record in records if record.get(key) not in (None, "")}))

    systems, evaluations = [run.system for run in runs], [run.evaluation for run in runs]
    versions = {f"{name} {version}" for system in systems for name, version in system.get("versions", {}).items()}
    hours = sum(float(system.get("wall_s", 0)) for system in systems) / 3600
    provenance = {
        "Commit, training": list_values(systems, "commit"),
        "Commit, evaluation": list_values(evaluations, "commit"),
        "Machine": list_values(systems, "device"),
        "Threads per training": list_values(systems, "threads"),
        "Training, all runs": f"{hours:.1f} h" if hours else "",
        "Versions": ", ".join(sorted(versions)),
    }
    return {heading: text for heading, text in provenance.items() if text}


def _compute_delay(run: Run) -> float:
    """Algorithmic delay, ms; NaN where the config is of a version that cannot be read any more."""
    try:
        config = Resolved.of(dict(run.config), str(run.folder))
    except InputError:
        return float("nan")
    return 1000 * config.delay / config.rate
