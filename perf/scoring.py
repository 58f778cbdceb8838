"""Speed of scoring, against a plain loop over mir_eval, pesq and pystoi in the same run.

Both score estimates and mixture of synthesized speech, from WAV files; the start of processes counts. The estimates are
the sources with a fifth of the mixture left in. That both give the same scores is tested (``tests/scoring``).
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
from pesq import pesq
from pystoi import stoi

from audioslots.data.corpora.synthesis import synthesize
from audioslots.data.librimix.metadata import draw, write_metadata
from audioslots.data.librimix.rendering import render
from audioslots.scoring.evaluate import EvaluationOptions, evaluate
from audioslots.scoring.mixtures import Waveforms, read_mixtures

RATE = 8000
CORES = os.cpu_count() or 1


class Leaky:
    """A system whose estimates need no computation."""

    name, seed, rate, identity = "leaky", 0, RATE, "leaky"
    modules = ()

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        """Sources with a fifth of the mixture left in."""
        return {"blind": 0.8 * sources + 0.2 * mixture}


def loop(mixtures: Path) -> None:
    """Score estimates and mixture by the packages, one after the other."""
    for item in read_mixtures(mixtures):
        mixture, sources, rate = item.read()
        leaky = Leaky().by_stitching(mixture, sources)["blind"]
        for estimates in (leaky, np.broadcast_to(mixture, sources.shape)):
            mir_eval.separation.bss_eval_sources(sources, estimates)
            for source, estimate in zip(sources, estimates, strict=True):
                pesq(rate, source, estimate, "nb")
                stoi(source, estimate, rate)
                stoi(source, estimate, rate, extended=True)


def seconds(work: Callable[[], object]) -> float:
    """Wall time."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=20, help="mixtures")
    count = parser.parse_args().count
    warnings.simplefilter("ignore", FutureWarning)  # mir_eval's
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        synthesize(place / "corpus", speakers=20, hours=0.5, seed=0, jobs=CORES)
        metadata = place / "libri2mix_test-clean.csv"
        write_metadata(draw(place / "corpus", "test-clean", 2, count, 0), metadata)
        mixtures = render(metadata, place / "corpus", place / "out", RATE, "min", CORES)
        peer = seconds(lambda: loop(mixtures))
        print(f"Scoring of {count} mixtures of 2 speakers, {CORES} cores")
        print(f"  loop over mir_eval, pesq, pystoi  {peer:6.1f} s")
        for jobs in sorted({1, CORES}):
            ours = seconds(
                lambda jobs=jobs: evaluate(
                    Leaky(), mixtures, place / f"{jobs}/scores.parquet", EvaluationOptions(jobs=jobs)
                )
            )
            print(f"  audioslots, {jobs:>2} processes          {ours:6.1f} s  {peer / ours:5.1f} x")


if __name__ == "__main__":
    main()
