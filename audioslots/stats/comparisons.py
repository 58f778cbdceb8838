"""Paired comparisons of variants with a baseline, and of all pairs.

Trained variants are compared by what a user would get, their blind rows, never those with oracle stitching.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple
from itertools import combinations

import numpy as np
import pandas as pd

from audioslots.runtime.errors import InputError
from audioslots.stats.intervals import SHOWN, SIGNIFICANT, Mixtures, holm
from audioslots.stats.summaries import COMPARED, METRIC, average_sources, collect_speakers, stack_values

BETTER, WORSE, EQUIVALENT, INCONCLUSIVE = "better", "worse", "equivalent", "inconclusive"
NOT_TRAINED = "not trained"
"""Verdicts of a comparison."""
TRAINED_DB = 1.0
"""Mean SI-SDRi from which on a model counts as trained, dB."""
MARGIN = 0.5
"""Equivalent: the 95 % interval of a difference in SI-SDRi lies within ± this many dB."""

_COLUMNS = "variant baseline metric difference low high p p_holm effect n missing speakers seeds verdict".split()


def compare_with_baseline(
    scores: pd.DataFrame, baseline: str, metric: str = METRIC, not_trained: Collection[str] = ()
) -> pd.DataFrame:
    """Compare every variant with the baseline, paired by mixture and seed.

    Trained variants are compared over the seeds they share with the baseline; an untrained system (stitching "none")
    has no seed and is paired with every one. Interval and p-value belong to one t-test, which allows for recurring
    speakers and seeds (``intervals``). Better and worse need a p-value below 0.05 after Holm's correction for the
    comparisons of the table; the interval, which is not corrected, then excludes zero. Equivalent needs an interval of
    SI-SDRi within ``MARGIN``. A comparison with a variant of ``not_trained`` has no other verdict. Everything else is
    inconclusive, and empty where nothing could be tested.

    Args:
        scores: rows of scores.parquet.
        baseline: name of the variant to compare with.
        metric: column to compare; higher is better.
        not_trained: variants of ``find_not_trained``.

    Returns:
        One row per variant: variant, baseline, metric, difference, low, high (95 %), p, p_holm, effect (the difference
        in its standard deviations over mixtures, means over seeds), n (mixtures), missing (differences left out),
        speakers, seeds, verdict.

    Raises:
        InputError: an unknown baseline, unequal test mixtures, or no seed in common.
    """
    means, speakers = _average(scores, metric)
    names = list(means["variant"].unique())
    if baseline not in names:
        raise InputError(f"baseline: no scores of {baseline!r}; expected one of {', '.join(map(repr, names))}")
    table = _compare(means, speakers, [(name, baseline) for name in names if name != baseline], metric)
    table.loc[table["variant"].isin(not_trained) | table["baseline"].isin(not_trained), "verdict"] = NOT_TRAINED
    return table


def find_not_trained(summary: pd.DataFrame, models: Mapping[str, str]) -> set[str]:
    """Variants whose model has not begun to separate: in each of its variants the mean is below ``TRAINED_DB``.

    Args:
        summary: of ``summarise``.
        models: trained variant -> its model; variants that differ only in separation share one.
    """
    means = summary[summary["stitching"] == "blind"].set_index("variant")[METRIC]
    best = means.groupby(means.index.map(dict(models))).max()
    return {name for name, model in models.items() if best.get(model, np.nan) < TRAINED_DB}


def compare_all_pairs(scores: pd.DataFrame, metric: str = METRIC) -> pd.DataFrame:
    """Compare every variant with every other: one row per pair, as ``compare_with_baseline``, corrected for all."""
    means, speakers = _average(scores, metric)
    pairs = [(second, first) for first, second in combinations(means["variant"].unique(), 2)]
    return _compare(means, speakers, pairs, metric)


def _average(scores: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, pd.Series]:
    if "stitching" in scores:
        scores = scores[scores["stitching"].isin(COMPARED)]
    return average_sources(scores, [metric]), collect_speakers(scores)


def _compare(means: pd.DataFrame, speakers: pd.Series, pairs: Sequence[tuple[str, str]], metric: str) -> pd.DataFrame:
    order = means["mixture_id"].unique()
    mixtures = Mixtures(speakers[order].tolist())
    runs = {str(name): run for name, run in means.groupby("variant", sort=False)}
    records = []
    for names in pairs:
        values = _subtract(runs[names[0]], runs[names[1]], order, metric)
        (mean,), (low,), (high,), (p,) = astuple(mixtures.estimate(values))
        present = np.isfinite(values[..., 0])
        tested = present.any(axis=0)
        spread = np.nanmean(values[:, tested, 0], axis=0).std(ddof=1) if tested.sum() > 1 else np.nan
        effect = mean / spread if spread > 0 else np.nan
        numbers = int(tested.sum()), int((~present).sum()), int(mixtures.count_speakers(tested)), len(values)
        records.append((*names, metric, mean, low, high, p, np.nan, effect, *numbers, INCONCLUSIVE))
    table = pd.DataFrame(records, columns=_COLUMNS)
    table.loc[table["p"].isna(), "verdict"] = ""  # no test, no verdict
    table["p_holm"] = holm(table["p"].to_numpy(float))
    if metric == METRIC:
        table.loc[(table["low"] >= -MARGIN) & (table["high"] <= MARGIN), "verdict"] = EQUIVALENT
    shown = (table["p_holm"] < SIGNIFICANT) & (table["difference"].abs() >= SHOWN)
    table.loc[shown, "verdict"] = np.where(table.loc[shown, "difference"] > 0, BETTER, WORSE)
    return table


def _subtract(variant: pd.DataFrame, baseline: pd.DataFrame, order: np.ndarray, metric: str) -> np.ndarray:
    """Variant minus baseline, (seeds in common, mixtures, 1)."""
    if not any(frame["stitching"].eq("none").all() for frame in (variant, baseline)):
        shared = sorted(set(variant["seed"]) & set(baseline["seed"]))
        if not shared:
            names = " and ".join(repr(frame["variant"].iloc[0]) for frame in (variant, baseline))
            raise InputError(f"scores: {names} have no seed in common; expected runs with equal seeds")
        variant, baseline = (frame[frame["seed"].isin(shared)] for frame in (variant, baseline))
    return stack_values(variant, order, [metric]) - stack_values(baseline, order, [metric])
