"""From rows of scores to means with intervals, and to paired comparisons.

A row of scores is one source of one mixture of one run. Sources are averaged to mixtures first; a mixture of which one
source has no value is missing, is left out, and is counted. Everything after that works on arrays of shape (seeds,
mixtures, metrics), NaN where missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata, wilcoxon

from audioslots.errors import InputError

METRICS = ("si_sdri_db", "sdri_db", "pesq", "stoi", "estoi")
COMPARED = ("blind", "none")  # a comparison is of what a user would get, so never of rows stitched with the references
SIGNIFICANT = 0.05
RESAMPLES = 10_000

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
        scores with a reason) and for each metric ``<metric>``, ``<metric>_low``, ``<metric>_high`` and
        ``<metric>_missing`` (values left out, of n x seeds).
    """
    mixtures = per_mixture(scores, metrics)
    order = mixtures["mixture_id"].unique()
    groups = mixtures.drop_duplicates("mixture_id").set_index("mixture_id").loc[order, "speakers"].to_numpy()
    kinds = list(mixtures.groupby(["variant", "stitching"], sort=False))
    arrays = [_array(rows, order, metrics) for _, rows in kinds]
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
    return pd.DataFrame(records)


def _array(rows: pd.DataFrame, order: np.ndarray, metrics: Sequence[str]) -> np.ndarray:
    """Rows of one variant as (seeds, mixtures, metrics)."""
    return np.stack(
        [run.set_index("mixture_id").loc[order, list(metrics)].to_numpy(float) for _, run in rows.groupby("seed")]
    )


def bootstrap(
    arrays: Sequence[np.ndarray], groups: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> list[np.ndarray]:
    """Resampled means by the hierarchical bootstrap: seeds, then speaker pairs, then mixtures within a pair.

    Seeds and mixtures are crossed (every seed is tested on the same mixtures), so a resample draws its mixtures once,
    for all of its seeds and for all arrays. Of S seeds S - 1 are drawn, which makes the variance of a mean over few
    seeds unbiased (Rao and Wu 1988); a single seed is kept as it is.

    Args:
        arrays: each (seeds, mixtures, metrics), NaN where missing; seeds and metrics may differ between arrays.
        groups: speaker pair of each mixture, shape (mixtures,).
        resamples: number of resamples.
        seed: of the random numbers; the result depends on nothing else.

    Returns:
        For each array its resampled means, shape (resamples, metrics); NaN where a resample holds no value.
    """
    rng = np.random.default_rng(seed)
    flat, present = [], []
    for values in arrays:
        valid = np.isfinite(values)
        flat.append(np.where(valid, values, 0.0).swapaxes(0, 1).reshape(len(groups), -1))
        present.append(valid.swapaxes(0, 1).reshape(len(groups), -1).astype(float))
    parts: list[list[np.ndarray]] = [[] for _ in arrays]
    for weights in _mixture_weights(groups, resamples, rng):
        for part, values, numbers, counts in zip(parts, arrays, flat, present, strict=True):
            seeds = len(values)
            drawn = rng.multinomial(max(seeds - 1, 1), np.full(seeds, 1 / seeds), size=len(weights))
            shape = (len(weights), seeds, values.shape[2])
            total = np.einsum("bs,bsk->bk", drawn, (weights @ numbers).reshape(shape))
            count = np.einsum("bs,bsk->bk", drawn, (weights @ counts).reshape(shape))
            part.append(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))
    return [np.concatenate(part) for part in parts]


