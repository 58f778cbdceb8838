"""The runs of a benchmark on disk: configs, histories and costs beside their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from audioslots.config import Resolved
from audioslots.errors import InputError
from audioslots.files import read_json
from audioslots.scoring.evaluate import read_scores
from audioslots.untrained import is_untrained
from audioslots.untrained import title as title_of


@dataclass(frozen=True)
class Run:
    """One variant, one seed: what its folder holds besides the scores."""

    folder: Path
    variant: str
    seed: int
    config: dict[str, Any]
    evaluation: dict[str, Any]
    system: dict[str, Any] = field(default_factory=dict)
    history: pd.DataFrame | None = None

    @property
    def trained(self) -> bool:
        """Whether it learned anything: not the mixture, not an oracle."""
        return not is_untrained(self.variant)

    @property
    def told(self) -> dict[str, float]:
        """What is told of the cost of a system that is not trained here."""
        return {} if self.trained else self.evaluation.get("cost", {})

    @property
    def title(self) -> str:
        """What people call the variant."""
        return self.config.get("title") or title_of(self.variant) or self.variant


def read_description(path: Path) -> dict[str, Any]:
    """The content of ``benchmark.json``, checked.

    Raises:
        InputError: it is absent or wrong.
    """
    benchmark = read_json(path)
    kinds: dict[str, tuple[type, str]] = {
        "name": (str, "a string"),
        "title": (str, "a string"),
        "variants": (list, "a list of names"),
        "seeds": (list, "a list of whole numbers"),
        "studies": (list, "a list of studies"),
        "test_description": (str, "a string"),
        "train_description": (str, "a string"),
    }
    for key, (kind, words) in kinds.items():
        if not isinstance(benchmark, dict) or not isinstance(benchmark.get(key), kind):
            raise InputError(f"{path}: {key}: absent or of another kind; expected {words}")
    if not benchmark["variants"] or not benchmark["seeds"]:
        raise InputError(f"{path}: variants, seeds: empty; expected one or more of each")
    for study in benchmark["studies"]:
        absent = {"name", "title", "question", "baseline", "variants"} - set(study)
        if absent:
            raise InputError(f"{path}: studies: no {', '.join(sorted(absent))}; expected them in every study")
        unknown = {study["baseline"], *study["variants"]} - set(benchmark["variants"])
        if unknown:
            raise InputError(
                f"{path}: studies: {study['name']}: {', '.join(map(repr, sorted(unknown)))}: not among the benchmark's "
                "variants; expected only those"
            )
    for name in (*benchmark["variants"], *(study["name"] for study in benchmark["studies"])):
        if not name or name in (".", "..") or any(mark in name for mark in "/\\\0"):
            raise InputError(f"{path}: {name!r} cannot name a folder; expected a name without slashes")
    return benchmark


def read_runs(results: Path, benchmark: dict[str, Any]) -> tuple[list[Run], pd.DataFrame]:
    """All runs that a benchmark lists, and the rows of their scores in one frame.

    Raises:
        InputError: a listed run has no scores, or those of another; names the file.
    """
    runs, parts = [], []
    for variant in benchmark["variants"]:
        for seed in [0] if is_untrained(variant) else benchmark["seeds"]:
            home = run_folder(results, benchmark.get("models", {}).get(variant, variant), seed)
            run, rows = _read(run_folder(results, variant, seed), home, variant, seed)
            runs.append(run)
            parts.append(rows)
    return runs, pd.concat(parts, ignore_index=True)


def run_folder(results: Path, variant: str, seed: int) -> Path:
    """Where a run's files lie in ``results``."""
    return results / "runs" / variant / f"seed{seed}"


