"""Numbers as people read them: digits, units and signs, the same in every table, figure and sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from audioslots.scoring.metrics import REPORTED

EMPTY = "–"  # what a cell without a value shows


def estimate(mean: float, low: float, high: float, metric: str = "si_sdri_db", sign: bool = False) -> str:
    """``5.21 [4.90, 5.52]``, with the metric's digits."""
    if pd.isna(mean):
        return EMPTY
    digits = REPORTED[metric].digits
    return f"{number(mean, digits, sign)} [{number(low, digits)}, {number(high, digits)}]"


def number(value: Any, digits: int = 2, sign: bool = False) -> str:
    """A number with a true minus sign; never ``-0.00``."""
    return EMPTY if pd.isna(value) else f"{value:{'+' if sign else '-'}z,.{digits}f}".replace("-", "−")


def whole(value: Any) -> str:
    """An integer with thousands separators."""
    return EMPTY if pd.isna(value) else f"{int(round(value)):,}"


def counted(number: Any, noun: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{whole(number)} {noun}" + ("" if number == 1 else "s")


def scaled(value: Any) -> str:
    """Three digits and a letter: ``1.05 M``."""
    if pd.isna(value):
        return EMPTY
    shown, power = float(f"{value:.3g}"), 0
    while abs(shown) >= 1000 and power < 4:
        shown, power = shown / 1000, power + 1
    return f"{shown:.3g} {' kMGT'[power]}".strip()


def duration(seconds: Any) -> str:
    """``62 h 05 min`` or ``4 min 05 s``."""
    if pd.isna(seconds):
        return EMPTY
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def p_value(value: Any) -> str:
    """A p-value with three digits, bounded below."""
    if pd.isna(value):
        return EMPTY
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def text(value: Any) -> str:
    """A string, or the mark of a missing one."""
    return EMPTY if pd.isna(value) or value == "" else str(value)


def listed(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def short(title: str, length: int = 44) -> str:
    """A title cut to a length."""
    return title if len(title) <= length else title[: length - 1] + "…"
