"""What goes wrong on a long run: numbers that are not finite, a full disk, another trainer, a machine left behind."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny_run import CPU, history, resolved, same
from torch import Tensor

from audioslots.runtime.errors import InputError
from audioslots.runtime.stage import Stage
from audioslots.separation.weights import load_model
from audioslots.training import checkpoint, trainer
from audioslots.training.trainer import Trainer, train


def spoilt(monkeypatch: pytest.MonkeyPatch, steps: dict[int, float]) -> None:
    """Multiply the sources of some steps."""
    original = Trainer._step

    def spoil(self: Trainer, sources: Tensor) -> float:
        return original(self, sources * steps.get(self.progress.step, 1.0))

    monkeypatch.setattr(Trainer, "_step", spoil)


def gradients_spoilt(run: Trainer, step: int) -> None:
    """Let the gradient of one step, and not its loss, be infinite."""
    weight = next(run.model.parameters())
    weight.register_hook(lambda gradient: gradient + torch.inf if run.progress.step == step else gradient)


def test_a_step_whose_loss_is_not_finite_is_left_out_counted_and_written_down(packed, tmp_path, monkeypatch) -> None:
    spoilt(monkeypatch, {7: torch.nan, 8: torch.inf})
    run = Trainer(resolved(packed), tmp_path, CPU)
    weights: dict[int, list[Tensor]] = {}
    step = run._step

    def watched(sources: Tensor) -> float:
        weights[run.progress.step] = [weight.detach().clone() for weight in run.model.parameters()]
        return step(sources)

    monkeypatch.setattr(run, "_step", watched)
    run.train()
    for before, after, moves in ((6, 7, True), (7, 8, False), (8, 9, False), (9, 10, True)):
        assert all(torch.equal(*pair) for pair in zip(weights[before], weights[after], strict=True)) != moves
    table = pd.read_csv(tmp_path / "skipped.csv")
    assert table[["seed", "step", "items"]].values.tolist() == [[1, 7, "0-3"], [1, 8, "0-3"]]
    assert not torch.isfinite(torch.tensor(table["loss"])).any()
    assert history(tmp_path)["skipped_steps"].tolist() == ["0", "2", "0", "0"]
    assert pd.read_csv(tmp_path / "history.csv")["loss"].notna().all()
    assert all(torch.isfinite(weight).all() for weight in load_model(tmp_path)[0].parameters())


def test_a_step_whose_gradient_is_not_finite_is_left_out_too(packed: Path, tmp_path: Path, monkeypatch) -> None:
    run = Trainer(resolved(packed), tmp_path, CPU)
    gradients_spoilt(run, 3)
    run.train()
    table = pd.read_csv(tmp_path / "skipped.csv")
    assert table["step"].tolist() == [3] and table["gradient_norm"].tolist() == [torch.inf]
    assert table["loss"].abs().max() < 100
    assert all(torch.isfinite(weight).all() for weight in load_model(tmp_path)[0].parameters())


def test_a_run_ends_after_so_many_steps_left_out_and_goes_on_when_more_are_allowed(packed, tmp_path, monkeypatch):
    spoilt(monkeypatch, dict.fromkeys((4, 6, 9), torch.nan))
    config = resolved(packed, {"checkpoint_every": 5})
    monkeypatch.setattr(trainer, "MOST_SKIPPED", 2)
    with pytest.raises(InputError, match=r"loss of step 9, seed 1, is nan; .* \(3 steps were skipped: skipped\.csv\)"):
        Trainer(config, tmp_path / "run", CPU).train()
    assert pd.read_csv(tmp_path / "run/skipped.csv")["step"].tolist() == [4, 6, 9]
    assert not (tmp_path / "run/model.safetensors").exists()
    monkeypatch.setattr(trainer, "MOST_SKIPPED", 3)
    for out in ("run", "undisturbed"):
        Trainer(config, tmp_path / out, CPU).train()
        assert pd.read_csv(tmp_path / out / "skipped.csv")["step"].tolist() == [4, 6, 9]
    same(tmp_path / "run", tmp_path / "undisturbed")


def test_a_disk_that_fills_up_ends_the_run_with_one_line_and_the_last_checkpoint_is_good(packed, tmp_path, monkeypatch):
    config, save = resolved(packed, {"checkpoint_every": 4}), checkpoint.torch.save

    def full(state: dict[str, Any], file: Any) -> None:
        if state["progress"]["step"] == 12:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(state, file)

    with monkeypatch.context() as disturbed:
        disturbed.setattr(checkpoint.torch, "save", full)
        with pytest.raises(InputError, match="No space left on device; .* free some, then repeat the command"):
            train(config, tmp_path / "run", CPU)
    state = checkpoint.load_state(tmp_path / "run/checkpoint.pt", config.content)
    assert state is not None and state["progress"]["step"] == 8
    for out in ("run", "undisturbed"):
        train(config, tmp_path / out, CPU)
    same(tmp_path / "run", tmp_path / "undisturbed")


def test_a_second_trainer_of_a_run_is_refused_before_it_does_anything(
    packed: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(trainer, "Trainer", lambda *_: pytest.fail("it began"))
    message = rf"another process works there \(process {os.getpid()} on .*, since .* UTC\)"
    with Stage(tmp_path, "train", {}, ()).locked(), pytest.raises(InputError, match=message):
        train(resolved(packed), tmp_path, CPU)


def test_what_a_killed_run_was_writing_is_removed(packed: Path, tmp_path: Path) -> None:
    leftover = tmp_path / ".checkpoint.0a1b2c3d.tmp.pt"
    leftover.write_bytes(b"half")
    train(resolved(packed, {"steps": 1}), tmp_path, CPU)
    assert not leftover.exists()


def test_a_run_folder_copied_elsewhere_goes_on_there(packed: Path, tmp_path: Path, monkeypatch) -> None:
    def stop(self: Trainer, sources: Tensor) -> float:
        if self.progress.step == 13:
            raise MemoryError
        return step(self, sources)

    training, step = {"checkpoint_every": 6}, Trainer._step
    with monkeypatch.context() as disturbed, pytest.raises(MemoryError):
        disturbed.setattr(Trainer, "_step", stop)
        train(resolved(packed, training), tmp_path / "here/run", CPU)
    shutil.copytree(packed, tmp_path / "there/data")
    shutil.copytree(tmp_path / "here/run", tmp_path / "there/run")
    (tmp_path / "there/run/.train.lock").write_text('{"host": "here", "process": 1, "since": "then"}')
    moved = resolved(tmp_path / "there/data", training, name="moved")
    run = Trainer(moved, tmp_path / "there/run", CPU)
    assert run.progress.step == 12
    train(moved, tmp_path / "there/run", CPU)
    train(resolved(packed, training, name="moved"), tmp_path / "undisturbed", CPU)
    assert (history(tmp_path / "there/run") == history(tmp_path / "undisturbed")).all(axis=None)
    ours, theirs = (load_model(tmp_path / out)[0].state_dict() for out in ("there/run", "undisturbed"))
    torch.testing.assert_close(ours, theirs, atol=0, rtol=0)
