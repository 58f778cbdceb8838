"""Training lengths and learning rates of a benchmark: the same variants with fewer steps, or another rate.

*Training lengths* are a variant's steps, half of them, a quarter and so on, each with a learning-rate schedule of its
own: they show how a result grows with training, and whether a difference between variants is conclusive. *Learning
rates* are tried before the benchmark is run; the best of each variant on dev speakers is kept in a table beside the
benchmark's file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from audioslots.config.variant import Variant
from audioslots.runtime.errors import InputError
from audioslots.schema import Section


class LearningRates(Section):
    """Learning rates that are tried for every variant."""

    factors: list[Annotated[float, Field(gt=0)]] = Field([0.5, 1.0, 2.0], min_length=2, description="of its own rate")
    share: float = Field(0.5, gt=0, le=1, description="of its steps")
    seed: int = Field(0, ge=0)
    chosen: str = Field(
        pattern=r"^[\w.-]+\.csv$", description="table of the best, beside the benchmark's file; absent: own rates"
    )


def shares(lengths: int) -> list[float]:
    """Shares of its steps at which a variant is trained besides all of them: halves, from the smallest."""
    return [0.5**halvings for halvings in range(lengths - 1, 0, -1)]


def name_at(name: str, share: float) -> str:
    """Name of a variant that is trained for a share of its steps."""
    return f"{name}-x{share:g}"


def shorten(variant: Variant, share: float) -> Variant:
    """A variant with a share of its steps."""
    steps = variant.training.steps
    return _change_training(variant, steps=min(steps, max(1, round(share * steps))))


def with_rate(variant: Variant, rate: float) -> Variant:
    """A variant with another learning rate."""
    return _change_training(variant, learning_rate=rate)


def shorten_all(by_name: Mapping[str, Variant], lengths: Mapping[str, int]) -> dict[str, Variant]:
    """The variants at their shorter lengths, by ``name_at``; ``lengths`` says how many each is trained at, if not 1.

    Raises:
        InputError: a variant has the name already.
    """
    shorter: dict[str, Variant] = {}
    for name, variant in by_name.items():
        for share in shares(lengths.get(name, 1)):
            if name_at(name, share) in by_name:
                raise InputError(f"lengths: a variant is called {name_at(name, share)} already; expected another name")
            less = shorten(variant, share)
            title = f"{variant.title or name}, {less.training.steps:,} steps"
            shorter[name_at(name, share)] = less.model_copy(update={"title": title})
    return shorter


def read_chosen_rates(rates: LearningRates | None, folder: Path) -> dict[str, float]:
    """Variant -> the learning rate that was best on dev; {} where none was chosen yet. ``folder``: of the benchmark.

    Raises:
        InputError: the table lacks a column, or holds no rate.
    """
    if rates is None or not (path := folder / rates.chosen).is_file():
        return {}
    try:
        table = pd.read_csv(path)
        best = table[table["chosen"].astype(bool)]
        chosen = dict(zip(best["variant"].astype(str), best["learning_rate"].astype(float), strict=True))
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: {error}; expected the table of `audioslots select-lr`") from None
    if wrong := [name for name, rate in chosen.items() if not rate > 0]:
        raise InputError(f"{path}: learning_rate of {wrong[0]}: {chosen[wrong[0]]}; expected a number above 0")
    return chosen


def _change_training(variant: Variant, **changes: Any) -> Variant:
    return variant.model_copy(update={"training": variant.training.model_copy(update=changes)})
