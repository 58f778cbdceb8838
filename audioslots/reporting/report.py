"""The report of a benchmark: all rows of scores in one file; tables, figures, audio and the page derived from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from audioslots.config.untrained import is_untrained
from audioslots.layout import SCORES
from audioslots.reporting import figures, listening, spectrograms
from audioslots.reporting.analysis import Analysis, Study, analyse
from audioslots.reporting.breakdown import tabulate_breakdowns, tabulate_counting
from audioslots.reporting.page import Drawing, write_page
from audioslots.reporting.published import require_same_data, require_same_mixtures
from audioslots.reporting.results import DESCRIPTION, RUNS, Results, join_scores
from audioslots.reporting.style import save_figure
from audioslots.reporting.tables import tabulate_changes, tabulate_costs, tabulate_literature
from audioslots.runtime.files import written_aside
from audioslots.runtime.stage import Stage
from audioslots.scoring.examples import chosen
from audioslots.stats.comparisons import compare_all_pairs

LEGIBLE = 20  # variants of the heat map of all; each study has its own
PANEL_SYSTEMS = 2  # of the panel of spectrograms: the best variant, and the first other baseline


def report(results: Path, out: Path, published: Path | None = None) -> Path:
    """Write tables, figures, audio and the page of a benchmark.

    A report shows what has been scored: a variant with the seeds that it has, a study with the variants that it has,
    once its baseline is among them.

    Args:
        results: a results folder, or published results.
        out: folder to write; it can be published as it is.
        published: published results of the same benchmark; they complete the studies that ``results`` has runs of, and
            are marked.

    Returns:
        Path of ``index.html``.

    Raises:
        InputError: ``benchmark.json`` or a run is absent or wrong, or the published results are of other data; names
            the file.
    """
    results, out = Path(results), Path(out)
    is_published = not (results / DESCRIPTION).exists() and (results / RUNS).is_file()
    own = Results.read_published(results) if is_published else Results.read(results)
    benchmark, others = own.benchmark, None
    if published is not None:
        others = Results.read_published(Path(published))
        require_same_data(others, own.benchmark)
        require_same_mixtures(others, own)
        benchmark = _select_studies(own.benchmark, {run.variant for run in own.runs})
    runs = own.collect_runs(others, benchmark)
    with Stage(out, "report", {}, ()).locked():
        with written_aside(out / SCORES) as aside:
            join_scores(runs).to_parquet(aside, index=False)
        return _Report(analyse(benchmark, runs), out).write()


def _select_studies(benchmark: Mapping[str, Any], own: set[str]) -> dict[str, Any]:
    """A benchmark with the studies that a user has runs of, their variants at all lengths, and untrained systems."""
    studies = [study for study in benchmark["studies"] if own & {study["baseline"], *study["variants"]}]
    wanted = own | {name for study in studies for name in (study["baseline"], *study["variants"])}
    wanted |= {run for name in wanted for run in benchmark.get("lengths", {}).get(name, {}).values()}
    variants = [name for name in benchmark["variants"] if name in wanted or is_untrained(name)]
    return {**benchmark, "studies": studies, "variants": variants}


class _Report:
    """The files of a report, written from an analysis."""

    def __init__(self, analysis: Analysis, out: Path) -> None:
        self.analysis, self.out = analysis, out

    def write(self) -> Path:
        analysis, titles = self.analysis, self.analysis.titles
        tables = [
            analysis.main,
            tabulate_costs(analysis.costs, titles),
            *tabulate_breakdowns(analysis.scores, titles),
            analysis.tabulate_conclusions(),
            tabulate_changes(analysis.runs, [(study.title, study.members) for study in analysis.studies]),
        ]
        if analysis.benchmark.get("task", "sep_clean") == "sep_clean":
            tables.append(tabulate_literature())
        if (counting := tabulate_counting(analysis.all_scores, titles)) is not None:
            tables.append(counting)
        for table in [*tables, *(study.table for study in analysis.studies)]:
            table.save(self.out / "tables")
        study_figures = {study.name: self._draw_study(study) for study in analysis.studies}
        why = self._choose_examples()
        examples = self._find_examples(why)
        drawings = [*self._draw_overview(), *self._draw_masks(examples)]
        audio = listening.copy_examples(examples, analysis.scores, titles, self.out, why)
        return write_page(self.out, analysis, tables, study_figures, drawings, audio)

    def _draw(self, name: str, caption: str, draw: Callable[..., Figure], *args: Any) -> Drawing:
        save_figure(self.out / "figures" / name, ("svg", "pdf"), draw, *args)
        return Drawing(name, self.out / "figures" / f"{name}.svg", caption)

    def _draw_overview(self) -> list[Drawing]:
        analysis = self.analysis
        caption = (
            "SI-SDRi of every variant: mean and 95 % interval. Upright bars: the oracle bound of the kind of output."
        )
        arguments = (analysis.summary, analysis.titles, analysis.bounds)
        drawings = [self._draw("estimates", caption, figures.draw_estimates, *arguments)]
        trained = analysis.rank_trained()
        if trained:
            caption = (
                "SI-SDRi against cost. Named, and joined by the line: those that no other one beats at the same or "
                "less cost."
            )
            costs = (analysis.summary, analysis.costs, analysis.titles)
            drawings.append(self._draw("cost", caption, figures.draw_costs, *costs))
        is_one_study = any(set(trained) <= set(study.members) for study in analysis.studies)
        if 2 < len(trained) <= LEGIBLE and not is_one_study:
            drawings.append(self._draw_significance("significance", trained, "all trained variants"))
        return drawings

    def _draw_significance(self, name: str, variants: list[str], words: str) -> Drawing:
        pairs = compare_all_pairs(self.analysis.select(variants))
        caption = (
            f"Pairs of {words}: how much the row is above the column (dB SI-SDRi, stitched blindly). Coloured: a "
            f"difference is shown at 5 %, corrected by Holm for all {len(pairs)} pairs."
        )
        return self._draw(name, caption, figures.draw_significance, pairs, self.analysis.titles)

    def _draw_study(self, study: Study) -> list[Drawing]:
        analysis, members = self.analysis, study.members
        bounds = {name: bound for name, bound in analysis.bounds.items() if name in members}
        summary = analysis.summary[analysis.summary["variant"].isin([*members, *bounds.values()])]
        caption = (
            f"{study.title}: SI-SDRi, mean and 95 % interval. Upright bars: the oracle bound of the kind of output."
        )
        arguments = (summary, study.titles, bounds)
        drawings = [self._draw(f"estimates-{study.name}", caption, figures.draw_estimates, *arguments)]
        if analysis.lengths and (curves := analysis.lengths.summarise(members)) is not None:
            caption = (
                f"{study.title}: SI-SDRi at each training length, every point a training of its own, stitched blindly: "
                "mean over seeds and 95 % interval, against steps and against time."
            )
            drawings.append(self._draw(f"lengths-{study.name}", caption, figures.draw_lengths, curves, study.titles))
        histories: dict[str, list[pd.DataFrame]] = {}
        for run in analysis.runs:
            if run.variant in members and run.history is not None:
                histories.setdefault(run.variant, []).append(run.history)
        if histories:
            caption = (
                f"{study.title}: validation SI-SDRi in training; mean over seeds, band from the lowest to the highest."
            )
            drawings.append(
                self._draw(f"learning-{study.name}", caption, figures.draw_learning, histories, study.titles)
            )
        if len(members) > 2:
            drawings.append(self._draw_significance(f"significance-{study.name}", members, f"the study {study.title}"))
        return drawings

    def _choose_examples(self) -> dict[str, str]:
        """Mixture id -> why it was chosen, as in evaluation: by the first baseline that was run here, first seed."""
        here = [run.variant for run in self.analysis.runs if run.is_trained and not run.is_published]
        first = [name for name in self.analysis.list_baselines() if name in here][:1] or here[:1]
        rows = self.analysis.select(first)
        return chosen(rows[rows["seed"].isin(self.analysis.benchmark["seeds"][:1])], listening.EXAMPLES)

    def _find_examples(self, why: Mapping[str, str]) -> dict[str, dict[str, Path]]:
        """Examples of the variants, the best first, and of those oracles that bound one."""
        wanted = [*self.analysis.rank_trained(), *dict.fromkeys(self.analysis.bounds.values())]
        folders = {run.variant: run.folder / "examples" for run in reversed(self.analysis.runs)}
        return listening.find_examples({name: folders[name] for name in wanted if name in folders}, why)

    def _draw_masks(self, examples: Mapping[str, Mapping[str, Path]]) -> list[Drawing]:
        """The spectrograms of the first example: the best variant, and a baseline."""
        wanted = dict.fromkeys([*self.analysis.rank_trained()[:1], *self.analysis.list_baselines()])
        for mixture_id, folders in examples.items():
            if variants := [variant for variant in wanted if variant in folders][:PANEL_SYSTEMS]:
                systems = {self.analysis.titles[variant]: folders[variant] for variant in variants}
                caption = (
                    f"Mixture {mixture_id}: spectrograms of the mixture, its references and the estimates, stitched "
                    "blindly, and the effective masks of the slots: the share of each estimate in their sum."
                )
                return [self._draw("spectrograms", caption, spectrograms.draw_masks, systems)]
        return []
