"""Time and memory of `audioslots separate` on long recordings, AudioSlots beside Conv-TasNet in the same run.

Each recording is separated by a process of its own on one core, from file to files. Time is processor time, less that
of an empty recording. The models have the sizes of the mini benchmark and random weights, which change neither.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile as sf

from audioslots.config.benchmark import read_benchmark, resolve
from audioslots.separation.weights import build, save_model

RATE = 8000
CONFIG = Path(__file__).resolve().parents[1] / "config"
MODELS = {"audioslots": "AudioSlots, mini", "conv-tasnet": "Conv-TasNet, published size"}
BENCHMARK = {"base": "mini.yaml", "name": "separation", "studies": list(MODELS), "without": [], "lengths": 1}


def separate(recording: Path, model: Path, out: Path) -> tuple[float, float]:
    """Processor time (s) and peak resident memory (MiB) of one process."""
    files = [recording, "--model", model, "--out", out, "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "audioslots.cli", "separate", *map(str, files)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"separation of {recording} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 5], help="lengths of recordings")
    minutes = parser.parse_args().minutes
    benchmark = read_benchmark(BENCHMARK, CONFIG / "separation.yaml")
    rng = np.random.default_rng(0)
    print("Separation at 8 kHz on one core, from file to files")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for length in [0, *minutes]:
            sf.write(place / f"{length}.wav", 0.1 * rng.standard_normal(round(length * 60 * RATE) or 1), RATE)
        for name, title in MODELS.items():
            config, model = resolve(benchmark, name, 0), place / f"{name}.safetensors"
            save_model(model, build(config), config)
            start, _ = separate(place / "0.wav", model, place / "out")
            for length in minutes:
                seconds, memory = separate(place / f"{length}.wav", model, place / "out")
                factor = (seconds - start) / (60 * length)
                print(f"  {title:<28} {length:5g} min  real-time factor {factor:6.3f}  {memory:6.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
