"""Commands that read scores: compare, rank, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option, Typer

report = Typer()


@report.command("compare")
def compare_scores(
    scores: Annotated[list[Path], Argument(help="scores.parquet of runs or of whole benchmarks.")],
    baseline: Annotated[str, Option(help="Variant to compare the others with.")],
    format: Annotated[Literal["terminal", "md", "tex"], Option(help="Format of the table.")] = "terminal",
) -> None:
    """Compare variants on the same mixtures. Prints differences, intervals, corrected p-values and costs."""
    from audioslots.reporting.compare import compare_files

    print(compare_files(scores, baseline, format))


@report.command("rank")
def rank_runs(
    scores: Annotated[list[Path], Argument(help="scores.parquet of runs.")],
    out: Annotated[Path, Option(help="CSV file to write.")],
) -> None:
    """Rank runs by mean SI-SDRi, such as on dev mixtures."""
    from audioslots.reporting.selection import rank_runs as rank

    print(rank(scores, out).to_string(index=False))


@report.command("report")
def report_results(
    results: Annotated[Path, Argument(help="results/<benchmark>, or published results.")],
    out: Annotated[Path, Option(help="Folder for the tables, the figures and the page.")],
    published: Annotated[Path | None, Option(help="Published results to show next to these.")] = None,
) -> None:
    """Make tables, figures and a page from scores."""
    from audioslots.reporting.report import report

    print(report(results, out, published))
