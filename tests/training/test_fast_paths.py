"""bfloat16, torch.compile and several devices: on a CPU what can be, and on a GPU where one is at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_run import resolved

from audioslots.separation.weights import load_model
from audioslots.runtime.files import write_json
from audioslots.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand: this path was not run")


@pytest.mark.slow
@pytest.mark.parametrize(
    "training", [{}, {"precision": "bf16-mixed", "ema": 0.9}], ids=["float32", "averaged weights, bf16"]
)
def test_a_compiled_model_follows_the_same_losses_and_keeps_the_same_names(
    training: dict[str, object], packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced and differentiated as for a GPU; the machine code, minutes of work on a CPU, is left out."""
    whole = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda part: whole(part, backend="aot_eager"))
    for name, compiled in (("plain", False), ("compiled", True)):
        run = Trainer(resolved(packed, {**training, "compile": compiled}), tmp_path / name, "cpu")
        run.train()
        assert all((part._compiled_call_impl is not None) == compiled for part in run.parts.values())
    tables = [pd.read_csv(tmp_path / name / "history.csv") for name in ("plain", "compiled")]
    error = 0.2 if training else 1e-3  # dB
    assert tables[0]["loss"].tolist() == pytest.approx(tables[1]["loss"].tolist(), abs=error)
    plain, compiled = (load_model(tmp_path / name)[0].state_dict() for name in ("plain", "compiled"))
    assert plain.keys() == compiled.keys()


@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize(
    "training",
    [{}, {"precision": "bf16-mixed"}, {"compile": True}, {"precision": "bf16-mixed", "compile": True, "ema": 0.9}],
    ids=["float32", "bf16", "compile", "bf16 and compile"],
)
def test_a_gpu_follows_the_losses_of_a_cpu(packed: Path, tmp_path: Path, training: dict[str, object]) -> None:
    Trainer(resolved(packed), tmp_path / "cpu", "cpu").train()
    Trainer(resolved(packed, training), tmp_path / "gpu", "cuda").train()
    tables = [pd.read_csv(tmp_path / name / "history.csv") for name in ("cpu", "gpu")]
    error = 0.5 if training else 0.05  # dB
    assert tables[1]["loss"].tolist() == pytest.approx(tables[0]["loss"].tolist(), abs=error)
    assert {weight.dtype for weight in load_model(tmp_path / "gpu")[0].parameters()} == {torch.float32}


@needs_gpu
@pytest.mark.slow
def test_a_run_begun_on_a_gpu_goes_on_there_and_on_a_cpu(packed: Path, tmp_path: Path) -> None:
    config = resolved(packed, {"ema": 0.9})
    Trainer(config, tmp_path / "gpu", "cuda").train()
    state = torch.load(tmp_path / "gpu/checkpoint.pt", weights_only=True)
    state["progress"]["step"] = 10
    for device in ("cuda", "cpu"):
        (tmp_path / device).mkdir()
        torch.save(state, tmp_path / device / "checkpoint.pt")
        run = Trainer(config, tmp_path / device, device)
        run.train()
        assert run.progress.step == 20


@needs_gpu
@pytest.mark.slow
def test_the_data_parallel_path_runs_on_the_gpus_there_are(packed: Path, tmp_path: Path) -> None:
    """With one GPU the gradients are exchanged with nobody, but by the same calls."""
    devices = 2 if torch.cuda.device_count() > 1 else 1
    write_json(tmp_path / "config.json", resolved(packed, {"steps": 20}).document())
    command = [sys.executable, "-m", "audioslots.cli", "train", str(tmp_path / "config.json")]
    command += ["--out", str(tmp_path / "run"), "--device", "cuda", "--devices", str(devices), "--strategy", "ddp"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    Trainer(resolved(packed, {"steps": 20}), tmp_path / "alone", "cuda").train()
    tables = [pd.read_csv(tmp_path / name / "history.csv") for name in ("run", "alone")]
    assert tables[1]["loss"].tolist() == pytest.approx(tables[0]["loss"].tolist(), abs=0.05)
