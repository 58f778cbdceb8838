"""Speed of data: training items a second against torchaudio's LibriMix, and rendering against LibriMix's own script.

A training item is two sources and their mixture, 0.5 s at 16 kHz, by one core. Rendering is compared where a clone of
LibriMix, LibriSpeech and a metadata CSV are given, by the environment (AUDIOSLOTS_LIBRIMIX, AUDIOSLOTS_LIBRISPEECH,
AUDIOSLOTS_METADATA): white noise then stands in for WHAM's. Medians of three, taken in turns.
"""

from __future__ import annotations

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
import soundfile
import torch
import torchaudio

from audioslots.data.librimix.metadata import draw, read_metadata, select, source_count, write_metadata
from audioslots.data.librimix.rendering import render
from audioslots.data.training.mixing import Mixer
from audioslots.data.training.packing import Speech, pack
from audioslots.data.training.static import StaticMixer

RATE, CHUNK, BATCH = 16_000, 8_000, 64
SPEAKERS, UTTERANCES = 12, 10
MEAN_S = 12.3  # LibriSpeech's mean utterance in train-clean-100
CORES = os.cpu_count() or 1


def write_corpus(root: Path) -> None:
    """Noise with pauses in LibriSpeech's layout, as long as LibriSpeech's utterances are."""
    rng = np.random.default_rng(0)
    lines = []
    for speaker in range(SPEAKERS):
        folder = root / "train-clean-100" / str(speaker) / "1"
        folder.mkdir(parents=True)
        lines.append(f"{speaker} | {'FM'[speaker % 2]} | train-clean-100 | 1 | Noise\n")
        for utterance in range(UTTERANCES):
            noise = 0.05 * rng.standard_normal(int(RATE * rng.uniform(MEAN_S - 4, MEAN_S + 4)))
            for start in rng.integers(len(noise), size=4):
                noise[start : start + RATE // 2] *= 0.01
            soundfile.write(folder / f"{speaker}-1-{utterance:04d}.flac", noise, RATE, subtype="PCM_16")
    (root / "SPEAKERS.TXT").write_text("".join(lines))


def median_seconds(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median wall time of each, taken in turns, so that a slow spell of the machine meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(3):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def load(path: str | os.PathLike[str]) -> tuple[torch.Tensor, int]:
    """Stand in for torchaudio.load, which needs torchcodec."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T), rate


def time_items(root: Path) -> None:
    """Print training items a second, and the bytes that a mixture takes on disk."""
    torch.set_num_threads(1)
    torchaudio.load = load
    write_corpus(root / "speech")
    pack(root / "speech", "train-clean-100", root / "packed", RATE)
    count = SPEAKERS * (UTTERANCES // 2 - 1)
    write_metadata(draw(root / "speech", "train-clean-100", 2, count, 0), root / "metadata.csv")
    render(root / "metadata.csv", root / "speech", root / "rendered", RATE, "min")
    peer = torchaudio.datasets.LibriMix(root / "rendered", "train-100", 2, RATE, "sep_clean", "min")
    speech, rng = Speech.open(root / "packed"), np.random.default_rng(0)
    dynamic, static = Mixer(speech, 2, CHUNK, 0), StaticMixer(speech, 2, CHUNK, 0, size=BATCH)

    def crop_rendered() -> None:
        for _ in range(BATCH):
            _, mixture, sources = peer[int(rng.integers(len(peer)))]
            start = int(rng.integers(mixture.shape[-1] - CHUNK + 1))
            torch.stack([signal[0, start : start + CHUNK] for signal in (mixture, *sources)])

    works = {
        "torchaudio.datasets.LibriMix": crop_rendered,
        "packed speech, dynamic mixing": lambda: [dynamic.batch(step, BATCH) for step in range(10)],
        "packed speech, static mixing": lambda: [static.batch(step, BATCH) for step in range(10)],
    }
    seconds = median_seconds(works)
    base, *others = ((name, BATCH * (1 if name.startswith("torch") else 10) / wall) for name, wall in seconds.items())
    print(f"Training items a second\n  {base[0]:<30} {base[1]:>8.0f}")
    for name, rate in others:
        print(f"  {name:<30} {rate:>8.0f}   {rate / base[1]:5.1f} x")
    size = {name: sum(file.stat().st_size for file in (root / name).rglob("*.*")) for name in ("packed", "rendered")}
    print(f"  bytes on disk a mixture: packed {size['packed'] / len(speech.index) * 2:,.0f}, "
          f"rendered {size['rendered'] / count:,.0f}")  # fmt: skip


def time_rendering(librimix: Path, librispeech: Path, metadata: Path, root: Path) -> None:
    """Print the time of LibriMix's script and of ours, both on all cores, and how many of their files are equal."""
    rows = select(read_metadata(metadata), librispeech)
    table = root / "metadata" / f"libri{source_count(rows)}mix_{str(rows['source_1_path'][0]).split('/')[0]}.csv"
    write_metadata(rows, table)
    noise = 0.05 * np.random.default_rng(0).standard_normal((10 * RATE, 2))
    for name in rows["noise_path"].unique():
        (root / "wham" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / "wham" / name, noise, RATE)
    script = [librimix / "scripts/create_librimix_from_metadata.py", "--librispeech_dir", librispeech]
    script += ["--wham_dir", root / "wham", "--metadata_dir", table.parent, "--n_src", source_count(rows)]
    script += ["--freqs", "8k", "--modes", "min", "--types", "mix_clean", "mix_both", "--librimix_outdir"]
    ours = ["-m", "audioslots.cli", "mixtures", "render", table, "--librispeech", librispeech, "--rate", 8000]
    ours += ["--jobs", CORES, "--types", "mix_clean,mix_both", "--wham", root / "wham", "--out"]

    def run(out: Path, command: list[object]) -> None:
        shutil.rmtree(out, ignore_errors=True)
        subprocess.run([sys.executable, *map(str, command), str(out)], check=True, capture_output=True)

    commands = {"theirs": script, "ours": ours}
    seconds = median_seconds({name: lambda n=name, c=command: run(root / n, c) for name, command in commands.items()})
    files = [file.relative_to(root / "theirs") for file in (root / "theirs").rglob("*.wav")]
    equal = sum((root / "theirs" / file).read_bytes() == (root / "ours" / file).read_bytes() for file in files)
    print(f"Rendering {len(rows)} mixtures, mix_clean and mix_both, 8 kHz, min, {CORES} cores")
    print(f"  LibriMix's script {seconds['theirs']:.1f} s, ours {seconds['ours']:.1f} s; "
          f"{equal} of {len(files)} files are equal")  # fmt: skip


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        time_items(Path(folder) / "items")
        paths = [os.environ.get(f"AUDIOSLOTS_{name}") for name in ("LIBRIMIX", "LIBRISPEECH", "METADATA")]
        if all(paths):
            time_rendering(*(Path(str(path)) for path in paths), Path(folder) / "rendering")


if __name__ == "__main__":
    main()
