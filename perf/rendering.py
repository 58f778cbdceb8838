"""Speed of rendering: mixtures a second, and the time of LibriMix's own script against ours in the same run.

Without arguments it renders synthesized speech. With LibriMix's clone, LibriSpeech and a metadata CSV, by arguments or
the environment (AUDIOSLOTS_LIBRIMIX, AUDIOSLOTS_LIBRISPEECH, AUDIOSLOTS_METADATA), it renders those rows whose speech
is on disk, and compares. LibriMix's script always needs noise: made noise stands in for WHAM's, under the same names.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from audioslots.data.corpora.synthesis import synthesize
from audioslots.data.librimix.metadata import draw, read_metadata, select, source_count, write_metadata
from audioslots.data.librimix.rendering import render

REPEATS = 3
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def seconds(work: Callable[[Path], object], place: Path) -> float:
    """Wall time of ``work`` into an empty folder."""
    shutil.rmtree(place, ignore_errors=True)
    begin = time.perf_counter()
    work(place)
    return time.perf_counter() - begin


def medians(works: dict[str, Callable[[Path], object]], place: Path) -> dict[str, float]:
    """Median wall time of each, in turns, so that a slow spell of the machine meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(REPEATS):
        for name, work in works.items():
            times[name].append(seconds(work, place / name))
    return {name: statistics.median(each) for name, each in times.items()}


def made(place: Path) -> tuple[Path, Path]:
    """A synthesized corpus, and the metadata of mixtures drawn from it."""
    synthesize(place / "corpus", speakers=20, hours=0.5, seed=0, jobs=CORES)
    table = place / "libri2mix_train-clean.csv"
    write_metadata(draw(place / "corpus", "train-clean", sources=2, count=60, seed=0), table)
    return place / "corpus", table


def noises(metadata: pd.DataFrame, place: Path) -> Path:
    """Ten seconds of noise under the name of every noise of the table."""
    rng = np.random.default_rng(0)
    sf.write(place / "noise.wav", 0.05 * rng.standard_normal((160_000, 2)), 16_000)
    for name in pd.unique(metadata["noise_path"]):
        (place / "wham" / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(place / "noise.wav", place / "wham" / name)
    return place / "wham"


def called(*command: object) -> None:
    """Run a command to its end, quietly unless it fails."""
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{done.stderr}\n{command[0]} failed")


def compare(librimix: Path, librispeech: Path, table: Path, place: Path) -> None:
    """Print the time of LibriMix's script and of the command line of this project, both on all cores."""
    metadata = read_metadata(table)
    if "noise_path" not in metadata:
        sys.exit(f"{table}: column noise_path is missing; expected LibriMix's own metadata")
    sources = source_count(metadata)
    wham = noises(metadata, place)
    script = librimix / "scripts/create_librimix_from_metadata.py"
    theirs = [script, "--librispeech_dir", librispeech, "--wham_dir", wham, "--metadata_dir", table.parent]
    theirs += ["--n_src", sources, "--freqs", "8k", "--modes", "min", "--types", "mix_clean", "mix_both"]
    ours = ["-m", "audioslots.cli", "mixtures", "render", table, "--librispeech", librispeech]
    ours += ["--rate", 8000, "--mode", "min", "--jobs", CORES]
    noisy = ["--types", "mix_clean,mix_both", "--wham", wham]
    times = medians(
        {
            "theirs": lambda out: called(*theirs, "--librimix_outdir", out),
            "clean": lambda out: called(*ours, "--out", out),
            "noisy": lambda out: called(*ours, "--out", out, *noisy),
        },
        place,
    )
    written = [file.relative_to(place / "theirs") for file in (place / "theirs").rglob("*.wav")]
    same = sum((place / "theirs" / file).read_bytes() == (place / "noisy" / file).read_bytes() for file in written)
    print(f"  LibriMix's own script, mix_clean and mix_both (its least)  {times['theirs']:8.2f} s")
    for name, types in (("clean", "mix_clean alone"), ("noisy", "mix_clean and mix_both")):
        print(f"  ours, {types:<52} {times[name]:8.2f} s   ratio {times[name] / times['theirs']:.2f}")
    print(f"  files equal to LibriMix's, byte by byte                    {same:8d} of {len(written)}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, what in (("librimix", "clone"), ("librispeech", "folder of its subsets"), ("metadata", "CSV")):
        default = os.environ.get(f"AUDIOSLOTS_{name.upper()}")
        parser.add_argument(f"--{name}", type=Path, default=Path(default) if default else None, help=what)
    given = parser.parse_args()
    paths = (given.librimix, given.librispeech, given.metadata)
    if None in paths and paths != (None, None, None):
        parser.error("--librimix, --librispeech and --metadata come together")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if given.metadata is None:
            librispeech, table = made(place)
        else:
            rows = select(read_metadata(given.metadata), given.librispeech)
            subset = str(rows["source_1_path"][0]).split("/")[0]
            librispeech, table = given.librispeech, place / f"metadata/libri{source_count(rows)}mix_{subset}.csv"
            write_metadata(rows, table)
        count = len(read_metadata(table))
        print(f"Rendering {count} mixtures at 8 kHz, min (medians of {REPEATS}, {CORES} cores)")
        works = {
            str(jobs): lambda out, jobs=jobs: render(table, librispeech, out, 8000, "min", jobs)
            for jobs in sorted({1, CORES})
        }
        for jobs, wall in medians(works, place).items():
            print(f"  mix_clean, {jobs:>2} jobs {count / wall:8.1f} mixtures/s")
        if given.metadata is not None:
            compare(given.librimix, librispeech, table, place)


if __name__ == "__main__":
    main()
