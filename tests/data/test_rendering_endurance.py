"""Rendering that is killed, and rendering of many mixtures: the same files, the same memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from folder_contents import contents

from audioslots.data.librimix.metadata import read_metadata, write_metadata

SCRIPT = Path(__file__).with_name("rendering_process.py")
ROOT = Path(__file__).resolve().parents[2]


def told(what: str, *arguments: object) -> dict[str, int]:
    """Run the script; its answer."""
    command = [sys.executable, str(SCRIPT), what, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def repeated(table: Path, rows: int, path: Path) -> Path:
    """A table of so many rows: those of a small one again and again, under other IDs."""
    small = read_metadata(table)
    large = pd.concat([small] * (rows // len(small)), ignore_index=True)
    large["mixture_ID"] = [f"{mixture}-{number}" for number, mixture in enumerate(large["mixture_ID"])]
    write_metadata(large, path)
    return path


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ten_times_killed_at_a_random_moment_and_started_again_gives_the_undisturbed_folder(
    table: Path, made_corpus: Path, tmp_path: Path, jobs: int
) -> None:
    kills = 10
    rows = repeated(table, 40, tmp_path / "table.csv")
    answer = told("kill", rows, made_corpus, tmp_path / "out", jobs, kills)
    assert answer["killed"] >= kills // 2, "the moments lay after the end"
    undisturbed = contents(tmp_path / "out/undisturbed")
    assert len(undisturbed) == 40 * 3 + 3 + 2
    for number in range(kills):
        assert contents(tmp_path / "out" / str(number)) == undisturbed


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("jobs", [1, 2])
def test_peak_memory_does_not_grow_with_the_number_of_mixtures(
    table: Path, made_corpus: Path, tmp_path: Path, jobs: int
) -> None:
    peaks = []
    for rows in (40, 400):
        many = repeated(table, rows, tmp_path / f"{rows}.csv")
        peaks.append(told("measure", many, made_corpus, tmp_path / str(rows), jobs)["peak_bytes"])
    assert peaks[1] < 1.3 * peaks[0]
