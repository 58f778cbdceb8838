"""Commands of those who maintain the published results: results publish, render, unpack, release-weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from audioslots.layout import REFERENCE, RESULTS

maintain = Typer()
results = Typer(no_args_is_help=True)
maintain.add_typer(results, name="results", help="Publish results, render or unpack them, release weights.")

Root = Annotated[Path, Option(help="Clone whose documentation to update.")]
Published = Annotated[Path, Argument(help="Published results: results/reference/<benchmark>.")]


@results.command("publish")
def publish_results(
    results: Annotated[Path, Argument(help="Results to publish: results/<benchmark>.")],
    out: Annotated[Path, Option(help="Folder of all published results.")] = REFERENCE,
    root: Root = Path(),
    command: Annotated[str, Option(help="Command that reproduces the results; by default the published one.")] = "",
) -> None:
    """Add a benchmark's scored runs to its published results."""
    from audioslots.reporting.publish import publish_results, show_results

    folder = publish_results(results, out, command)
    show_results(root.resolve(), folder.resolve())
    print(folder)


@results.command("render")
def render_results(folder: Published, root: Root = Path()) -> None:
    """Render the page and figures of published results again."""
    from audioslots.reporting.publish import render_results, show_results

    render_results(folder)
    show_results(root.resolve(), folder.resolve())
    print(folder / "README.md")


@results.command("unpack")
def unpack_results(
    folder: Published,
    out: Annotated[Path | None, Option(help="Results folder to add runs to; by default results/<benchmark>.")] = None,
) -> None:
    """Unpack published runs into a results folder. Runs that it has already are kept."""
    from audioslots.reporting.published import unpack_results

    out = out or RESULTS / folder.name
    print(f"{out}: {len(unpack_results(folder, out))} runs")


@results.command("release-weights")
def release_weights(
    run: Annotated[Path, Argument(help="Run folder of the model.")],
    reference: Annotated[Path, Argument(help="Published results that include the run.")],
) -> None:
    """Replace the weights in the package by a run's, with a model card."""
    from audioslots.reporting.card import release_weights

    print(release_weights(run, reference))
