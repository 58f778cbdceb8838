"""All that a GPU decides, in one folder: `make gpu`. With `--device cpu` it runs at a toy size.

The paper's size by the trainer itself, in 32, 19 and 16 bits, compiled, and with speech mixed on the device; the losses
of 200 steps in each precision side by side; a short training of config/librispeech.yaml's variant, with what it
separates of speakers that it has not heard; what `audioslots cost` then asks for; and the tests that need a GPU.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from crops import made_corpus
from training import peak

from audioslots.config.study import merge
from audioslots.config.variant import Resolved, checked
from audioslots.data.corpora.synthesis import synthesize
from audioslots.data.training.mixing import Mixer
from audioslots.data.training.packing import Speech, pack
from audioslots.profiling.cards import CARDS
from audioslots.profiling.plan import plan, sustained
from audioslots.runtime.code import commit
from audioslots.runtime.files import read_json, write_json, write_text
from audioslots.scoring.metrics import permutation, si_sdr
from audioslots.separation.separate import Separator
from audioslots.training.speech import open_speech
from audioslots.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "results" / "reference" / "gpu"
TESTS = ("tests/training/test_fast_paths.py", "tests/data/test_device_mixing.py")
PRECISIONS = ("32-true", "tf32", "bf16-mixed")
FAST = [  # of the paper's size: precision, torch.compile, mixed on the device
    *((precision, False, False) for precision in PRECISIONS),
    ("bf16-mixed", False, True),
    ("bf16-mixed", True, True),
]
# A model of the paper's parts that a CPU trains a few steps of in seconds.
TOY = {
    "encoder": {"kind": "frames", "width": 32, "layers": 1, "heads": 2, "mlp": 32},
    "decoder": {"width": 8, "layers": 1},
}
MIXTURES, MIXTURE_S = 60, 4.0  # of held-out speakers; or as long as their shortest utterance


class Sizes:
    """How much of everything is run.

    Args:
        toy: seconds on a CPU, to see that it works; nothing that it measures means anything.
        batch: chunks a step at the paper's size.
        steps: of the short training.
    """

    def __init__(self, toy: bool, batch: int, steps: int) -> None:
        self.toy = toy
        self.batch, self.timed, self.compared, self.steps = (4, 40, 20, 20) if toy else (batch, 80, 200, steps)
        self.mixtures = 4 if toy else MIXTURES


def resolved(packed: Path, rate: int, delta: dict[str, Any]) -> Resolved:
    """A variant for the trainer: the defaults of audioslots/config/variant.py, but for ``delta``."""
    document: dict[str, Any] = {
        **{"name": "gpu", "benchmark": "gpu", "seed": 0, "rate": rate, "sources": 2},
        **{"train": str(packed), "validation": None, "held_out_speakers": 4, "data_identity": "made"},
    }
    return checked(Resolved, merge(document, delta), "perf/gpu.py")


def paper_size(packed: Path, sizes: Sizes, precision: str, compiled: bool) -> Resolved:
    """The paper's size: the defaults, with the learning rate warmed up at once."""
    steps = sizes.timed
    training = {"steps": steps, "batch": sizes.batch, "precision": precision, "compile": compiled, "warmup": 10}
    training |= {"validate_every": steps, "checkpoint_every": steps, "validation_mixtures": 2}
    return resolved(packed, 16_000, (TOY if sizes.toy else {}) | {"training": training})


