"""Training speed, AudioSlots against torchaudio's Conv-TasNet in the same run, by the trainer itself.

All train on the same synthesized speech at 8 kHz, on chunks of 0.5 s, by negative SI-SDR in fp32.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml

from audioslots.config.study import merge
from audioslots.config.variant import Resolved
from audioslots.data.corpora.synthesis import synthesize
from audioslots.data.training.packing import pack
from audioslots.runtime.files import read_json
from audioslots.training.trainer import Machine, Trainer

CONFIG = Path(__file__).resolve().parents[1] / "config"
PEER = "Conv-TasNet, published size"
SMALL = {"filters": 128, "features": 64, "hidden": 128, "layers": 6, "stacks": 2}
SYSTEMS: dict[str, dict[str, Any]] = {
    "AudioSlots, mini": yaml.safe_load((CONFIG / "mini.yaml").read_text())["variant"]["model"],
    "Conv-TasNet, small": {"kind": "conv_tasnet", **SMALL},
    PEER: {"kind": "conv_tasnet"},
}


def packed_speech(root: Path, rate: int, hours: float = 0.1) -> Path:
    """Packed training speech of a synthesized corpus, which is made on the first call."""
    synthesize(root / "corpus", 24, hours, 0, 2)
    pack(root / "corpus", "train-clean", root / f"packed{rate}", rate)
    return root / f"packed{rate}"


def resolved(packed: Path, rate: int, variant: dict[str, Any]) -> Resolved:
    """A variant that trains on packed speech, validated once, at its last step."""
    steps = variant["training"]["steps"]
    once = {"validate_every": steps, "checkpoint_every": steps}
    made: dict[str, Any] = {"name": "perf", "benchmark": "perf", "seed": 0, "rate": rate, "sources": 2}
    made |= {"train": str(packed), "validation": None, "held_out_speakers": 4, "data_identity": "perf"}
    return Resolved.of(merge(variant, made | {"training": once}), "perf")


def measure(config: Resolved, out: Path, device: str) -> dict[str, Any]:
    """Train, and read from the run folder what it cost: medians of the second half of the steps."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    Trainer(config, out, Machine(accelerator=device)).train()
    system, history = read_json(out / "system.json"), pd.read_csv(out / "history.csv")
    late = history[history["step"] > config.training.steps / 2]
    rate = float(late["audio_seconds_per_second"].median())
    return {
        "audio_seconds_per_second": rate,
        "tera_flops_per_second": 6e-12 * system["macs_per_second"] * rate,  # the backward pass is twice the forward's
        "data_wait_share": float(late["data_wait_share"].median()),
        "peak_memory_gib": round(system["peak_memory_bytes"] / 2**30, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=8, help="chunks per step")
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    training = {"loss": "si_sdr", "batch": given.batch, "steps": given.steps}
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        packed = packed_speech(Path(folder), 8_000)
        for name, model in SYSTEMS.items():
            variant = {"model": model, "training": training, "separation": {"reconstruction": "direct"}}
            rows[name] = measure(resolved(packed, 8_000, variant), Path(folder) / name, given.device)
    print(f"Training, {given.batch} chunks of 0.5 s per step, {given.device}, {torch.get_num_threads()} threads")
    for name, row in rows.items():
        rate = row["audio_seconds_per_second"]
        faster = rate / rows[PEER]["audio_seconds_per_second"]
        print(f"  {name:<28} {rate:8.1f} s/s  {faster:5.1f} x  data wait {row['data_wait_share']:6.2%}")


if __name__ == "__main__":
    main()
