"""What can go wrong around a render: bad rows, a full or read-only disk, a second render. One line, exit status 2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from folder_contents import contents

from audioslots.cli import main
from audioslots.data.corpora.folder import RECORD
from audioslots.data.librimix.metadata import draw, write_metadata

SPLIT = Path("Libri2Mix/wav8k/min/test")
Render = Callable[..., tuple[int, str]]


@pytest.fixture
def render(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made_corpus: Path) -> Render:
    """``audioslots mixtures render`` in this process: its exit status, and what it wrote to the error stream."""

    def call(table: Path, out: Path, *options: object) -> tuple[int, str]:
        arguments = ["render", table, "--librispeech", made_corpus, "--out", out, "--rate", 8000, *options]
        return command(*arguments)

    def command(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["audioslots", "mixtures", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    call.command = command  # type: ignore[attr-defined]
    return call


def one_line(ended: tuple[int, str]) -> str:
    status, line = ended
    assert status == 2, line
    assert line.startswith("audioslots: ") and line.count("\n") == 1 and line.endswith("\n") and "; expected " in line
    return line


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 kB, less than the mixtures take."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        mounting = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
        subprocess.run(mounting, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a file system cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(disk)], check=True)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_is_named_leaves_nothing_half_made_and_with_room_the_render_goes_on(
    render: Render, disk: Path, rendered: Path, table: Path, jobs: int
) -> None:
    line = one_line(render(table, disk, "--jobs", jobs))
    assert line.startswith(f"audioslots: {disk / SPLIT}") and "No space left on device" in line
    whole = contents(rendered)
    half = {name: content for name, content in contents(disk).items() if not name.endswith(RECORD)}
    assert half and half.items() <= whole.items()
    assert str(SPLIT / "manifest.json") not in half
    remount(disk, "size=20m")
    assert render(table, disk, "--jobs", jobs)[0] == 0
    assert contents(disk) == whole


def test_a_disk_too_full_for_tables_is_named(render: Render, disk: Path, made_corpus: Path, rendered: Path) -> None:
    filler = disk / "filler"
    with pytest.raises(OSError), open(filler, "wb") as file:
        file.write(bytes(400_000))
    drawn = disk / "drawn.csv"
    line = one_line(render.command("sample", made_corpus / "test-clean", drawn, "--count", 8))  # type: ignore[attr-defined]
    assert line.startswith(f"audioslots: {drawn}: No space left on device")
    assert list(disk.iterdir()) == [filler]


@pytest.mark.parametrize("begun", [False, True])
def test_a_read_only_disk_is_named(render: Render, disk: Path, table: Path, begun: bool) -> None:
    if begun:
        render(table, disk)
    before = contents(disk)
    remount(disk, "ro")
    line = one_line(render(table, disk))
    assert line.startswith(f"audioslots: {disk / SPLIT}") and "Read-only file system" in line
    assert contents(disk) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="a superuser writes into any folder")
def test_a_read_only_folder_is_named(render: Render, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o500)
    assert one_line(render(table, out)).startswith(f"audioslots: {out}")
    assert contents(out) == {}


@pytest.mark.parametrize("place", ["out", "out/Libri2Mix", f"out/{SPLIT}", f"out/{SPLIT}/s1"])
def test_a_file_in_place_of_a_folder_is_named(render: Render, table: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("in the way")
    assert str(tmp_path / "out") in one_line(render(table, tmp_path / "out"))
    assert (tmp_path / place).read_text() == "in the way"


BAD = {
    "missing column": ("source_2_gain", None, "column source_2_gain is missing"),
    "duplicate ID": ("mixture_ID", "{first}", "row 2: mixture_ID {first} is also in row 1"),
    "NaN": ("source_1_gain", "nan", "row 2: source_1_gain is 'nan'"),
    "negative": ("source_2_gain", "-0.5", "row 2: source_2_gain is '-0.5'"),
    "infinite": ("source_1_gain", "inf", "row 2: source_1_gain is 'inf'"),
    "upwards": ("source_1_path", "../1/1/a.flac", "row 2: source_1_path is '../1/1/a.flac'"),
    "absolute": ("source_2_path", "/test-clean/1/1/a.flac", "row 2: source_2_path is '/test-clean/1/1/a.flac'"),
    "ID upwards": ("mixture_ID", "../../escaped", "row 2: mixture_ID is '../../escaped'"),
    "ID absolute": ("mixture_ID", "/escaped", "row 2: mixture_ID is '/escaped'"),
    "long ID": ("mixture_ID", "x" * 300, "row 2: mixture_ID is"),
    "noise upwards": ("noise_path", "tt/../../a.wav", "row 2: noise_path is 'tt/../../a.wav'"),
    "noise gain": ("noise_gain", "-inf", "row 2: noise_gain is '-inf'"),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_bad_metadata_is_one_line_and_makes_nothing(render: Render, table: Path, tmp_path: Path, kind: str) -> None:
    rows = pd.read_csv(table, dtype=str).assign(noise_path="tt/a.wav", noise_gain="1.0")
    column, value, problem = BAD[kind]
    first = rows.loc[0, "mixture_ID"]
    if value is None:
        rows = rows.drop(columns=column)
    else:
        rows.loc[1, column] = value.format(first=first)
    rows.to_csv(tmp_path / "bad.csv", index=False)
    line = one_line(render(tmp_path / "bad.csv", tmp_path / "out"))
    assert line.startswith(f"audioslots: {tmp_path / 'bad.csv'}: {problem.format(first=first)}")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_noise_is_asked_for_by_the_types_option(render: Render, table: Path, made_corpus: Path, tmp_path: Path) -> None:
    assert "wham: not given" in one_line(render(table, tmp_path / "out", "--types", "mix_clean,mix_both"))
    assert "types: loud" in one_line(render(table, tmp_path / "out", "--types", "loud"))
    (tmp_path / "wham").mkdir()
    speech = next(made_corpus.glob("dev-clean/*/*/*.flac"))
    shutil.copy(speech, tmp_path / "wham/noise.flac")
    noisy = draw(made_corpus, "test-clean", sources=2, count=2, seed=0).assign(noise_path="noise.flac", noise_gain=0.5)
    write_metadata(noisy, tmp_path / "noisy.csv")
    options = ("--types", "mix_single,mix_both", "--wham", tmp_path / "wham")
    assert render(tmp_path / "noisy.csv", tmp_path / "out", *options)[0] == 0
    folders = sorted(path.name for path in (tmp_path / "out" / SPLIT).iterdir() if path.is_dir())
    assert folders == ["mix_both", "mix_single", "noise", "s1", "s2"]
