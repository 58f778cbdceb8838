"""What a person sees of a run: the bar at a terminal, TensorBoard, and the gradients and waits in the history."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_run import CPU, resolved
from torch import Tensor

from audioslots.runtime.errors import InputError
from audioslots.training import trainer
from audioslots.training.trainer import Trainer


def test_a_terminal_shows_loss_improvement_and_time_left_and_a_file_shows_nothing(
    packed, tmp_path, monkeypatch
) -> None:
    pty, termios = (pytest.importorskip(name, reason="no terminals here") for name in ("pty", "termios"))
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, 200))
    shown: list[bytes] = []
    reader = threading.Thread(target=lambda: shown.extend(iter(lambda: read(ours), b"")))
    reader.start()
    with open(theirs, "w") as terminal, monkeypatch.context() as seen:
        seen.setattr(sys, "stderr", terminal)
        Trainer(resolved(packed), tmp_path / "seen", CPU).train()
    reader.join()
    score = pd.read_csv(tmp_path / "seen/history.csv")["validation_si_sdri_db"].max()
    screen = b"".join(shown).decode()
    assert re.search(r"20/20 .*loss=-?[\d.]+, best_si_sdri=" + re.escape(f"{score:+.2f} dB"), screen)
    assert re.search(r"\[\d\d:\d\d<\d\d:\d\d, ", screen)
    with open(tmp_path / "log", "w") as log, monkeypatch.context() as piped:
        piped.setattr(sys, "stderr", log)
        Trainer(resolved(packed), tmp_path / "piped", CPU).train()
    assert (tmp_path / "log").read_text() == ""


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's way to say that the other side has closed
        return b""


def test_gradient_norms_by_part_are_those_before_clipping_and_their_squares_sum_up(packed, tmp_path, monkeypatch):
    run = Trainer(resolved(packed, {"steps": 1}), tmp_path, CPU)
    monkeypatch.setattr(trainer, "LARGEST_NORM", 1e-3)
    norms: list[float] = []
    clip = trainer.clip_grad_norm_
    monkeypatch.setattr(trainer, "clip_grad_norm_", lambda *given: norms.append(clip(*given).item()) or clip(*given))
    run.train()
    row = pd.read_csv(tmp_path / "history.csv").iloc[0]
    parts = [row[f"gradient_norm_{part}"] for part in ("encoder", "slots", "decoder")]
    assert min(parts) > 1e-3
    assert np.sqrt(np.sum(np.square(parts))) == pytest.approx(norms[0], rel=1e-5)


def test_the_share_of_time_spent_waiting_for_data_is_measured(packed: Path, tmp_path: Path, monkeypatch) -> None:
    pause, made = 0.05, trainer.batches

    def slow(*arguments: Any) -> Iterator[Tensor]:
        for sources in made(*arguments):
            time.sleep(pause)
            yield sources

    monkeypatch.setattr(trainer, "batches", slow)
    Trainer(resolved(packed), tmp_path, CPU).train()
    table = pd.read_csv(tmp_path / "history.csv")
    waited = table["data_wait_share"] * table["seconds"].diff().fillna(table["seconds"])
    assert (waited >= 0.99 * pause * table["step"].diff().fillna(table["step"])).all()
    assert (table["data_wait_share"] <= 1).all()


def test_a_batch_waits_ready_while_the_last_is_trained_on(packed: Path, tmp_path: Path, monkeypatch) -> None:
    step = Trainer._step

    def slow(self: Trainer, sources: Tensor) -> float:
        time.sleep(0.02)
        return step(self, sources)

    monkeypatch.setattr(Trainer, "_step", slow)
    Trainer(resolved(packed, {"batch": 2}), tmp_path, CPU).train()
    assert pd.read_csv(tmp_path / "history.csv")["data_wait_share"].iloc[1:].mean() < 0.1


def test_tensorboard_shows_the_history_or_is_named_as_missing(packed: Path, tmp_path: Path) -> None:
    arguments = (resolved(packed), tmp_path, trainer.Machine("cpu", tensorboard=True))
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(InputError, match=r"--tensorboard: not installed; expected pip install 'audioslots\[tensor"):
            Trainer(*arguments)
        pytest.skip("TensorBoard is not installed: what it shows is not looked at")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    Trainer(*arguments).train()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    table = pd.read_csv(tmp_path / "history.csv")
    for key in ("loss", "validation_si_sdri_db", "gradient_norm_slots"):
        shown = events.Scalars(key)
        assert [event.step for event in shown] == table["step"].tolist()
        assert [event.value for event in shown] == pytest.approx(table[key].tolist(), rel=1e-5)