def _read(folder: Path, home: Path, variant: str, seed: int) -> tuple[Run, pd.DataFrame]:
    """A run and its scores; ``home`` is the folder of the run whose model it is, its own as a rule."""
    path = folder / "scores.parquet"
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the scores of variant {variant!r}, seed {seed}")
    rows = read_scores(path)
    found = set(zip(rows["variant"], rows["seed"], strict=True))
    if found != {(variant, seed)}:
        raise InputError(f"{path}: holds rows of {sorted(found)}; expected those of variant {variant!r}, seed {seed}")

    def words(path: Path, needed: bool) -> dict[str, Any]:
        return read_json(path) if needed or path.is_file() else {}

    trained = not is_untrained(variant)
    run = Run(
        folder=folder,
        variant=variant,
        seed=seed,
        config=words(folder / "config.json", trained),
        evaluation=words(folder / "evaluation.json", trained),
        system=words(home / "system.json", True) if trained else {},
    )
    if trained:
        ratio = run.config.get("separation", {}).get("reconstruction") == "ratio"
        run = replace(run, history=read_history(home / "history.csv", ratio))
    return run, rows


def read_history(path: Path, ratio: bool = False) -> pd.DataFrame | None:
    """The validated steps of a history, or None where there are none; of the SI-SDRi as ratio masks where asked for."""
    if not path.is_file():
        return None
    try:
        history = pd.read_csv(path)
        if ratio:
            history["validation_si_sdri_db"] = history["validation_ratio_si_sdri_db"]
        validated = history[["step", "validation_si_sdri_db"]].dropna()
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: {error}; expected columns step and validation_si_sdri_db") from None
    return validated if len(validated) else None


def costs(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a variant of known cost: means over its seeds, of peak memory the largest, of the time a step the least.

    A system of another package costs what was told of it.
    """
    spent: dict[str, tuple[str, str | Callable]] = {
        "seeds": ("seed", "nunique"),
        "real_time_factor": ("real_time_factor", "mean"),
        "train_s": ("wall_s", "mean"),
        "step_s": ("wall_s", "min"),  # of a run, divided below
        "steps": ("steps", "mean"),
        "peak_memory_bytes": ("peak_memory_bytes", "max"),
        "occupied_slots": ("occupied_slots", "mean"),
    }
    same = ("parameters", "macs_per_second", "delay_ms", "slots", "numbers_a_slot", "numbers_a_source")
    data = ("train_subset", "train_hours", "train_speakers")
    spent |= {key: (key, "first") for key in (*same, *data, "device", "threads")}
    records = [
        run.system | run.evaluation | {"variant": run.variant, "seed": run.seed, "delay_ms": _delay_ms(run)}
        for run in runs
        if run.trained
    ]
    needed = list(dict.fromkeys(["variant", *(source for source, _ in spent.values())]))
    records += [{"variant": run.variant, "seed": run.seed} | run.told for run in runs if run.told]
    frame = pd.DataFrame(records).reindex(columns=needed)
    means = frame.groupby("variant", sort=False).agg(**spent).reset_index()
    return means.assign(step_s=means["step_s"] / means["steps"])


def made_by(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What made the results, as names and words: code, machine and versions of training and evaluation."""

    def each(records: Iterable[dict[str, Any]], key: str) -> str:
        return ", ".join(sorted({str(record[key]) for record in records if record.get(key) not in (None, "")}))

    systems, evaluations = [run.system for run in runs if run.trained], [run.evaluation for run in runs]
    versions = {f"{name} {version}" for system in systems for name, version in system.get("versions", {}).items()}
    hours = sum(float(system.get("wall_s", 0)) for system in systems) / 3600
    found = {
        "Code of the training": each(systems, "commit"),
        "Code of the evaluation": each(evaluations, "commit"),
        "Machine": each(systems, "device"),
        "Threads a training": each(systems, "threads"),
        "Training, all runs": f"{hours:.1f} h" if hours else "",
        "Versions": ", ".join(sorted(versions)),
    }
    return [(name, words) for name, words in found.items() if words]


def _delay_ms(run: Run) -> float:
    """Algorithmic delay, ms; NaN where the config is of a version that cannot be read any more."""
    try:
        config = Resolved.of(run.config, str(run.folder))
    except InputError:
        return float("nan")
    return 1000 * config.delay / config.rate
