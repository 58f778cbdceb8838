"""The report of a benchmark: all rows of scores in one file; tables, figures and the page derived from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from audioslots.config.untrained import MIXTURE, is_untrained
from audioslots.reporting import (
    breakdown,
    changes,
    counting,
    figures,
    listening,
    page,
    published,
    spectrograms,
    style,
    tables,
)
from audioslots.reporting.archive import RUNS, Archive
from audioslots.reporting.lengths import Lengths
from audioslots.reporting.runs import Run, costs, made_by, read_description, read_runs
from audioslots.reporting.table import Table
from audioslots.reporting.words import listed
from audioslots.runtime.files import written_aside
from audioslots.runtime.stage import Stage
from audioslots.scoring.examples import chosen
from audioslots.stats import comparisons
from audioslots.stats import summaries as statistics
from audioslots.stats import verdicts as conclusions

LEGIBLE = 20  # variants of the heat map over all; each study has its own
RECONSTRUCTION = ("reconstruction", "power", "misi_iterations")  # of a config's ``separation``
PANEL_SYSTEMS = 2  # of the panel of spectrograms: the best, and the first baseline that is another


@dataclass(frozen=True)
class Material:
    """What tables, figures and page are made from."""

    benchmark: dict[str, Any]
    runs: list[Run]
    scores: pd.DataFrame
    summary: pd.DataFrame
    spent: pd.DataFrame
    titles: dict[str, str]
    ceilings: dict[str, str]
    lengths: Lengths | None
    out: Path
    every: pd.DataFrame  # scores, and of mixtures of several numbers of speakers the rows that say how many are found

    def histories(self, variants: list[str]) -> dict[str, list[pd.DataFrame]]:
        """Variant -> histories of its seeds, of those variants that have any."""
        kept: dict[str, list[pd.DataFrame]] = {}
        for variant in variants:
            for run in self.runs:
                if run.variant == variant and run.history is not None:
                    kept.setdefault(variant, []).append(run.history)
        return kept

    def slot_counts(self, variants: list[str]) -> dict[str, int]:
        """Variant -> number of slots, of those whose config has one."""
        counts = {
            run.variant: run.config.get("model", {}).get("slots", {}).get("count")
            for run in self.runs
            if run.variant in variants
        }
        return {variant: count for variant, count in counts.items() if count}

    def best_first(self) -> list[str]:
        """Trained variants by their mean, stitched blindly."""
        blind = self.summary[self.summary["stitching"] == "blind"]
        return blind.sort_values("si_sdri_db", ascending=False, kind="stable")["variant"].tolist()

    def draw(self, name: str, figure: Figure, caption: str) -> page.Drawn:
        """Save a figure and say what it shows."""
        return page.Drawn(name, style.save(figure, self.out / "figures" / f"{name}.svg"), caption)

    def save(self, table: Table) -> Table:
        """Save a table."""
        table.save(self.out / "tables")
        return table


def report(results: Path, out: Path, published: Path | None = None) -> Path:
    """Write tables, figures, audio and the page of a benchmark.

    What has been scored is reported: a variant with the seeds that it has, a study with the variants that it has, once
    its baseline is among them.

    Args:
        results: folder of a benchmark, with ``benchmark.json`` and ``runs/<variant>/seed<k>/``, where the seed of what
            is not trained is 0; or of published results.
        out: folder to write; it can be published as it is.
        published: published results of the same benchmark; the studies that ``results`` has runs of are completed by
            their runs, which are marked, and nothing of them is made again.

    Returns:
        Path of ``index.html``.

    Raises:
        InputError: ``benchmark.json`` or a run is absent or wrong, or the published results are of other data; names
            the file.
    """
    results, out = Path(results), Path(out)
    if not (results / "benchmark.json").exists() and (results / RUNS).is_file():
        archive = Archive.read(results)
        runs, scores = read_runs(None, archive.benchmark, archive)
        with Stage(out, "report", {}, ()).locked():
            return _report(out, archive.benchmark, runs, scores)
    benchmark = read_description(results / "benchmark.json")
    runs, scores = read_runs(results, benchmark)
    if published is not None:
        archive = Archive.read(published)
        archive.require_same_data(benchmark)
        own = {run.variant for run in runs}
        if MIXTURE in own:
            archive.require_same_mixtures(scores[scores["variant"] == MIXTURE])
        studies = [study for study in benchmark["studies"] if own & {study["baseline"], *study["variants"]}]
        benchmark = benchmark | {"studies": studies}
        runs, scores = read_runs(results, benchmark | {"variants": _completed(benchmark, studies, own)}, archive)
    with Stage(out, "report", {}, ()).locked():
        return _report(out, benchmark, runs, scores)


def _completed(benchmark: Mapping[str, Any], studies: Sequence[Mapping[str, Any]], own: set[str]) -> list[str]:
    """The variants of some studies and their shorter lengths, what bounds them, and those that are there already."""
    wanted = own | {name for study in studies for name in (study["baseline"], *study["variants"])}
    wanted |= {run for name in wanted for run in benchmark.get("lengths", {}).get(name, {}).values()}
    return [name for name in benchmark["variants"] if name in wanted or is_untrained(name)]


def _present(studies: Sequence[Mapping[str, Any]], variants: set[str]) -> list[dict[str, Any]]:
    """The studies whose baseline and another variant have scores, with the variants that have."""
    found = [dict(study, variants=[name for name in study["variants"] if name in variants]) for study in studies]
    return [one for one in found if one["baseline"] in variants and set(one["variants"]) - {one["baseline"]}]


def _report(out: Path, benchmark: dict[str, Any], runs: list[Run], scores: pd.DataFrame) -> Path:
    rows, named = scores, benchmark.get("lengths", {})
    benchmark = benchmark | {"studies": _present(benchmark["studies"], {run.variant for run in runs})}
    lengths = Lengths.of(named, costs(runs), scores) if named else None
    less = {run for at in named.values() for run in at.values()}  # these are shown beside their variant alone
    runs, scores = [run for run in runs if run.variant not in less], scores[~scores["variant"].isin(less)]
    titles = {run.variant: run.title for run in runs}
    speakers = counting.counting(scores, titles)
    every = scores
    scores = scores[~scores["stitching"].isin([counting.COUNTED, counting.EVERY])]  # of which that table is all
    here = {run.variant for run in runs}
    ceilings = {run.variant: run.config["ceiling"] for run in runs if run.trained and run.config.get("ceiling") in here}
    summary = statistics.summarise(scores)
    made = Material(benchmark, runs, scores, summary, costs(runs), titles, ceilings, lengths, out, every)

    studies = [_study(study, made) for study in benchmark["studies"]]
    members = {study["title"]: study["variants"] for study in benchmark["studies"]}
    baselines = [study["baseline"] for study in benchmark["studies"]]
    main = tables.results(summary, made.spent, titles, ceilings, members, baselines)
    found = [(study.title, study.question, study.conclusion) for study in studies]
    shown = [
        main,
        tables.costs(made.spent, titles),
        breakdown.by_pair(scores, titles),
        breakdown.by_input(scores, titles),
        breakdown.by_duration(scores, titles),
        breakdown.worst_speakers(scores, titles),
        *([published.published()] if benchmark.get("task", "sep_clean") == "sep_clean" else []),
        tables.conclusions(found),
        changes.changes(runs, benchmark["studies"], out),
    ]
    if lengths and (curves := lengths.curves()) is not None:
        shown.append(tables.lengths(curves, titles))
    shown += [table for table in (speakers, breakdown.over_time(scores, titles)) if table is not None]
    for table in shown:
        made.save(table)
    with written_aside(out / "scores.parquet") as aside:
        rows.to_parquet(aside, index=False)
    why = _why(made)
    heard = _heard(made, why)
    drawn = [*_overview(made), *_panel(heard, made), *_reconstruction(heard, made)]
    examples = listening.collect(heard, scores, titles, out, why)
    return page.write(out, benchmark, conclusions.headline(main), studies, shown, drawn, examples, made_by(runs))


def _overview(made: Material) -> list[page.Drawn]:
    """Figures over all variants."""
    caption = "SI-SDRi of every variant: mean and 95 % interval. Upright bars: the ceiling of that kind of output."
    drawn = [made.draw("estimates", figures.estimates(made.summary, made.titles, made.ceilings), caption)]
    trained = made.best_first()
    if trained:
        caption = (
            "SI-SDRi against cost. Named, and joined by the line: variants that no other one beats at the same cost or "
            "less."
        )
        drawn.append(made.draw("cost", figures.cost(made.summary, made.spent, made.titles), caption))
    in_a_study = any(set(trained) <= set(study["variants"]) for study in made.benchmark["studies"])
    if 2 < len(trained) <= LEGIBLE and not in_a_study:
        drawn.append(_significance("significance", trained, "all trained variants", made))
    return drawn


def _significance(name: str, variants: list[str], words: str, made: Material) -> page.Drawn:
    pairs = comparisons.pairwise(made.scores[made.scores["variant"].isin(variants)])
    caption = (
        f"Pairs of {words}: how much the row is above the column (dB SI-SDRi, stitched blindly). Coloured: a "
        f"difference is shown at 5 %, corrected by Holm for all {len(pairs)} pairs."
    )
    return made.draw(name, figures.significance(pairs, made.titles), caption)


def _study(study: Mapping[str, Any], made: Material) -> page.Study:
    name, title, baseline = study["name"], study["title"], study["baseline"]
    members = list(dict.fromkeys([baseline, *study["variants"]]))
    scores = made.scores[made.scores["variant"].isin(members)]
    titles = made.titles | {baseline: study.get("baseline_title") or made.titles[baseline]}  # what it is on this axis
    frame = comparisons.compare(scores, baseline)
    if made.lengths:
        frame = made.lengths.settled(frame)
    caption = f"{title}. " + tables.comparison_caption(frame, titles[baseline])
    spent = made.spent.set_index("variant")
    table = tables.comparison(frame, f"comparison-{name}", caption, titles, spent)

    ceilings = {variant: made.ceilings[variant] for variant in members if variant in made.ceilings}
    summary = made.summary[made.summary["variant"].isin([*members, *ceilings.values()])]
    drawn = [
        made.draw(
            f"estimates-{name}",
            figures.estimates(summary, titles, ceilings),
            f"{title}: SI-SDRi, mean and 95 % interval. Upright bars: the ceiling of that kind of output.",
        )
    ]
    if made.lengths and (curves := made.lengths.curves(members)) is not None:
        caption = (
            f"{title}: SI-SDRi at each training length, every point a training of its own, stitched blindly: mean "
            "over seeds and 95 % interval, against steps and against time."
        )
        drawn.append(made.draw(f"lengths-{name}", figures.lengths(curves, titles), caption))
    counts = made.slot_counts(members)
    if len(set(counts.values())) > 1:
        caption = f"{title}: SI-SDRi against the number of slots, stitched blindly, with 95 % intervals."
        drawn.append(made.draw(f"slots-{name}", figures.slots(summary, counts, titles), caption))
    if histories := made.histories(members):
        caption = f"{title}: validation SI-SDRi while training; mean over seeds, band from the lowest to the highest."
        drawn.append(made.draw(f"learning-{name}", figures.learning(histories, titles), caption))
    curves = breakdown.input_curves(scores)
    if len(curves):
        caption = (
            f"{title}: SI-SDRi against the input SI-SDR of the source, stitched blindly, with 95 % intervals; as many "
            "sources in each part."
        )
        drawn.append(made.draw(f"input-{name}", figures.by_input(curves, titles), caption))
    if len(members) > 2:
        drawn.append(_significance(f"significance-{name}", members, f"the study {title}", made))
    conclusion = conclusions.conclusion(frame, baseline, titles, spent)
    conclusion += counting.sentence(made.every[made.every["variant"].isin(members)], baseline, titles)
    return page.Study(name, title, study["question"], conclusion, made.save(table), drawn)


def _why(made: Material) -> dict[str, str]:
    """Mixture id -> why it is heard, as evaluation chose: by the first baseline that was run here, first seed."""
    here = [run.variant for run in made.runs if run.trained and not run.published]
    first = [study["baseline"] for study in made.benchmark["studies"] if study["baseline"] in here][:1] or here[:1]
    rows = made.scores[made.scores["variant"].isin(first) & made.scores["seed"].isin(made.benchmark["seeds"][:1])]
    return chosen(rows, listening.EXAMPLES)


def _heard(made: Material, why: Mapping[str, str]) -> dict[str, dict[str, Path]]:
    """Examples of the variants, the best first, and of the oracles only those that are a variant's ceiling."""
    wanted = [*made.best_first(), *dict.fromkeys(made.ceilings.values())]
    first = {run.variant: run.folder / "examples" for run in reversed(made.runs)}
    return listening.found({variant: first[variant] for variant in wanted if variant in first}, why)


