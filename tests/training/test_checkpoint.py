"""The resume state: whole or refused, and never executed."""

from __future__ import annotations

import errno
import io
import os
import pickle
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from audioslots.runtime.errors import InputError
from audioslots.training import checkpoint
from audioslots.training.checkpoint import load_state, previous_of, save_state

TRAINING: dict[str, Any] = {"steps": 6, "betas": [0.9, 0.98], "learning_rate": 1e-3}
CONFIG: dict[str, Any] = {"seed": 1, "training": TRAINING, "rate": 8000}
STATE: dict[str, Any] = {
    "identity": "made",
    "config": CONFIG,
    "progress": {"step": 3, "seconds": 0.5, "losses": [1.25], "history": [{"step": 2, "loss": float("nan")}]},
    "model": {"weight": torch.arange(6.0).reshape(2, 3)},
    "optimiser": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.98)}]},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good checkpoint."""
    save_state(tmp_path / "checkpoint.pt", STATE)
    return tmp_path / "checkpoint.pt"


def test_a_state_comes_back_as_it_was(file: Path) -> None:
    state = load_state(file, CONFIG)
    assert state is not None
    assert torch.equal(state["model"]["weight"], STATE["model"]["weight"])
    assert state["optimiser"]["param_groups"] == STATE["optimiser"]["param_groups"]
    assert str(state["progress"]) == str(STATE["progress"])


def test_a_run_without_checkpoint_starts_anew(tmp_path: Path) -> None:
    assert load_state(tmp_path / "checkpoint.pt", CONFIG) is None


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"seed": 2, "rate": 16000}, "seed is 1; expected 2"),
        (
            {"training": {**TRAINING, "learning_rate": 2e-3}, "rate": 16000},
            "training.learning_rate is 0.001; ",
        ),
        ({"training": {**TRAINING, "betas": [0.9, 0.9]}}, r"training.betas is \[0.9, 0.98\]; "),
        ({"training": {**TRAINING, "ema": 0.9}}, "it lacks training.ema; expected 0.9"),
        ({"training": {"steps": 6}}, "training.betas is .*; expected no such key"),
    ],
)
def test_a_checkpoint_of_another_config_is_refused_with_the_first_key_that_differs(file, other, says: str) -> None:
    before = file.read_bytes()
    with pytest.raises(InputError, match=rf"checkpoint\.pt: belongs to another config: {says}"):
        load_state(file, CONFIG | other)
    assert file.read_bytes() == before


def test_a_checkpoint_of_an_earlier_version_which_holds_no_config_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    save_state(file, {key: value for key, value in STATE.items() if key != "config"})
    with pytest.raises(InputError, match="belongs to another config: it holds none; expected one"):
        load_state(file, CONFIG)


def test_something_else_saved_by_torch_is_refused(file: Path) -> None:
    torch.save([1, 2], file)
    with pytest.raises(InputError, match=r"checkpoint\.pt: belongs to another config"):
        load_state(file, CONFIG)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_named(file: Path, kept: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot be read"):
        load_state(file, CONFIG)


@pytest.mark.parametrize("content", [b"x", b"a text\n" * 100, b"\x80\x02garbage", b"PK\x03\x04" + bytes(200), b"\x80"])
def test_a_file_that_is_no_checkpoint_is_named(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot be read"):
        load_state(file, CONFIG)


def test_a_checkpoint_with_one_damaged_byte_is_named_or_comes_back_as_it_was(file: Path) -> None:
    whole = file.read_bytes()
    for place in range(0, whole.index(b"PK\x01\x02"), 7):  # all of the zip file's content, up to its directory
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        file.write_bytes(damaged)
        try:
            state = load_state(file, CONFIG)
        except InputError as error:
            assert "checkpoint.pt: " in str(error)
        else:  # the byte was padding
            assert repr(state) == repr(STATE), place


class Command:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f'echo > "{self.marker}"',)


@pytest.mark.parametrize("dump", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))])
def test_a_checkpoint_that_would_run_a_command_is_refused_without_running_it(file: Path, dump: Any) -> None:
    marker = file.parent / "marker"
    dump({**STATE, "payload": Command(marker)}, file)
    save_state(previous_of(file), STATE)  # what it hides behind must not make it harmless
    if dump is torch.save:
        with pytest.raises(InputError, match=r"checkpoint\.pt: cannot be read: it would run code .*system"):
            load_state(file, CONFIG)
    else:  # not even a file of torch's
        with pytest.warns(UserWarning, match=r"checkpoint\.pt: cannot be read"):
            load_state(file, CONFIG)
        file = file.with_name("checkpoint.damaged.pt")
    assert not marker.exists()
    torch.load(file, weights_only=False) if dump is torch.save else pickle.loads(file.read_bytes())
    assert marker.exists(), "the command would have run"


def states(*steps: int) -> list[dict[str, Any]]:
    return [{**STATE, "progress": {"step": step}} for step in steps]


def step_of(file: Path) -> int:
    state = load_state(file, CONFIG)
    assert state is not None
    return state["progress"]["step"]


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_truncated_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path, kept: float) -> None:
    file = tmp_path / "checkpoint.pt"
    for state in states(1, 2, 3):
        save_state(file, state)
    data = file.read_bytes()
    file.write_bytes(data[: int(kept * len(data))])
    with pytest.warns(UserWarning, match=r"checkpoint\.pt: cannot be read .*; resuming from checkpoint.previous.pt"):
        assert step_of(file) == 2
    assert step_of(file) == 2  # without another warning
    save_state(file, states(4)[0])
    assert step_of(file) == 4
    assert step_of(previous_of(file)) == 2, "the damaged file took the place of a good one"


def test_where_both_checkpoints_are_damaged_both_are_named(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    for path in (file, previous_of(file)):
        path.write_bytes(b"damaged")
    with (
        pytest.warns(UserWarning, match=r"checkpoint\.pt: cannot be read"),
        pytest.raises(InputError, match=r"checkpoint\.previous\.pt: cannot be read"),
    ):
        load_state(file, CONFIG)


def test_a_kill_between_the_two_renamings_leaves_the_one_before(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "checkpoint.pt"
    save_state(file, states(1)[0])

    def killed(source: Path, target: Path) -> None:
        os.rename(source, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as disturbed, pytest.raises(KeyboardInterrupt):
        disturbed.setattr(checkpoint.os, "replace", killed)
        save_state(file, states(2)[0])
    assert not file.exists()
    assert step_of(file) == 1


def test_a_crash_while_saving_keeps_the_checkpoint_before(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def crash(state: Any, file: Any) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.torch, "save", crash)
    with pytest.raises(KeyboardInterrupt):
        save_state(file, STATE)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["checkpoint.pt"]


class Full(io.BytesIO):
    """A file on a disk with room for so many bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: Any) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)


@pytest.mark.parametrize("room", [0, 100, 1500])
def test_a_full_disk_leaves_both_checkpoints_and_is_reported_as_one(tmp_path, monkeypatch, room: int) -> None:
    file, save = tmp_path / "checkpoint.pt", torch.save
    for state in states(1, 2):
        save_state(file, state)
    monkeypatch.setattr(checkpoint.torch, "save", lambda state, opened: save(state, Full(opened, room)))
    with pytest.raises(OSError, match="No space left") as error:
        save_state(file, states(3)[0])
    assert error.value.errno == errno.ENOSPC and error.value.filename == str(file)
    assert (step_of(file), step_of(previous_of(file))) == (2, 1)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no disk can be mounted here, which needs Linux and its administrator")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full_leaves_the_checkpoint(small_disk: Path) -> None:
    file = small_disk / "checkpoint.pt"
    save_state(file, states(1)[0])
    with pytest.raises(OSError, match="No space left"):
        save_state(file, {**STATE, "model": {"weight": torch.rand(500_000)}})
    assert step_of(file) == 1
    assert [path.name for path in small_disk.iterdir()] == ["checkpoint.pt"]
