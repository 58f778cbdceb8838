"""From rows of scores to means with intervals.

A row of scores is one source of one mixture of one run. Sources are averaged to mixtures first; a mixture of which one
source has no value is missing, is left out, and is counted. Everything after that works on arrays of shape (seeds,
mixtures, metrics), NaN where missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from audioslots.errors import InputError

METRICS = ("si_sdri_db", "sdri_db", "pesq", "stoi", "estoi")
COMPARED = ("blind", "none")  # a comparison is of what a user would get, so never of rows stitched with the references
RESAMPLES = 10_000
BEST, TIED = "best", "tied"  # a variant's standing in a metric

_RUN = ["variant", "stitching", "seed"]
_ROW = [*_RUN, "mixture_id", "source"]
_CELLS = 4_000_000  # resampled weights held in memory at once, as float64: 32 MB


def per_mixture(scores: pd.DataFrame, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """Average the sources of every mixture.

    Args:
        scores: rows of scores.parquet, of any number of variants and seeds.
        metrics: columns to average.

    Returns:
        One row a (variant, stitching, seed, mixture_id), in order of appearance, with the metrics (NaN where a source
        has none), ``speakers`` (the sorted speakers: the speaker pair) and ``failures`` (rows with a reason).

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
    speakers = scores.drop_duplicates(["mixture_id", "source"]).groupby("mixture_id")["speaker_id"]
    means = means.reset_index()
    means["speakers"] = means["mixture_id"].map(speakers.agg(lambda ids: " ".join(sorted(map(str, ids)))))
    return means


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
    scores: pd.DataFrame, metrics: Sequence[str] = METRICS, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Mean and 95 % interval of every metric, for each variant and stitching.

    Returns:
        One row a (variant, stitching), in order of appearance: ``n`` (mixtures), ``seeds``, ``failures`` (rows of
        scores with a reason) and for each metric ``<metric>``, ``<metric>_low``, ``<metric>_high``,
        ``<metric>_missing`` (values left out, of n x seeds) and ``<metric>_standing``: of the rows stitched blindly
        ``best`` for the highest mean and ``tied`` where the interval of the paired difference to it holds zero.
    """
    mixtures = per_mixture(scores, metrics)
    order, groups = speaker_pairs(mixtures)
    kinds = list(mixtures.groupby(["variant", "stitching"], sort=False))
    arrays = [values_of(rows, order, metrics) for _, rows in kinds]
    records = []
    for (kind, rows), values, means in zip(kinds, arrays, bootstrap(arrays, groups, resamples, seed), strict=True):
        low, high = interval(means)
        record = {"variant": kind[0], "stitching": kind[1], "n": len(order), "seeds": len(values)}
        record["failures"] = int(rows["failures"].sum())
        for k, metric in enumerate(metrics):
            present = np.isfinite(values[..., k])
            record[metric] = values[..., k][present].mean() if present.any() else np.nan
            record |= {f"{metric}_low": low[k], f"{metric}_high": high[k], f"{metric}_missing": int((~present).sum())}
        records.append(record)
    summary = pd.DataFrame(records)
    blind = [place for place, (kind, _) in enumerate(kinds) if kind[1] == "blind"]
    for k, metric in enumerate(metrics):
        summary[f"{metric}_standing"] = ""
        known = summary.loc[blind, metric].dropna()
        if known.empty:
            continue
        best = int(str(known.idxmax()))
        others = [place for place in known.index if place != best]
        behind = [_paired(arrays[best][..., [k]], arrays[place][..., [k]]) for place in others]
        summary.loc[best, f"{metric}_standing"] = BEST
        for place, means in zip(others, bootstrap(behind, groups, resamples, seed), strict=True):
            summary.loc[place, f"{metric}_standing"] = TIED if interval(means)[0][0] <= 0 else ""
    return summary


def _paired(best: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Differences by seed and mixture, or of means over seeds where the numbers of seeds differ."""
    if len(best) == len(other):
        return best - other
    return best.mean(axis=0, keepdims=True) - other.mean(axis=0, keepdims=True)


