"""The weights that ship with the package: copied from a run, with a model card made of what its reference says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from audioslots.config.untrained import MIXTURE
from audioslots.reporting.archive import Archive
from audioslots.reporting.table import Table
from audioslots.reporting.tables import REPORTED, interval_in_words, ranged, stitched, titled
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, sha256, write_text, written_aside
from audioslots.separation.weights import SHIPPED, load_model
from audioslots.stats import summaries as statistics

LARGEST = 10_000_000
"""Bytes of the weights."""


def ship(run: Path, reference: Path, out: Path = SHIPPED) -> Path:
    """Copy the weights of a run to ``out``, and write the model card, ``README.md``, beside them.

    Args:
        run: run folder, its weights and ``system.json``.
        reference: published results of its benchmark, which hold the run's identity and scores.

    Returns:
        The card.

    Raises:
        InputError: the run is not one of the reference's, or its weights are too large to ship.
    """
    run, reference, out = Path(run), Path(reference), Path(out)
    model, config = load_model(run)
    weights, system = run / "model.safetensors", read_json(run / "system.json")
    if weights.stat().st_size > LARGEST:
        raise InputError(f"{weights}: {weights.stat().st_size} bytes; expected {LARGEST} at most, to ship them")
    archive = Archive.read(reference)
    known = archive.identity(config.name, config.seed)
    if known != config.run_identity:
        raise InputError(f"{run}: {reference} holds {known}; expected its identity, {config.run_identity}")
    with written_aside(out) as aside:
        shutil.copyfile(weights, aside)
    facts: dict[str, Any] = {
        "title": config.title,
        "parameters": f"{sum(weight.numel() for weight in model.parameters()):,}",
        "sources": {2: "two", 3: "three"}.get(config.sources, config.sources),
        "noise": "without noise" if config.noise is None else "in noise",
        "rate": f"{config.rate:,}",
        "chunk": f"{config.chunk_s:g}",
        "file": out.name,
        "megabytes": f"{out.stat().st_size / 1e6:.1f}",
        "sum": sha256(out),
        "subset": system["train_subset"],
        "hours": f"{system['train_hours']:.1f}",
        "speakers": system["train_speakers"],
        "steps": f"{system['steps']:,}",
        "seed": config.seed,
        "minutes": round(system["wall_s"] / 60),
        "start": f", from the weights of `{config.init_model}`" if config.init_model else "",
        "device": system["device"],
        "commit": system["commit"],
        "identity": config.run_identity,
        "reference": reference.as_posix(),
        "test": archive.benchmark["test_description"],
        "table": _table(archive.scores, config.name, config.seed).markdown().strip(),
        "highest": f"{config.rate // 2:,}",
    }
    card = out.with_name("README.md")
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined)
    write_text(card, environment.get_template("card.md.j2").render(facts) + "\n")
    return card


def _table(scores: pd.DataFrame, variant: str, seed: int) -> Table:
    """Scores of the mixture, of the run and of all seeds."""
    own = scores["variant"] == variant
    parts = {
        "The mixture itself": scores[scores["variant"] == MIXTURE],
        "These weights": scores[own & (scores["seed"] == seed)],
        "All published seeds": scores[own],
    }
    rows = pd.concat([part.assign(variant=name) for name, part in parts.items()], ignore_index=True)
    summary = statistics.summarise(rows)
    for column in summary.filter(like="_standing"):  # one model is no contest
        summary[column] = ""
    metrics = [ranged(metric.title, key, key) for key, metric in REPORTED.items() if key in summary]
    caption = f"Means over {summary['n'].max()} test mixtures, with 95 % intervals. {interval_in_words(summary)}"
    return Table("card", caption, summary.assign(title=summary["variant"]), [titled(), stitched(), *metrics])
