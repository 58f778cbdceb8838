"""The results page: one file that opens from disk, with figures inside and audio beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from audioslots.reporting import style
from audioslots.reporting.listening import Example, size
from audioslots.reporting.table import Table
from audioslots.runtime.files import write_text

_HERE = Path(__file__).parent
_COLOURS = {style.PAPER: "paper", style.INK: "ink", style.MUTED: "muted", style.LINE: "line"} | {
    colour: f"series-{place}" for place, colour in enumerate(style.SERIES, start=1)
}


@dataclass(frozen=True)
class Drawn:
    """A saved figure: the name of its files, its SVG, and what it shows."""

    name: str
    svg: Path
    caption: str

    @property
    def inside(self) -> Markup:
        """The figure to put inside the page."""
        return themed(self.svg.read_text(encoding="utf-8"), self.name)


@dataclass(frozen=True)
class Study:
    """One question, its answer in a sentence, and the table and figures behind it, the first of these foremost."""

    name: str
    title: str
    question: str
    conclusion: str
    table: Table
    figures: Sequence[Drawn]


def themed(svg: str, name: str) -> Markup:
    """A figure of this project to put inside the page: colours taken from the page's, identifiers of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, variable in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    mark = re.sub(r"[^A-Za-z0-9-]", "-", name)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{mark}-", svg)
    # Without a size of its own it takes the page's; the viewBox keeps its proportions.
    opening, rest = svg.split(">", 1)
    return Markup(re.sub(r' (width|height)="[^"]*"', "", opening) + ">" + rest)


def megabytes(count: int) -> str:
    """A size in MB (10^6 bytes)."""
    return f"{count / 1e6:.1f} MB"


def write(
    out: Path,
    benchmark: Mapping[str, Any],
    headline: str,
    studies: Sequence[Study],
    shown: Sequence[Table],
    drawn: Sequence[Drawn],
    examples: Sequence[Example],
    made_by: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write ``out/index.html`` and return its path.

    Args:
        out: folder of the page; the tables are in ``tables/`` in it, the figures in ``figures/``.
        benchmark: of ``benchmark.json``: title, test_description, train_description.
        headline: the first sentence.
        studies: with their conclusions.
        shown: tables besides those of the studies, of known names.
        drawn: figures besides those of the studies, of known names.
        examples: of ``listening.collect``.
        made_by: of ``runs.made_by``.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sizes = {part: megabytes(size(out / part)) for part in ("audio", "figures", "tables")}
    text = environment.get_template("page.html.j2").render(
        benchmark=benchmark,
        headline=headline,
        studies=studies,
        tables={table.name: table for table in shown},
        figures={figure.name: figure for figure in drawn},
        examples=examples,
        made_by=made_by,
        sizes=sizes,
        script_bytes=(_HERE / "page.js").stat().st_size,
    )
    write_text(out / "index.html", text)
    return out / "index.html"
