"""Figures of scores, histories and costs. Each function draws one, of the variants in ``titles`` or in its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from audioslots.reporting.formatting import format_number, format_si, shorten
from audioslots.reporting.style import INK, MUTED, PAPER, SERIES, WIDTH, style_line
from audioslots.stats.comparisons import BETTER, WORSE

_ANNOTATED = 10  # variants up to which the cells of a heat map have room for a number


def draw_estimates(summary: pd.DataFrame, titles: Mapping[str, str], bounds: Mapping[str, str]) -> Figure:
    """SI-SDRi with its interval, a line per variant, and its oracle bound; trained variants in order of their means.

    Args:
        summary: of ``summarise``.
        titles: variant -> title.
        bounds: variant -> the oracle that bounds its kind of output.
    """
    kinds = {
        "none": ("s", MUTED, MUTED, 0.0, "untrained"),
        "blind": ("o", SERIES[0], SERIES[0], 0.0, "blind stitching"),
        "oracle": ("D", SERIES[1], PAPER, 0.27, "oracle stitching"),
    }
    means = summary.drop_duplicates("variant").set_index("variant")["si_sdri_db"]
    untrained = summary.loc[summary["stitching"] == "none", "variant"].tolist()
    trained = means.drop(untrained).sort_values(ascending=False).index
    rows = {variant: place for place, variant in enumerate([*untrained, *trained])}
    figure = Figure(figsize=(WIDTH, 1.1 + (0.42 if len(rows) <= 14 else 0.27) * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color=MUTED, linewidth=0.8)
    for kind, (marker, colour, fill, offset, label) in kinds.items():
        part = summary[summary["stitching"] == kind]
        if len(part):
            y = part["variant"].map(rows).to_numpy(float) + offset
            look: Any = {"fmt": marker, "color": colour, "markerfacecolor": fill, "markersize": 5.5, "capsize": 3}
            axes.errorbar(part["si_sdri_db"], y, xerr=_reach(part), label=label, **look)
    bounded = [(means[bound], rows[name]) for name, bound in bounds.items() if name in rows and bound in means]
    if bounded:
        x, y = np.array(bounded, dtype=float).T
        axes.vlines(x, y - 0.32, y + 0.42, color=INK, linewidth=2.2, label="oracle bound of the variant")
    axes.set_yticks(range(len(rows)), [shorten(titles[variant]) for variant in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("SI-SDRi (dB), mean and 95 % interval")
    _add_legend(figure, 4)
    return figure


def draw_learning(histories: Mapping[str, Sequence[pd.DataFrame]], titles: Mapping[str, str]) -> Figure:
    """Validation SI-SDRi against the step: mean over seeds, and a band from the lowest to the highest seed.

    Args:
        histories: variant -> validated steps of each seed, with ``step`` and ``validation_si_sdri_db``.
        titles: variant -> title.
    """
    figure, (axes,) = _create_panels(len(histories))
    for place, (variant, seeds) in enumerate(histories.items()):
        curve = pd.concat(seeds).groupby("step")["validation_si_sdri_db"].agg(["mean", "min", "max"])
        look = style_line(place) | {"markevery": max(1, len(curve) // 8)}
        axes.plot(curve.index, curve["mean"], label=shorten(titles[variant]), **look)
        axes.fill_between(curve.index, curve["min"], curve["max"], color=look["color"], alpha=0.18, linewidth=0)
    axes.set(xlabel="training step", ylabel="validation SI-SDRi (dB)")
    _add_legend(figure, len(histories))
    return figure


def draw_lengths(curves: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """SI-SDRi at each training length, against steps and against seconds, with 95 % intervals.

    Args:
        curves: of ``TrainingLengths.summarise``.
        titles: variant -> title.
    """
    variants = list(curves["variant"].unique())
    keys = {"steps": "training steps", "train_s": "training time (s)"}
    figure, panels = _create_panels(len(variants), len(keys))
    for axes, (key, label) in zip(panels, keys.items(), strict=True):
        for place, variant in enumerate(variants):
            part = curves[(curves["variant"] == variant) & (curves[key] > 0)]
            shift = 1 + 0.03 * (place - (len(variants) - 1) / 2)  # so that bars do not lie on one another
            name = shorten(titles[variant]) if axes is panels[0] else "_"  # once for both panels
            look = {"capsize": 2, "elinewidth": 0.9} | style_line(place)
            _plot_means(axes, part[key] * shift, part, label=name, **look)
        _set_logarithmic(axes, label, 2)
    steps = sorted(curves.loc[curves["steps"] > 0, "steps"].unique())
    panels[0].set_xticks(steps, [format_si(count) for count in steps])
    panels[0].set_ylabel("SI-SDRi (dB), 95 % interval")
    _add_legend(figure, len(variants))
    return figure


def draw_costs(summary: pd.DataFrame, costs: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """SI-SDRi against the cost of separation and of training, with the names of variants on the Pareto front.

    Args:
        summary: of ``summarise``.
        costs: one row per trained variant: variant, macs_per_second, train_s.
        titles: variant -> title.
    """
    keys = {"macs_per_second": "multiply-accumulates per second of audio", "train_s": "training time of a seed (s)"}
    blind = summary[summary["stitching"] == "blind"].merge(costs[["variant", *keys]], on="variant")
    figure, panels = _create_panels(2, len(keys))
    named: dict[str, int] = {}
    for axes, (key, label) in zip(panels, keys.items(), strict=True):
        known = blind[blind[key] > 0].dropna(subset="si_sdri_db")  # 0 has no place on the axis
        known = known.sort_values([key, "si_sdri_db"], ascending=[True, False])
        is_front = known["si_sdri_db"] > known["si_sdri_db"].cummax().shift(fill_value=-np.inf)
        front, rest = known[is_front], known[~is_front]
        look = {"fmt": "o", "color": MUTED, "markerfacecolor": PAPER, "markersize": 4.5}
        _plot_means(axes, rest[key], rest, **look)
        axes.step(front[key], front["si_sdri_db"], where="post", color=MUTED, linewidth=0.9)
        for place, variant in zip(front.index, front["variant"], strict=True):
            point = front.loc[[place]]
            look = style_line(named.setdefault(variant, len(named))) | {"linestyle": "none", "markersize": 7}
            _plot_means(axes, point[key], point, **look)
        _set_logarithmic(axes, label, 10)
        low, high = axes.get_xlim()
        if high / low < 30:  # less than two powers of ten would have a label or none
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[0].set_ylabel("SI-SDRi (dB), 95 % interval")
    for variant, place in named.items():
        panels[0].plot([], [], **style_line(place) | {"linestyle": "none"}, label=shorten(titles[variant]))
    _add_legend(figure, len(named))
    return figure


def draw_significance(pairs: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Heat map of all pairs: how much the row's variant is above the column's, coloured where a difference is shown.

    Args:
        pairs: of ``compare_all_pairs``.
        titles: variant -> title.
    """
    pairs = pairs.assign(shown=pairs["verdict"].isin([BETTER, WORSE]))
    mirrored = pairs.assign(variant=pairs["baseline"], baseline=pairs["variant"], difference=-pairs["difference"])
    both = pd.concat([pairs, mirrored])
    order = both.groupby("variant")["difference"].mean().sort_values(ascending=False).index
    differences, shown = (
        both.pivot(index="variant", columns="baseline", values=key) for key in ("difference", "shown")
    )
    differences, shown = differences.loc[order, order].astype(float), shown.loc[order, order].eq(True)
    if len(order) <= _ANNOTATED:
        labels = differences.map(lambda value: format_number(value, 1, sign=True))
    else:
        labels = differences.gt(0).replace({True: "+", False: "−"}).where(shown, "")
    names = [shorten(titles[variant], 36) for variant in order]
    size = 1.6 + (0.55 if len(order) <= _ANNOTATED else 0.19) * len(order)
    figure = Figure(figsize=(max(size + 2.2, 4.5), size), layout="constrained")
    axes = figure.add_subplot()
    sns.heatmap(
        differences.where(shown, 0.0),
        annot=labels,
        fmt="",
        annot_kws={"fontsize": 7.5},
        mask=differences.isna(),
        center=0,
        cmap="PuOr",
        linewidths=0.5,
        square=True,
        cbar_kws={"label": "row above column (dB)", "shrink": 0.8},
        xticklabels=names,
        yticklabels=names,
        ax=axes,
    )
    axes.grid(visible=False)
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_xticks(axes.get_xticks(), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set(xlabel="", ylabel="")
    return figure


def _create_panels(lines: int, count: int = 1) -> tuple[Figure, Sequence[Axes]]:
    """A figure of panels side by side, with room for a legend of so many lines."""
    figure = Figure(figsize=(WIDTH, 3.4 + 0.1 * lines), layout="constrained")
    return figure, figure.subplots(1, count, sharey=True, squeeze=False)[0]


def _add_legend(figure: Figure, entries: int) -> None:
    if entries:
        figure.legend(loc="outside lower center", ncols=2 if entries > 1 else 1)


def _set_logarithmic(axes: Axes, label: str, base: int) -> None:
    axes.set_xscale("log", base=base)
    axes.xaxis.set_major_locator(LogLocator(base=base))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_si(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def _plot_means(axes: Axes, x: pd.Series, part: pd.DataFrame, **look: Any) -> None:
    axes.errorbar(x, part["si_sdri_db"], yerr=_reach(part), **look)


def _reach(part: pd.DataFrame) -> np.ndarray:
    """Distances from the mean to the ends of its interval, (2, rows)."""
    mean, low, high = (part[f"si_sdri_db{end}"].to_numpy(float) for end in ("", "_low", "_high"))
    return np.maximum([mean - low, high - mean], 0)
