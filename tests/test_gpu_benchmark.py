"""The benchmark on a GPU: nothing is claimed where there is none, and what it trains is the paper's size."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from audioslots.config import Training, Variant

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
    assert "skipped, there is no GPU here" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_what_is_measured_is_the_defaults_in_bfloat16_at_batch_64(gpu: ModuleType, tmp_path: Path) -> None:
    config = gpu.resolved(tmp_path, 300, 64, False)
    assert config.training.precision == "bf16-mixed"
    for section in ("spectrogram", "encoder", "slots", "decoder", "chunk_s"):
        assert getattr(config, section) == getattr(Variant(), section)
    assert config.training.batch == Training().batch == 64
    assert config.training.loss == Training().loss
