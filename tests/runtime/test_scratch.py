"""The copy of packed speech on a node's own disk: made once, whole or not at all, and the same to read."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from audioslots.data.training.packing import Speech, pack
from audioslots.runtime import scratch
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import sha256
from audioslots.runtime.stage import Stage
from audioslots.training.speech import open_packed


@pytest.fixture(scope="module")
def packed(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "train-clean"
    pack(made_corpus, "train-clean", out, 8000)
    return out


@pytest.fixture
def own(packed: Path, tmp_path: Path) -> Path:
    """A copy of ``packed`` to damage."""
    return Path(shutil.copytree(packed, tmp_path / "own"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder of the copies, which is not there yet."""
    return tmp_path / "disk" / "speech"


def copies(place: Path) -> list[Path]:
    """All that is in the folder, but for locks."""
    return sorted(path for path in place.glob("*") if path.suffix != ".lock")


def test_the_copy_alone_is_left_and_reads_the_same(packed: Path, place: Path) -> None:
    expected, found = Speech.open(packed), open_packed(packed, place)
    (copy,) = copies(place)
    digest = json.loads((packed / "manifest.json").read_text())["sha256"]["speech.i16"]
    assert copy.name == f"audioslots-{os.getuid()}-{digest[:16]}.i16"
    assert Path(found.samples.filename) == copy
    assert found.samples.dtype == expected.samples.dtype and np.array_equal(found.samples, expected.samples)
    assert found.index.equals(expected.index) and (found.rate, found.subset) == (expected.rate, expected.subset)


def test_speech_longer_than_a_piece_is_copied_whole(packed: Path, place: Path, monkeypatch) -> None:
    monkeypatch.setattr(scratch, "PIECE", 100_001)
    open_packed(packed, place)
    assert copies(place)[0].read_bytes() == (packed / "speech.i16").read_bytes()


def test_a_copy_that_is_there_is_used_and_one_cut_short_is_made_again(packed: Path, place: Path, monkeypatch) -> None:
    open_packed(packed, place)
    (copy,) = copies(place)
    with monkeypatch.context() as without:
        without.setattr(scratch, "_copy", lambda *_: pytest.fail("copied again"))
        open_packed(packed, place)
    os.truncate(copy, 1000)
    (place / f".{copy.stem}.01234567.tmp.i16").write_bytes(b"of a process that was killed")
    open_packed(packed, place)
    assert copies(place) == [copy] and copy.read_bytes() == (packed / "speech.i16").read_bytes()


def test_a_folder_of_other_content_has_another_copy(packed: Path, own: Path, place: Path) -> None:
    manifest = json.loads((own / "manifest.json").read_text())
    array = np.fromfile(own / "speech.i16", np.int16)[::-1]
    array.tofile(own / "speech.i16")
    manifest["sha256"]["speech.i16"] = sha256(own / "speech.i16")
    (own / "manifest.json").write_text(json.dumps(manifest))
    assert np.array_equal(open_packed(packed, place).samples, open_packed(own, place).samples[::-1])
    assert len(copies(place)) == 2


def test_damaged_speech_is_named_and_leaves_no_copy(own: Path, place: Path) -> None:
    with open(own / "speech.i16", "r+b") as array:
        array.seek(5001)
        array.write(b"damage")
    with pytest.raises(InputError, match=r"own/speech\.i16: does not match manifest\.json; expected SHA-256 \w{64}$"):
        open_packed(own, place)
    assert copies(place) == []
    os.truncate(own / "speech.i16", 5000)
    with pytest.raises(InputError, match=r"own/speech\.i16: 5000 bytes; expected \d+$"):
        open_packed(own, place)


def test_a_disk_without_room_is_named_before_anything_is_copied(packed: Path, place: Path, monkeypatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"disk/speech: 1e-06 GB free; expected at least 0\.00\d+ GB$"):
        open_packed(packed, place)
    assert copies(place) == []


def test_a_folder_that_cannot_be_written_is_named(packed: Path, place: Path) -> None:
    place.parent.write_text("a file")
    with pytest.raises(InputError, match="disk/speech: cannot be written"):
        open_packed(packed, place)


def test_variables_are_those_of_the_process_that_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_JOB", "/disk/7")
    monkeypatch.delenv("OF_NONE", raising=False)
    assert scratch.expanded("$OF_THE_JOB/speech") == scratch.expanded("${OF_THE_JOB}/speech") == Path("/disk/7/speech")
    with pytest.raises(InputError, match=r"--scratch: \$OF_NONE/speech: a variable that is not set; expected"):
        scratch.expanded("$OF_NONE/speech")


def test_who_comes_while_another_copies_waits_and_uses_its_copy(packed: Path, place: Path, monkeypatch) -> None:
    """Without ``--wait`` too."""
    monkeypatch.setattr("audioslots.runtime.stage.LOOK_S", 0.01)
    digest = json.loads((packed / "manifest.json").read_text())["sha256"]["speech.i16"]
    copy = place / f"audioslots-{os.getuid()}-{digest[:16]}.i16"
    began, told = threading.Event(), list[str]()

    def first() -> None:
        with Stage(place, copy.stem, {}, ()).locked():
            began.set()
            while f"{place}: waiting for another process" not in "".join(told):
                time.sleep(0.01)
            shutil.copy(packed / "speech.i16", copy)

    monkeypatch.setattr("sys.stderr", SimpleNamespace(write=told.append, flush=lambda: None))
    monkeypatch.setattr(scratch, "_copy", lambda *_: pytest.fail("copied again"))
    copying = threading.Thread(target=first)
    copying.start()
    began.wait()
    found = open_packed(packed, place)
    copying.join()
    assert Path(found.samples.filename) == copy and copies(place) == [copy]


def test_of_several_processes_one_copies(packed: Path, place: Path, tmp_path: Path, monkeypatch) -> None:
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr("audioslots.runtime.stage.LOOK_S", 0.01)
    gate, copied, copy = context.Barrier(3), context.Value("i", 0), scratch._copy

    def counted(*given: Any) -> str:
        with copied.get_lock():
            copied.value += 1
        time.sleep(0.2)  # the others come meanwhile
        return copy(*given)

    def read(number: int) -> None:
        gate.wait()
        np.save(tmp_path / f"{number}.npy", open_packed(packed, place).samples)

    monkeypatch.setattr(scratch, "_copy", counted)
    started = [context.Process(target=read, args=(number,)) for number in range(3)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0, 0]
    for number in range(3):
        assert np.array_equal(np.load(tmp_path / f"{number}.npy"), Speech.open(packed).samples)
    assert copied.value == 1 and len(copies(place)) == 1
