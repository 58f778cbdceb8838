"""The copy of a large file on a node's own disk: made once, whole or not at all."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from audioslots.data.training.packing import Speech, pack
from audioslots.runtime import scratch
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import sha256
from audioslots.runtime.scratch import local_copy
from audioslots.runtime.stage import Stage
from audioslots.training.speech import open_packed


@pytest.fixture
def array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that is copied in several pieces."""
    monkeypatch.setattr(scratch, "PIECE", 100_001)
    path = tmp_path / "speech.i16"
    path.write_bytes(np.random.default_rng(0).bytes(1_000_000))
    yield path


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """The folder of the copies, which does not exist yet."""
    return tmp_path / "disk" / "speech"


def copies(disk: Path) -> list[Path]:
    return sorted(path for path in disk.glob("*") if path.suffix != ".lock")


def copy_and_stat(array: Path, digest: str, disk: Path) -> int:
    """The inode of the copy: another one each time that the file is copied."""
    return local_copy(array, digest, disk).stat().st_ino


def test_speech_reads_the_same_from_its_copy(made_corpus: Path, tmp_path: Path, disk: Path) -> None:
    pack(made_corpus, "train-clean", tmp_path / "packed", 8000)
    speech, copied = Speech.open(tmp_path / "packed"), open_packed(tmp_path / "packed", disk)
    assert [Path(copied.samples.filename)] == copies(disk)
    assert copied.samples.dtype == speech.samples.dtype and np.array_equal(copied.samples, speech.samples)


def test_a_whole_copy_is_used_and_one_cut_short_is_made_again(array: Path, disk: Path) -> None:
    digest = sha256(array)
    copy = local_copy(array, digest, disk)
    assert copy.name == f"audioslots-{os.getuid()}-{digest[:16]}.i16" and copies(disk) == [copy]
    assert copy.stat().st_ino == copy_and_stat(array, digest, disk)
    os.truncate(copy, 1000)
    (disk / f".{copy.stem}.01234567.tmp.i16").write_bytes(b"of a process that was killed")
    assert local_copy(array, digest, disk).read_bytes() == array.read_bytes() and copies(disk) == [copy]


def test_a_damaged_file_is_named_and_leaves_no_copy(array: Path, disk: Path) -> None:
    with pytest.raises(InputError, match=r"speech\.i16: does not match manifest\.json; expected SHA-256 0{64}$"):
        local_copy(array, "0" * 64, disk)
    assert copies(disk) == []


def test_a_disk_without_room_is_named_before_anything_is_copied(array: Path, disk: Path, monkeypatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"disk/speech: 1e-06 GB free; expected at least 0\.001 GB$"):
        local_copy(array, sha256(array), disk)
    assert copies(disk) == []


def test_a_folder_that_cannot_be_written_is_named(array: Path, disk: Path) -> None:
    disk.parent.write_text("a file")
    with pytest.raises(InputError, match="disk/speech: cannot be written"):
        local_copy(array, sha256(array), disk)


def test_variables_are_those_of_the_process_that_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_JOB", "/disk/7")
    monkeypatch.delenv("OF_NONE", raising=False)
    assert scratch.expanded("$OF_THE_JOB/speech") == scratch.expanded("${OF_THE_JOB}/speech") == Path("/disk/7/speech")
    with pytest.raises(InputError, match=r"--scratch: \$OF_NONE/speech: a variable that is not set; expected"):
        scratch.expanded("$OF_NONE/speech")


def test_a_process_that_comes_during_a_copy_waits_without_being_asked_to(array: Path, disk: Path, monkeypatch) -> None:
    monkeypatch.setattr("audioslots.runtime.stage.LOOK_S", 0.01)
    digest = sha256(array)
    copy, inodes = disk / f"audioslots-{os.getuid()}-{digest[:16]}.i16", []
    with ExitStack() as first:
        first.enter_context(Stage(disk, copy.stem, {}, ()).locked())

        class Errors(io.StringIO):
            def write(self, text: str) -> int:
                if f"{disk}: waiting for another process" in text:
                    shutil.copy(array, copy)
                    inodes.append(copy.stat().st_ino)
                    first.close()
                return super().write(text)

        monkeypatch.setattr(sys, "stderr", Errors())
        assert inodes == [] and [copy_and_stat(array, digest, disk)] == inodes
    assert copies(disk) == [copy]


def test_of_several_processes_one_copies(array: Path, disk: Path) -> None:
    digest = sha256(array)
    with ProcessPoolExecutor(3) as pool:
        futures = [pool.submit(copy_and_stat, array, digest, disk) for _ in range(3)]
        assert len({future.result() for future in futures}) == 1
    assert [copy.read_bytes() for copy in copies(disk)] == [array.read_bytes()]
