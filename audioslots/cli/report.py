"""The verbs that make something of scores: comparisons, tables, the page, published results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from audioslots.layout import REFERENCE, RESULTS

reporting = typer.Typer()
results = typer.Typer(help="Published results.", no_args_is_help=True)


@reporting.command("rates")
def choose_rates(
    folder: Annotated[Path, typer.Argument(help="Runs by variant and factor: results/<benchmark>/learning_rates")],
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
) -> None:
    """Choose each variant's learning rate by its validation, of those that were tried."""
    from audioslots.reporting.rates import choose

    print(choose(folder, out).plain())


@reporting.command("compare")
def compare_scores(
    scores: Annotated[list[Path], typer.Argument(help="scores.parquet of runs or of whole benchmarks.")],
    baseline: Annotated[str, typer.Option(help="Variant that the others are compared with.")],
    format: Annotated[Literal["terminal", "md", "tex"], typer.Option(help="Of the table.")] = "terminal",
) -> None:
    """Compare variants on the same mixtures: difference, interval, corrected p-value, and cost where it is known."""
    from audioslots.reporting.compare import compare_files

    print(compare_files(scores, baseline, format))


@reporting.command("means")
def mean_scores(
    scores: Annotated[list[Path], typer.Argument(help="scores.parquet of runs.")],
    out: Annotated[Path, typer.Option(help="CSV to write.")],
) -> None:
    """Write the mean SI-SDRi of each run, the highest first: by it choices are made on dev mixtures."""
    from audioslots.reporting.compare import write_means

    print(write_means(scores, out).to_string(index=False))


@reporting.command("report")
def report_results(
    results: Annotated[Path, typer.Argument(help="results/<benchmark>, or published results.")],
    out: Annotated[Path, typer.Option(help="Folder for tables, figures and the page.")],
    published: Annotated[
        Path | None, typer.Option(help="Published results of the same benchmark, shown beside these and marked.")
    ] = None,
) -> None:
    """Make the tables, figures and the page from the scores."""
    from audioslots.reporting.report import report

    print(report(results, out, published))


@results.command("publish")
def publish_results(
    results: Annotated[Path, typer.Argument(help="results/<benchmark>")],
    out: Annotated[Path, typer.Option(help="Folder of published results.")] = REFERENCE,
    root: Annotated[Path, typer.Option(help="Clone whose documentation shows them.")] = Path(),
    command: Annotated[str, typer.Option(help="Command that makes them again; by default the published one.")] = "",
) -> None:
    """Add the scored runs of a benchmark to its published results, and show them in the documentation."""
    from audioslots.reporting.publish import publish, show

    folder = publish(results, out, command)
    show(root.resolve(), folder.resolve())
    print(folder)


@results.command("render")
def render_results(
    folder: Annotated[Path, typer.Argument(help="Published results, results/reference/<benchmark>.")],
    root: Annotated[Path, typer.Option(help="Clone whose documentation shows them.")] = Path(),
) -> None:
    """Write the page and figures of published results again, from their scores."""
    from audioslots.reporting.publish import render, show

    render(folder)
    show(root.resolve(), folder.resolve())
    print(folder / "README.md")


@results.command("unpack")
def unpack_results(
    folder: Annotated[Path, typer.Argument(help="Published results, results/reference/<benchmark>.")],
    out: Annotated[Path | None, typer.Option(help="Results folder; results/<benchmark> by default.")] = None,
) -> None:
    """Lay published runs out as a results folder; runs that it has already stay."""
    from audioslots.reporting import archive

    out = out or RESULTS / folder.name
    print(f"{out}: {len(archive.unpack(folder, out))} runs")


@reporting.command("ship")
def ship_weights(
    run: Annotated[Path, typer.Argument(help="Run folder of the model.")],
    reference: Annotated[Path, typer.Argument(help="Published results that the run is one of.")],
) -> None:
    """Make the weights of a run those that come with the package, with a model card from the reference's scores."""
    from audioslots.reporting.card import ship

    print(ship(run, reference))
