"""Check intervals and tests against simulations with recurring speakers, and time those of a benchmark.

    python perf/intervals.py [--metadata libri2mix_test-clean.csv] [--out results/reference/intervals.md]

A simulated score is a difference between two variants in dB: a sum of random effects, one each of the seed, each
speaker of the mixture, its set of speakers, the mixture, each of its speakers with the seed, and the mixture with the
seed. Speakers recur as in LibriMix. Of 95 % intervals 92 to 98 % are to hold the truth, and of comparisons of equals 3
to 7 % are to be significant; since interval and test are one, these are the same decisions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from audioslots.reporting.formatting import format_count, format_number
from audioslots.reporting.table import Column, Table
from audioslots.runtime.files import write_text
from audioslots.scoring.metrics import REPORTED
from audioslots.stats.intervals import SIGNIFICANT, Mixtures
from audioslots.stats.summaries import summarise

MIXTURES, SPEAKERS, VARIANTS, SEEDS = 3000, 40, 20, 5
DIFFERENCE_DB = 0.3
REPEATS = {60: 10_000, MIXTURES: 2_000}
CELLS = 3_000_000  # simulated scores held in memory at once, as float64: 24 MB


@dataclass(frozen=True)
class Spreads:
    """Standard deviations of the random effects that a simulated difference is the sum of, in dB."""

    title: str
    seed: float = 0.0
    speaker: float = 0.0
    speaker_set: float = 0.0  # beyond the effect of each speaker
    mixture: float = 0.0
    seed_speaker: float = 0.0
    seed_mixture: float = 0.0


# Near those of the committed published results, by the method of moments over their scores.
SPREADS = [
    Spreads("a variant, other seeds (A/A)", 0.1, seed_speaker=0.2, seed_mixture=1.0),
    Spreads("alike: masks of power 1.5 and 2", 0.05, 0.15, 0.0, 0.85, 0.0, 1.0),
    Spreads("between these", 0.1, 0.5, 0.5, 0.8, 0.1, 1.0),
    Spreads("unlike: masks and direct magnitudes", 0.1, 0.8, 1.5, 0.6, 0.0, 1.25),
    Spreads("trained shortly, another model", 0.85, 0.3, 0.95, 0.25, 1.1, 2.0),
]


def draw_mixtures(speakers: int, mixtures: int, sources: int = 2) -> list[tuple[str, ...]]:
    """Sorted speakers of each mixture, at random as in LibriMix, different within a mixture."""
    rng = np.random.default_rng(0)
    return [tuple(sorted(map(str, rng.choice(speakers, sources, replace=False)))) for _ in range(mixtures)]


def read_mixtures(metadata: Path) -> list[tuple[str, ...]]:
    """Sorted speakers of each mixture of LibriMix's metadata."""
    ids = pd.read_csv(metadata)["mixture_ID"]
    return [tuple(sorted(utterance.split("-")[0] for utterance in name.split("_"))) for name in ids]


