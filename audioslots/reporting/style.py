"""One style for all figures: told apart by shape and line as well as by colour, which colour-blind eyes can tell apart.

SVG files are reproducible: fixed identifiers, no date, text as paths, so they need no font. PDF files are for LaTeX: no
date either, fonts embedded as outlines that publishers take (Type 42).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from audioslots.runtime.files import written_aside

PAPER, INK, MUTED, LINE = "#ffffff", "#1d2328", "#5f6b76", "#d5dade"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#aa5588", "#b07800", "#3a8fc0")  # after Okabe and Ito
MARKERS = "osD^vPX*"
DASHES = ("-", "--", ":", "-.")
WIDTH = 7  # inches
UNDATED: Any = {"CreationDate": None, "Creator": None, "Producer": None}
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,  # a variant's name may hold a dollar sign
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.titlesize": 9,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "svg.hashsalt": "audioslots",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Make a function that draws a figure draw it in this style."""

    @wraps(draw)
    def drawn(*args: Any, **kwargs: Any) -> Figure:
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return drawn


def line(place: int) -> dict[str, Any]:
    """Colour, dash and marker of the series at a place: no two of 24 alike, and neighbours differ in all three."""
    colour, dash, marker = SERIES[place % len(SERIES)], DASHES[place % len(DASHES)], MARKERS[place % len(MARKERS)]
    return {"color": colour, "linestyle": dash, "marker": marker, "markersize": 4.5, "linewidth": 1.4}


def legend(figure: Figure, entries: int) -> None:
    """A legend below the panels."""
    if entries:
        figure.legend(loc="outside lower center", ncols=2 if entries > 1 else 1, fontsize=8)


def save(figure: Figure, path: Path) -> Path:
    """Write ``path``, an SVG, and the same as PNG and PDF beside it; returns ``path``."""
    with matplotlib.rc_context(_STYLE):
        with written_aside(path) as aside:
            FigureCanvasSVG(figure).print_figure(aside, format="svg", metadata={"Date": None, "Creator": None})
        with written_aside(path.with_suffix(".png")) as aside:
            FigureCanvasAgg(figure).print_figure(aside, format="png", dpi=150, metadata={"Software": None})
        with written_aside(path.with_suffix(".pdf")) as aside:
            FigureCanvasPdf(figure).print_figure(aside, format="pdf", metadata=UNDATED)
    return path
