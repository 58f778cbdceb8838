"""Intervals and tests held against simulations with recurring speakers, and how long those of a benchmark take.

    python perf/intervals.py [--metadata libri2mix_test-clean.csv] [--out results/reference/intervals.md]

A simulated score is a difference between two variants in dB: a sum of draws, one each for the seed, each speaker of the
mixture, its speakers together, the mixture, each of its speakers with the seed, and the mixture with the seed. Speakers
recur as in LibriMix. Of 95 % intervals 92 to 98 % are to hold the truth, and of comparisons of equals 3 to 7 % to be
significant; since interval and test are one, these are the same decisions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from audioslots.reporting.words import number, whole

from audioslots.reporting.table import Table
from audioslots.reporting.tables import valued
from audioslots.runtime.files import write_text
from audioslots.stats import comparisons
from audioslots.stats import summaries as statistics
from audioslots.stats.intervals import SIGNIFICANT, Mixtures

MIXTURES, SPEAKERS, VARIANTS, SEEDS = 3000, 40, 20, 5
TARGET_S = 60
DIFFERENCE_DB = 0.3
REPEATS = {60: 10_000, MIXTURES: 2_000}
CELLS = 3_000_000  # simulated scores held in memory at once, as float64: 24 MB


@dataclass(frozen=True)
class Spreads:
    """Standard deviations of what a simulated difference is the sum of, in dB."""

    title: str
    speaker: float = 0.0
    together: float = 0.0  # the speakers of a mixture, beyond what each brings
    mixture: float = 0.0
    seed: float = 0.0
    seed_speaker: float = 0.0
    seed_mixture: float = 0.0


# Near those of the committed reference results, by the method of moments over their scores.
SPREADS = [
    Spreads("a variant, other seeds (A/A)", seed=0.1, seed_speaker=0.2, seed_mixture=1.0),
    Spreads("alike: masks of power 1.5 and 2", 0.15, 0.0, 0.85, 0.05, 0.0, 1.0),
    Spreads("between these", 0.5, 0.5, 0.8, 0.1, 0.1, 1.0),
    Spreads("unlike: masks and direct magnitudes", 0.8, 1.5, 0.6, 0.1, 0.0, 1.25),
    Spreads("trained shortly, another model", 0.3, 0.95, 0.25, 0.85, 1.1, 2.0),
]


def drawn(speakers: int, mixtures: int, sources: int = 2) -> list[tuple[str, ...]]:
    """Sorted speakers of each mixture, at random as in LibriMix, different within a mixture."""
    rng = np.random.default_rng(0)
    return [tuple(sorted(map(str, rng.choice(speakers, sources, replace=False)))) for _ in range(mixtures)]


def read(metadata: Path) -> list[tuple[str, ...]]:
    """Sorted speakers of each mixture of LibriMix's metadata."""
    return [
        tuple(sorted(part.split("-")[0] for part in name.split("_"))) for name in pd.read_csv(metadata)["mixture_ID"]
    ]