def _panel(heard: Mapping[str, Mapping[str, Path]], made: Material) -> list[page.Drawn]:
    """The panel of spectrograms of the first example: the best variant, and a baseline."""
    wanted = [*made.best_first()[:1], *(study["baseline"] for study in made.benchmark["studies"])]
    for mixture_id, folders in heard.items():
        chosen = [variant for variant in dict.fromkeys(wanted) if variant in folders][:PANEL_SYSTEMS]
        if chosen:
            systems = {made.titles[variant]: folders[variant] for variant in chosen}
            caption = (
                f"Mixture {mixture_id}: spectrograms of the mixture, its references and the estimates, stitched "
                "blindly, and the share each estimate has of their sum: the masks that the slots amount to."
            )
            return [made.draw("spectrograms", spectrograms.panel(systems), caption)]
    return []


def _reconstruction(heard: Mapping[str, Mapping[str, Path]], made: Material) -> list[page.Drawn]:
    """The panel of one mixture by the first model whose magnitudes are both taken as they are and made into masks."""
    models: dict[str, dict[str, str]] = {}  # all that estimates depend on but this -> reconstruction -> variant
    for run in made.runs:
        if "identity" in run.config:
            separation = run.config.get("separation", {})
            rest = {key: value for key, value in separation.items() if key not in RECONSTRUCTION}
            kinds = models.setdefault(f"{run.config['identity']} {rest}", {})
            kinds.setdefault(separation.get("reconstruction", "direct"), run.variant)
    gains = listening.gained(made.scores, heard)
    for mixture_id, folders in heard.items():
        for kinds in models.values():
            shown = {kind: kinds[kind] for kind in spectrograms.RECONSTRUCTIONS if kinds.get(kind) in folders}
            if {"direct", "ratio"} <= set(shown):
                known = {
                    (kind, source): gain
                    for kind, variant in shown.items()
                    for (name, mixture, source), gain in gains.items()
                    if (name, mixture) == (variant, mixture_id)
                }
                figure = spectrograms.reconstruction({kind: folders[shown[kind]] for kind in shown}, known)
                titles = listed([f"“{made.titles[variant]}”" for variant in shown.values()])
                caption = (
                    f"{spectrograms.EXCERPT_S:g} s of mixture {mixture_id}, separated by one trained model: {titles}. "
                    f"All panels have one scale, {spectrograms.RANGE_DB} dB below the mixture's loudest point, so blur "
                    "and lost energy are seen. The decoded magnitudes are what the decoder makes of each slot. Ratio "
                    "masks only share the mixture out by these magnitudes, so its fine structure comes back. Decibels: "
                    "SI-SDRi of that estimate of the whole mixture, first seed, stitched blindly."
                )
                return [made.draw("reconstruction", figure, caption)]
    return []
