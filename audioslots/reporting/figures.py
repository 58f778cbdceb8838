"""Figures in one style: told apart by shape and line as well as by colour, which colour-blind eyes can tell apart too.

SVG files are reproducible: fixed identifiers, no date, text as paths, so they need no font.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import soundfile
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image
from scipy.signal import stft

from audioslots.files import written_aside

PAPER, INK, MUTED, LINE = "#ffffff", "#1d2328", "#5f6b76", "#d5dade"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#aa5588", "#b07800", "#3a8fc0")
_DASHES = ("-", "--", ":", "-.")
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
}


def save_estimates(summary: pd.DataFrame, titles: Mapping[str, str], ceilings: Mapping[str, str], folder: Path) -> Path:
    """Draw SI-SDRi with its interval, a line a variant, and the ceiling of each; returns the SVG's path.

    Args:
        summary: of ``statistics.summarise``.
        titles: variant -> title.
        ceilings: variant -> the oracle row that bounds its kind of output.
        folder: of ``estimates.svg`` and ``estimates.png``.
    """
    kinds = {
        "none": ("s", MUTED, MUTED, 0.0, "not trained"),
        "blind": ("o", SERIES[0], SERIES[0], 0.0, "stitched blindly"),
        "oracle": ("D", SERIES[1], PAPER, 0.27, "stitched with the references"),
    }
    variants = list(dict.fromkeys(summary["variant"]))
    rows = {variant: place for place, variant in enumerate(variants)}
    means = summary.drop_duplicates("variant").set_index("variant")["si_sdri_db"]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7, 1.1 + 0.42 * len(variants)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=MUTED, linewidth=0.8)
        for kind, (marker, colour, fill, offset, label) in kinds.items():
            part = summary[summary["stitching"] == kind]
            if len(part):
                x, low, high = (part[f"si_sdri_db{end}"].to_numpy(float) for end in ("", "_low", "_high"))
                y = part["variant"].map(rows).to_numpy(float) + offset
                reach = np.maximum([x - low, high - x], 0)
                bars: Any = {"fmt": marker, "color": colour, "markerfacecolor": fill, "markersize": 5.5, "capsize": 3}
                axes.errorbar(x, y, xerr=reach, label=label, **bars)
        bounded = [(means[ceiling], rows[v]) for v, ceiling in ceilings.items() if v in rows and ceiling in means]
        if bounded:
            x, y = np.array(bounded, dtype=float).T
            axes.vlines(x, y - 0.32, y + 0.42, color=INK, linewidth=2.2, label="oracle ceiling of the variant")
        axes.set_yticks(range(len(variants)), [_short(titles[variant]) for variant in variants])
        axes.set_ylim(len(variants) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("SI-SDRi (dB), mean and 95 % interval")
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
        return _save(figure, folder / "estimates.svg")


def save_learning(histories: Mapping[str, Sequence[pd.DataFrame]], titles: Mapping[str, str], folder: Path) -> Path:
    """Draw validation SI-SDRi against the step: mean over seeds, and a band from the lowest to the highest seed.

    Args:
        histories: variant -> one history.csv a seed, with ``step`` and ``validation_si_sdri_db`` (NaN where a step was
            not validated).
        titles: variant -> title.
        folder: of ``learning.svg`` and ``learning.png``.

    Returns:
        The SVG's path.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for place, (variant, seeds) in enumerate(histories.items()):
            curve = pd.concat(seeds).groupby("step")["validation_si_sdri_db"].agg(["mean", "min", "max"])
            colour, dash = SERIES[place % len(SERIES)], _DASHES[place % len(_DASHES)]
            marker = "osD^vP"[place % 6]
            every = max(1, len(curve) // 8)
            style: Any = {"color": colour, "linestyle": dash, "marker": marker, "markersize": 4, "markevery": every}
            axes.plot(curve.index, curve["mean"], label=_short(titles[variant]), **style)
            axes.fill_between(curve.index, curve["min"], curve["max"], color=colour, alpha=0.18, linewidth=0)
        axes.set_xlabel("training step")
        axes.set_ylabel("validation SI-SDRi (dB)")
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
        return _save(figure, folder / "learning.svg")


def save_spectrogram(audio: Path, out: Path, height: int = 128) -> None:
    """Write a spectrogram as a small PNG: 0 Hz at the bottom, 70 dB from black to bright.

    Args:
        audio: a mono file.
        out: the PNG; its width follows the duration (one column a 128 samples), its height is ``height``.
        height: frequency bins, in pixels.
    """
    wave, _ = soundfile.read(audio, dtype="float32")
    _, _, bins = stft(wave, nperseg=2 * height, noverlap=2 * height - 128, padded=len(wave) < 2 * height)
    level = 20 * np.log10(np.abs(bins[1 : height + 1][::-1]) + 1e-9)
    shades = 16  # few shades make a small file
    index = np.clip((level - level.max() + 70) / 70 * shades, 0, shades - 1).astype(np.uint8)
    picture = Image.fromarray(index, mode="P")
    picture.putpalette((colormaps["cividis"](np.linspace(0, 1, shades))[:, :3] * 255).astype(np.uint8).tobytes())
    with written_aside(out) as aside:
        picture.save(aside, optimize=True)


def _short(title: str, length: int = 44) -> str:
    return title if len(title) <= length else title[: length - 1] + "…"


def _save(figure: Figure, path: Path) -> Path:
    with written_aside(path) as aside:
        FigureCanvasSVG(figure).print_figure(aside, format="svg", metadata={"Date": None, "Creator": None})
    with written_aside(path.with_suffix(".png")) as aside:
        FigureCanvasAgg(figure).print_figure(aside, format="png", dpi=160, metadata={"Software": None})
    return path
