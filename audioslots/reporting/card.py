"""The weights that ship with the package: copied from a run, with a model card made from published results."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from audioslots.config.untrained import MIXTURE
from audioslots.reporting.results import Results, join_scores
from audioslots.reporting.table import STITCHING, TITLE, Table, estimate_column
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, sha256, write_text, written_aside
from audioslots.scoring.metrics import REPORTED
from audioslots.separation.weights import SHIPPED, load_model
from audioslots.stats.summaries import summarise

LARGEST = 10_000_000
"""Bytes of the weights."""


def release_weights(run: Path, reference: Path, out: Path = SHIPPED) -> Path:
    """Copy the weights of a run to ``out``, and write the model card, ``README.md``, beside them.

    Args:
        run: run folder, with weights and ``system.json``.
        reference: published results of its benchmark, with the run's identity and scores.

    Returns:
        The card.

    Raises:
        InputError: the run is not published in ``reference``, or its weights are too large to ship.
    """
    run, reference, out = Path(run), Path(reference), Path(out)
    model, config = load_model(run)
    weights, system = run / "model.safetensors", read_json(run / "system.json")
    if weights.stat().st_size > LARGEST:
        raise InputError(f"{weights}: {weights.stat().st_size} bytes; expected {LARGEST} at most, to ship them")
    published = Results.read_published(reference)
    known = {(each.variant, each.seed): each.identity for each in published.runs}.get((config.name, config.seed))
    if known != config.run_identity:
        raise InputError(f"{run}: {reference} holds {known}; expected its identity, {config.run_identity}")
    with written_aside(out) as aside:
        shutil.copyfile(weights, aside)
    facts: dict[str, Any] = {
        "config": config,
        "system": system,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "sources": {2: "two", 3: "three"}.get(config.sources, config.sources),
        "file": out.name,
        "bytes": out.stat().st_size,
        "sum": sha256(out),
        "reference": reference.as_posix(),
        "test": published.benchmark["test_description"],
        "table": _tabulate(join_scores(published.runs), config.name, config.seed).to_markdown().strip(),
    }
    card = out.with_name("README.md")
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined)
    write_text(card, environment.get_template("card.md.j2").render(facts) + "\n")
    return card


def _tabulate(scores: pd.DataFrame, variant: str, seed: int) -> Table:
    """Scores of the mixture, of the run and of all seeds."""
    is_own = scores["variant"] == variant
    groups = {
        "The mixture itself": scores[scores["variant"] == MIXTURE],
        "These weights": scores[is_own & (scores["seed"] == seed)],
        "All published seeds": scores[is_own],
    }
    rows = pd.concat([group.assign(variant=title) for title, group in groups.items()], ignore_index=True)
    data = summarise(rows, list(REPORTED)).assign(title=lambda summary: summary["variant"])
    data = data.drop(columns=data.filter(like="_standing"))  # one model has no competitor
    metrics = [estimate_column(metric.title, key, key) for key, metric in REPORTED.items()]
    caption = f"Means over {data['n'].max()} test mixtures, with 95 % intervals."
    return Table("card", caption, data, [TITLE, STITCHING, *metrics])
