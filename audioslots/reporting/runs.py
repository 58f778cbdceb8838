"""The runs of a benchmark on disk: configs, histories and costs beside their scores."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from audioslots.config.untrained import is_untrained
from audioslots.config.untrained import title as title_of
from audioslots.config.variant import Resolved
from audioslots.layout import run_folder
from audioslots.reporting.archive import HISTORY, Archive, read_files
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json
from audioslots.scoring.evaluate import read_scores


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
    published: bool = False

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
        """What people call the variant; published scores beside a user's are marked."""
        title = self.config.get("title") or title_of(self.variant) or self.variant
        return f"{title} (published)" if self.published and self.trained else title


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


def read_runs(
    results: Path | None, benchmark: dict[str, Any], published: Archive | None = None
) -> tuple[list[Run], pd.DataFrame]:
    """The runs of a benchmark that have been scored, and the rows of their scores in one frame.

    A run of another configuration than the benchmark's is left out, with a line on standard error. A variant that has
    no run in ``results`` takes its published ones, which are marked.

    Args:
        results: folder of the benchmark; None for published runs only.
        benchmark: content of ``benchmark.json``.
        published: runs to take beside those of ``results``.

    Raises:
        InputError: no listed run has scores, a file is damaged, or a run holds the scores of another; names the file.
    """
    known = published.runs if published else {}
    runs, parts = [], []
    for variant in benchmark["variants"]:
        home = benchmark.get("models", {}).get(variant, variant)
        seeds = seeds_of(benchmark, variant)
        here = [seed for seed in seeds if results is not None and is_scored(results, variant, seed, benchmark)]
        for seed in here:
            assert results is not None
            folder = run_folder(results, variant, seed)
            files = read_files(folder, needed=not is_untrained(variant))
            if home != variant and "system.json" not in files:
                files = {**_trained_files(run_folder(results, home, seed)), **files}
            rows = _own_rows(folder / "scores.parquet", variant, seed)
            runs.append(_run(folder, variant, seed, files))
            parts.append(rows)
        if not here and published and variant in known:
            for seed in sorted(int(seed) for seed in known[variant]):
                files = {**known.get(home, {}).get(str(seed), {}), **known[variant][str(seed)]}
                if not _is_described(published.folder, variant, seed, published.identity(variant, seed), benchmark):
                    continue
                run = _run(published.folder, variant, seed, files)
                runs.append(replace(run, published=results is not None))
                parts.append(published.rows(variant, seed))
    if not parts:
        raise InputError(
            f"{results}: no run of the benchmark has scores; expected runs/<variant>/seed<k>/scores.parquet"
        )
    return runs, pd.concat(parts, ignore_index=True)


def seeds_of(benchmark: Mapping[str, Any], variant: str) -> list[int]:
    """The seeds of a variant that a benchmark describes; of what is not trained, 0."""
    named = benchmark.get("identities", {}).get(variant, benchmark["seeds"])
    return [0] if is_untrained(variant) else [int(seed) for seed in named]


def is_scored(results: Path, variant: str, seed: int, benchmark: Mapping[str, Any]) -> bool:
    """Whether a run has scores, of the configuration that the benchmark describes."""
    folder = run_folder(results, variant, seed)
    if not (folder / "scores.parquet").is_file():
        return False
    if not (folder / "config.json").is_file():
        return True
    return _is_described(folder, variant, seed, read_json(folder / "config.json").get("run_identity"), benchmark)


def _is_described(place: Path, variant: str, seed: int, found: str | None, benchmark: Mapping[str, Any]) -> bool:
    """Whether the identity of a run is that of the benchmark; if not, a line on standard error says so."""
    expected = benchmark.get("identities", {}).get(variant, {}).get(str(seed))
    if expected is not None and found != expected:
        run = f"{variant}, seed {seed}, left out: of another configuration than the benchmark's now"
        print(f"{place}: {run}", file=sys.stderr, flush=True)
    return bool(expected is None or found == expected)


def _own_rows(path: Path, variant: str, seed: int) -> pd.DataFrame:
    rows = read_scores(path)
    found = set(zip(rows["variant"], rows["seed"], strict=True))
    if found != {(variant, seed)}:
        raise InputError(f"{path}: holds rows of {sorted(found)}; expected those of variant {variant!r}, seed {seed}")
    return rows


def _trained_files(home: Path) -> dict[str, Any]:
    """What the run whose model it is says of training."""
    found: dict[str, Any] = {"system.json": read_json(home / "system.json")}
    if (home / HISTORY).is_file():
        found[HISTORY] = (home / HISTORY).read_text(encoding="utf-8")
    return found


def _run(folder: Path, variant: str, seed: int, files: Mapping[str, Any]) -> Run:
    run = Run(
        folder=folder,
        variant=variant,
        seed=seed,
        config=files.get("config.json", {}),
        evaluation=files.get("evaluation.json", {}),
        system=files.get("system.json", {}) if not is_untrained(variant) else {},
    )
    if run.trained and HISTORY in files:
        ratio = run.config.get("separation", {}).get("reconstruction") == "ratio"
        return replace(run, history=_validated(io.StringIO(files[HISTORY]), f"{folder / HISTORY}", ratio))
    return run


def read_history(path: Path, ratio: bool = False) -> pd.DataFrame | None:
    """The validated steps of a history, or None where there are none; of the SI-SDRi as ratio masks where asked for."""
    return _validated(path, str(path), ratio) if path.is_file() else None


def _validated(source: Path | io.StringIO, name: str, ratio: bool) -> pd.DataFrame | None:
    try:
        history = pd.read_csv(source)
        if ratio:
            history["validation_si_sdri_db"] = history["validation_ratio_si_sdri_db"]
        validated = history[["step", "validation_si_sdri_db"]].dropna()
    except (KeyError, ValueError) as error:
        raise InputError(f"{name}: {error}; expected columns step and validation_si_sdri_db") from None
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
    spent |= {key: (key, "first") for key in (*same, *data, "device", "threads", "commit")}
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
