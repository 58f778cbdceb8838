"""The claim on a folder: one writer, who is named; a dead one's is taken over."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audioslots.data import claim
from audioslots.data.claim import LOCK, claimed
from audioslots.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from audioslots.data.claim import claimed
with claimed(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds a folder until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        yield holder


def test_another_process_is_refused_by_the_name_of_the_first_and_takes_over_when_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with held(folder) as holder:
        with pytest.raises(InputError) as error, claimed(folder):
            pass
        says = (
            rf"{folder}: another process writes into it \(process {holder.pid} on {re.escape(socket.gethostname())}, "
        )
        found = re.fullmatch(says + r"since (.*) UTC\); expected to be alone", str(error.value))
        assert found, str(error.value)
        since = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        assert timedelta() <= datetime.now(UTC) - since < timedelta(minutes=5)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (folder / LOCK).exists(), "the dead process has left its lock"
    with claimed(folder), pytest.raises(InputError, match=rf"\(process {os.getpid()} on "), claimed(folder):
        pass


def test_a_folder_that_stays_empty_is_removed_again_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    for name in ("before", "made", "filled"):
        with claimed(tmp_path / name) as folder:
            if name == "filled":
                (folder / "file").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before", "filled"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "a"}'])
def test_a_lock_that_does_not_say_who_holds_it_is_a_lock(tmp_path: Path, content: str) -> None:
    with claimed(tmp_path):
        (tmp_path / LOCK).write_text(content)
        with pytest.raises(InputError, match="another process writes into it; expected to be alone"), claimed(tmp_path):
            pass


def test_a_patient_process_waits_and_says_for_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claim, "patient", True)
    monkeypatch.setattr(claim, "LOOK_S", 0.01)
    folder = tmp_path / "run"
    with held(folder) as holder:
        assert holder.stdin
        ended: list[int | None] = []
        letting_go = threading.Timer(0.3, holder.stdin.close)  # upon which it ends, and removes the folder it made
        letting_go.start()
        with claimed(folder):
            ended.append(holder.wait(30))
            assert (folder / LOCK).exists()
    assert ended == [0]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder}: waiting for another process (process {holder.pid} on ")
