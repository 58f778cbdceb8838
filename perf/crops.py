"""Training items a second: mixed from packed speech, against torchaudio's LibriMix data set and a random crop.

An item is a mixture of two speakers, 0.5 s at 16 kHz, with its sources. Made speech, one core, medians of three.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio.datasets.librimix as librimix

from audioslots.data.corpora.corpus import utterances
from audioslots.data.librimix.metadata import draw, write_metadata
from audioslots.data.librimix.rendering import render
from audioslots.data.training.mixing import Mixer
from audioslots.data.training.packing import Speech, pack
from audioslots.data.training.static import StaticMixer

RATE, CHUNK = 16_000, 8_000
SPEAKERS, EACH = 12, 10
MEAN_S = 12.3  # LibriSpeech's mean utterance in train-clean-100
TARGET = 20
BATCH = 64


def made_corpus(root: Path) -> None:
    """Noise with pauses in LibriSpeech's layout, as long as LibriSpeech's utterances are."""
    rng = np.random.default_rng(0)
    lines = []
    for speaker in range(SPEAKERS):
        folder = root / "train-clean-100" / str(speaker) / "1"
        folder.mkdir(parents=True)
        lines.append(f"{speaker} | {'FM'[speaker % 2]} | train-clean-100 | 1 | Made")
        for utterance in range(EACH):
            noise = 0.05 * rng.standard_normal(int(RATE * rng.uniform(MEAN_S - 4, MEAN_S + 4)))
            for start in rng.integers(len(noise), size=4):
                noise[start : start + RATE // 2] *= 0.01
            soundfile.write(folder / f"{speaker}-1-{utterance:04d}.flac", noise, RATE, subtype="PCM_16")
    (root / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n")


def by_soundfile(root: str, name: str, rate: int) -> torch.Tensor:
    """What torchaudio.load gives, by soundfile."""
    samples, found = soundfile.read(os.path.join(root, name), dtype="float32", always_2d=True)
    assert found == rate
    return torch.from_numpy(samples.T)


def per_second(ways: dict[str, Callable[[int], int]], seconds: float = 1.0) -> dict[str, float]:
    """Items a second of each way: medians of three measurements, taken in turn, so that all see the same machine."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for items in ways.values():
        items(0)  # warms up
    for _ in range(3):
        for name, items in ways.items():
            done, call, started = 0, 1, time.perf_counter()
            while time.perf_counter() - started < seconds:
                done += items(call)
                call += 1
            rates[name].append(done / (time.perf_counter() - started))
    return {name: statistics.median(measured) for name, measured in rates.items()}


def size(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Print both rates, their ratio and the bytes that each keeps on disk."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    librimix._load_waveform = by_soundfile
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        made_corpus(root / "speech")
        pack(root / "speech", "train-clean-100", root / "packed", RATE)
        count = len(utterances(root / "speech", "train-clean-100")) // 2 - SPEAKERS
        write_metadata(draw(root / "speech", "train-clean-100", 2, count, 0), root / "metadata.csv")
        render(root / "metadata.csv", root / "speech", root / "rendered", RATE, "min")
        theirs = librimix.LibriMix(root / "rendered", "train-100", 2, RATE, "sep_clean", "min")
        speech = Speech.open(root / "packed")
        dynamic, static = Mixer(speech, 2, CHUNK, 0), StaticMixer(speech, 2, CHUNK, 0, size=BATCH)
        rng = np.random.default_rng(0)

        def cropped(call: int) -> int:
            _, mixture, sources = theirs[call % len(theirs)]
            place = int(rng.integers(mixture.shape[-1] - CHUNK + 1))
            torch.stack([part[0, place : place + CHUNK] for part in (mixture, *sources)])
            return 1

        rates = per_second(
            {
                "packed, drawn anew (dynamic)": lambda call: len(dynamic.batch(call, BATCH)),
                "packed, fixed list (static)": lambda call: len(static.batch(call, BATCH)),
                "torchaudio.datasets.LibriMix": cropped,
            }
        )
        packed, rendered = size(root / "packed"), size(root / "rendered")
        share = count / (len(speech.index) / 2)  # of the utterances, that were rendered
    print("Training items a second (two sources and their mixture, 0.5 s at 16 kHz), one core, median of 3")
    print("(torchcodec being no dependency, LibriMix's files are read by soundfile instead of torchaudio.load)")
    peer = rates["torchaudio.datasets.LibriMix"]
    for name, rate in rates.items():
        print(f"  {name:<30} {rate:>8.0f}   {rate / peer:5.1f} x")
    print(f"  at least {TARGET} x is aimed at")
    print(f"Bytes on disk a mixture: packed {share * packed / count:,.0f}, rendered {rendered / count:,.0f} "
          f"(mix_clean, s1, s2): {rendered / (share * packed):.1f} x")  # fmt: skip


if __name__ == "__main__":
    main()
