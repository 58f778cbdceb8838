"""Training on a GPU at the paper's size: `make gpu`, which writes results/gpu/gpu.json. `--device cpu` runs a toy size.

Speed in each precision, beside Conv-TasNet and a large matrix product; how far the losses of 200 steps of
config/librispeech.yaml's variant differ between precisions; what config/libri2mix.yaml costs at the rate measured here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from training import CONFIG, measure, packed_speech, resolved

from audioslots.config.study import merge
from audioslots.profiling.cost import Assumptions, estimate_cost, measure_rate
from audioslots.runtime.code import commit
from audioslots.runtime.files import write_json

PRECISIONS = ("32-true", "tf32", "bf16-mixed")
TOY = {"width": 32, "mlp": 32, "encoder": {"kind": "frames", "layers": 1}, "decoder": {"layers": 1, "width": 8}}
CONV_TASNET = {
    "model": {"kind": "conv_tasnet"},
    "separation": {"reconstruction": "direct"},
    "training": {"loss": "si_sdr", "precision": "bf16-mixed"},
}


def matrix_product(size: int = 8192) -> float:
    """Operations per second, in 10^12, of a large matrix product in bf16."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for rounds in (3, 20):  # the first ones warm up
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(rounds):
            a @ b
        torch.cuda.synchronize()
    return 1e-12 * rounds * 2 * size**3 / (time.perf_counter() - began)


def speed(root: Path, device: str, batch: int) -> dict[str, dict[str, Any]]:
    """Training speed at the paper's size, 16 kHz, by precision, and of Conv-TasNet's published size."""
    packed = packed_speech(root, 16_000)
    variants = {precision: {"training": {"precision": precision}} for precision in PRECISIONS}
    if device == "cpu":
        variants = {name: merge(variant, {"model": TOY}) for name, variant in variants.items()}
    else:
        variants["Conv-TasNet, bf16-mixed"] = CONV_TASNET
    rows = {}
    for name, variant in variants.items():
        config = resolved(packed, 16_000, merge(variant, {"training": {"steps": 80, "batch": batch, "warmup": 10}}))
        rows[name] = measure(config, root / name, device)
    if device == "cuda":
        rows["matrix product, bf16"] = {"tera_flops_per_second": matrix_product()}
    return rows


def losses(root: Path, device: str, steps: int) -> dict[str, dict[str, float]]:
    """The same steps in each precision: the largest relative difference of a logged loss from that of fp32."""
    packed = packed_speech(root, 8_000)
    variant = yaml.safe_load((CONFIG / "librispeech.yaml").read_text())["variant"]
    if device == "cpu":
        variant = merge(variant, {"model": TOY | {"decoder": {}}, "training": {"batch": 4}})
    histories = {}
    for precision in PRECISIONS:
        delta = {"precision": precision, "steps": steps, "curriculum": 0.0}
        out = root / f"losses {precision}"
        measure(resolved(packed, 8_000, merge(variant, {"training": delta})), out, device)
        histories[precision] = pd.read_csv(out / "history.csv")
    exact = histories["32-true"]["loss"]
    return {
        precision: {
            "largest_difference": float((history["loss"] / exact - 1).abs().max()),
            "validation_si_sdri_db": float(history["validation_si_sdri_db"].iloc[-1]),
        }
        for precision, history in histories.items()
    }


def cost(device: str, batch: int) -> dict[str, Any]:
    """What a benchmark costs at the rate measured here, as of `audioslots cost --measure`."""
    benchmark = CONFIG / ("smoke.yaml" if device == "cpu" else "libri2mix.yaml")
    rate = measure_rate(benchmark, batch, device)
    summary = estimate_cost(benchmark, assumptions=Assumptions(rate=rate)).summary
    return {"benchmark": benchmark.name, "tera_macs_per_second": rate, "total": summary}


def main() -> None:
    """Measure and print; each part is written as soon as it has run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--batch", type=int, default=64, help="chunks per step at the paper's size")
    parser.add_argument("--out", type=Path, default=CONFIG.parent / "results" / "gpu")
    given = parser.parse_args()
    device, batch = given.device, given.batch if given.device == "cuda" else 4
    if device == "cuda" and not torch.cuda.is_available():
        print("make gpu: there is no GPU here, so nothing is measured or written; --device cpu runs a toy size")
        return
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU, at a toy size: these numbers mean nothing"
    results: dict[str, Any] = {"device": name, "torch": torch.__version__, "commit": commit()}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        parts: dict[str, Callable[[], Any]] = {
            "speed": lambda: speed(root, device, batch),
            "losses": lambda: losses(root, device, 200 if device == "cuda" else 20),
            "cost": lambda: cost(device, batch),
        }
        for part, run in parts.items():
            results[part] = run()
            print(f"{part}: {results[part]}", flush=True)
            write_json(given.out / "gpu.json", results)


if __name__ == "__main__":
    main()
