"""Packing that is killed, crowded out or out of room: what was packed is kept, and nothing damaged ever is."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from audioslots.data.training import packing
from audioslots.data.training.packing import pack
from audioslots.runtime.errors import InputError
from audioslots.runtime.stage import Options, Stage, using

RATE = 8000


@pytest.fixture(scope="module")
def whole(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train-clean`` packed by an undisturbed run."""
    out = tmp_path_factory.mktemp("whole") / "packed"
    pack(made_corpus, "train-clean", out, RATE)
    return out


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The utterances that are converted from now on."""
    paths: list[str] = []
    convert = packing._convert

    def counted(corpus: Path, rate: int, path: str, noise: bool) -> tuple[bytes, float, float]:
        paths.append(path)
        return convert(corpus, rate, path, noise)

    monkeypatch.setattr(packing, "_convert", counted)
    return paths


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith((".lock", ".stage.json"))
    }


def unfinished(whole: Path, out: Path, rows: int) -> Path:
    """A folder as a run leaves it that is killed after so many utterances, in the middle of a write."""
    out.mkdir()
    shutil.copy(whole / "pack.stage.json", out)
    lines = (whole / "index.csv").read_bytes().splitlines(keepends=True)
    (out / "unfinished.csv").write_bytes(b"".join(lines[: rows + 1]) + lines[rows + 1][:7])
    end = sum(int(line.split(b",")[4]) for line in lines[1 : rows + 1])
    (out / "unfinished.i16").write_bytes((whole / "speech.i16").read_bytes()[: 2 * end + 1001])
    return out


@pytest.mark.parametrize("rows", [0, 1, 20])
def test_a_killed_run_is_continued_where_it_stopped(made_corpus, whole, tmp_path, converted, rows: int) -> None:
    out = unfinished(whole, tmp_path / "out", rows)
    pack(made_corpus, "train-clean", out, RATE)
    assert content(out) == content(whole)
    assert len(converted) == 24 - rows


@pytest.mark.parametrize(("name", "place"), [("unfinished.i16", 100_000), ("unfinished.csv", 400)])
def test_what_was_damaged_meanwhile_is_packed_anew(made_corpus, whole, tmp_path, name: str, place: int) -> None:
    out = unfinished(whole, tmp_path / "out", 20)
    data = bytearray((out / name).read_bytes())
    data[place] ^= 1
    (out / name).write_bytes(data)
    pack(made_corpus, "train-clean", out, RATE)
    assert content(out) == content(whole)


@pytest.mark.parametrize("lost", [["manifest.json"], ["manifest.json", "index.csv"]])
def test_a_folder_that_lost_its_manifest_alone_is_verified_and_closed(
    made_corpus, whole, tmp_path, converted, lost
) -> None:
    out = shutil.copytree(whole, tmp_path / "out")
    for name in lost:
        (out / name).unlink()
    pack(made_corpus, "train-clean", out, RATE)
    assert content(out) == content(whole)
    assert len(converted) == (24 if "index.csv" in lost else 0)


def test_a_run_killed_between_the_two_renames_is_closed(made_corpus, whole, tmp_path, converted) -> None:
    out = shutil.copytree(whole, tmp_path / "out")
    (out / "manifest.json").unlink()
    (out / "index.csv").rename(out / "unfinished.csv")
    pack(made_corpus, "train-clean", out, RATE)
    assert content(out) == content(whole)
    assert converted == []


def test_an_unfinished_run_of_another_rate_is_refused_or_made_anew(
    made_corpus, whole, tmp_path, converted, monkeypatch
) -> None:
    out = unfinished(whole, tmp_path / "out", 20)
    with pytest.raises(InputError, match=r"pack.stage.json: rate is 8000; expected 16000, .* or --overwrite"):
        pack(made_corpus, "train-clean", out, 16_000)
    with using(Options(overwrite=True)):
        pack(made_corpus, "train-clean", out, 16_000)
        assert len(converted) == 24


def test_a_second_run_into_one_folder_is_refused(made_corpus: Path, whole: Path, tmp_path: Path) -> None:
    with (
        Stage(tmp_path / "out", "pack", {}, ()).locked(),
        pytest.raises(InputError, match="out: another process works there"),
    ):
        pack(made_corpus, "train-clean", tmp_path / "out", RATE)
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / ".pack.lock").touch()  # as a killed run leaves it
    pack(made_corpus, "train-clean", tmp_path / "out", RATE)
    assert content(tmp_path / "out") == content(whole)


def test_a_place_that_cannot_be_written_is_named(made_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="out: cannot be written"):
        pack(made_corpus, "train-clean", tmp_path / "file" / "out", RATE)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_without_enough_room_is_refused_before_anything_is_packed(
    made_corpus, tmp_path, monkeypatch, converted
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1_000_000))
    with pytest.raises(InputError, match=r"out: 0.001 GB free; expected at least 0.00\d+ GB"):
        pack(made_corpus, "train-clean", tmp_path / "out", RATE)
    assert converted == []


def test_a_disk_that_fills_up_is_one_line_and_the_run_goes_on_later(
    made_corpus, whole, small_disk, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(packing, "require_room", lambda folder, needed: None)
    with pytest.raises(InputError, match="packed: No space left on device; expected more room"):
        pack(made_corpus, "train-clean", small_disk / "packed", RATE)
    assert set(content(small_disk / "packed")) == {"unfinished.i16", "unfinished.csv"}
    out = shutil.copytree(small_disk / "packed", tmp_path / "out")
    pack(made_corpus, "train-clean", out, RATE)
    assert content(out) == content(whole)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_leave_no_trace(made_corpus: Path, whole: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    out, moments = tmp_path / "out", random.Random(0)
    started = time.perf_counter()
    pack(made_corpus, "train-clean", tmp_path / "timed", RATE)
    usual = time.perf_counter() - started
    killed = 0
    for _ in range(100):
        process = context.Process(target=pack, args=(made_corpus, "train-clean", out, RATE))
        process.start()
        process.join(moments.uniform(0, usual / 3))
        if process.is_alive() and process.pid:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.join()
        if process.exitcode == 0:
            assert content(out) == content(whole)
            shutil.rmtree(out)
        if killed == 20:
            break
    assert killed == 20
    pack(made_corpus, "train-clean", out, RATE)
    assert content(out) == content(whole)


PEAK = """
import sys
from pathlib import Path
from types import SimpleNamespace
from audioslots.data.training.packing import pack
pack(Path(sys.argv[1]), "train-clean", Path(sys.argv[2]), 8000)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_corpus(made_corpus: Path, tmp_path: Path) -> None:
    flacs = sorted(made_corpus.glob("train-clean/*/*/*.flac"))
    peaks = []
    for count in (40, 400):
        corpus = tmp_path / str(count)
        for number in range(count):
            path = corpus / "train-clean" / "101" / str(number) / f"101-{number}-0000.flac"
            path.parent.mkdir(parents=True)
            os.link(flacs[number % len(flacs)], path)
        shutil.copy(made_corpus / "SPEAKERS.TXT", corpus)
        command = [sys.executable, "-c", PEAK, corpus, corpus / "packed"]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] < 1.3 * peaks[0], f"{peaks} KiB"
