"""One style for all figures: series differ in marker and dash as well as in colours that are safe for colour blindness.

Files are reproducible: fixed identifiers, no date. SVG has text as paths, so it needs no font; PDF, for LaTeX, embeds
fonts as publishers take them (Type 42).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from audioslots.runtime.files import written_aside

PAPER, INK, MUTED, LINE = "#ffffff", "#1d2328", "#5f6b76", "#d5dade"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#aa5588", "#b07800", "#3a8fc0")  # after Okabe and Ito
MARKERS = "osD^vPX*"
DASHES = ("-", "--", ":", "-.")
WIDTH = 7  # inches
_METADATA: dict[str, Any] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_STYLE: Any = {
    **{"font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 9, "legend.fontsize": 8},
    **{"text.parse_math": False},  # a variant's name may hold a dollar sign
    **{"text.color": INK, "axes.labelcolor": INK, "xtick.labelcolor": INK, "ytick.labelcolor": INK},
    **{"axes.edgecolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED},
    **{"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False},
    **{"axes.axisbelow": True, "axes.grid": True, "grid.color": LINE, "grid.linewidth": 0.7},
    **{"figure.facecolor": PAPER, "axes.facecolor": PAPER},
    **{"svg.hashsalt": "audioslots", "svg.fonttype": "path", "pdf.fonttype": 42},
}


def style_line(place: int) -> dict[str, Any]:
    """Colour, dash and marker of the series at a place: no two of 24 alike, and neighbours differ in all three."""
    colour, dash, marker = (options[place % len(options)] for options in (SERIES, DASHES, MARKERS))
    return {"color": colour, "linestyle": dash, "marker": marker, "markersize": 4.5, "linewidth": 1.4}


def save_figure(path: Path, kinds: tuple[str, ...], draw: Callable[..., Figure], *args: Any) -> None:
    """Write the figure that ``draw(*args)`` returns as ``path`` with each suffix of ``kinds``, svg or pdf."""
    with matplotlib.rc_context(_STYLE):
        figure = draw(*args)
        for kind in kinds:
            with written_aside(path.with_name(f"{path.name}.{kind}")) as aside:
                figure.savefig(aside, metadata=_METADATA[kind])