def simulate_differences(
    mixtures: Sequence[tuple[str, ...]], seeds: int, spreads: Spreads, repeats: int
) -> Iterator[np.ndarray]:
    """Differences without a true difference: (seeds, mixtures, repeats), in chunks that fit the memory."""
    rng = np.random.default_rng([0, seeds])
    ids, sets = sorted({name for names in mixtures for name in names}), sorted(set(mixtures))
    has = np.array([[name in names for name in ids] for names in mixtures], dtype=float)  # (mixtures, speakers)
    set_of = np.array([sets.index(names) for names in mixtures])
    chunk = max(1, CELLS // (seeds * len(mixtures)))
    for start in range(0, repeats, chunk):
        size = min(chunk, repeats - start)
        shared = has @ rng.normal(0, spreads.speaker, (len(ids), size))
        shared += rng.normal(0, spreads.speaker_set, (len(sets), size))[set_of]
        shared += rng.normal(0, spreads.mixture, (len(mixtures), size))
        values = rng.normal(0, spreads.seed_mixture, (seeds, *shared.shape))
        values += shared + has @ rng.normal(0, spreads.seed_speaker, (seeds, len(ids), size))
        yield values + (rng.normal(0, spreads.seed, (seeds, 1, size)) if seeds > 1 else 0)


def measure_rates(mixtures: Sequence[tuple[str, ...]], seeds: int, spreads: Spreads, repeats: int) -> dict[str, float]:
    """Rates of a simulation.

    Returns:
        ``covered``: intervals that hold the truth; ``alarms``: significant without a difference; ``detected``: with one
        of ``DIFFERENCE_DB``; ``covered_if_independent``: intervals that hold the truth if only mixtures of the same set
        of speakers were correlated; ``half_width_db``; ``error_db``: the true standard error.
    """
    recurring, independent = Mixtures(mixtures), Mixtures([("+".join(names),) for names in mixtures])
    chunks = []
    for values in simulate_differences(mixtures, seeds, spreads, repeats):
        equal, different = recurring.estimate(values), recurring.estimate(values + DIFFERENCE_DB)
        naive = independent.estimate(values)
        covered, alarm = (equal.low <= 0) & (equal.high >= 0), equal.p < SIGNIFICANT
        detected = (different.p < SIGNIFICANT) & (different.mean > 0)
        half = (equal.high - equal.low) / 2
        chunks.append([covered, alarm, detected, naive.p >= SIGNIFICANT, half, equal.mean**2])
    rates = [float(rate) for rate in np.concatenate(chunks, axis=1).mean(axis=1)]
    names = "covered alarms detected covered_if_independent half_width_db error_db".split()
    return dict(zip(names, [*rates[:-1], rates[-1] ** 0.5], strict=True))


def tabulate_rates(tests: Sequence[Sequence[tuple[str, ...]]], origin: str) -> Table:
    """The table: test sets of several sizes, one, three and five seeds, and all spreads."""
    rows = []
    for mixtures in tests:
        size = {"speakers": len({name for names in mixtures for name in names}), "mixtures": len(mixtures)}
        for seeds in (1, 3, 5):
            for spreads in SPREADS:
                rates = measure_rates(mixtures, seeds, spreads, REPEATS[len(mixtures)])
                rows.append({**size, "seeds": seeds, "spreads": spreads.title, **rates})

    def percent(value: float) -> str:
        return format_number(100 * value, 1)

    columns = [
        *(Column(heading, heading.lower(), format_count) for heading in ("Speakers", "Mixtures", "Seeds")),
        Column("Variants compared", "spreads", str, numeric=False),
        Column("Interval holds the truth (%)", "covered", percent),
        Column("Significant without a difference (%)", "alarms", percent),
        Column(f"{DIFFERENCE_DB:g} dB detected (%)", "detected", percent),
        Column("Half an interval (dB)", "half_width_db", format_number),
        Column("True standard error (dB)", "error_db", format_number),
        Column("Holds the truth, pairs taken as independent (%)", "covered_if_independent", percent),
    ]
    repeats = [f"{count:,} repeats of {size:,} mixtures" for size, count in REPEATS.items()]
    spreads = [f"{title} {', '.join(f'{value:g}' for value in values)}" for title, *values in map(astuple, SPREADS)]
    caption = (
        f"Intervals and tests of simulated differences of two variants, by perf/intervals.py; {' and '.join(repeats)}. "
        f"Speakers recur: {origin}. A single seed is taken as given. The last column: intervals that let only mixtures "
        "of the same two speakers be correlated. Standard deviations in dB (seed, speaker, speakers together, mixture, "
        f"speaker and seed, mixture and seed): {'; '.join(spreads)}."
    )
    return Table("intervals", caption, pd.DataFrame(rows), columns)


def draw_scores(mixtures: Sequence[tuple[str, ...]]) -> pd.DataFrame:
    """Random rows as scores.parquet has them, stitched blindly."""
    rng = np.random.default_rng(0)
    rows = [(f"mixture-{place}", *source) for place, names in enumerate(mixtures) for source in enumerate(names)]
    sources = pd.DataFrame(rows, columns=["mixture_id", "source", "speaker_id"]).assign(failure="", stitching="blind")
    runs = []
    for variant in range(VARIANTS):
        for seed in range(SEEDS):
            values = {metric: rng.normal(10 + variant / 10, 3, len(sources)) for metric in REPORTED}
            runs.append(sources.assign(variant=f"v{variant}", seed=seed, **values))
    return pd.concat(runs, ignore_index=True)


def main() -> None:
    """Print the time and the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--metadata", type=Path, help="official metadata of the larger test set; else it is drawn")
    parser.add_argument("--out", type=Path, help="Markdown file to write the table to")
    arguments = parser.parse_args()
    large = read_mixtures(arguments.metadata) if arguments.metadata else draw_mixtures(SPEAKERS, MIXTURES)
    scores = draw_scores(large)
    started = time.process_time()
    summarise(scores, list(REPORTED))
    print(
        f"summarise {VARIANTS} variants, {SEEDS} seeds, {len(large):,} mixtures: {time.process_time() - started:.1f} s"
    )
    origin = "of 60 mixtures drawn at random, of 3,000 "
    origin += f"as in LibriMix's {arguments.metadata.name}" if arguments.metadata else "too"
    table = tabulate_rates([draw_mixtures(12, 60), large], origin)
    print(table.to_text())
    if arguments.out:
        write_text(arguments.out, f"# Intervals under simulation\n\n{table.to_markdown()}")


if __name__ == "__main__":
    main()
