"""The comparison of a study, for any score files, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from audioslots.reporting import tables
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, written_aside
from audioslots.scoring.evaluate import read_scores
from audioslots.stats import comparisons
from audioslots.stats import verdicts as conclusions
from audioslots.stats.summaries import per_mixture


def compare_files(paths: Sequence[Path], baseline: str, format: str = "terminal") -> str:
    """Compare the variants of score files with one of them.

    A variant that is in several files, with the same seed, is named ``<variant> (<file>)``, so that two versions of one
    variant can be compared.

    Args:
        paths: scores.parquet of runs or of whole benchmarks.
        baseline: name of the variant to compare with.
        format: "terminal", "md" or "tex".

    Raises:
        InputError: a file is no score file, there are fewer than two variants, the baseline is none of them, or they
            were not scored on the same mixtures.
    """
    frames = [read_scores(path) for path in paths]
    runs = [set(zip(frame["variant"], frame["seed"], strict=True)) for frame in frames]
    costs: dict[str, dict[str, float]] = {}
    for place, (path, frame) in enumerate(zip(paths, frames, strict=True)):
        others = set().union(*runs[:place], *runs[place + 1 :])
        twice = {variant for variant, _ in runs[place] & others}
        names = {name: f"{name} ({path})" if name in twice else name for name in frame["variant"].unique()}
        frame["variant"] = frame["variant"].map(names)
        costs |= {names[name]: _cost(path, name) for name in names}
    scores = pd.concat(frames, ignore_index=True)
    if scores["variant"].nunique() < 2:
        raise InputError(f"{', '.join(map(str, paths))}: only one variant; expected two or more to compare")
    frame = comparisons.compare(scores, baseline)
    spent = pd.DataFrame.from_dict({name: cost for name, cost in costs.items() if cost}, orient="index")
    spent = spent.reindex(columns=["macs_per_second", "real_time_factor"])
    table = tables.comparison(frame, "comparison", tables.comparison_caption(frame, baseline), spent=spent)
    if format == "terminal":
        titles = {name: name for name in scores["variant"]}
        return f"{table.plain()}\n\n{conclusions.conclusion(frame, baseline, titles)}"
    return table.markdown() if format == "md" else table.latex()


def write_means(paths: Sequence[Path], out: Path) -> pd.DataFrame:
    """Write the mean SI-SDRi of every run as CSV, the highest first: what a choice made on dev mixtures is made by.

    Args:
        paths: scores.parquet of runs.
        out: a row a ``variant``, ``seed`` and ``stitching``; ``si_sdri_db``, the mean over ``mixtures`` that have a
            value.

    Raises:
        InputError: a file is no score file, a run is given twice, or the runs do not share one set of mixtures.
    """
    means = per_mixture(pd.concat([read_scores(path) for path in paths], ignore_index=True), ["si_sdri_db"])
    runs = means.groupby(["variant", "seed", "stitching"], sort=False)["si_sdri_db"]
    table = runs.agg(si_sdri_db="mean", mixtures="count").reset_index()
    table = table.sort_values("si_sdri_db", ascending=False, kind="stable", ignore_index=True)
    with written_aside(out) as aside:
        table.to_csv(aside, index=False)
    return table


def _cost(path: Path, variant: str) -> dict[str, float]:
    """What the files beside the scores say of a variant's cost: of the run, or of the first run of a benchmark."""
    run = path.parent
    if (folder := run / "runs" / variant).is_dir():
        run = min(folder.glob("seed*"), default=run)
    system, evaluation = (read_json(run / n) if (run / n).is_file() else {} for n in ("system.json", "evaluation.json"))
    found = system | {key: value for key, value in evaluation.items() if value} | evaluation.get("cost", {})
    return {key: found[key] for key in ("macs_per_second", "real_time_factor") if key in found}
