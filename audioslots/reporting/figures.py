"""Figures of scores, histories and costs. Each function draws one and returns it; ``style.save`` writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from audioslots.reporting.style import INK, LINE, MUTED, PAPER, SERIES, WIDTH, legend, line, styled
from audioslots.reporting.words import number, scaled, short

_ANNOTATED = 10  # variants up to which the cells of a heat map have room for a number
_ON_DARK = "#fefefe"  # not PAPER, which the page makes dark


@styled
def estimates(summary: pd.DataFrame, titles: Mapping[str, str], ceilings: Mapping[str, str]) -> Figure:
    """SI-SDRi with its interval, a line a variant, and the ceiling of each; what is trained in order of its mean.

    Args:
        summary: of ``statistics.summarise``.
        titles: variant -> title.
        ceilings: variant -> the oracle row that bounds its kind of output.
    """
    kinds = {
        "none": ("s", MUTED, MUTED, 0.0, "not trained"),
        "blind": ("o", SERIES[0], SERIES[0], 0.0, "stitched blindly"),
        "oracle": ("D", SERIES[1], PAPER, 0.27, "stitched with the references"),
    }
    means = summary.drop_duplicates("variant").set_index("variant")["si_sdri_db"]
    untrained = summary.loc[summary["stitching"] == "none", "variant"].tolist()
    trained = [name for name in means.sort_values(ascending=False).index if name not in untrained]
    rows = {variant: place for place, variant in enumerate([*untrained, *trained])}
    figure = Figure(figsize=(WIDTH, 1.1 + (0.42 if len(rows) <= 14 else 0.27) * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color=MUTED, linewidth=0.8)
    for kind, (marker, colour, fill, offset, label) in kinds.items():
        part = summary[summary["stitching"] == kind]
        if len(part):
            y = part["variant"].map(rows).to_numpy(float) + offset
            style = {"fmt": marker, "color": colour, "markerfacecolor": fill, "markersize": 5.5, "capsize": 3}
            _bars(axes, y, part, label=label, horizontal=True, **style)
    bounded = [(means[ceiling], rows[v]) for v, ceiling in ceilings.items() if v in rows and ceiling in means]
    if bounded:
        x, y = np.array(bounded, dtype=float).T
        axes.vlines(x, y - 0.32, y + 0.42, color=INK, linewidth=2.2, label="oracle ceiling of the variant")
    _names(axes, [titles[variant] for variant in rows])
    axes.set_xlabel("SI-SDRi (dB), mean and 95 % interval")
    legend(figure, 4)
    return figure


@styled
def learning(histories: Mapping[str, Sequence[pd.DataFrame]], titles: Mapping[str, str]) -> Figure:
    """Validation SI-SDRi against the step: mean over seeds, and a band from the lowest to the highest seed.

    Args:
        histories: variant -> one history.csv a seed, with ``step`` and ``validation_si_sdri_db``, validated steps only.
        titles: variant -> title.
    """
    figure, (axes,) = _panels(len(histories))
    for place, (variant, seeds) in enumerate(histories.items()):
        curve = pd.concat(seeds).groupby("step")["validation_si_sdri_db"].agg(["mean", "min", "max"])
        style = line(place)
        axes.plot(curve.index, curve["mean"], label=short(titles[variant]), markevery=max(1, len(curve) // 8), **style)
        axes.fill_between(curve.index, curve["min"], curve["max"], color=style["color"], alpha=0.18, linewidth=0)
    axes.set_xlabel("training step")
    axes.set_ylabel("validation SI-SDRi (dB)")
    legend(figure, len(histories))
    return figure


@styled
def lengths(curves: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """SI-SDRi at each training length, against steps and against seconds, with 95 % intervals.

    Args:
        curves: of ``Lengths.curves``.
        titles: variant -> title.
    """
    variants = list(curves["variant"].unique())
    axis = {"steps": "training steps", "train_s": "training time (s)"}
    figure, panels = _panels(len(variants), len(axis))
    for axes, (key, label) in zip(panels, axis.items(), strict=True):
        for place, variant in enumerate(variants):
            part = curves[(curves["variant"] == variant) & (curves[key] > 0)]
            shift = 1 + 0.03 * (place - (len(variants) - 1) / 2)  # so that bars do not lie on one another
            x = part[key].to_numpy(float) * shift
            named = short(titles[variant]) if axes is panels[0] else "_"  # once for both panels
            _bars(axes, x, part, label=named, capsize=2, elinewidth=0.9, **line(place))
        _logarithmic(axes, label, 2)
        axes.xaxis.set_major_locator(LogLocator(base=2))
    steps = sorted(curves.loc[curves["steps"] > 0, "steps"].unique())
    panels[0].set_xticks(steps, [scaled(count) for count in steps])
    panels[0].set_ylabel("SI-SDRi (dB), 95 % interval")
    legend(figure, len(variants))
    return figure


@styled
def by_input(curves: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """SI-SDRi against the input SI-SDR of the source, with 95 % intervals.

    Args:
        curves: of ``breakdown.input_curves``.
        titles: variant -> title.
    """
    variants = list(curves["variant"].unique())
    figure, (axes,) = _panels(len(variants))
    step = np.ptp(curves["input_si_sdr_db"]) / max(1, curves["part"].nunique()) / (len(variants) + 2)
    for place, variant in enumerate(variants):
        part = curves[curves["variant"] == variant]
        x = part["input_si_sdr_db"].to_numpy(float) + step * (place - (len(variants) - 1) / 2)
        _bars(axes, x, part, label=short(titles[variant]), capsize=2, elinewidth=0.9, **line(place))
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_xlabel("input SI-SDR of the source (dB)")
    axes.set_ylabel("SI-SDRi (dB)")
    legend(figure, len(variants))
    return figure


@styled
def slots(summary: pd.DataFrame, counts: Mapping[str, int], titles: Mapping[str, str]) -> Figure:
    """SI-SDRi against the number of slots, with 95 % intervals.

    Args:
        summary: of ``statistics.summarise``.
        counts: variant -> number of slots.
        titles: variant -> title.
    """
    part = summary[(summary["stitching"] == "blind") & summary["variant"].isin(counts)]
    part = part.assign(slots=part["variant"].map(counts)).sort_values("slots", kind="stable")
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.add_subplot()
    alone = not part["slots"].duplicated().any()
    style = line(0) | ({} if alone else {"linestyle": "none"})
    _bars(axes, part["slots"].to_numpy(float), part, capsize=3, **style)
    for _, row in part.iterrows() if not alone else ():
        note: Any = {"xytext": (7, 5), "textcoords": "offset points", "fontsize": 8, "color": INK}
        axes.annotate(short(titles[row["variant"]], 28), (row["slots"], row["si_sdri_db"]), **note)
    axes.set_xticks(sorted(part["slots"].unique()))
    axes.margins(x=0.05 if alone else 0.2, y=0.1)
    axes.set_xlabel("slots")
    axes.set_ylabel("SI-SDRi (dB), 95 % interval")
    return figure


@styled
def cost(summary: pd.DataFrame, spent: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """SI-SDRi against what a variant costs to run and to train; those that none beats in both are named.

    Args:
        summary: of ``statistics.summarise``.
        spent: one row a trained variant: variant, macs_per_second, train_s.
        titles: variant -> title.
    """
    axis = {"macs_per_second": "multiply-accumulates a second of audio", "train_s": "training time of a seed (s)"}
    blind = summary[summary["stitching"] == "blind"].merge(spent[["variant", *axis]], on="variant")
    figure, panels = _panels(2, len(axis))
    named: dict[str, int] = {}
    for axes, (key, label) in zip(panels, axis.items(), strict=True):
        shown = blind[blind[key] > 0].dropna(subset="si_sdri_db")  # no cost, as of 0 steps, has no place on the axis
        part = shown.sort_values([key, "si_sdri_db"], ascending=[True, False])
        front = part["si_sdri_db"] > part["si_sdri_db"].cummax().shift(fill_value=-np.inf)
        rest = part[~front]
        _bars(axes, rest[key].to_numpy(float), rest, fmt="o", color=MUTED, markerfacecolor=PAPER, markersize=4.5)
        axes.step(part.loc[front, key], part.loc[front, "si_sdri_db"], where="post", color=MUTED, linewidth=0.9)
        for place, row in part[front].iterrows():
            style = line(named.setdefault(row["variant"], len(named))) | {"linestyle": "none", "markersize": 7}
            _bars(axes, np.array([row[key]]), part.loc[[place]], **style)
        _logarithmic(axes, label, 10)
        low, high = axes.get_xlim()
        if high / low < 30:  # less than two powers of ten would have a label or none
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[0].set_ylabel("SI-SDRi (dB), 95 % interval")
    for variant, place in named.items():
        panels[0].plot([], [], **line(place) | {"linestyle": "none"}, label=short(titles[variant]))
    legend(figure, len(named))
    return figure


@styled
def significance(pairs: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Heat map of all pairs: how much the row's variant is above the column's, coloured where a difference is shown.

    Args:
        pairs: of ``comparisons.pairwise``.
        titles: variant -> title.
    """
    shown = pairs["verdict"] != "no difference shown"
    mirrored = pairs.assign(variant=pairs["baseline"], baseline=pairs["variant"], difference=-pairs["difference"])
    both = pd.concat([pairs.assign(shown=shown), mirrored.assign(shown=shown)])
    order = both.groupby("variant")["difference"].mean().sort_values(ascending=False).index
    square = {"index": "variant", "columns": "baseline"}
    differences = both.pivot(**square, values="difference").loc[order, order]
    coloured = both.pivot(**square, values="shown").reindex(index=order, columns=order).eq(True).to_numpy()
    reach = float(np.nanmax(np.abs(differences.to_numpy()), initial=0.1))
    size = 1.6 + (0.55 if len(order) <= _ANNOTATED else 0.19) * len(order)
    figure = Figure(figsize=(max(size + 2.2, 4.5), size), layout="constrained")
    axes = figure.add_subplot()
    names = [short(titles[str(variant)], 36) for variant in order]
    bar = {"label": "row above column (dB)", "shrink": 0.8}
    look: Any = {"cmap": "PuOr", "vmin": -reach, "vmax": reach, "linewidths": 0.5, "linecolor": LINE}
    sns.heatmap(
        differences, mask=~coloured, ax=axes, square=True, cbar_kws=bar, xticklabels=names, yticklabels=names, **look
    )
    for (y, x), value in np.ndenumerate(differences.to_numpy(float)):
        text = "" if np.isnan(value) else _cell(value, bool(coloured[y, x]), len(order))
        colour = _ON_DARK if coloured[y, x] and abs(value) > 0.6 * reach else "#1d2329" if coloured[y, x] else MUTED
        axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=colour, fontsize=7.5)
    axes.grid(visible=False)
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_xticklabels(axes.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
    axes.set(xlabel="", ylabel="")
    return figure


def _panels(lines: int, count: int = 1) -> tuple[Figure, Sequence[Axes]]:
    """A figure of panels side by side, with room for a legend of so many lines."""
    figure = Figure(figsize=(WIDTH, 3.4 + 0.1 * lines), layout="constrained")
    return figure, figure.subplots(1, count, sharey=True, squeeze=False)[0]


def _logarithmic(axes: Axes, label: str, base: int) -> None:
    axes.set_xscale("log", base=base)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: scaled(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def _cell(value: float, shown: bool, variants: int) -> str:
    """What a cell of the heat map says: the difference where there is room, or only its direction."""
    if variants <= _ANNOTATED:
        return number(value, 1, sign=True)
    return ("+" if value > 0 else "−") if shown else ""


def _bars(axes: Axes, places: np.ndarray, part: pd.DataFrame, horizontal: bool = False, **style: Any) -> None:
    """Means of SI-SDRi with their intervals, at these places."""
    means, low, high = (part[f"si_sdri_db{end}"].to_numpy(float) for end in ("", "_low", "_high"))
    reach = np.maximum([means - low, high - means], 0)
    if horizontal:
        axes.errorbar(means, places, xerr=reach, **style)
    else:
        axes.errorbar(places, means, yerr=reach, **style)


def _names(axes: Axes, names: Sequence[str]) -> None:
    """A line of the vertical axis for each name, from the top."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
