"""The runs of a benchmark that the workflow makes: a variant and a seed each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from audioslots.config.benchmark import Benchmark, members, read_source, resolve, variants
from audioslots.config.study import read_study
from audioslots.config.untrained import MIXTURE
from audioslots.layout import SCORES, results_of, run_folder
from audioslots.runtime.files import read_json

Run = tuple[str, int]
"""Variant and seed."""


def list_runs(benchmark: Benchmark, names: Iterable[str], published: Mapping[str, set[int]]) -> list[Run]:
    """The runs of some variants that are not among the published ones: variant -> seeds."""
    runs = [(name, seed) for name in names for seed in benchmark.seeds_of(name)]
    return [(name, seed) for name, seed in runs if seed not in published.get(name, set())]


def choose_listening_run(benchmark: Benchmark, runs: list[Run]) -> Run:
    """The run whose scores choose the examples to listen to, for all systems of a benchmark.

    It is the baseline of the first study that has one among ``runs``, which are to be made, or on disk; where all of
    that is published, the first of ``runs``. A run on disk that has chosen examples before takes precedence, so that no
    run is scored again.
    """
    results, seed = results_of(benchmark.name), benchmark.seeds[0]
    baselines = [(read_study(study, benchmark.place.ablations).baseline, seed) for study in benchmark.whole.studies]
    scored = [run for run in baselines if run in runs or (run_folder(results, *run) / SCORES).exists()]
    candidates = [*scored, *runs] or [(MIXTURE, 0)]
    return next((run for run in candidates if _has_chosen(run_folder(results, *run))), candidates[0])


def _has_chosen(folder: Path) -> bool:
    """Whether a run was scored with a number of examples, not with those that another has chosen."""
    note = folder / "scores.stage.json"
    return note.is_file() and isinstance(read_json(note).get("request", {}).get("examples"), int)


def find_absent_models(benchmark: Benchmark, runs: Iterable[Run]) -> dict[str, str]:
    """Variants that start from a model of another benchmark that is not there -> one line with what makes it."""
    by_name, lines = variants(benchmark.whole), {}
    for name, seed in runs:
        init = by_name[name].init_from
        if init is None or init.benchmark in (None, benchmark.name):
            continue
        model = resolve(benchmark, name, seed, by_name).init_model
        if model and not Path(model).is_file():
            other, _ = read_source(benchmark, init)
            study = next(study for study in other.studies if init.variant in members(other, study)[0])
            command = f"make run BENCHMARK={init.benchmark} STUDIES={study}"
            lines[name] = f"{benchmark.name}: variant {name}: {model}: no such file; run: {command}"
    return lines
