"""Paired comparisons: of variants with a baseline, of all pairs, and by ranks.

All are of what a user would get: of trained variants the rows stitched blindly, never those stitched with the
references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, rankdata, studentized_range, wilcoxon

from audioslots.errors import InputError
from audioslots.reporting.statistics import RESAMPLES, bootstrap, interval, per_mixture, speaker_pairs, values_of

COMPARED = ("blind", "none")
SIGNIFICANT = 0.05
SHOWN = 0.0005  # a difference smaller than what any table shows is none, however sure
_COLUMNS = "variant baseline metric difference low high p p_holm effect n missing speaker_pairs seeds verdict".split()


def compare(
    scores: pd.DataFrame | Sequence[pd.DataFrame],
    baseline: str,
    metric: str = "si_sdri_db",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare every variant with the baseline, paired by mixture and seed.

    Trained variants are compared over the seeds they share with the baseline; what is not trained (stitching "none")
    has no seed and is paired with every one. The p-value is the Wilcoxon signed-rank test's over speaker pairs (mean
    difference of each pair, averaged over seeds), corrected by Holm for the comparisons of the table. That test takes
    the trained models as given; the interval also holds what other seeds would do. A difference is called one only
    where both agree.

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
    mixtures = _mixtures(scores, metric)
    names = list(mixtures["variant"].unique())
    if baseline not in names:
        raise InputError(f"baseline: no scores of {baseline!r}; expected one of {', '.join(map(repr, names))}")
    return _compare(mixtures, [(name, baseline) for name in names if name != baseline], metric, resamples, seed)


def pairwise(
    scores: pd.DataFrame | Sequence[pd.DataFrame],
    metric: str = "si_sdri_db",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare every variant with every other, as ``compare`` does: one row a pair, corrected for their number."""
    mixtures = _mixtures(scores, metric)
    pairs = [(second, first) for first, second in combinations(mixtures["variant"].unique(), 2)]
    return _compare(mixtures, pairs, metric, resamples, seed)


def _mixtures(scores: pd.DataFrame | Sequence[pd.DataFrame], metric: str) -> pd.DataFrame:
    rows = scores if isinstance(scores, pd.DataFrame) else pd.concat(list(scores), ignore_index=True)
    if "stitching" in rows:
        rows = rows[rows["stitching"].isin(COMPARED)]
    return per_mixture(rows, [metric])


def _compare(
    mixtures: pd.DataFrame, pairs: Sequence[tuple[str, str]], metric: str, resamples: int, seed: int
) -> pd.DataFrame:
    order, groups = speaker_pairs(mixtures)
    runs = {str(name): rows for name, rows in mixtures.groupby("variant", sort=False)}
    arrays = [_differences(runs[name], runs[against], order, metric) for name, against in pairs]
    records = []
    for names, values, means in zip(pairs, arrays, bootstrap(arrays, groups, resamples, seed), strict=True):
        present = np.isfinite(values)
        (low,), (high,) = interval(means)
        by_pair = pair_means(values[..., 0], groups)
        p, effect = signed_rank(by_pair)
        mean = values[present].mean() if present.any() else np.nan
        n, missing = int(present.any(axis=(0, 2)).sum()), int((~present).sum())
        records.append((*names, metric, mean, low, high, p, np.nan, effect, n, missing, len(by_pair), len(values), ""))
    table = pd.DataFrame(records, columns=_COLUMNS)
    table["p_holm"] = holm(table["p"].to_numpy(float))
    sure = (table["p_holm"] < SIGNIFICANT) & (table["difference"].abs() >= SHOWN)
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
    return values_of(variant, order, [metric]) - values_of(baseline, order, [metric])


@dataclass(frozen=True)
class Ranks:
    """Mean ranks of a study's variants over speaker pairs (1 is best), and by how much two must differ."""

    mean: pd.Series  # variant -> mean rank, the best first
    speaker_pairs: int
    p: float  # Friedman's, of all variants being alike
    critical_difference: float  # Nemenyi's, at 5 %

    def tied_with(self, variant: str) -> list[str]:
        """Variants whose mean rank is not shown to differ from this one's."""
        near = (self.mean - self.mean[variant]).abs() < self.critical_difference
        return [str(name) for name in self.mean.index[near] if name != variant]


def rank(scores: pd.DataFrame, metric: str = "si_sdri_db") -> Ranks | None:
    """Friedman's test and Nemenyi's critical difference over speaker pairs (Demsar 2006), the trained models as given.

    Returns:
        None where there are fewer than three variants, or fewer than two speaker pairs with values of all.
    """
    mixtures = _mixtures(scores, metric)
    order, groups = speaker_pairs(mixtures)
    by_pair = pd.DataFrame(
        {
            name: pd.DataFrame(values_of(rows, order, [metric])[..., 0].T).groupby(groups).mean().mean(axis=1)
            for name, rows in mixtures.groupby("variant", sort=False)
        }
    ).dropna()
    pairs, variants = by_pair.shape
    if variants < 3 or pairs < 2:
        return None
    mean = pd.Series(rankdata(-by_pair, axis=1).mean(axis=0), by_pair.columns).sort_values(kind="stable")
    same = by_pair.nunique(axis=1).eq(1).all()
    p = 1.0 if same else float(friedmanchisquare(*by_pair.to_numpy().T).pvalue)
    reach = studentized_range.ppf(1 - SIGNIFICANT, variants, np.inf) / np.sqrt(2)
    return Ranks(mean, pairs, p, float(reach * np.sqrt(variants * (variants + 1) / (6 * pairs))))


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
