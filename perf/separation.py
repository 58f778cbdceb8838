"""Time and memory of separating long recordings with `audioslots separate`, beside Conv-TasNet's.

Each recording is separated by a process of its own, on one core, from file to files. Time is that of the processor, so
that what else runs does not count; what an empty process takes (Python, torch, the model) is measured first and taken
off. The models are the mini benchmark's, untrained: weights change neither.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from audioslots.config.benchmark import read_benchmark, resolve
from audioslots.separation.separate import Separator
from audioslots.separation.weights import build, save_model

RATE = 8000
CONFIG = Path(__file__).resolve().parents[1] / "config"
BENCHMARK = {
    "base": "mini.yaml",
    "name": "separation",
    "studies": ["audioslots", "conv-tasnet"],
    "without": [],
    "lengths": 1,
}
MODELS = {"audioslots": "AudioSlots, mini", "conv-tasnet": "Conv-TasNet, published size"}
AIM_MIB = 1024


def noise(path: Path, minutes: float) -> None:
    """A recording of two voices' worth of modulated noise."""
    rng = np.random.default_rng(0)
    with sf.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(round(minutes * 6)):
            time_s = np.arange(10 * RATE) / RATE
            file.write(0.1 * rng.standard_normal(len(time_s)) * np.abs(np.sin(3 * time_s)))


def separated(recording: Path, model: Path, out: Path) -> tuple[float, float]:
    """Seconds of processor time, and the most resident memory in MiB, of one process."""
    command = [sys.executable, "-m", "audioslots.cli", "separate", recording, "--model", model, "--out", out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*map(str, command), "--device", "cpu"], env=environment, stdout=subprocess.DEVNULL, text=True
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"separation of {recording} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def live(model: Path, seconds: int = 60) -> str:
    """What separation costs as it comes, a chunk at a time, beside several at once; on one core, by its time."""
    separator = Separator.load(model)
    mixture = torch.from_numpy(0.1 * np.random.default_rng(0).standard_normal(seconds * RATE, np.float32))
    factors = []
    for at_once in (1, None):
        started = time.process_time()
        for _ in separator.stream(mixture.split(80), at_once):
            pass
        factors.append((time.process_time() - started) / seconds)
    delay = 1000 * separator.config.delay / separator.rate
    return (
        f"algorithmic delay {delay:.0f} ms, real-time factor {factors[0]:.3f}; several chunks at once {factors[1]:.3f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 5], help="of recordings")
    parser.add_argument("--peer-minutes", type=float, nargs="*", default=[1], help="of those for Conv-TasNet")
    given = parser.parse_args()
    benchmark = read_benchmark(BENCHMARK, CONFIG / "separation.yaml")
    torch.set_num_threads(1)
    print("Separation of long recordings, 8 kHz, one core, from file to files (processor time, start-up taken off)")
    with tempfile.TemporaryDirectory() as folder:
        place, factors = Path(folder), {}
        sf.write(place / "empty.wav", np.zeros(1), RATE)
        for name, title in MODELS.items():
            config = resolve(benchmark, name, 0)
            save_model(place / f"{name}.safetensors", build(config), config)
            start, _ = separated(place / "empty.wav", place / f"{name}.safetensors", place / "out")
            for minutes in given.minutes if name == "audioslots" else given.peer_minutes:
                noise(place / "long.wav", minutes)
                seconds, memory = separated(place / "long.wav", place / f"{name}.safetensors", place / "out")
                factors[name] = (seconds - start) / (60 * minutes)
                print(
                    f"  {title:<28} {minutes:5g} min  {seconds - start:8.1f} s  real-time factor {factors[name]:6.3f}  "
                    f"{memory:6.0f} MiB",
                    flush=True,
                )
        print(f"  {MODELS['audioslots']}, a chunk at a time: {live(place / 'audioslots.safetensors')}")
    if len(factors) == len(MODELS):
        print(f"  Conv-TasNet takes {factors['conv-tasnet'] / factors['audioslots']:.1f} times as long")
    print(f"  at most {AIM_MIB} MiB, and the same real-time factor at every length, is aimed at")


if __name__ == "__main__":
    main()