def tests(sizes: Sizes, device: str) -> dict[str, Any]:
    """The tests of the fast paths: which passed, which were left out and why."""
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *TESTS]
    if sizes.toy:
        command += ["-k", "mixing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    return {"command": shlex.join(command[1:]), "passed": done.returncode == 0, "said": " ".join(lines[-12:])}


def timed(config: Resolved, out: Path, device: str, on_device: bool) -> dict[str, Any]:
    """Train, and read what the run folder says: medians of the second half of the steps, when all is compiled."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    Trainer(config, out, device, mix_on_device=on_device).train()
    took = time.perf_counter() - started
    system, table = read_json(out / "system.json"), pd.read_csv(out / "history.csv")
    table = table[table["step"] > config.training.steps / 2]
    rate = float(table["audio_seconds_per_second"].median())
    step_s = config.training.batch * config.chunk_s / rate
    # Forward and backward are three times the forward's work.
    operations = 3 * 2 * system["macs_per_second"] * config.chunk_s * config.training.batch
    return {
        "precision": config.training.precision,
        "compile": config.training.compile,
        "mixed_on_device": on_device,
        "audio_seconds_per_second": round(rate, 1),
        "step_ms": round(1e3 * step_s, 2),
        "operations_per_second": operations / step_s,
        "data_wait_share": round(float(table["data_wait_share"].mean()), 4),
        "peak_memory_gib": round(system["peak_memory_bytes"] / 2**30, 2),
        "wall_s": round(took, 1),
    }


def speed(sizes: Sizes, device: str, root: Path) -> list[dict[str, Any]]:
    """The paper's size: a row a way of ``FAST``, with the share of the rate of a large matrix product in bfloat16."""
    made_corpus(root / "noise")
    pack(root / "noise", "train-clean-100", root / "noise16", 16_000)
    rows = []
    for number, (precision, compiled, on_device) in enumerate(FAST):
        if compiled and device == "cpu":
            continue  # minutes of a C compiler's work
        config = paper_size(root / "noise16", sizes, precision, compiled)
        rows.append(timed(config, root / f"speed{number}", device, on_device))
    if device == "cuda":
        product = peak("cuda", torch.bfloat16)
        card = next((card for card in CARDS.values() if card.title in torch.cuda.get_device_name()), None)
        sheet = 1e12 * card.tflops["bf16-mixed"] if card else None
        for row in rows:
            row["share_of_matrix_product"] = round(row["operations_per_second"] / product, 4)
            row["share_of_data_sheet"] = round(row["operations_per_second"] / sheet, 4) if sheet else None
    return rows


def librispeech(packed: Path, sizes: Sizes, delta: dict[str, Any]) -> Resolved:
    """The variant of config/librispeech.yaml, at the rate of the speech."""
    speech = Speech.open(packed)
    variant = merge(yaml.safe_load((ROOT / "config" / "librispeech.yaml").read_text())["variant"], {"training": delta})
    held_out = max(2, min(24, len(speech.speakers) // 3))
    if sizes.toy:
        variant = merge(variant, {"training": {"batch": 4, "validation_mixtures": 4}})
    variant = merge(variant, {"separation": {"reconstruction": "ratio"}, "held_out_speakers": held_out})
    return resolved(packed, speech.rate, variant)


def compared(sizes: Sizes, device: str, packed: Path, root: Path) -> list[dict[str, Any]]:
    """The same steps in each precision: how far losses and what is validated part from 32 bits."""
    rows: list[dict[str, Any]] = []
    losses: dict[str, np.ndarray] = {}
    for precision in PRECISIONS:
        steps = sizes.compared
        config = librispeech(
            packed, sizes, {"steps": steps, "precision": precision, "validate_every": steps, "curriculum": 0.0}
        )
        Trainer(config, root / precision, device).train()
        table = pd.read_csv(root / precision / "history.csv")
        losses[precision] = table["loss"].to_numpy()
        away = np.abs(losses[precision] / losses["32-true"] - 1)
        rows.append(
            {
                "precision": precision,
                "last_loss": float(losses[precision][-1]),
                "largest_difference_of_loss": float(away.max()),
                "validation_ratio_si_sdri_db": float(table["validation_ratio_si_sdri_db"].iloc[-1]),
            }
        )
    return rows


def trained(sizes: Sizes, device: str, packed: Path, out: Path) -> dict[str, Any]:
    """A short training in bfloat16, and the SI-SDR improvement, dB, of mixtures of speakers that it has not heard."""
    every = max(1, sizes.steps // 4)
    config = librispeech(packed, sizes, {"steps": sizes.steps, "precision": "bf16-mixed", "validate_every": every})
    Trainer(config, out, device).train()
    system = read_json(out / "system.json")
    separator = Separator.load(out, device)
    _, held_out = open_speech(config)
    length = min(round(MIXTURE_S * config.rate), int(held_out.index["length"].min()))
    drawn = Mixer(held_out, 2, length, seed=1).batch(0, sizes.mixtures)
    scores: dict[str, list[float]] = {"blind": [], "oracle": []}
    started = time.perf_counter()
    for sources in drawn:
        mixture = sources.sum(axis=0)
        for order, estimates in separator.by_stitching(mixture, sources).items():
            pairs = zip(permutation(estimates, sources), sources, strict=True)
            gains = [si_sdr(estimates[slot], source) - si_sdr(mixture, source) for slot, source in pairs]
            scores[order].append(float(np.mean(gains)))
    took = time.perf_counter() - started
    return {
        "steps": sizes.steps,
        "wall_s": system["wall_s"],
        "audio_s": system["audio_s"],
        "mixtures": sizes.mixtures,
        "separated_seconds_per_second": round(drawn.shape[0] * length / config.rate / took, 1),
        **{f"{order}_si_sdri_db": round(float(np.mean(values)), 2) for order, values in scores.items()},
    }


def planned(sizes: Sizes, device: str) -> dict[str, Any]:
    """What config/libri2mix.yaml asks for at the rate that is measured here."""
    benchmark = ROOT / "config" / ("smoke.yaml" if sizes.toy else "libri2mix.yaml")
    rate = sustained(benchmark, sizes.batch, device)
    return {
        "benchmark": benchmark.name,
        "tera_macs_per_second": round(float(rate), 3),
        "total": plan(benchmark, rate).total,
    }


def lines(rows: list[dict[str, Any]]) -> str:
    """A table of Markdown."""
    table = pd.DataFrame(rows)
    written = [list(table), ["---:"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in written) + "\n"


def page(found: dict[str, Any]) -> str:
    """README.md of the folder, of the parts that have run."""
    text = f"# What a GPU decides\n\n{found['device']}, torch {torch.__version__}, Python {platform.python_version()}, "
    text += f"commit {found['commit']}. Made by `{found['command']}` in {found['wall_s']:.0f} s.\n"
    if found["toy"]:
        text += "\nA toy size, to see that the script works: its numbers mean nothing.\n"
    for title, content in found["parts"].items():
        text += f"\n## {title}\n\n"
        text += lines(content if isinstance(content, list) else [content])
    return text


def main() -> None:
    """Measure, print and write; what has run is kept when a later part fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--batch", type=int, default=64, help="chunks a step at the paper's size")
    parser.add_argument("--steps", type=int, default=4000, help="of the short training")
    parser.add_argument("--speech", type=Path, help="packed speech at 8 kHz; synthesized where none is given")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print("make gpu: there is no GPU here, so nothing is measured or written; --device cpu runs a toy size")
        return
    sizes = Sizes(given.device == "cpu", given.batch, given.steps)
    device = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    command = shlex.join(["python", "perf/gpu.py", *sys.argv[1:]])
    found: dict[str, Any] = {"device": device, "commit": commit(), "command": command, "toy": sizes.toy, "parts": {}}
    failed = []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        packed = given.speech
        if packed is None:
            synthesize(root / "synthesized", 24, 0.05 if sizes.toy else 1.0, 0, 2)
            pack(root / "synthesized", "train-clean", packed := root / "packed", 8_000)
        parts: dict[str, Callable[[], Any]] = {
            "Speed at the paper's size": lambda: speed(sizes, given.device, root),
            "The same steps in three precisions": lambda: compared(sizes, given.device, packed, root / "compared"),
            "A short training": lambda: trained(sizes, given.device, packed, root / "trained"),
            "The plan at this rate": lambda: planned(sizes, given.device),
            "Tests": lambda: tests(sizes, given.device),
        }
        for title, part in parts.items():
            started = time.perf_counter()
            try:
                found["parts"][title] = part()
            except Exception as error:  # the others are worth having all the same
                failed.append(title)
                found["parts"][title] = {"failed": f"{type(error).__name__}: {error}"}
            found["wall_s"] = round(time.perf_counter() - began, 1)
            print(f"{title} ({time.perf_counter() - started:.0f} s): {found['parts'][title]}", flush=True)
            write_json(given.out / "gpu.json", found)
            write_text(given.out / "README.md", page(found))
    if failed:
        sys.exit(f"make gpu: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
