"""The analysis of a benchmark: means, comparisons, verdicts and conclusions of its runs, before they are drawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from audioslots.reporting.breakdown import COUNTED, EVERY, conclude_counting
from audioslots.reporting.results import Run, collect_costs, join_scores
from audioslots.reporting.sentences import conclude_study
from audioslots.reporting.table import Table
from audioslots.reporting.tables import tabulate_comparison, tabulate_conclusions, tabulate_results
from audioslots.scoring.metrics import REPORTED
from audioslots.stats.comparisons import compare_with_baseline, find_not_trained
from audioslots.stats.summaries import summarise
from audioslots.stats.verdicts import TrainingLengths


@dataclass(frozen=True)
class Study:
    """One question, the comparison that answers it, and the answer in a sentence."""

    name: str
    title: str
    question: str
    members: list[str]
    titles: Mapping[str, str]
    table: Table
    conclusion: str


@dataclass(frozen=True)
class Analysis:
    """The results of a benchmark.

    Attributes:
        benchmark: content of ``benchmark.json``.
        runs: at full length.
        scores: rows of these runs with blind or oracle stitching, or untrained.
        all_scores: with the rows of detected numbers of speakers.
        summary: of ``scores``.
        costs: one row per variant of known cost.
        titles: variant -> title.
        bounds: variant -> the oracle that bounds its kind of output.
        lengths: results at shorter training lengths, if there are any.
        studies: those whose baseline and another variant have scores.
        main: the main table.
    """

    benchmark: Mapping[str, Any]
    runs: Sequence[Run]
    scores: pd.DataFrame
    all_scores: pd.DataFrame
    summary: pd.DataFrame
    costs: pd.DataFrame
    titles: Mapping[str, str]
    bounds: Mapping[str, str]
    lengths: TrainingLengths | None
    studies: Sequence[Study]
    main: Table

    def select(self, variants: Collection[str]) -> pd.DataFrame:
        """The scores of some variants."""
        return self.scores[self.scores["variant"].isin(variants)]

    def rank_trained(self) -> list[str]:
        """Trained variants by their mean, stitched blindly."""
        blind = self.summary[self.summary["stitching"] == "blind"]
        return blind.sort_values("si_sdri_db", ascending=False, kind="stable")["variant"].tolist()

    def list_baselines(self) -> list[str]:
        """The baselines of the studies."""
        return [study.members[0] for study in self.studies]

    def tabulate_conclusions(self) -> Table:
        """The table of what the studies found."""
        return tabulate_conclusions([(study.title, study.question, study.conclusion) for study in self.studies])


def analyse(benchmark: Mapping[str, Any], runs: Sequence[Run]) -> Analysis:
    """Analyse all scored runs of a benchmark, of ``Results.collect_runs``."""
    scores, lengths = join_scores(runs), benchmark.get("lengths", {})
    at_lengths = TrainingLengths.collect(lengths, collect_costs(runs), scores) if lengths else None
    shorter = {run for variants in lengths.values() for run in variants.values()}  # shown only beside their variant
    runs = [run for run in runs if run.variant not in shorter]
    all_scores = scores[~scores["variant"].isin(shorter)]
    scores = all_scores[~all_scores["stitching"].isin([COUNTED, EVERY])]
    titles = {run.variant: run.title for run in runs}
    bounds = {run.variant: run.oracle_bound for run in runs if run.oracle_bound in titles}
    costs, summary = collect_costs(runs), summarise(scores, list(REPORTED))

    models = {run.variant: run.config.get("identity", run.variant) for run in reversed(runs) if run.is_trained}
    not_trained = find_not_trained(summary, models)
    studies = []
    for study in benchmark["studies"]:
        baseline = study["baseline"]
        members = [name for name in dict.fromkeys([baseline, *study["variants"]]) if name in titles]
        if baseline not in members or len(members) < 2:
            continue
        named = titles | {baseline: study.get("baseline_title") or titles[baseline]}  # on this study's axis
        comparison = compare_with_baseline(scores[scores["variant"].isin(members)], baseline, not_trained=not_trained)
        if at_lengths:
            comparison = at_lengths.judge(comparison)
        spent = costs.set_index("variant")
        table = tabulate_comparison(comparison, f"comparison-{study['name']}", named[baseline], titles, spent)
        table = replace(table, caption=f"{study['title']}. {table.caption}")
        conclusion = conclude_study(comparison, baseline, named, spent)
        conclusion += conclude_counting(all_scores[all_scores["variant"].isin(members)], baseline, named)
        about = study["name"], study["title"], study["question"]
        studies.append(Study(*about, members, named, table, conclusion))
    by_title = {study.title: study.members for study in studies}
    baselines = [study.members[0] for study in studies]
    main = tabulate_results(summary, costs, titles, bounds, by_title, baselines)
    return Analysis(benchmark, runs, scores, all_scores, summary, costs, titles, bounds, at_lengths, studies, main)
