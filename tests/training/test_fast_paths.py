"""bfloat16 and several devices: on a CPU what can be, and on a GPU where one is at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_run import CPU, resolved

from audioslots.runtime.files import write_json
from audioslots.separation.weights import load_model
from audioslots.training.trainer import Machine, Trainer

ROOT = Path(__file__).resolve().parents[2]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand: this path was not run")


@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize(
    "training",
    [{}, {"precision": "bf16-mixed"}],
    ids=["float32", "bf16"],
)
def test_a_gpu_follows_the_losses_of_a_cpu(packed: Path, tmp_path: Path, training: dict[str, object]) -> None:
    Trainer(resolved(packed), tmp_path / "cpu", CPU).train()
    Trainer(resolved(packed, training), tmp_path / "gpu", Machine("cuda")).train()
    tables = [pd.read_csv(tmp_path / name / "history.csv") for name in ("cpu", "gpu")]
    error = 0.5 if training else 0.05  # dB
    assert tables[1]["loss"].tolist() == pytest.approx(tables[0]["loss"].tolist(), abs=error)
    assert {weight.dtype for weight in load_model(tmp_path / "gpu")[0].parameters()} == {torch.float32}


@needs_gpu
@pytest.mark.slow
def test_a_run_begun_on_a_gpu_goes_on_there_and_on_a_cpu(packed: Path, tmp_path: Path) -> None:
    config = resolved(packed)
    Trainer(config, tmp_path / "gpu", Machine("cuda")).train()
    state = torch.load(tmp_path / "gpu/checkpoint.pt", weights_only=True)
    state["progress"]["step"] = 10
    for device in ("cuda", "cpu"):
        (tmp_path / device).mkdir()
        torch.save(state, tmp_path / device / "checkpoint.pt")
        run = Trainer(config, tmp_path / device, Machine(device))
        run.train()
        assert run.progress.step == 20


@needs_gpu
@pytest.mark.slow
def test_the_data_parallel_path_runs_on_the_gpus_there_are(packed: Path, tmp_path: Path) -> None:
    devices = min(2, torch.cuda.device_count())
    write_json(tmp_path / "config.json", resolved(packed, {"steps": 20}).document())
    command = [sys.executable, "-m", "audioslots.cli", "train", str(tmp_path / "config.json")]
    command += ["--out", str(tmp_path / "run"), "--device", "cuda", "--num-devices", str(devices)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    Trainer(resolved(packed, {"steps": 20}), tmp_path / "alone", Machine("cuda")).train()
    tables = [pd.read_csv(tmp_path / name / "history.csv") for name in ("run", "alone")]
    assert tables[1]["loss"].tolist() == pytest.approx(tables[0]["loss"].tolist(), abs=0.05)
