"""From rows of scores to means with intervals.

A row of scores is one source of one mixture of one run. Sources are averaged to mixtures first; a mixture of which one
source has no value is missing, is left out, and is counted. Everything after that works on arrays of shape (seeds,
mixtures, metrics), NaN where missing. ``intervals`` makes means with intervals of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from audioslots.runtime.errors import InputError
from audioslots.scoring.metrics import REPORTED
from audioslots.stats.intervals import SHOWN, SIGNIFICANT, Mixtures, holm

METRICS = tuple(REPORTED)
COMPARED = ("blind", "none")  # a comparison is of what a user would get, so never of rows stitched with the references
BEST, TIED = "best", "tied"  # a variant's standing in a metric

_RUN = ["variant", "stitching", "seed"]
_ROW = [*_RUN, "mixture_id", "source"]


def per_mixture(scores: pd.DataFrame, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """Average the sources of every mixture.

    Args:
        scores: rows of scores.parquet, of any number of variants and seeds.
        metrics: columns to average.

    Returns:
        One row a (variant, stitching, seed, mixture_id), in order of appearance, with the metrics (NaN where a source
        has none) and ``failures`` (rows with a reason).

    Raises:
        InputError: a column is absent, a row appears twice, or the runs do not share one set of mixtures.
    """
    absent = [name for name in (*_ROW, "speaker_id", "failure", *metrics) if name not in scores]
    if absent:
        raise InputError(f"scores: no column {', '.join(absent)}; expected the columns of scores.parquet")
    if scores.empty:
        raise InputError("scores: no rows; expected one row a source of every test mixture")
    unnamed = [name for name in (*_ROW, "speaker_id") if scores[name].isna().any()]
    if unnamed:
        raise InputError(f"scores: {unnamed[0]}: missing in some rows; expected a value in every one")
    twice = scores.duplicated(_ROW)
    if twice.any():
        row = scores[twice].iloc[0]
        raise InputError(
            f"scores: variant {row.variant!r}, seed {row.seed}, mixture {row.mixture_id}, source {row.source} "
            f"({row.stitching}) appears twice; expected every row once"
        )
    _check_same_mixtures(scores)
    scores = scores.assign(failures=scores["failure"].fillna("").astype(str).ne("").astype(int))
    for metric in metrics:
        values = pd.to_numeric(scores[metric], errors="coerce").astype(float)
        scores[metric] = values.where(np.isfinite(values))
    grouped = scores.groupby([*_RUN, "mixture_id"], sort=False)
    means = grouped[list(metrics)].mean()
    means = means.where(grouped[list(metrics)].count().eq(grouped.size(), axis=0))
    means["failures"] = grouped["failures"].sum()
    return means.reset_index()


def speakers_of(scores: pd.DataFrame) -> pd.Series:
    """Mixture -> its speakers, a sorted tuple, from rows of all its sources."""
    once = scores.drop_duplicates(["mixture_id", "source"])
    return once.groupby("mixture_id", sort=False)["speaker_id"].agg(lambda ids: tuple(sorted(set(map(str, ids)))))


def _check_same_mixtures(scores: pd.DataFrame) -> None:
    first: tuple | None = None
    expected: set = set()
    for run, rows in scores.groupby(_RUN, sort=False):
        found = set(zip(rows["mixture_id"], rows["source"], strict=True))
        if first is None:
            first, expected = run, found
        elif found != expected:
            lacks, has, lacking = run, first, expected - found
            if not lacking:
                lacks, has, lacking = first, run, found - expected
            mixture, source = min(lacking)
            raise InputError(
                f"scores: variant {lacks[0]!r} seed {lacks[2]} ({lacks[1]}) lacks mixture {mixture} source {source}, "
                f"which {has[0]!r} seed {has[2]} ({has[1]}) has; expected the same test mixtures for every run"
            )


def summarise(
    scores: pd.DataFrame, metrics: Sequence[str] = METRICS, speakers: pd.Series | None = None
) -> pd.DataFrame:
    """Mean and 95 % interval of every metric, for each variant and stitching.

    Args:
        scores: rows of scores.parquet.
        metrics: columns to summarise.
        speakers: of ``speakers_of``; needed where ``scores`` has only some of a mixture's sources.

    Returns:
        One row a (variant, stitching), in order of appearance: ``n`` (mixtures), ``seeds``, ``failures`` (rows of
        scores with a reason) and for each metric ``<metric>``, ``<metric>_low``, ``<metric>_high``,
        ``<metric>_missing`` (values left out, of n x seeds) and ``<metric>_standing``: of the rows stitched blindly
        ``best`` for the highest mean and ``tied`` for those not shown to be below it. The paired comparisons with the
        best are corrected by Holm for the number of all pairs, since the same scores say which is the best.
    """
    means = per_mixture(scores, metrics)
    order = means["mixture_id"].unique()
    mixtures = Mixtures((speakers_of(scores) if speakers is None else speakers)[order].tolist())
    kinds = list(means.groupby(["variant", "stitching"], sort=False))
    records = []
    for (variant, stitching), rows in kinds:
        values = values_of(rows, order, metrics)
        record = {"variant": variant, "stitching": stitching, "n": len(order), "seeds": len(values)}
        record["failures"] = int(rows["failures"].sum())
        found, missing = mixtures.estimate(values), (~np.isfinite(values)).sum(axis=(0, 1))
        for k, metric in enumerate(metrics):
            record |= {metric: found.mean[k], f"{metric}_low": found.low[k], f"{metric}_high": found.high[k]}
            record[f"{metric}_missing"] = int(missing[k])
        records.append(record)
    summary = pd.DataFrame(records)
    blind = [place for place, (kind, _) in enumerate(kinds) if kind[1] == "blind"]
    for metric in metrics:
        summary[f"{metric}_standing"] = ""
        known = summary.loc[blind, metric].dropna()
        if known.empty:
            continue
        best = int(str(known.idxmax()))
        others = [place for place in known.index if place != best]
        summary.loc[best, f"{metric}_standing"] = BEST
        behind = [mixtures.estimate(_paired(kinds[best][1], kinds[place][1], order, metric)) for place in others]
        p = holm(np.array([found.p[0] for found in behind]), math.comb(len(known), 2))
        for place, found, corrected in zip(others, behind, p, strict=True):
            below = corrected < SIGNIFICANT and found.mean[0] >= SHOWN
            summary.loc[place, f"{metric}_standing"] = "" if below else TIED
    return summary


def _paired(best: pd.DataFrame, other: pd.DataFrame, order: np.ndarray, metric: str) -> np.ndarray:
    """Differences by seed and mixture; seeds that the two do not share are as good as drawn, so any two make a pair."""
    if shared := set(best["seed"]) & set(other["seed"]):
        best, other = (rows[rows["seed"].isin(shared)] for rows in (best, other))
    seeds = min(best["seed"].nunique(), other["seed"].nunique())
    first, second = (values_of(rows, order, [metric])[:seeds] for rows in (best, other))
    return first - second


def values_of(rows: pd.DataFrame, order: np.ndarray, metrics: Sequence[str]) -> np.ndarray:
    """Rows of one variant and stitching as (seeds, mixtures, metrics), the mixtures in this order."""
    return np.stack(
        [run.set_index("mixture_id").loc[order, list(metrics)].to_numpy(float) for _, run in rows.groupby("seed")]
    )
