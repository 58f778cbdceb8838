"""Training that is killed, at any moment and by any signal, ends with the same numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_run import resolved, same

from audioslots.runtime.files import write_json

SCRIPT = Path(__file__).with_name("training_process.py")
ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here"),
]


def killed(packed: Path, out: Path, number: str, kills: int, *workers: int, **training: Any) -> dict[str, Any]:
    """What the script tells, after its two runs."""
    write_json(out / "config.json", resolved(packed, training).document())
    command = [sys.executable, SCRIPT, out / "config.json", out, number, kills, *workers]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "cannot be read" not in done.stderr
    answer = json.loads(done.stdout)
    assert answer["last"] == 0, done.stderr
    return answer


@pytest.mark.parametrize(
    ("number", "status", "workers"),
    [("SIGKILL", -signal.SIGKILL, [1]), ("SIGTERM", 75, [1]), ("SIGUSR1", 75, [1, 4, 2])],
    ids=["SIGKILL", "SIGTERM", "SIGUSR1, another number of workers each time"],
)
def test_eight_times_stopped_at_a_random_moment_and_resumed_equals_an_undisturbed_run(
    packed: Path, tmp_path: Path, number: str, status: int, workers: list[int]
) -> None:
    training = {"steps": 200, "checkpoint_every": 7, "validate_every": 30}
    answer = killed(packed, tmp_path, number, 8, *workers, **training)
    assert answer["endings"] == [status] * 8
    for begun, kept in answer["found"]:
        if status == 75:
            assert kept == begun + 1, "the step that had begun is the last, and is kept"
        else:
            assert begun - 7 <= kept <= begun + 1
    steps = [kept for _, kept in answer["found"]]
    assert steps == sorted(steps) and len(set(steps)) > 3, "the moments lay too close together"
    same(tmp_path / "killed", tmp_path / "undisturbed")


def test_twenty_kills_inside_the_writing_of_a_checkpoint_lose_no_more_than_that_checkpoint(packed, tmp_path) -> None:
    answer = killed(packed, tmp_path, "writing", 20, steps=60, checkpoint_every=2)
    assert answer["endings"] == [-signal.SIGKILL] * 20
    for written, kept in answer["found"]:
        assert kept in (written - 2, written)
    outcomes = {kept == written for written, kept in answer["found"]}
    assert outcomes == {True, False}, "all moments lay before the renaming, or all after"
    same(tmp_path / "killed", tmp_path / "undisturbed")