def _mixture_weights(groups: np.ndarray, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield how often each mixture is drawn, in blocks of shape (some resamples, mixtures)."""
    _, pair, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(pair, kind="stable"), np.cumsum(sizes)[:-1])
    alike = {size: np.flatnonzero(sizes == size) for size in np.unique(sizes)}
    block = max(1, _CELLS // len(groups))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        drawn = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=count)
        weights = np.empty((count, len(groups)))
        for size, pairs in alike.items():
            # A pair drawn c times has its mixtures resampled c times over: c x size draws among them.
            places = np.stack([members[index] for index in pairs])
            weights[:, places] = rng.multinomial(drawn[:, pairs] * size, np.full(size, 1 / size))
        yield weights


def interval(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile interval of resampled means (resamples, metrics): low and high, each (metrics,)."""
    low, high = np.full((2, means.shape[1]), np.nan)
    for k in range(means.shape[1]):
        column = means[np.isfinite(means[:, k]), k]
        if len(column):
            low[k], high[k] = np.percentile(column, [2.5, 97.5])
    return low, high


def compare(
    scores: pd.DataFrame | Sequence[pd.DataFrame],
    baseline: str,
    metric: str = "si_sdri_db",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare every variant with the baseline, paired by mixture and seed.

    Trained variants are compared as stitched blindly, over the seeds they share with the baseline; what is not trained
    (stitching "none") has no seed and is paired with every one. The p-value is the Wilcoxon signed-rank test's over
    speaker pairs (mean difference of each pair, averaged over seeds), corrected by Holm for the variants in ``scores``.
    That test takes the trained models as given; the interval also holds what other seeds would do. A difference is
    called one only where both agree.

    Args:
        scores: rows of scores.parquet, one frame or several.
        baseline: name of the variant to compare with.
        metric: column to compare.
        resamples: number of bootstrap resamples.
        seed: of the bootstrap.

    Returns:
        One row a variant: variant, baseline, metric, difference, low, high (95 %), p, p_holm, effect (matched-pairs
        rank-biserial correlation, -1..1; Kerby 2014), n (mixtures), missing (differences left out), speaker_pairs,
        seeds, verdict ("better", "worse" or "no difference shown"; all metrics here are better when higher).

    Raises:
        InputError: an unknown baseline, unequal test mixtures, or no seed in common.
    """
    rows = scores if isinstance(scores, pd.DataFrame) else pd.concat(list(scores), ignore_index=True)
    if "stitching" in rows:
        rows = rows[rows["stitching"].isin(COMPARED)]
    mixtures = per_mixture(rows, [metric])
    names = list(mixtures["variant"].unique())
    if baseline not in names:
        raise InputError(f"baseline: no scores of {baseline!r}; expected one of {', '.join(map(repr, names))}")
    order = mixtures["mixture_id"].unique()
    groups = mixtures.drop_duplicates("mixture_id").set_index("mixture_id").loc[order, "speakers"].to_numpy()
    runs = {name: mixtures[mixtures["variant"] == name] for name in names}
    others = [name for name in names if name != baseline]
    arrays = [_differences(runs[name], runs[baseline], order, metric) for name in others]
    records = []
    for name, values, means in zip(others, arrays, bootstrap(arrays, groups, resamples, seed), strict=True):
        present = np.isfinite(values)
        (low,), (high,) = interval(means)
        pairs = pair_means(values[..., 0], groups)
        p, effect = signed_rank(pairs)
        records.append(
            {
                "variant": name,
                "baseline": baseline,
                "metric": metric,
                "difference": values[present].mean() if present.any() else np.nan,
                "low": low,
                "high": high,
                "p": p,
                "p_holm": np.nan,
                "effect": effect,
                "n": int(present.any(axis=(0, 2)).sum()),
                "missing": int((~present).sum()),
                "speaker_pairs": len(pairs),
                "seeds": len(values),
                "verdict": "",
            }
        )
    columns = "variant baseline metric difference low high p p_holm effect n missing speaker_pairs seeds verdict"
    table = pd.DataFrame(records, columns=columns.split())
    table["p_holm"] = holm(table["p"].to_numpy(float))
    sure = table["p_holm"] < SIGNIFICANT
    table["verdict"] = np.select(
        [sure & (table["low"] > 0), sure & (table["high"] < 0)], ["better", "worse"], "no difference shown"
    )
    return table


def _differences(variant: pd.DataFrame, baseline: pd.DataFrame, order: np.ndarray, metric: str) -> np.ndarray:
    """Variant minus baseline, (seeds in common, mixtures, 1)."""
    name, against = variant["variant"].iloc[0], baseline["variant"].iloc[0]
    untrained = [frame["stitching"].eq("none").all() for frame in (variant, baseline)]
    if not any(untrained):
        shared = sorted(set(variant["seed"]) & set(baseline["seed"]))
        if not shared:
            raise InputError(f"scores: {name!r} and {against!r} have no seed in common; expected runs with equal seeds")
        variant, baseline = (frame[frame["seed"].isin(shared)] for frame in (variant, baseline))
    return _array(variant, order, [metric]) - _array(baseline, order, [metric])


def pair_means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean of each speaker pair: over its mixtures for every seed, then over seeds; pairs without a value left out.

    Args:
        values: (seeds, mixtures), NaN where missing.
        groups: speaker pair of each mixture, shape (mixtures,).

    Returns:
        Shape (speaker pairs,).
    """
    frame = pd.DataFrame(values.T).groupby(groups).mean()
    return frame.mean(axis=1).dropna().to_numpy()


def signed_rank(differences: np.ndarray) -> tuple[float, float]:
    """Two-sided Wilcoxon signed-rank test against zero: p-value and rank-biserial correlation (-1..1).

    Differences of zero are dropped, as Wilcoxon did; with none left p is 1 and the correlation 0, and without any
    difference at all both are NaN.
    """
    if not len(differences):
        return float("nan"), float("nan")
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0, 0.0
    ranks = rankdata(np.abs(differences))
    return float(wilcoxon(differences).pvalue), float((np.sign(differences) * ranks).sum() / ranks.sum())


def holm(p: np.ndarray) -> np.ndarray:
    """P-values corrected for their number by Holm's step-down procedure (Holm 1979); NaN stays and is not counted."""
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]  # NaN sorts last
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected
