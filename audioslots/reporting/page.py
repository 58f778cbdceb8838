"""The results page: one file that opens from disk, with figures inside and audio beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from audioslots.reporting import style
from audioslots.reporting.analysis import Analysis
from audioslots.reporting.listening import Example, measure_size
from audioslots.reporting.results import describe_provenance
from audioslots.reporting.sentences import describe_best
from audioslots.reporting.table import Table
from audioslots.runtime.files import write_text

_HERE = Path(__file__).parent
_COLOURS = {style.PAPER: "paper", style.INK: "ink", style.MUTED: "muted", style.LINE: "line"} | {
    colour: f"series-{place}" for place, colour in enumerate(style.SERIES, start=1)
}


@dataclass(frozen=True)
class Drawing:
    """A saved figure: the name of its files, its SVG, and its caption."""

    name: str
    svg: Path
    caption: str

    @property
    def embedded(self) -> Markup:
        """The figure to embed in the page."""
        return embed_svg(self.svg.read_text(encoding="utf-8"), self.name)


def embed_svg(svg: str, name: str) -> Markup:
    """A figure of this project with the page's colours, its size, and identifiers that are unique in the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, variable in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    prefix = re.sub(r"[^A-Za-z0-9-]", "-", name)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    opening, rest = svg.split(">", 1)  # the viewBox keeps its proportions
    return Markup(re.sub(r' (width|height)="[^"]*"', "", opening) + ">" + rest)


def write_page(
    out: Path,
    analysis: Analysis,
    tables: Sequence[Table],
    study_figures: Mapping[str, Sequence[Drawing]],
    drawings: Sequence[Drawing],
    examples: Sequence[Example],
) -> Path:
    """Write ``out/index.html`` and return its path.

    Args:
        out: folder of the page, with ``tables/`` and ``figures/``.
        analysis: of the benchmark.
        tables: besides those of the studies, of known names.
        study_figures: name of a study -> its figures, the first one most prominent.
        drawings: besides those of the studies, of known names.
        examples: of ``listening.copy_examples``.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.get_template("page.html.j2").render(
        benchmark=analysis.benchmark,
        headline=describe_best(analysis.main),
        studies=analysis.studies,
        study_figures=study_figures,
        tables={table.name: table for table in tables},
        figures={drawing.name: drawing for drawing in drawings},
        examples=examples,
        provenance=describe_provenance(analysis.runs),
        sizes={part: f"{measure_size(out / part) / 1e6:.1f} MB" for part in ("audio", "figures", "tables")},
        script_bytes=(_HERE / "page.js").stat().st_size,
    )
    write_text(out / "index.html", text)
    return out / "index.html"
