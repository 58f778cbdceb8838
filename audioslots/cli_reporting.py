"""The verbs that make something of scores: comparisons, tables, the page, reference results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from audioslots.errors import InputError

reporting = typer.Typer()


@reporting.command("rates")
def choose_rates(
    folder: Annotated[Path, typer.Argument(help="Runs by variant and factor: results/<benchmark>/rates")],
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
    results: Annotated[Path, typer.Argument(help="results/<benchmark>")],
    out: Annotated[Path, typer.Option(help="Where tables, figures and page go.")],
) -> None:
    """Make the tables, figures and the page from the scores."""
    from audioslots.reporting.report import report

    print(report(results, out))


@reporting.command("reference")
def publish_reference(
    results: Annotated[Path | None, typer.Argument(help="results/<benchmark>, reported.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="results/reference by default; of --unpack, results/<benchmark>.")
    ] = None,
    root: Annotated[Path, typer.Option(help="Clone whose documentation shows it.")] = Path(),
    command: Annotated[str, typer.Option(help="What a reader types to make them again.")] = "make reference",
    unpack: Annotated[
        Path | None, typer.Option(help="Lay the runs of this reference out again in --out, for `audioslots report`.")
    ] = None,
) -> None:
    """Copy a benchmark's tables, figures and scores to the reference results, and show them in the documentation."""
    from audioslots.reporting import archive
    from audioslots.reporting.reference import publish, show

    if (results is None) == (unpack is None):
        raise InputError("reference: results and --unpack; expected one of the two")
    if unpack is not None:
        out = out or Path("results") / unpack.name
        print(f"{out}: {len(archive.unpack(unpack, out))} runs")
    elif results is not None:
        folder = publish(results, out or Path("results/reference"), command)
        show(root.resolve(), folder.resolve())
        print(folder)


@reporting.command("ship")
def ship_weights(
    run: Annotated[Path, typer.Argument(help="Run folder of the model.")],
    reference: Annotated[Path, typer.Argument(help="Committed reference that the run is one of.")],
) -> None:
    """Make the weights of a run those that come with the package, with a model card from the reference's scores."""
    from audioslots.reporting.card import ship

    print(ship(run, reference))
