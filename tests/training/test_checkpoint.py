"""The resume state: whole or refused, and never executed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from audioslots.errors import InputError
from audioslots.training import checkpoint
from audioslots.training.checkpoint import load_state, save_state

STATE: dict[str, Any] = {
    "identity": "made",
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
    state = load_state(file, "made")
    assert state is not None
    assert torch.equal(state["model"]["weight"], STATE["model"]["weight"])
    assert state["optimiser"]["param_groups"] == STATE["optimiser"]["param_groups"]
    assert str(state["progress"]) == str(STATE["progress"])


def test_a_run_without_checkpoint_starts_anew(tmp_path: Path) -> None:
    assert load_state(tmp_path / "checkpoint.pt", "made") is None


def test_a_checkpoint_of_another_config_is_refused(file: Path) -> None:
    with pytest.raises(InputError, match=r"checkpoint\.pt: belongs to another config.*expected identity other"):
        load_state(file, "other")


def test_something_else_saved_by_torch_is_refused(file: Path) -> None:
    torch.save([1, 2], file)
    with pytest.raises(InputError, match=r"checkpoint\.pt: belongs to another config"):
        load_state(file, "made")


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_named(file: Path, kept: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot be read"):
        load_state(file, "made")


@pytest.mark.parametrize("content", [b"x", b"a text\n" * 100, b"\x80\x02garbage", b"PK\x03\x04" + bytes(200), b"\x80"])
def test_a_file_that_is_no_checkpoint_is_named(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot be read"):
        load_state(file, "made")


def test_a_checkpoint_with_one_damaged_byte_is_named_or_comes_back_as_it_was(file: Path) -> None:
    whole = file.read_bytes()
    for place in range(0, whole.index(b"PK\x01\x02"), 7):  # all of the zip file's content, up to its directory
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        file.write_bytes(damaged)
        try:
            state = load_state(file, "made")
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
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot be read"):
        load_state(file, "made")
    assert not marker.exists()
    torch.load(file, weights_only=False) if dump is torch.save else pickle.loads(file.read_bytes())
    assert marker.exists(), "the command would have run"


def test_a_crash_while_saving_keeps_the_checkpoint_before(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def crash(state: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.torch, "save", crash)
    with pytest.raises(KeyboardInterrupt):
        save_state(file, STATE)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["checkpoint.pt"]
