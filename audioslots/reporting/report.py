"""The report of a benchmark: all rows of scores in one file; tables, figures and the page derived from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from audioslots.errors import InputError
from audioslots.files import read_json, written_aside
from audioslots.reporting import figures, page, statistics, tables
from audioslots.scoring.evaluate import read_scores

UNTRAINED = {
    "mixture": "Mixture",
    "oracle-ibm": "Oracle: binary mask",
    "oracle-irm": "Oracle: ratio mask",
    "oracle-wiener": "Oracle: Wiener-like mask",
    "oracle-psm": "Oracle: phase-sensitive mask",
    "oracle-magnitude": "Oracle: true magnitude, mixture's phase",
}
_SEXES = ("FF", "FM", "MM", "")


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
        return self.variant not in UNTRAINED


def report(results: Path, out: Path) -> Path:
    """Write tables, figures, audio and the page of a benchmark.

    Args:
        results: folder of a benchmark, with ``benchmark.json`` and ``runs/<variant>/seed<k>/``; of what is not trained
            the seed is 0.
        out: folder to write; it can be published as it is.

    Returns:
        Path of ``index.html``.

    Raises:
        InputError: ``benchmark.json`` or a listed run is absent or wrong; names the file.
    """
    results, out = Path(results), Path(out)
    benchmark = _benchmark(results / "benchmark.json")
    runs, parts = [], []
    for variant in benchmark["variants"]:
        for seed in [0] if variant in UNTRAINED else benchmark["seeds"]:
            run, rows = _read(results / "runs" / variant / f"seed{seed}", variant, seed)
            runs.append(run)
            parts.append(rows)
    scores = pd.concat(parts, ignore_index=True)
    titles = {run.variant: run.config.get("title") or UNTRAINED.get(run.variant, run.variant) for run in runs}
    ceilings = {run.variant: run.config["ceiling"] for run in runs if run.trained and run.config.get("ceiling")}

    summary = statistics.summarise(scores)
    spent = _costs(runs)
    by_sexes = {
        sexes or "unknown": statistics.summarise(scores[scores["pair"].fillna("") == sexes], ["si_sdri_db"])
        for sexes in _SEXES
        if scores["pair"].fillna("").eq(sexes).any()
    }
    studies = [_study(study, scores, titles) for study in benchmark["studies"]]
    main, cost = tables.results(summary, spent, titles, ceilings), tables.costs(spent, titles)
    with written_aside(out / "scores.parquet") as aside:
        scores.to_parquet(aside, index=False)
    pairs = tables.pairs(by_sexes, titles)
    for table in (main, cost, pairs, *(study.table for study in studies)):
        table.save(out / "tables")
    drawn = {"estimates": figures.save_estimates(summary, titles, ceilings, out / "figures")}
    histories: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        if run.history is not None:
            histories.setdefault(run.variant, []).append(run.history)
    if histories:
        drawn["learning"] = figures.save_learning(histories, titles, out / "figures")
    heard: dict[str, Path] = {}  # of the oracles only those that are a variant's ceiling, to keep the page small
    for run in runs:
        if run.trained or run.variant in ceilings.values():
            heard.setdefault(run.variant, run.folder / "examples")
    examples = page.collect_examples(heard, scores, titles, out)
    return page.write(out, benchmark, studies, [main, cost, pairs], drawn, examples)


def _benchmark(path: Path) -> dict[str, Any]:
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


def _read(folder: Path, variant: str, seed: int) -> tuple[Run, pd.DataFrame]:
    path = folder / "scores.parquet"
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the scores of variant {variant!r}, seed {seed}")
    rows = read_scores(path)
    found = set(zip(rows["variant"], rows["seed"], strict=True))
    if found != {(variant, seed)}:
        raise InputError(f"{path}: holds rows of {sorted(found)}; expected those of variant {variant!r}, seed {seed}")

    def words(name: str, needed: bool) -> dict[str, Any]:
        return read_json(folder / name) if needed or (folder / name).is_file() else {}

    trained = variant not in UNTRAINED
    run = Run(
        folder=folder,
        variant=variant,
        seed=seed,
        config=words("config.json", trained),
        evaluation=words("evaluation.json", trained),
        system=words("system.json", True) if trained else {},
        history=_history(folder / "history.csv") if trained else None,
    )
    return run, rows


def _history(path: Path) -> pd.DataFrame | None:
    """The validated steps of a history, or None where there are none."""
    if not path.is_file():
        return None
    try:
        history = pd.read_csv(path)
        validated = history[["step", "validation_si_sdri_db"]].dropna()
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: {error}; expected columns step and validation_si_sdri_db") from None
    return validated if len(validated) else None


def _costs(runs: list[Run]) -> pd.DataFrame:
    """One row a trained variant: means over its seeds, of peak memory the largest."""
    spent: dict[str, tuple[str, str | Callable]] = {
        "seeds": ("seed", "nunique"),
        "real_time_factor": ("real_time_factor", "mean"),
        "train_s": ("wall_s", "mean"),
        "steps": ("steps", "mean"),
        "peak_memory_bytes": ("peak_memory_bytes", "max"),
    }
    same = ("parameters", "macs_per_second", "train_subset", "train_hours", "train_speakers")
    spent |= {key: (key, "first") for key in (*same, "device", "threads")}
    records = [run.system | run.evaluation | {"variant": run.variant, "seed": run.seed} for run in runs if run.trained]
    needed = ["variant", *(source for source, _ in spent.values())]
    frame = pd.DataFrame(records).reindex(columns=needed)
    return frame.groupby("variant", sort=False).agg(**spent).reset_index()


def _study(study: dict[str, Any], scores: pd.DataFrame, titles: dict[str, str]) -> page.Study:
    members = dict.fromkeys([study["baseline"], *study["variants"]])
    frame = statistics.compare(scores[scores["variant"].isin(members)], study["baseline"])
    caption = f"{study['title']}. " + tables.comparison_caption(frame, titles[study["baseline"]])
    table = tables.comparison(frame, f"comparison-{study['name']}", caption, titles)
    return page.Study(study["title"], study["question"], page.conclusion(frame, study["baseline"], titles), table)
