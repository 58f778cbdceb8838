"""The comparison of any score files, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from audioslots.reporting.sentences import conclude_study
from audioslots.reporting.tables import tabulate_comparison
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json
from audioslots.scoring.evaluate import read_scores
from audioslots.stats.comparisons import compare_with_baseline


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
    frames = [read_scores(path).assign(path=str(path)) for path in paths]
    scores = pd.concat(frames, ignore_index=True)
    files = scores.groupby(["variant", "seed"])["path"].transform("nunique")
    repeated = scores.loc[files > 1, ["variant", "path"]].drop_duplicates()
    names = {(name, path): f"{name} ({path})" for name, path in repeated.itertuples(index=False)}
    variants = scores[["variant", "path"]].drop_duplicates().itertuples(index=False)
    costs = {names.get((name, path), name): _read_cost(Path(path), name) for name, path in variants}
    pairs = zip(scores["variant"], scores["path"], strict=True)
    scores["variant"] = [names.get((name, path), name) for name, path in pairs]
    if scores["variant"].nunique() < 2:
        raise InputError(f"{', '.join(map(str, paths))}: only one variant; expected two or more to compare")
    comparison = compare_with_baseline(scores, baseline)
    known = pd.DataFrame.from_dict({name: cost for name, cost in costs.items() if cost}, orient="index")
    known = known.reindex(columns=["macs_per_second", "real_time_factor"])
    table = tabulate_comparison(comparison, "comparison", baseline, costs=known)
    if format == "terminal":
        return f"{table.to_text()}\n\n{conclude_study(comparison, baseline, {name: name for name in costs})}"
    return table.to_markdown() if format == "md" else table.to_latex()


def _read_cost(scores: Path, variant: str) -> dict[str, float]:
    """The cost of a variant by the files beside its scores: of the run, or of the first run in a benchmark."""
    run = scores.parent
    if (folder := run / "runs" / variant).is_dir():
        run = min(folder.glob("seed*"), default=run)
    system, evaluation = (
        read_json(run / name) if (run / name).is_file() else {} for name in ("system.json", "evaluation.json")
    )
    cost = system | {key: value for key, value in evaluation.items() if value} | evaluation.get("cost", {})
    return {key: cost[key] for key in ("macs_per_second", "real_time_factor") if key in cost}
