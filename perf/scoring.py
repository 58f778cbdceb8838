"""Speed of scoring: against a plain loop over mir_eval, pesq and pystoi in the same run, and over the number of cores.

Without arguments it scores made speech. With LibriSpeech and a metadata CSV of LibriMix, by arguments or the
environment (AUDIOSLOTS_LIBRISPEECH, AUDIOSLOTS_METADATA), it scores those mixtures whose speech is on disk. The
estimates are sources with some of the mixture left in. Both sides read the WAV files and score estimates and mixture;
the starting of processes counts.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import mir_eval.separation
import numpy as np
import pandas as pd
from pesq import pesq
from pystoi import stoi

from audioslots.data.corpora.synthesis import synthesize
from audioslots.data.librimix.metadata import draw, read_metadata, select, write_metadata
from audioslots.data.librimix.rendering import render
from audioslots.scoring.evaluate import evaluate
from audioslots.scoring.mixtures import Waveforms, read_mixtures

RATE = 8000
AIM = 4.0
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
TOLERANCES = {"sdr_db": 0.01, "pesq": 0.0, "stoi": 0.0, "estoi": 1e-9}


class Leaky:
    """Sources with a fifth of the mixture left in, for every mixture; one estimate a source."""

    name, seed, rate, identity = "leaky", 0, RATE, "leaky"
    modules = ()

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        """One kind of estimates, as the loop scores one."""
        return {"blind": leaky(mixture, sources)}


class Mixture(Leaky):
    """The mixture itself, whose scores other systems reuse."""

    name = identity = "mixture"

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        """The mixture, once a source."""
        return {"none": np.broadcast_to(mixture, sources.shape)}


def leaky(mixture: Waveforms, sources: Waveforms) -> Waveforms:
    """Estimates of both sides."""
    return 0.8 * sources + 0.2 * mixture


def plain_loop(mixtures: Path) -> pd.DataFrame:
    """Scores of estimates and mixture by the packages, one after the other."""
    rows = []
    for item in read_mixtures(mixtures):
        mixture, sources, rate = item.read()
        kinds = {"": leaky(mixture, sources), "input_": np.broadcast_to(mixture, sources.shape)}
        scores: list[dict[str, float]] = [{} for _ in sources]
        for prefix, estimates in kinds.items():
            ratios = mir_eval.separation.bss_eval_sources(sources, estimates)[0]
            for row, source, estimate, ratio in zip(scores, sources, estimates, ratios, strict=True):
                row[prefix + "sdr_db"] = ratio
                row[prefix + "pesq"] = pesq(rate, source, estimate, "nb")
                row[prefix + "stoi"] = stoi(source, estimate, rate)
                row[prefix + "estoi"] = stoi(source, estimate, rate, extended=True)
        rows += scores
    return pd.DataFrame(rows)


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall time."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, what in (("librispeech", "folder of its subsets"), ("metadata", "LibriMix's CSV")):
        default = os.environ.get(f"AUDIOSLOTS_{name.upper()}")
        parser.add_argument(f"--{name}", type=Path, default=Path(default) if default else None, help=what)
    parser.add_argument("--count", type=int, default=None, help="mixtures, from the first")
    given = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # mir_eval's
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if given.metadata is None or given.librispeech is None:
            synthesize(place / "corpus", speakers=20, hours=0.5, seed=0, jobs=CORES)
            librispeech, rows = place / "corpus", draw(place / "corpus", "test-clean", 2, given.count or 20, 0)
        else:
            librispeech, rows = given.librispeech, select(read_metadata(given.metadata), given.librispeech)
        subset = str(rows["source_1_path"].iloc[0]).split("/")[0]
        write_metadata(rows.head(given.count or len(rows)), place / f"libri2mix_{subset}.csv")
        mixtures = render(place / f"libri2mix_{subset}.csv", librispeech, place / "out", RATE, "min", CORES)

        found: list[pd.DataFrame] = []
        loop = timed(lambda: found.append(plain_loop(mixtures)))
        seconds = {
            jobs: timed(lambda jobs=jobs: evaluate(Leaky(), mixtures, place / f"{jobs}/scores.parquet", jobs=jobs))
            for jobs in sorted({2**power for power in range(CORES.bit_length())} | {CORES})
        }
        evaluate(Mixture(), mixtures, place / "mixture/scores.parquet", jobs=CORES)
        inputs = place / "mixture/scores.parquet"
        reused = timed(
            lambda: evaluate(Leaky(), mixtures, place / "again/scores.parquet", jobs=CORES, mixture_scores=inputs)
        )
        ours, theirs = pd.read_parquet(place / "1/scores.parquet"), found[0]

    count = len(theirs) // 2
    print(f"Scoring of {count} mixtures, {ours['duration_s'].sum() / 2:.0f} s of audio, {CORES} cores")
    print(f"  plain loop over mir_eval, pesq, pystoi          {loop:8.1f} s")
    for jobs, wall in seconds.items():
        faster = f"{loop / wall:5.1f} x the loop, {seconds[1] / wall:4.2f} x one process"
        print(f"  ours, {jobs:>2} processes                              {wall:8.1f} s  {faster}")
    print(
        f"  ours, {CORES:>2} processes, the mixture's scores reused  {reused:8.1f} s  {loop / reused:5.1f} x the loop"
    )
    print(f"  at least {AIM} x the loop is aimed at")
    for column, tolerance in TOLERANCES.items():
        # the mixture's own SDR is in the table as what the estimate's improves on
        pairs = [(ours[column], theirs[column])]
        mixture = ours["sdr_db"] - ours["sdri_db"] if column == "sdr_db" else ours["input_" + column]
        pairs.append((mixture, theirs["input_" + column]))
        most = max(float((one - other).abs().max()) for one, other in pairs)
        verdict = f"{'within' if most <= tolerance else 'NOT WITHIN'} {tolerance:g}"
        print(f"  largest difference, {column:<8} {most:.2g} ({verdict})")


if __name__ == "__main__":
    main()
