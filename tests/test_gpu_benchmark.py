"""The benchmark on a GPU: nothing is claimed where there is none, and it works the first time that there is one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[1] / "perf" / "gpu.py"


def run(*arguments: str) -> str:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    assert "there is no GPU here, so nothing is measured" in run("--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_at_a_toy_size_all_of_it_runs_on_a_cpu(tmp_path: Path) -> None:
    run("--device", "cpu", "--out", str(tmp_path))
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert "these numbers mean nothing" in results["device"] and results["cost"]["tera_macs_per_second"] > 0
    assert set(results["speed"]) == set(results["losses"]) == {"32-true", "tf32", "bf16-mixed"}
    assert results["losses"]["tf32"]["largest_difference"] == 0  # a CPU does not round
    assert 0 < results["losses"]["bf16-mixed"]["largest_difference"] < 0.02
