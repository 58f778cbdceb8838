"""Which weights a run leaves: averaged or not, of the last step or of the best validation."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_run import resolved
from torch import Tensor

from audioslots.separation.weights import load_model
from audioslots.training.trainer import Trainer


def weights(path: Path) -> dict[str, Tensor]:
    return load_model(path)[0].state_dict()


def test_the_average_is_what_is_validated_and_kept_and_training_is_the_same_without(packed, tmp_path, monkeypatch):
    followed: dict[str, Tensor] = {}
    step = Trainer._step

    def follow(self: Trainer, sources: Tensor) -> float:
        rate = step(self, sources)
        for name, weight in self.model.module.state_dict().items():
            followed[name] = weight.clone() if name not in followed else 0.9 * followed[name] + 0.1 * weight
        return rate

    Trainer(resolved(packed), tmp_path / "plain", "cpu").train()
    with monkeypatch.context() as watched:
        watched.setattr(Trainer, "_step", follow)
        run = Trainer(resolved(packed, {"ema": 0.9}), tmp_path / "averaged", "cpu")
        run.train()
    torch.testing.assert_close(weights(tmp_path / "averaged"), followed)
    torch.testing.assert_close(run.model.module.state_dict(), weights(tmp_path / "plain"), atol=0, rtol=0)
    tables = [pd.read_csv(tmp_path / name / "history.csv") for name in ("plain", "averaged")]
    assert tables[0]["loss"].tolist() == tables[1]["loss"].tolist()
    assert tables[0]["validation_si_sdri_db"].tolist() != tables[1]["validation_si_sdri_db"].tolist()
    validated = Trainer(resolved(packed), tmp_path / "other", "cpu")
    validated.model.module.load_state_dict(followed)
    assert validated.validate()["validation_si_sdri_db"] == pytest.approx(
        tables[1]["validation_si_sdri_db"].iloc[-1], abs=1e-4
    )


@pytest.mark.parametrize(("keep", "other"), [("last", "best"), ("best", "last")])
def test_the_last_and_the_best_weights_are_both_kept_and_a_key_says_which_are_the_model(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str, other: str
) -> None:
    seen: dict[str, dict[str, Tensor]] = {}
    scores = {"5": 1.0, "10": 3.0, "15": float("nan"), "20": 2.0}

    def validate(self: Trainer) -> dict[str, float]:
        name = {"10": "best", "20": "last"}.get(str(self.progress.step), "")
        seen[name] = {key: weight.clone() for key, weight in self.model.module.state_dict().items()}
        return {"validation_si_sdri_db": scores[str(self.progress.step)], "occupied_slots": 2.0}

    monkeypatch.setattr(Trainer, "validate", validate)
    config = resolved(packed, {"keep": keep})
    Trainer(config, tmp_path / "run", "cpu").train()
    torch.testing.assert_close(weights(tmp_path / "run"), seen[keep], atol=0, rtol=0)
    torch.testing.assert_close(weights(tmp_path / f"run/{other}.safetensors"), seen[other], atol=0, rtol=0)
    assert not (tmp_path / f"run/{keep}.safetensors").exists()

    (tmp_path / "again").mkdir()  # the best weights of long ago come with the checkpoint
    shutil.copy(tmp_path / "run/checkpoint.pt", tmp_path / "again")
    Trainer(config, tmp_path / "again", "cpu").train()
    for name in ("model.safetensors", f"{other}.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
