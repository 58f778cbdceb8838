"""The benchmark on a GPU: nothing is claimed where there is none, and what it trains is the paper's size."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from audioslots.config.variant import Training, Variant

PERF = Path(__file__).resolve().parents[1] / "perf"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(PERF)
    import gpu

    return gpu


def test_without_a_gpu_it_says_so_and_writes_nothing(gpu, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "out")])
    gpu.main()
    assert "there is no GPU here, so nothing is measured" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_what_is_measured_is_the_defaults_at_batch_64(gpu: ModuleType, tmp_path: Path) -> None:
    sizes = gpu.Sizes(toy=False, batch=64, steps=100)
    config = gpu.paper_size(tmp_path, sizes, "bf16-mixed", False)
    for section in ("spectrogram", "encoder", "slots", "decoder", "chunk_s"):
        assert getattr(config, section) == getattr(Variant(), section)
    assert config.training.batch == Training().batch == 64
    assert config.training.loss == Training().loss


@pytest.mark.slow
def test_at_a_toy_size_all_of_it_runs_on_a_cpu(gpu: ModuleType, tmp_path: Path, monkeypatch) -> None:
    """So that it works the first time that a GPU is there. The tests it calls are other tests' work."""
    monkeypatch.setattr(gpu, "tests", lambda sizes, device: {"passed": True})
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--out", str(tmp_path / "out")])
    gpu.main()
    found = json.loads((tmp_path / "out/gpu.json").read_text())
    assert found["toy"] and len(found["parts"]) == 5
    precisions = found["parts"]["The same steps in three precisions"]
    assert [row["precision"] for row in precisions] == ["32-true", "tf32", "bf16-mixed"]
    assert precisions[1]["largest_difference_of_loss"] == 0  # a CPU does not round
    assert 0 < precisions[2]["largest_difference_of_loss"] < 0.02
    assert "its numbers mean nothing" in (tmp_path / "out/README.md").read_text()


def test_a_part_that_fails_is_named_and_the_others_are_kept(gpu: ModuleType, tmp_path: Path, monkeypatch) -> None:
    for part in ("speed", "compared", "trained", "planned"):
        monkeypatch.setattr(gpu, part, lambda *arguments: [{"value": 1}])
    monkeypatch.setattr(gpu, "tests", lambda *arguments: 1 / 0)
    arguments = ["--device", "cpu", "--out", str(tmp_path), "--speech", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments])
    with pytest.raises(SystemExit, match="failed: Tests"):
        gpu.main()
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert "ZeroDivisionError" in parts["Tests"]["failed"]
    assert parts["A short training"] == [{"value": 1}]
