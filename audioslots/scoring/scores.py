"""The table of scores, ``scores.parquet``: its columns, and how it is read, also of earlier versions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from audioslots.runtime.errors import InputError
from audioslots.scoring.metrics import LATER, METRICS, SCORE_COLUMNS
from audioslots.scoring.mixtures import TestMixture

COLUMNS = {
    **{"benchmark": "str", "variant": "str", "seed": "int64", "mixture_id": "str", "source": "int64"},
    **{"speaker_id": "str", "sex": "str", "pair": "str", "duration_s": "float64", "stitching": "str"},
    **dict.fromkeys(SCORE_COLUMNS, "float64"),
    **{"permutation": "str", "failure": "str"},
}
"""Columns of scores.parquet, in their order, with their types."""
RENAMED = ("own_output", "assignment_accuracy")
"""A metric's name in scores of earlier versions, and its name now."""


def read_scores(path: Path) -> pd.DataFrame:
    """Read a scores.parquet of this version or an earlier one.

    Columns that the earlier version lacks are missing in every row; those that it named otherwise are renamed.

    Raises:
        InputError: the file is absent, unreadable, or lacks another column.
    """
    try:
        table = pd.read_parquet(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a scores.parquet") from None
    except (OSError, ValueError) as error:  # pyarrow's errors are subclasses of these
        raise InputError(f"{path}: not readable ({error}); expected scores in Parquet") from None
    table = table.rename(columns=lambda column: str(column).replace(*RENAMED))
    if missing := [column for column in COLUMNS if column not in table and column not in LATER]:
        raise InputError(f"{path}: no column {missing[0]}; expected the columns {', '.join(COLUMNS)}")
    table["failure"] = table["failure"].str.replace(*RENAMED, regex=False)
    for column in LATER:
        if column not in table:
            table.insert(list(COLUMNS).index(column), column, float("nan"))
    return table


def read_mixture_scores(path: Path, items: Sequence[TestMixture]) -> dict[str, list[dict[str, Any]]]:
    """Read the scores of the variant "mixture", for the same mixtures, as inputs of other systems' scores.

    Returns:
        Mixture id -> what ``score_mixture`` returns for it.

    Raises:
        InputError: as ``read_scores``; scores of another variant, of other mixtures, or without a metric of now.
    """
    table = read_scores(path)
    if set(table["variant"]) != {"mixture"}:
        raise InputError(f"{path}: not the scores of the variant mixture; expected its scores.parquet")
    expected = [(item.mixture_id, number + 1) for item in items for number in range(len(item.speakers))]
    if expected != list(zip(table["mixture_id"], table["source"], strict=True)):
        raise InputError(f"{path}: scores of other mixtures; expected those of the {len(items)} mixtures evaluated")
    scores: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        reasons = row["failure"].split("; ")
        inputs: dict[str, Any] = {f"input_{name}": row[name] for name in METRICS if METRICS[name].needs_input}
        for name in inputs:
            if pd.isna(inputs[name]) and not any(reason.startswith(f"{name}: ") for reason in reasons):
                raise InputError(f"{path}: no {name} of {row['mixture_id']}; evaluate the mixture again")
        inputs["failure"] = "; ".join(reason for reason in reasons if reason.startswith("input_"))
        scores.setdefault(str(row["mixture_id"]), []).append(inputs)
    return scores