def speaker_pairs(mixtures: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The mixtures of a frame of ``per_mixture``, in order of appearance, and the speaker pair of each."""
    once = mixtures.drop_duplicates("mixture_id")
    return once["mixture_id"].to_numpy(), once["speakers"].to_numpy()


def values_of(rows: pd.DataFrame, order: np.ndarray, metrics: Sequence[str]) -> np.ndarray:
    """Rows of one variant and stitching as (seeds, mixtures, metrics), the mixtures in this order."""
    return np.stack(
        [run.set_index("mixture_id").loc[order, list(metrics)].to_numpy(float) for _, run in rows.groupby("seed")]
    )


def bootstrap(
    arrays: Sequence[np.ndarray], groups: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> list[np.ndarray]:
    """Resampled means by a hierarchical bootstrap: seeds, and speaker pairs with their mixtures.

    Speaker pairs are drawn with replacement, each with all its mixtures: drawing the mixtures anew within a drawn pair
    would count their variance twice (Davison and Hinkley 1997, 3.8). Seeds and mixtures are crossed, since every seed
    is tested on the same mixtures, so a resample draws its pairs once, for all seeds and all arrays. Three seeds are
    too few to draw from: their part is a Student's t with seeds - 1 degrees of freedom, scaled by the standard error
    of the mean over seeds. From the variance between seeds that is left out which the mixtures alone explain. A
    single seed is taken as given.

    Args:
        arrays: each (seeds, mixtures, metrics), NaN where missing; seeds and metrics may differ between arrays.
        groups: speaker pair of each mixture, shape (mixtures,).
        resamples: number of resamples.
        seed: of the random numbers; the result depends on nothing else.

    Returns:
        For each array its resampled means, shape (resamples, metrics); NaN where a resample holds no value.
    """
    if not arrays:
        return []
    columns = np.concatenate([values.swapaxes(0, 1).reshape(len(groups), -1) for values in arrays], axis=1)
    valid = np.isfinite(columns)
    pairs, pair = np.unique(groups, return_inverse=True)
    starts = np.flatnonzero(np.diff(np.sort(pair), prepend=-1))
    order = np.argsort(pair, kind="stable")
    numbers = np.add.reduceat(np.where(valid, columns, 0.0)[order], starts)
    counts = np.add.reduceat(valid[order].astype(float), starts)

    rng = np.random.default_rng(seed)
    total, count = np.empty((2, resamples, columns.shape[1]))
    block = max(1, _CELLS // len(pairs))
    for start in range(0, resamples, block):
        part = slice(start, min(start + block, resamples))
        drawn = rng.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=part.stop - start).astype(float)
        total[part], count[part] = drawn @ numbers, drawn @ counts

    resampled, first = [], 0
    for values in arrays:
        shape = (resamples, len(values), values.shape[2])
        last = first + shape[1] * shape[2]
        by_seed = [part[:, first:last].reshape(shape) for part in (total, count)]
        means = _ratio(by_seed[0].sum(axis=1), by_seed[1].sum(axis=1))
        resampled.append(means + _seed_part(values, _ratio(*by_seed), means, seed))
        first = last
    return resampled


def _seed_part(values: np.ndarray, by_seed: np.ndarray, means: np.ndarray, seed: int) -> np.ndarray:
    """What other seeds would add to resampled means (resamples, metrics), given those of each seed."""
    part = np.zeros_like(means)
    for k in range(values.shape[2]):
        known = np.isfinite(values[..., k]).any(axis=1)
        seeds = int(known.sum())
        if seeds < 2:
            continue
        observed = np.nanmean(values[known, :, k], axis=1).var(ddof=1)
        explained = np.nanvar(by_seed[:, known, k] - means[:, [k]], axis=0).sum() / (seeds - 1)
        quantiles = student_t.ppf((np.arange(len(means)) + 0.5) / len(means), seeds - 1)  # steadier than drawing
        part[:, k] = np.sqrt(max(observed - explained, 0) / seeds) * np.random.default_rng([seed, 1]).permutation(
            quantiles
        )
    return part


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def interval(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile interval of resampled means (resamples, metrics): low and high, each (metrics,)."""
    low, high = np.full((2, means.shape[1]), np.nan)
    for k in range(means.shape[1]):
        column = means[np.isfinite(means[:, k]), k]
        if len(column):
            low[k], high[k] = np.percentile(column, [2.5, 97.5])
    return low, high
