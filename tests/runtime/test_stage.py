"""A stage: one process at a time; resumed, refused, kept or made again, by request and by code."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
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
    makes = ("bread*", "dough.pt", "crumbs")
    request = {"flour": "rye", "oven": {"degrees": 200}}
    return replace(Stage(folder, "bake", request, ("audioslots.config.study",), makes, ("dough.pt",)), **changes)


def note(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "bake.stage.json").read_text())


@contextmanager
def held(folder: Path, *how: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds a folder until its standard input ends."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SLURM_JOB_ID": "7"}
    command, pipe = [sys.executable, "-c", HOLD, str(folder), *how], subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe) as holder:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        yield holder


# --- one at a time --------------------------------------------------------------------------------------------------


def test_another_process_is_refused_by_the_name_of_the_first_and_takes_over_when_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with held(folder) as holder:
        with pytest.raises(InputError) as error, bake(folder).opened():
            pass
        who = rf"process {holder.pid} of job 7 on {re.escape(socket.gethostname())}, since [\d-]+ [\d:]+ UTC"
        assert re.fullmatch(
            rf"{folder}: another process works there \({who}\); wait for it, or pass --wait", str(error.value)
        )
        holder.kill()
        holder.wait()
    with Stage(folder, "bake", {}, ()).opened() as finished:
        assert not finished


def test_a_lock_that_does_not_say_yet_who_holds_it_is_a_lock(tmp_path: Path) -> None:
    with bake(tmp_path).opened():
        (tmp_path / ".bake.lock").write_text("")
        with pytest.raises(InputError, match="another process works there; wait"), bake(tmp_path).opened():
            pass
    assert (tmp_path / ".bake.lock").exists(), "it stays: on a network another machine may have it open"


def test_a_process_that_waits_says_for_whom_also_where_the_folder_is_removed_meanwhile(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(stage, "LOOK_S", 0.01)
    folder = tmp_path / "run"
    with held(folder, "locked") as holder:

        class Errors(io.StringIO):
            def write(self, text: str) -> int:
                if "waiting" in text:
                    shutil.rmtree(folder)
                    holder.communicate()  # lets it end
                return super().write(text)

        monkeypatch.setattr(sys, "stderr", Errors())
        with using(Options(wait=True)), bake(folder).opened():
            assert (folder / ".bake.lock").exists()
        (line,) = sys.stderr.getvalue().splitlines()
    assert line.startswith(f"{folder}: waiting for another process (process {holder.pid} of job 7 on ")


def test_two_stages_of_one_folder_do_not_exclude_each_other(tmp_path: Path) -> None:
    with bake(tmp_path).opened(), bake(tmp_path, name="taste").opened():
        pass
    assert {path.name for path in tmp_path.glob("*.json")} == {"bake.stage.json", "taste.stage.json"}


@pytest.fixture(params=["bind", "nfs"])
def mounts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Path]]:
    """Two places where one folder is mounted: bound, or by way of NFS from this machine to itself."""
    (folder := tmp_path / "folder").mkdir()
    export, places = f"127.0.0.1:{folder}", [tmp_path / "one", tmp_path / "two"]
    how = ["--bind", str(folder)] if request.param == "bind" else ["-t", "nfs", "-o", "nosharecache", export]
    calls = [["mount", *how, str(place)] for place in places]
    if request.param == "nfs":
        calls.insert(0, ["exportfs", "-o", "rw,no_root_squash,insecure,fsid=77", export])
    try:
        for place in places:
            place.mkdir()
        for call in calls:
            if not shutil.which(call[0]) or subprocess.run(call, capture_output=True, check=False).returncode:
                pytest.skip(f"a folder cannot be mounted here: {' '.join(call)}")
        yield places
    finally:
        for call in [*(["umount", "-l", str(place)] for place in places), ["exportfs", "-u", export]]:
            if shutil.which(call[0]):
                subprocess.run(call, capture_output=True, check=False)


def test_a_lock_holds_across_two_mounts_of_one_folder(mounts: list[Path]) -> None:
    with held(mounts[0]), pytest.raises(InputError, match="another process works there"), bake(mounts[1]).opened():
        pass
    with Stage(mounts[1], "bake", {}, ()).opened():
        pass


# --- by request and by code ------------------------------------------------------------------------------------------


def test_a_stage_says_what_it_was_made_from_when_and_by_what(tmp_path: Path) -> None:
    with bake(tmp_path).opened() as finished:
        assert not finished
        begun = note(tmp_path)
        assert begun["request"] == {"flour": "rye", "oven": {"degrees": 200}} and begun["finished"] is None
        assert begun["code"] == code.digest("audioslots.config.study") and begun["commit"] == code.commit()
        assert begun["host"] == socket.gethostname() and begun["command"]
    assert note(tmp_path) == {**begun, "finished": note(tmp_path)["finished"]}
    with bake(tmp_path).opened() as finished:
        assert finished


def test_a_stage_that_failed_is_resumed_and_leaves_nothing_where_it_made_nothing(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "made" / "by it"):
        with pytest.raises(KeyboardInterrupt), bake(folder).opened():
            raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt), bake(tmp_path).opened():
        (tmp_path / "bread").touch()
        raise KeyboardInterrupt
    assert note(tmp_path)["finished"] is None
    with bake(tmp_path).opened() as finished:
        assert not finished and (tmp_path / "bread").exists()


@pytest.mark.parametrize(
    ("request_", "says", "fails"),
    [
        ({"flour": "oats", "oven": {"degrees": 100}}, "flour is rye; expected oats", False),
        ({"flour": "rye", "oven": {"degrees": 100}}, "oven.degrees is 200; expected 100", True),
        ({"flour": "rye", "oven": {"degrees": 200}, "salt": 1}, "it lacks salt; expected 1", False),
        ({"flour": "rye", "oven": {}}, "oven.degrees is 200; expected no such key", False),
    ],
)
def test_another_request_is_refused_with_the_first_key_that_differs_or_overwrites(
    tmp_path: Path, request_: dict[str, Any], says: str, fails: bool
) -> None:
    with suppress(KeyboardInterrupt), bake(tmp_path).opened():
        (tmp_path / "bread").touch()
        (tmp_path / "dough.pt").write_text("old")
        (tmp_path / "crumbs").mkdir()
        (tmp_path / "notes.txt").touch()
        if fails:
            raise KeyboardInterrupt
    before = {path: path.read_bytes() for path in tmp_path.glob("[!.]*") if path.is_file()}
    with pytest.raises(InputError) as error, bake(tmp_path, request=request_).opened():
        pass
    assert str(error.value) == f"{tmp_path}/bake.stage.json: {says}, another folder, or --overwrite"
    assert {path: path.read_bytes() for path in before} == before
    kept = f"dough-{bake(tmp_path).key}.pt"
    with using(Options(overwrite=True)):
        with bake(tmp_path, request=request_).opened() as finished:
            assert not finished
            assert {path.name for path in tmp_path.glob("[!.]*")} == {"bake.stage.json", kept, "notes.txt"}
            (tmp_path / "bread").touch()
        with bake(tmp_path, request=request_).opened() as finished:
            assert finished and (tmp_path / "bread").exists(), "the same request makes nothing twice"


def test_what_other_code_made_is_kept_with_a_message_or_overwritten(tmp_path: Path, capsys) -> None:
    with bake(tmp_path).opened():
        (tmp_path / "bread").touch()
    other = bake(tmp_path, modules=("audioslots.stats.intervals",))
    with other.opened() as finished:
        assert finished and (tmp_path / "bread").exists()
    made = f"{tmp_path}: made by other code (commit {note(tmp_path)['commit']}); kept; --overwrite makes it again\n"
    assert capsys.readouterr().err == made
    with using(Options(overwrite=True)):
        with other.opened() as finished:
            assert not finished and not (tmp_path / "bread").exists()
        with other.opened() as finished:
            assert finished
    assert capsys.readouterr().err == ""


def test_a_kill_while_a_folder_is_cleared_does_not_make_old_work_new(tmp_path: Path, monkeypatch) -> None:
    with bake(tmp_path).opened():
        for name in ("bread-1", "bread-2"):
            (tmp_path / name).touch()
    other, unlink = bake(tmp_path, request={"flour": "oats"}), Path.unlink

    def kill_at_the_last(self: Path, missing_ok: bool = False) -> None:
        if len(list(tmp_path.glob("bread*"))) == 1:
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    with using(Options(overwrite=True)):
        with monkeypatch.context() as disturbed, pytest.raises(KeyboardInterrupt):
            disturbed.setattr(Path, "unlink", kill_at_the_last)
            with other.opened():
                pass
        assert note(tmp_path)["request"]["flour"] == "rye" and len(list(tmp_path.glob("bread*"))) == 1
        with other.opened():
            assert not list(tmp_path.glob("bread*"))


def test_a_folder_that_a_stage_wants_alone_must_hold_nothing_else(tmp_path: Path) -> None:
    left = [tmp_path / f".{name}.stage.0123abcd.tmp.json" for name in ("bake", "taste")]  # by kills
    for path in left:
        path.touch()
    with bake(tmp_path, alone=True).opened():
        (tmp_path / "bread").touch()
    assert [path.exists() for path in left] == [False, True]
    (tmp_path / "bake.stage.json").unlink()
    with pytest.raises(InputError, match="holds bread, of other origin"), bake(tmp_path, alone=True).opened():
        pass
    assert not (tmp_path / "bake.stage.json").exists()


@pytest.mark.parametrize("content", ["[]", '{"request": {}}', "{"])
def test_a_damaged_note_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "bake.stage.json").write_text(content)
    with pytest.raises(InputError, match=r"bake.stage.json: .*; expected"), bake(tmp_path).opened():
        pass
