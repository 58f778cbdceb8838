"""From rows of scores to means with intervals.

A row of scores is one source of one mixture of one run. Sources are averaged to mixtures first; a mixture that lacks
the value of one source is left out and counted as missing. From there on scores are arrays of shape (seeds, mixtures,
metrics), NaN where missing, which ``intervals`` summarises.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from audioslots.runtime.errors import InputError
from audioslots.stats.intervals import SHOWN, SIGNIFICANT, Mixtures, holm

METRIC = "si_sdri_db"
"""The metric that variants are compared by."""
COMPARED = ("blind", "none")
"""Stitchings that are compared: what a user would get, so never the oracle's."""
BEST, TIED = "best", "tied"
"""Standings of a variant in a metric."""

_RUN = ["variant", "stitching", "seed"]
_ROW = [*_RUN, "mixture_id", "source"]


def average_sources(scores: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Average the sources of every mixture.

    Args:
        scores: rows of scores.parquet, of any number of variants and seeds.
        metrics: columns to average.

    Returns:
        One row per (variant, stitching, seed, mixture_id), in order of appearance, with the metrics (NaN where a source
        has none) and ``failures`` (rows with a reason).

    Raises:
        InputError: a column is absent, a row appears twice, or the runs do not share one set of mixtures.
    """
    keys = [*_ROW, "speaker_id"]
    if absent := [name for name in (*keys, "failure", *metrics) if name not in scores]:
        raise InputError(f"scores: no column {', '.join(absent)}; expected the columns of scores.parquet")
    if scores.empty:
        raise InputError("scores: no rows; expected one row per source of every test mixture")
    if unnamed := [name for name in keys if scores[name].isna().any()]:
        raise InputError(f"scores: {unnamed[0]}: missing in some rows; expected a value in every one")
    repeated = scores[scores.duplicated(_ROW)]
    if len(repeated):
        raise InputError(f"scores: {_describe(repeated.iloc[0])} appears twice; expected every row once")
    _require_same_mixtures(scores)
    values = scores[list(metrics)].apply(pd.to_numeric, errors="coerce").astype(float)
    failures = scores["failure"].fillna("").astype(str).ne("").astype(int)
    scores = pd.concat([scores[_ROW], values.where(np.isfinite(values)), failures.rename("failures")], axis=1)
    grouped = scores.groupby([*_RUN, "mixture_id"], sort=False)
    means = grouped[list(metrics)].mean()
    means = means.where(grouped[list(metrics)].count().eq(grouped.size(), axis=0))
    return means.assign(failures=grouped["failures"].sum()).reset_index()


def collect_speakers(scores: pd.DataFrame) -> pd.Series:
    """Mixture -> its speakers, a sorted tuple, from rows of all its sources."""
    sources = scores.drop_duplicates(["mixture_id", "source"])
    return sources.groupby("mixture_id", sort=False)["speaker_id"].agg(lambda ids: tuple(sorted(set(map(str, ids)))))


def stack_values(rows: pd.DataFrame, order: np.ndarray, metrics: Sequence[str]) -> np.ndarray:
    """Rows of one variant and stitching as (seeds, mixtures, metrics), with the mixtures in the given order."""
    runs = [run.set_index("mixture_id").loc[order, list(metrics)].to_numpy(float) for _, run in rows.groupby("seed")]
    return np.ascontiguousarray(np.stack(runs))  # one layout, so that sums have the same last bits


def summarise(
    scores: pd.DataFrame,
    metrics: Sequence[str] = (METRIC,),
    speakers: pd.Series | None = None,
    lower_is_better: Collection[str] = (),
) -> pd.DataFrame:
    """Mean and 95 % interval of every metric, for each variant and stitching.

    Args:
        scores: rows of scores.parquet.
        metrics: columns to summarise.
        speakers: of ``collect_speakers``; needed where ``scores`` has only some sources of a mixture.
        lower_is_better: those of the metrics of which the lowest mean is the best.

    Returns:
        One row per (variant, stitching), in order of appearance: ``n`` (mixtures), ``seeds``, ``failures`` (rows of
        scores with a reason) and for each metric ``<metric>``, ``<metric>_low``, ``<metric>_high``,
        ``<metric>_missing`` (values left out, of n x seeds) and ``<metric>_standing``: among the blind rows ``best``
        and ``tied``, those not shown to be worse. The paired comparisons with the best are corrected by Holm for the
        number of all pairs, since the same scores decide which is the best.
    """
    means = average_sources(scores, metrics)
    order = means["mixture_id"].unique()
    mixtures = Mixtures((collect_speakers(scores) if speakers is None else speakers)[order].tolist())
    groups = list(means.groupby(["variant", "stitching"], sort=False))
    records = []
    for (variant, stitching), rows in groups:
        values = stack_values(rows, order, metrics)
        estimate, missing = mixtures.estimate(values), (~np.isfinite(values)).sum(axis=(0, 1))
        record = {"variant": variant, "stitching": stitching, "n": len(order), "seeds": len(values)}
        record["failures"] = int(rows["failures"].sum())
        for k, metric in enumerate(metrics):
            record |= {metric: estimate.mean[k], f"{metric}_low": estimate.low[k], f"{metric}_high": estimate.high[k]}
            record |= {f"{metric}_missing": int(missing[k]), f"{metric}_standing": ""}
        records.append(record)
    summary = pd.DataFrame(records)
    blind = [place for place, ((_, stitching), _) in enumerate(groups) if stitching == "blind"]
    for metric in metrics:
        sign = -1 if metric in lower_is_better else 1
        known = sign * summary.loc[blind, metric].dropna()
        if known.empty:
            continue
        best = int(str(known.idxmax()))
        summary.loc[best, f"{metric}_standing"] = BEST
        others = [place for place in known.index if place != best]
        behind = [
            mixtures.estimate(sign * _pair_with_best(groups[best][1], groups[place][1], order, metric))
            for place in others
        ]
        p = holm(np.array([estimate.p[0] for estimate in behind]), math.comb(len(known), 2))
        for place, estimate, corrected in zip(others, behind, p, strict=True):
            if not (corrected < SIGNIFICANT and estimate.mean[0] >= SHOWN):
                summary.loc[place, f"{metric}_standing"] = TIED
    return summary


def _pair_with_best(best: pd.DataFrame, other: pd.DataFrame, order: np.ndarray, metric: str) -> np.ndarray:
    """Differences per seed and mixture. Where the two share no seeds, any two seeds make a pair."""
    if shared := set(best["seed"]) & set(other["seed"]):
        best, other = (rows[rows["seed"].isin(shared)] for rows in (best, other))
    seeds = min(best["seed"].nunique(), other["seed"].nunique())
    first, second = (stack_values(rows, order, [metric])[:seeds] for rows in (best, other))
    return first - second


def _require_same_mixtures(scores: pd.DataFrame) -> None:
    runs = scores.groupby(_RUN, sort=False).ngroup()
    counts = runs.groupby([scores["mixture_id"], scores["source"]]).size()
    incomplete = counts[counts <= runs.max()]
    if len(incomplete):
        mixture, source = incomplete.index[0]
        rows = (scores["mixture_id"] == mixture) & (scores["source"] == source)
        other = scores[~runs.isin(runs[rows])].iloc[0]
        raise InputError(
            f"scores: variant {other.variant!r} seed {other.seed} ({other.stitching}) lacks mixture {mixture} source "
            f"{source}, unlike {_describe(scores[rows].iloc[0])}; expected the same test mixtures for every run"
        )


def _describe(row: pd.Series) -> str:
    return f"variant {row.variant!r} seed {row.seed} ({row.stitching}), mixture {row.mixture_id} source {row.source}"
