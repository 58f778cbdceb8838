"""A stage: one process at a time; resumed, refused, kept or made anew by what is asked and by which code."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audioslots.runtime import code, stage
from audioslots.runtime.errors import InputError
from audioslots.runtime.stage import Options, Stage, using

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from audioslots.runtime.stage import Stage
asked = Stage(Path(sys.argv[1]), "bake", {}, ())
with asked.locked() if sys.argv[2:] else asked.opened():
    print("held", flush=True)
    sys.stdin.read()
"""


def bake(folder: Path, **changes: Any) -> Stage:
    """A stage that makes ``bread``, and keeps its ``dough.pt``."""
    request = {"flour": "rye", "oven": {"degrees": 200}}
    asked = Stage(
        folder, "bake", request, ("audioslots.config.study",), ("bread*", "dough.pt", "crumbs"), ("dough.pt",)
    )
    return replace(asked, **changes)


def note(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "bake.stage.json").read_text())


@contextmanager
def held(folder: Path, *how: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds a folder until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), *how],
        env=os.environ | {"PYTHONPATH": str(ROOT), "SLURM_JOB_ID": "7"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        yield holder


# --- one at a time --------------------------------------------------------------------------------------------------


def test_another_process_is_refused_by_the_name_of_the_first_and_takes_over_when_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with held(folder) as holder:
        with pytest.raises(InputError) as error, bake(folder).opened():
            pass
        who = rf"process {holder.pid} of job 7 on {re.escape(socket.gethostname())}"
        says = rf"{folder}: another process works there \({who}, since (.*) UTC\); expected to be alone"
        found = re.fullmatch(says, str(error.value))
        assert found, str(error.value)
        since = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        assert timedelta() <= datetime.now(UTC) - since < timedelta(minutes=5)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    asked = Stage(folder, "bake", {}, ())
    with asked.opened() as finished, pytest.raises(InputError, match=rf"\(process {os.getpid()} "), asked.opened():
        pass
    assert not finished


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "a"}'])
def test_a_lock_that_does_not_say_who_holds_it_is_a_lock(tmp_path: Path, content: str) -> None:
    with bake(tmp_path).locked():
        (tmp_path / ".bake.lock").write_text(content)
        with pytest.raises(InputError, match="another process works there; expected"), bake(tmp_path).opened():
            pass
    for _ in range(2):
        with bake(tmp_path).opened():
            pass
        assert (tmp_path / ".bake.lock").exists(), "its file stays: on a network another machine may have it open"


def test_a_patient_process_waits_says_for_whom_and_finds_its_place_where_the_folder_was_removed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with using(Options(wait=True)):
        monkeypatch.setattr(stage, "LOOK_S", 0.01)
        folder = tmp_path / "run"
        with held(folder, "locked") as holder:
            assert holder.stdin

            def remove() -> None:
                shutil.rmtree(folder)
                assert holder.stdin
                holder.stdin.close()

            letting_go = threading.Timer(0.3, remove)
            letting_go.start()
            with bake(folder).opened():
                assert (folder / ".bake.lock").exists()
            letting_go.join()
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{folder}: waiting for another process (process {holder.pid} of job 7 on ")


def test_two_stages_of_one_folder_do_not_exclude_each_other(tmp_path: Path) -> None:
    with bake(tmp_path).opened(), bake(tmp_path, name="taste").opened():
        pass
    assert {path.name for path in tmp_path.glob("*.json")} == {"bake.stage.json", "taste.stage.json"}


def mounted(kind: str, folder: Path, places: list[Path]) -> None:
    """Mount a folder at several places: bound, or by way of NFS from this machine to itself."""
    if kind == "nfs":
        if not all(shutil.which(tool) for tool in ("exportfs", "mount.nfs")):
            pytest.skip("no NFS server can be started here: exportfs or mount.nfs is missing")
        exported = ["exportfs", "-o", "rw,no_root_squash,insecure,fsid=77", f"127.0.0.1:{folder}"]
        if subprocess.run(exported, capture_output=True).returncode:
            pytest.skip("the NFS server does not export a folder here")
    for place in places:
        place.mkdir()
        bound = ["mount", "--bind", str(folder), str(place)]
        by_network = ["mount", "-t", "nfs", "-o", "nosharecache", f"127.0.0.1:{folder}", str(place)]
        if subprocess.run(by_network if kind == "nfs" else bound, capture_output=True).returncode:
            pytest.skip(f"a folder cannot be mounted here ({kind}), which needs Linux and its administrator")


@pytest.mark.parametrize("kind", ["bind", "nfs"])
def test_a_lock_holds_across_two_mounts_of_one_folder(tmp_path: Path, kind: str) -> None:
    (folder := tmp_path / "folder").mkdir()
    places = [tmp_path / "one", tmp_path / "two"]
    try:
        mounted(kind, folder, places)
        with held(places[0]), pytest.raises(InputError, match="another process works there"), bake(places[1]).opened():
            pass
        with Stage(places[1], "bake", {}, ()).opened():
            pass
    finally:
        for place in places:
            subprocess.run(["umount", "-l", str(place)], capture_output=True)
        if kind == "nfs" and shutil.which("exportfs"):
            subprocess.run(["exportfs", "-u", f"127.0.0.1:{folder}"], capture_output=True)


# --- what is asked, and by which code --------------------------------------------------------------------------------


def test_a_stage_says_what_it_was_made_from_when_and_by_what(tmp_path: Path) -> None:
    with bake(tmp_path).opened() as finished:
        assert not finished
        begun = note(tmp_path)
        assert begun["request"] == {"flour": "rye", "oven": {"degrees": 200}} and begun["finished"] is None
        assert begun["code"] == code.digest("audioslots.config.study") and begun["commit"] == code.commit()
        assert begun["host"] == socket.gethostname() and begun["command"]
        (tmp_path / "bread").touch()
    assert note(tmp_path) == {**begun, "finished": note(tmp_path)["finished"]}
    with bake(tmp_path).opened() as finished:
        assert finished
    assert not list(tmp_path.glob("*.tmp*"))


def test_a_stage_that_failed_is_unfinished_and_leaves_no_note_where_it_made_nothing(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "made" / "by it"):
        with pytest.raises(KeyboardInterrupt), bake(folder).opened():
            raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt), bake(tmp_path).opened():
        (tmp_path / "bread").touch()
        raise KeyboardInterrupt
    assert note(tmp_path)["finished"] is None
    with bake(tmp_path).opened() as finished:
        assert not finished and (tmp_path / "bread").exists(), "it is resumed"


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"flour": "oats", "oven": {"degrees": 100}}, "flour is rye; expected oats"),
        ({"flour": "rye", "oven": {"degrees": 100}}, "oven.degrees is 200; expected 100"),
        ({"flour": "rye", "oven": {"degrees": 200}, "salt": 1}, "it lacks salt; expected 1"),
        ({"flour": "rye", "oven": {}}, "oven.degrees is 200; expected no such key"),
    ],
)
@pytest.mark.parametrize("begun", [True, False])
def test_another_request_is_refused_with_the_first_key_that_differs_or_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: dict[str, Any], says: str, begun: bool
) -> None:
    try:
        with bake(tmp_path).opened():
            (tmp_path / "bread").touch()
            (tmp_path / "dough.pt").write_text("old")
            (tmp_path / "crumbs").mkdir()
            (tmp_path / "notes.txt").touch()
            if begun:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    before = {path: path.read_bytes() for path in tmp_path.glob("[!.]*") if path.is_file()}
    with pytest.raises(InputError) as error, bake(tmp_path, request=request_).opened():
        pass
    assert str(error.value) == f"{tmp_path}/bake.stage.json: {says}, another folder, or --overwrite"
    assert {path: path.read_bytes() for path in before} == before
    with using(Options(overwrite=True)):
        key = bake(tmp_path).key
        with bake(tmp_path, request=request_).opened() as finished:
            assert not finished
            assert {path.name for path in tmp_path.glob("[!.]*")} == {"bake.stage.json", f"dough-{key}.pt", "notes.txt"}
            (tmp_path / "bread").touch()
        assert note(tmp_path)["request"] == request_
        with bake(tmp_path, request=request_).opened() as finished:
            assert finished and (tmp_path / "bread").exists(), "of the same request nothing is made twice"