def simulated(
    speakers: Sequence[tuple[str, ...]], seeds: int, spreads: Spreads, repeats: int, key: int = 0
) -> Iterator[np.ndarray]:
    """Differences without a true difference: (seeds, mixtures, repeats), in parts that fit the memory."""
    rng = np.random.default_rng([key, seeds])
    ids, sets = sorted({one for found in speakers for one in found}), sorted(set(speakers))
    has = np.array([[one in found for one in ids] for found in speakers], dtype=float)  # (mixtures, speakers)
    together = np.array([sets.index(found) for found in speakers])
    part = max(1, CELLS // (seeds * len(speakers)))
    for start in range(0, repeats, part):
        size = min(part, repeats - start)
        shared = has @ rng.normal(0, spreads.speaker, (len(ids), size))
        shared += rng.normal(0, spreads.together, (len(sets), size))[together]
        shared += rng.normal(0, spreads.mixture, (len(speakers), size))
        values = rng.normal(0, spreads.seed_mixture, (seeds, *shared.shape))
        values += shared + has @ rng.normal(0, spreads.seed_speaker, (seeds, len(ids), size))
        yield values + (rng.normal(0, spreads.seed, (seeds, 1, size)) if seeds > 1 else 0)


def calibrated(
    speakers: Sequence[tuple[str, ...]], seeds: int, spreads: Spreads, repeats: int, key: int = 0
) -> dict[str, float]:
    """Rates of a simulation.

    Returns:
        ``covered``: intervals that hold the truth; ``alarms``: significant without a difference; ``found``: with one of
        ``DIFFERENCE_DB``; ``covered_if_apart``: intervals that hold the truth if speakers were taken not to recur but
        with all the others of a mixture; ``half_width_db``; ``error_db``: the true standard error.
    """
    mixtures, apart = Mixtures(speakers), Mixtures([("+".join(found),) for found in speakers])
    parts = []
    for values in simulated(speakers, seeds, spreads, repeats, key):
        none, some, old = mixtures.estimate(values), mixtures.estimate(values + DIFFERENCE_DB), apart.estimate(values)
        covered, alarm = (none.low <= 0) & (none.high >= 0), none.p < SIGNIFICANT
        found = (some.p < SIGNIFICANT) & (some.mean > 0)
        parts.append([covered, alarm, found, old.p >= SIGNIFICANT, (none.high - none.low) / 2, none.mean**2])
    rates = [float(rate) for rate in np.concatenate(parts, axis=1).mean(axis=1)]
    names = "covered alarms found covered_if_apart half_width_db error_db".split()
    return dict(zip(names, [*rates[:-1], rates[-1] ** 0.5], strict=True))


def calibration(tests: Sequence[Sequence[tuple[str, ...]]], origin: str) -> Table:
    """The table: test sets of several sizes, one, three and five seeds, and all spreads."""
    rows: list[dict[str, Any]] = []
    for speakers in tests:
        for seeds in (1, 3, 5):
            for spreads in SPREADS:
                found = calibrated(speakers, seeds, spreads, REPEATS[len(speakers)])
                count = len({one for names in speakers for one in names})
                rows.append(
                    {"speakers": count, "mixtures": len(speakers), "seeds": seeds, "spreads": spreads.title} | found
                )

    def percent(value: float) -> str:
        return number(100 * value, 1)

    columns = [
        valued("Speakers", "speakers", whole),
        valued("Mixtures", "mixtures", whole),
        valued("Seeds", "seeds", whole),
        valued("Variants compared", "spreads", str, numeric=False),
        valued("Interval holds the truth (%)", "covered", percent),
        valued("Significant without a difference (%)", "alarms", percent),
        valued(f"{DIFFERENCE_DB:g} dB found (%)", "found", percent),
        valued("Half an interval (dB)", "half_width_db", number),
        valued("True standard error (dB)", "error_db", number),
        valued("Holds the truth, pairs taken as independent (%)", "covered_if_apart", percent),
    ]
    caption = (
        "Intervals and tests of simulated differences of two variants, by perf/intervals.py; "
        f"{' and '.join(f'{whole(count)} repeats of {whole(size)} mixtures' for size, count in REPEATS.items())}. "
        f"Speakers recur: {origin}. A single seed is taken as given. The last column: intervals that let only mixtures "
        "of the same two speakers be correlated. Standard deviations in dB (seed, speaker, speakers together, mixture, "
        "speaker and seed, mixture and seed): "
        + "; ".join(
            f"{one.title} {one.seed:g}, {one.speaker:g}, {one.together:g}, {one.mixture:g}, {one.seed_speaker:g}, "
            f"{one.seed_mixture:g}"
            for one in SPREADS
        )
        + "."
    )
    return Table("intervals", caption, pd.DataFrame(rows), columns)


def made_scores(speakers: Sequence[tuple[str, ...]]) -> pd.DataFrame:
    """Rows as scores.parquet has them, stitched blindly."""
    rng = np.random.default_rng(0)
    once = pd.DataFrame(
        [
            (f"mixture-{place}", source, speaker)
            for place, found in enumerate(speakers)
            for source, speaker in enumerate(found)
        ],
        columns=["mixture_id", "source", "speaker_id"],
    ).assign(failure="", stitching="blind")
    runs = []
    for variant in range(VARIANTS):
        for seed in range(SEEDS):
            values = {metric: rng.normal(10 + variant / 10, 3, len(once)) for metric in statistics.METRICS}
            runs.append(once.assign(variant=f"v{variant}", seed=seed, **values))
    return pd.concat(runs, ignore_index=True)


def seconds(call: Callable[[], Any]) -> str:
    """How long a call takes by the clock, and how much of a processor: on a busy machine the first says little."""
    started, used = time.perf_counter(), time.process_time()
    call()
    return f"{time.perf_counter() - started:.1f} s, {time.process_time() - used:.1f} s of processors"


def main() -> None:
    """Print the times and the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--metadata", type=Path, help="official metadata of the larger test set; else it is drawn")
    parser.add_argument("--out", type=Path, help="Markdown file to write the table to")
    given = parser.parse_args()
    large = read(given.metadata) if given.metadata else drawn(SPEAKERS, MIXTURES)
    scores = made_scores(large)
    print(f"{len(large):,} mixtures, {len(set(large))} pairs of speakers, {VARIANTS} variants, {SEEDS} seeds")
    print(f"summarise, five metrics: {seconds(lambda: statistics.summarise(scores))} (target {TARGET_S} s)")
    print(f"compare, {VARIANTS - 1} variants with one: {seconds(lambda: comparisons.compare(scores, 'v0'))}")
    origin = "of 60 mixtures drawn at random, of 3,000 "
    origin += f"as in LibriMix's {given.metadata.name}" if given.metadata else "too"
    table = calibration([drawn(12, 60), large], origin)
    print(table.plain())
    if given.out:
        write_text(given.out, f"# Intervals under simulation\n\n{table.markdown()}")


if __name__ == "__main__":
    main()
