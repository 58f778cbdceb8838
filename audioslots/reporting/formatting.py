"""Numbers as people read them: digits, units and signs, the same in every table, figure and sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from audioslots.scoring.metrics import REPORTED

EMPTY = "–"
"""Shown where a value is missing."""


def format_number(value: Any, digits: int = 2, sign: bool = False) -> str:
    """A number with a true minus sign; never ``-0.00``."""
    return EMPTY if pd.isna(value) else f"{value:{'+' if sign else '-'}z,.{digits}f}".replace("-", "−")


def format_count(value: Any, noun: str = "") -> str:
    """An integer with thousands separators: ``1,800``, ``1 seed``, ``3 seeds``."""
    words = f" {noun}" + ("" if value == 1 else "s") if noun else ""
    return EMPTY if pd.isna(value) else f"{round(value):,}{words}"


def format_estimate(mean: float, low: float, high: float, metric: str = "si_sdri_db", sign: bool = False) -> str:
    """``5.21 [4.90, 5.52]``, with the metric's digits."""
    if pd.isna(mean):
        return EMPTY
    digits = REPORTED[metric].digits
    return f"{format_number(mean, digits, sign)} [{format_number(low, digits)}, {format_number(high, digits)}]"


def format_share(mean: float, low: float, high: float) -> str:
    """A share with its interval, in percent."""
    return EMPTY if pd.isna(mean) else "{} [{}, {}]".format(*(format_number(100 * x, 1) for x in (mean, low, high)))


def format_si(value: Any) -> str:
    """Three digits and a prefix: ``1.05 M``."""
    if pd.isna(value):
        return EMPTY
    rounded, power = float(f"{value:.3g}"), 0
    while abs(rounded) >= 1000 and power < 4:
        rounded, power = rounded / 1000, power + 1
    return f"{rounded:.3g} {' kMGT'[power]}".strip()


def format_duration(seconds: Any) -> str:
    """``62 h 05 min`` or ``4 min 05 s``."""
    if pd.isna(seconds):
        return EMPTY
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def format_p(value: Any) -> str:
    """A p-value with three digits, bounded below."""
    return EMPTY if pd.isna(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def format_text(value: Any) -> str:
    """A string, or the mark of a missing one."""
    return EMPTY if pd.isna(value) or value == "" else str(value)


def join_words(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def shorten(title: str, length: int = 44) -> str:
    """A title cut to a length."""
    return title if len(title) <= length else title[: length - 1] + "…"
