"""Seconds for the intervals of a whole benchmark, against SciPy's bootstrap of one level.

10,000 resamples of 3,000 mixtures x 20 variants x 5 seeds: from the rows of scores to means with intervals of the five
metrics, as a report needs them (``summarise``), and the resampling alone (``bootstrap``). SciPy's resamples mixtures of
one variant and metric, averaged over seeds beforehand, in batches, and is scaled to the same number of means.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap as scipy_bootstrap

from audioslots.reporting import comparisons, statistics

MIXTURES, SPEAKERS, VARIANTS, SEEDS = 3000, 40, 20, 5
TARGET_S = 60
SHARE = 20  # SciPy is given one in so many of the resamples


def made_scores() -> pd.DataFrame:
    """Rows as scores.parquet has them, two sources a mixture, stitched blindly."""
    rng = np.random.default_rng(0)
    speakers = np.array([rng.choice(SPEAKERS, 2, replace=False) for _ in range(MIXTURES)])
    once = pd.DataFrame(
        {
            "mixture_id": np.repeat([f"mixture-{place}" for place in range(MIXTURES)], 2),
            "source": np.tile([1, 2], MIXTURES),
            "speaker_id": speakers.ravel().astype(str),
            "failure": "",
            "stitching": "blind",
        }
    )
    runs = []
    for variant in range(VARIANTS):
        for seed in range(SEEDS):
            values = {metric: rng.normal(10 + variant / 10, 3, len(once)) for metric in statistics.METRICS}
            runs.append(once.assign(variant=f"v{variant}", seed=seed, **values))
    return pd.concat(runs, ignore_index=True)


def seconds(call: Callable[[], Any]) -> tuple[float, float]:
    """How long a call takes by the clock, and how much of a processor: on a busy machine the first says little."""
    started, used = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - started, time.process_time() - used


def main() -> None:
    """Print the times and their ratio."""
    scores = made_scores()
    order, groups = statistics.speaker_pairs(statistics.per_mixture(scores.iloc[: 2 * MIXTURES]))
    arrays = [
        np.random.default_rng(variant).normal(size=(SEEDS, MIXTURES, len(statistics.METRICS)))
        for variant in range(VARIANTS)
    ]
    whole = seconds(lambda: statistics.summarise(scores))
    compared = seconds(lambda: comparisons.compare(scores, "v0"))
    ours = seconds(lambda: statistics.bootstrap(arrays, groups))
    means = arrays[0][..., 0].mean(axis=0)
    few = statistics.RESAMPLES // SHARE
    one = seconds(lambda: scipy_bootstrap((means,), np.mean, n_resamples=few, batch=100, method="percentile"))
    theirs = one[1] * SHARE * VARIANTS * len(statistics.METRICS)
    print(f"{len(order):,} mixtures, {len(np.unique(groups))} speaker pairs, {VARIANTS} variants, {SEEDS} seeds")
    spent = "{:.1f} s, {:.1f} s of processors"
    print(f"summarise, five metrics: {spent.format(*whole)} (target {TARGET_S} s)")
    print(f"compare, {VARIANTS - 1} variants with a baseline: {spent.format(*compared)}")
    print(f"bootstrap alone: {spent.format(*ours)}")
    print(f"SciPy's of one level, scaled: {theirs:.0f} s of processors; ratio {theirs / ours[1]:.0f}")


if __name__ == "__main__":
    main()
