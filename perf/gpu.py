"""The paper's size on a GPU: bfloat16, batches of 64, by the trainer itself. Writes results/reference/training.

Throughput, share of time waiting for data, peak memory, and the share of peak arithmetic: of the GPU's data sheet where
it is known, and of a large matrix product in the same run. Without a GPU it says so and writes nothing.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from crops import made_corpus
from training import peak

from audioslots.config import Resolved, checked
from audioslots.data.packing import pack
from audioslots.files import read_json, write_json, write_text
from audioslots.training.trainer import Trainer

OUT = Path(__file__).resolve().parents[1] / "results" / "reference" / "training"
RATE = 16_000
UNCOUNTED = 100  # steps at the beginning: kernels are chosen and compiled
DATA_SHEET = {"H200": 989e12, "H100": 989e12, "A100": 312e12}  # dense bfloat16, operations a second
COLUMNS = {
    "compile": "torch.compile",
    "audio_seconds_per_second": "audio, s/s",
    "step_ms": "step, ms",
    "data_wait_share": "data wait",
    "peak_memory_gb": "memory, GB",
    "share_of_matrix_product": "of a matrix product's rate",
    "share_of_data_sheet": "of the data sheet's peak",
}


def resolved(packed: Path, steps: int, batch: int, compiled: bool) -> Resolved:
    """The defaults of audioslots/config.py, in bfloat16."""
    training = {"steps": steps, "batch": batch, "precision": "bf16-mixed", "compile": compiled, "warmup": 10}
    document: dict[str, Any] = {
        "training": training | {"validate_every": steps, "checkpoint_every": steps},
        **{"name": "paper-size", "benchmark": "gpu", "seed": 0, "rate": RATE, "sources": 2},
        **{"train": str(packed), "validation": None, "held_out_speakers": 4, "data_identity": "made"},
    }
    return checked(Resolved, document, "perf/gpu.py")


def measured(config: Resolved, out: Path) -> dict[str, Any]:
    """Train, and read what the run folder says."""
    torch.cuda.reset_peak_memory_stats()
    Trainer(config, out, "cuda").train()
    system, table = read_json(out / "system.json"), pd.read_csv(out / "history.csv")
    table = table[table["step"] > UNCOUNTED]
    rate = float(table["audio_seconds_per_second"].median())
    step_s = config.training.batch * config.chunk_s / rate
    # Forward and backward are three times the forward's work.
    operations = 3 * 2 * system["macs_per_second"] * config.chunk_s * config.training.batch
    fastest = next((rate for name, rate in DATA_SHEET.items() if name in system["device"]), None)
    return {
        "compile": config.training.compile,
        "audio_seconds_per_second": rate,
        "step_ms": round(1e3 * step_s, 2),
        "data_wait_share": float(table["data_wait_share"].mean()),
        "peak_memory_gb": round(system["peak_memory_bytes"] / 1e9, 2),
        "share_of_matrix_product": round(operations / step_s / peak("cuda", torch.bfloat16), 4),
        "share_of_data_sheet": round(operations / step_s / fastest, 4) if fastest else None,
        "parameters": system["parameters"],
        "device": system["device"],
        "commit": system["commit"],
        "versions": system["versions"],
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=300, help=f"more than {UNCOUNTED}")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("The paper's size on a GPU: skipped, there is no GPU here; nothing was measured and nothing is written")
        return
    if given.steps <= UNCOUNTED:
        parser.error(f"--steps {given.steps}: expected more than {UNCOUNTED}")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        made_corpus(root / "speech")
        pack(root / "speech", "train-clean-100", root / "packed", RATE)
        rows = [
            measured(resolved(root / "packed", given.steps, given.batch, compiled), root / f"run-{compiled}")
            for compiled in (False, True)
        ]
    command = shlex.join(["python", "perf/gpu.py", *sys.argv[1:]])
    table = pd.DataFrame(rows)[list(COLUMNS)].rename(columns=COLUMNS)
    text = (
        f"# Training at the paper's size\n\n{rows[0]['device']}, bfloat16, batches of {given.batch} chunks of 0.5 s at "
        f"16 kHz, {rows[0]['parameters'] / 1e6:.1f} M parameters, commit {rows[0]['commit']}, medians after step "
        f"{UNCOUNTED} of {given.steps}. Made by `{command}`.\n\n"
    )
    lines = [list(table), ["---:"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    text += "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
    print(text)
    write_json(given.out / "gpu.json", {"command": command, "batch": given.batch, "runs": rows})
    write_text(given.out / "README.md", text)


if __name__ == "__main__":
    main()
