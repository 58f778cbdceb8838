"""Paired comparisons: of variants with a baseline, and of all pairs.

All are of what a user would get: of trained variants the rows stitched blindly, never those stitched with the
references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from itertools import combinations

import numpy as np
import pandas as pd

from audioslots.runtime.errors import InputError
from audioslots.stats.intervals import SHOWN, SIGNIFICANT, Mixtures, holm
from audioslots.stats.summaries import COMPARED, per_mixture, speakers_of, values_of

_COLUMNS = "variant baseline metric difference low high p p_holm effect n missing speakers seeds verdict".split()


def compare(scores: pd.DataFrame | Sequence[pd.DataFrame], baseline: str, metric: str = "si_sdri_db") -> pd.DataFrame:
    """Compare every variant with the baseline, paired by mixture and seed.

    Trained variants are compared over the seeds they share with the baseline; what is not trained (stitching "none")
    has no seed and is paired with every one. Interval and p-value are of one t-test, which allows for speakers that
    recur and for seeds (``intervals``). A difference is called one where the p-value, corrected by Holm for the
    comparisons of the table, is below 0.05; the interval, which is not corrected, then excludes zero.

    Args:
        scores: rows of scores.parquet, one frame or several.
        baseline: name of the variant to compare with.
        metric: column to compare.

    Returns:
        One row a variant: variant, baseline, metric, difference, low, high (95 %), p, p_holm, effect (the difference in
        its standard deviations over mixtures, means over seeds), n (mixtures), missing (differences left out),
        speakers, seeds, verdict ("better", "worse" or "no difference shown"; all metrics here are better when higher).

    Raises:
        InputError: an unknown baseline, unequal test mixtures, or no seed in common.
    """
    means, speakers = _mixtures(scores, metric)
    names = list(means["variant"].unique())
    if baseline not in names:
        raise InputError(f"baseline: no scores of {baseline!r}; expected one of {', '.join(map(repr, names))}")
    return _compare(means, speakers, [(name, baseline) for name in names if name != baseline], metric)


def pairwise(scores: pd.DataFrame | Sequence[pd.DataFrame], metric: str = "si_sdri_db") -> pd.DataFrame:
    """Compare every variant with every other, as ``compare`` does: one row a pair, corrected for their number."""
    means, speakers = _mixtures(scores, metric)
    pairs = [(second, first) for first, second in combinations(means["variant"].unique(), 2)]
    return _compare(means, speakers, pairs, metric)


def _mixtures(scores: pd.DataFrame | Sequence[pd.DataFrame], metric: str) -> tuple[pd.DataFrame, pd.Series]:
    rows = scores if isinstance(scores, pd.DataFrame) else pd.concat(list(scores), ignore_index=True)
    if "stitching" in rows:
        rows = rows[rows["stitching"].isin(COMPARED)]
    return per_mixture(rows, [metric]), speakers_of(rows)


def _compare(means: pd.DataFrame, speakers: pd.Series, pairs: Sequence[tuple[str, str]], metric: str) -> pd.DataFrame:
    order = means["mixture_id"].unique()
    mixtures = Mixtures(speakers[order].tolist())
    runs = {str(name): run for name, run in means.groupby("variant", sort=False)}
    records = []
    for names in pairs:
        values = _differences(runs[names[0]], runs[names[1]], order, metric)
        (mean,), (low,), (high,), (p,) = astuple(mixtures.estimate(values))
        present = np.isfinite(values[..., 0])
        tested = present.any(axis=0)
        spread = np.nanmean(values[:, tested, 0], axis=0).std(ddof=1) if tested.sum() > 1 else np.nan
        effect = mean / spread if spread > 0 else np.nan
        numbers = int(tested.sum()), int((~present).sum()), int(mixtures.speakers(tested)), len(values)
        records.append((*names, metric, mean, low, high, p, np.nan, effect, *numbers, ""))
    table = pd.DataFrame(records, columns=_COLUMNS)
    table["p_holm"] = holm(table["p"].to_numpy(float))
    sure = (table["p_holm"] < SIGNIFICANT) & (table["difference"].abs() >= SHOWN)
    signs = [sure & (table["difference"] > 0), sure & (table["difference"] < 0)]
    table["verdict"] = np.select(signs, ["better", "worse"], "no difference shown")
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