def test_what_other_code_made_is_kept_and_said_or_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with bake(tmp_path).opened():
        (tmp_path / "bread").touch()
    other = bake(tmp_path, modules=("audioslots.config.untrained",))
    with other.opened() as finished:
        assert finished and (tmp_path / "bread").exists()
    commit = note(tmp_path)["commit"]
    assert (
        capsys.readouterr().err
        == f"{tmp_path}: made by other code (commit {commit}); kept; --overwrite makes it again\n"
    )
    with using(Options(overwrite=True)):
        with other.opened() as finished:
            assert not finished and not (tmp_path / "bread").exists()
            (tmp_path / "bread").touch()
        with other.opened() as finished:
            assert finished
        assert capsys.readouterr().err == ""


def test_a_kill_while_a_folder_is_cleared_does_not_make_old_work_new(tmp_path: Path, monkeypatch) -> None:
    with bake(tmp_path).opened():
        for name in ("bread-1", "bread-2"):
            (tmp_path / name).touch()
    with using(Options(overwrite=True)):
        other = bake(tmp_path, request={"flour": "oats"})
        unlink = Path.unlink

        def killed(self: Path, missing_ok: bool = False) -> None:
            if len(list(tmp_path.glob("bread*"))) == 1:
                raise KeyboardInterrupt
            unlink(self, missing_ok)

        with monkeypatch.context() as disturbed, pytest.raises(KeyboardInterrupt):
            disturbed.setattr(Path, "unlink", killed)
            with other.opened():
                pass
        assert note(tmp_path)["request"]["flour"] == "rye" and len(list(tmp_path.glob("bread*"))) == 1
        with other.opened():
            assert not list(tmp_path.glob("bread*"))


def test_a_folder_that_a_stage_wants_alone_must_hold_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".bake.0123abcd.tmp.json").touch()  # of a process killed while it wrote its note
    with bake(tmp_path, alone=True).opened():
        (tmp_path / "bread").touch()
    (tmp_path / "bake.stage.json").unlink()
    with (
        pytest.raises(InputError, match="holds bread, of other origin; expected a new"),
        bake(tmp_path, alone=True).opened(),
    ):
        pass
    assert not (tmp_path / "bake.stage.json").exists()


@pytest.mark.parametrize("content", ["[]", "{}", '{"request": {}}', "{"])
def test_a_damaged_note_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "bake.stage.json").write_text(content)
    with pytest.raises(InputError, match=r"bake.stage.json: .*; expected"), bake(tmp_path).opened():
        pass


def test_what_a_process_left_that_was_killed_while_it_wrote_the_note_is_removed(tmp_path: Path) -> None:
    left = [tmp_path / f".{name}.stage.0123abcd.tmp.json" for name in ("bake", "taste")]
    for path in left:
        path.write_text("{")
    with bake(tmp_path).opened():
        pass
    assert [path.exists() for path in left] == [False, True]
