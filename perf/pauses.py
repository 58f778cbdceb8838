"""Pauses of read speech: a synthesized corpus against real ones, whose folders are given.

    python perf/pauses.py LibriSpeech/train-clean-100 LibriSpeech/test-clean

A pause is a run of frames of 20 ms, 100 ms or longer, each more than 25 dB below the utterance's own level (its root
mean square). Not 30 dB: the noise of a quarter of LibriSpeech's recordings is louder than that. Inner pauses have
speech on both sides; lengths and pauses a minute are of these alone. Quiet windows are those of 0.5 s that lie 15 dB or
more below the utterance's level. Of each folder 150 utterances, drawn by a fixed seed.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from audioslots.data.corpora.corpus import read_speech
from audioslots.data.corpora.synthesis import synthesize
from audioslots.data.librimix.layout import RATE

FRAME = RATE // 50
FEWEST_FRAMES = 5
PAUSE_DB, WINDOW_DB = -25.0, -15.0
WINDOW = RATE // 2
UTTERANCES = 150
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
QUIETEST = 1e-12  # keeps the logarithm of silence finite


class Pauses(NamedTuple):
    """What is measured of a set of utterances.

    Attributes:
        utterances: how many.
        share: of time in pauses, 0 to 1.
        inner: the same, of pauses with speech on both sides.
        lengths: seconds of each inner pause.
        a_minute: inner pauses a minute.
        quiet: share of quiet windows.
    """

    utterances: int
    share: float
    inner: float
    lengths: np.ndarray
    a_minute: float
    quiet: float


def levels(samples: np.ndarray, size: int) -> np.ndarray:
    """Level of each whole frame of ``size`` samples, dB above the root mean square of all."""
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    return 10 * np.log10((frames**2).mean(axis=1) / (samples**2).mean() + QUIETEST)


def runs(samples: np.ndarray) -> np.ndarray:
    """First frame and the one after the last of each pause: (pauses, 2)."""
    quiet = np.concatenate([[False], levels(samples, FRAME) < PAUSE_DB, [False]])
    found = np.flatnonzero(quiet[1:] != quiet[:-1]).reshape(-1, 2)
    return found[found[:, 1] - found[:, 0] >= FEWEST_FRAMES]


def measured(folder: Path, most: int = UTTERANCES) -> Pauses:
    """Measure ``most`` utterances of a folder of FLAC files, or all where there are fewer."""
    paths = sorted(folder.rglob("[!.]*.flac"))
    random.Random(0).shuffle(paths)
    frames = paused = 0
    lengths: list[int] = []
    windows: list[np.ndarray] = []
    for path in paths[:most]:
        samples = read_speech(path).astype(np.float64)
        found, count = runs(samples), len(samples) // FRAME
        frames += count
        paused += int((found[:, 1] - found[:, 0]).sum())
        lengths += [int(end - start) for start, end in found if start > 0 and end < count]
        windows.append(levels(samples, WINDOW) <= WINDOW_DB)
    second = RATE / FRAME
    return Pauses(
        len(paths[:most]),
        paused / frames,
        sum(lengths) / frames,
        np.array(lengths) / second,
        len(lengths) / (frames / second / 60),
        float(np.concatenate(windows).mean()),
    )


def row(name: str, pauses: Pauses) -> str:
    """A line of the table."""
    quantiles = " ".join(f"{length:.2f}" for length in np.quantile(pauses.lengths, QUANTILES))
    return (
        f"{name:<18} {pauses.utterances:>5} {pauses.share:>8.1%} {pauses.inner:>8.1%} {pauses.a_minute:>8.1f}   "
        f"{quantiles:<26} {pauses.quiet:>6.1%}"
    )


def main() -> None:
    """Print a line for the synthesized corpus and for each folder given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="subsets of LibriSpeech, or others in its layout")
    folders = parser.parse_args().folders
    print("Pauses of read speech (lengths in s: quantiles 5, 25, 50, 75, 95 %)")
    print(f"{'':<18} {'utts':>5} {'in them':>8} {'inner':>8} {'a minute':>8}   {'lengths':<26} {'quiet':>6}")
    with tempfile.TemporaryDirectory() as folder:
        synthesize(Path(folder) / "corpus", speakers=24, hours=0.3, seed=0)
        print(row("synthesized", measured(Path(folder) / "corpus")))
    for folder in folders:
        print(row(folder.name, measured(folder)))


if __name__ == "__main__":
    main()
