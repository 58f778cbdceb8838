"""What a variant is trained at besides its own steps and its own learning rate.

*Budgets* are a variant's steps, half of them, a quarter and so on, each with a learning-rate schedule of its own: they
show how a result grows with training, and whether a difference between variants has settled. *Rates* are learning
rates that are tried before the benchmark is run; the best of each variant on dev speakers is kept in a table beside
the benchmark's file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from audioslots.checking import Section
from audioslots.config import Variant
from audioslots.errors import InputError

CONFIG = Path(__file__).resolve().parent.parent / "config"


class Rates(Section):
    """Learning rates that are tried for every variant."""

    factors: list[Annotated[float, Field(gt=0)]] = Field([0.5, 1.0, 2.0], min_length=2, description="of its own rate")
    share: float = Field(0.5, gt=0, le=1, description="of its steps")
    seed: int = Field(0, ge=0)
    chosen: str = Field(pattern=r"^[\w.-]+\.csv$", description="table of the best, in config/; absent: own rates")


def shares(budgets: int) -> list[float]:
    """Of its steps, at which a variant is trained besides all of them: halves, from the smallest."""
    return [0.5**halvings for halvings in range(budgets - 1, 0, -1)]


def name_at(name: str, share: float) -> str:
    """What a variant is called that is trained for a share of its steps."""
    return f"{name}-x{share:g}"


def of_steps(variant: Variant, share: float) -> Variant:
    """A variant with a share of its steps."""
    steps = variant.training.steps
    return _trained_otherwise(variant, steps=min(steps, max(1, round(share * steps))))


def at_rate(variant: Variant, rate: float) -> Variant:
    """A variant with a learning rate."""
    return _trained_otherwise(variant, learning_rate=rate)


def at_budgets(known: dict[str, Variant], same: dict[str, str], budgets: int) -> dict[str, Variant]:
    """The variants at smaller budgets, by ``name_at``; not those whose model is another's, by ``same``.

    Raises:
        InputError: a variant has the name already.
    """
    found: dict[str, Variant] = {}
    for name, variant in known.items():
        for share in [] if name in same else shares(budgets):
            if name_at(name, share) in known:
                raise InputError(f"budgets: a variant is called {name_at(name, share)} already; expected another name")
            less = of_steps(variant, share)
            title = f"{variant.title or name}, {less.training.steps:,} steps"
            found[name_at(name, share)] = less.model_copy(update={"title": title})
    return found


def chosen(rates: Rates | None) -> dict[str, float]:
    """Variant -> the learning rate that was best on dev; {} where none was chosen yet.

    Raises:
        InputError: the table lacks a column, or holds no rate.
    """
    if rates is None or not (path := CONFIG / rates.chosen).is_file():
        return {}
    try:
        table = pd.read_csv(path)
        best = table[table["chosen"].astype(bool)]
        found = dict(zip(best["variant"].astype(str), best["learning_rate"].astype(float), strict=True))
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: {error}; expected the table of `audioslots rates`") from None
    if wrong := [name for name, rate in found.items() if not rate > 0]:
        raise InputError(f"{path}: learning_rate of {wrong[0]}: {found[wrong[0]]}; expected a number above 0")
    return found


def _trained_otherwise(variant: Variant, **changes: Any) -> Variant:
    return variant.model_copy(update={"training": variant.training.model_copy(update=changes)})
