"""Several processes train as one: the same losses, one end, one that writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import CPU, history, resolved

from audioslots.runtime.errors import InputError
from audioslots.runtime.files import write_json
from audioslots.training.trainer import Machine, Trainer

ROOT = Path(__file__).resolve().parents[2]
STEPS = 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo"),
]


def started(packed: Path, out: Path, **training: Any) -> subprocess.Popen[str]:
    """``audioslots train --num-devices 2``."""
    write_json(out / "config.json", resolved(packed, training).document())
    command = [
        sys.executable,
        "-m",
        "audioslots.cli",
        "train",
        str(out / "config.json"),
        "--out",
        str(out / "run"),
    ]
    environment = {key: value for key, value in os.environ.items() if key not in ("LOCAL_RANK", "WORLD_SIZE")}
    return subprocess.Popen(
        [*command, "--device", "cpu", "--num-devices", "2"],
        env=environment | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def alone(packed: Path, out: Path, **training: Any) -> Path:
    """A run folder of one process with the whole batch."""
    Trainer(resolved(packed, training), out, CPU).train()
    return out


@pytest.mark.parametrize("passes", [1, 2], ids=["one pass", "accumulated"])
def test_two_processes_with_half_the_batch_each_follow_one_with_the_whole_batch(
    passes: int, packed: Path, tmp_path: Path
) -> None:
    training = {"steps": STEPS, "validate_every": 1, "accumulate": passes}
    process = started(packed, tmp_path, **training)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    ours, theirs = history(tmp_path / "run"), history(alone(packed, tmp_path / "alone", **training))
    assert len(ours) == STEPS and list(ours) == list(theirs)
    losses = [table["loss"].astype(float).to_numpy() for table in (ours, theirs)]
    assert len(set(losses[0])) == STEPS
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours.astype(float), theirs.astype(float), rtol=1e-3, atol=1e-3)


def test_a_signal_to_one_of_two_processes_stops_both_and_one_process_can_go_on(packed: Path, tmp_path: Path) -> None:
    training = {"steps": 4000, "validate_every": 4000, "checkpoint_every": 5}
    process = started(packed, tmp_path, **training)
    checkpoint = tmp_path / "run/checkpoint.pt"
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)  # the pipe closes when the last of the processes has ended
    assert process.returncode == 75, output
    assert output.count("repeat the command to resume") == 1 and "Traceback" not in output
    stopped = torch.load(checkpoint, weights_only=True)["progress"]["step"]
    run = Trainer(resolved(packed, training), tmp_path / "run", CPU)
    assert 5 <= run.progress.step == stopped < 4000
    run._step(torch.from_numpy(run.mixer.batch(stopped, 4)))


def test_the_second_process_ends_when_the_first_is_killed(packed: Path, tmp_path: Path) -> None:
    process = started(packed, tmp_path, steps=4000, validate_every=4000, checkpoint_every=5)
    while not (tmp_path / "run/checkpoint.pt").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL


def test_a_batch_that_cannot_be_shared_evenly_is_refused(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--num-devices: 3 cannot share training\.batch 4 .*; expected a divisor"):
        Trainer(resolved(packed), tmp_path, Machine("cpu", 3))
