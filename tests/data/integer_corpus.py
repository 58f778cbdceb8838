"""A corpus and noise made of integers alone, whose samples are the same on every machine and with every library."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import soundfile as sf

RATE = 16_000
SPEECH = {"1-1-0000": 30_011, "2-1-0000": 21_000, "3-1-0000": 52_345, "4-1-0000": 40_007}  # samples
# Samples and channels: extended several times, extended within the overlap, extended beyond it, longer than the speech.
NOISE = {"short": (9_001, 2), "middle": (20_500, 2), "late": (45_000, 1), "long": (60_000, 2)}
ROWS = {
    2: [
        ("1-1-0000_2-1-0000", [("1-1-0000", 0.7875413348848695), ("2-1-0000", 1.4352834120507272)], "short", 1.799),
        ("3-1-0000_1-1-0000", [("3-1-0000", 0.3442805985487599), ("1-1-0000", 2.5)], "middle", 0.61237),
        ("4-1-0000_3-1-0000", [("4-1-0000", 1.1), ("3-1-0000", 0.9012345678)], "late", 1.2871),
        ("2-1-0000_4-1-0000", [("2-1-0000", 0.55), ("4-1-0000", 6.2)], "long", 0.33),  # clips
    ],
    3: [
        ("1-1-0000_2-1-0000_3-1-0000", [("1-1-0000", 0.71), ("2-1-0000", 1.3), ("3-1-0000", 0.9)], "middle", 1.7),
        ("4-1-0000_3-1-0000_2-1-0000", [("4-1-0000", 0.61), ("3-1-0000", 0.3), ("2-1-0000", 1.9)], "long", 0.8),
    ],
}


def samples(name: str, count: int) -> np.ndarray:
    """White noise that the name determines: int16 ``[count]``, within an eighth of full scale."""
    return np.frombuffer(hashlib.shake_128(name.encode()).digest(2 * count), dtype="<i2") >> 3


def make(root: Path) -> None:
    """Write ``LibriSpeech/``, ``wham/tt/`` and ``libri<N>mix_test-clean.csv`` for 2 and 3 sources."""
    lines = []
    for name, count in SPEECH.items():
        speaker, chapter, _ = name.split("-")
        lines.append(f"{speaker} | {'FM'[int(speaker) % 2]} | test-clean | 0.1 | Made {speaker}\n")
        folder = root / "LibriSpeech/test-clean" / speaker / chapter
        folder.mkdir(parents=True)
        sf.write(folder / f"{name}.flac", samples(name, count), RATE, subtype="PCM_16")
    (root / "LibriSpeech/SPEAKERS.TXT").write_text("".join(lines), encoding="utf-8")
    (root / "wham/tt").mkdir(parents=True)
    for name, (count, channels) in NOISE.items():
        sf.write(root / f"wham/tt/{name}.wav", samples(name, count * channels).reshape(-1, channels), RATE)
    for sources, rows in ROWS.items():
        columns = [f"source_{i + 1}_{what}" for i in range(sources) for what in ("path", "gain")]
        table = [",".join(["mixture_ID", *columns, "noise_path", "noise_gain"])]
        for mixture, parts, noise, gain in rows:
            cells = [f"test-clean/{name[0]}/1/{name}.flac,{factor}" for name, factor in parts]
            table.append(",".join([mixture, *cells, f"tt/{noise}.wav,{gain}"]))
        (root / f"libri{sources}mix_test-clean.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
