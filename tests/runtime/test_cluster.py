"""What is asked of a cluster, and what is said where there is none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import snakemake_executor_plugin_slurm as slurm

from audioslots.runtime.cluster import minutes, require_slurm, site

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol")
ANSWERS = {"sinfo": "exit 0", "scontrol": "echo 'MinJobAge               = 300 sec'"}


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test changes of it is changed back."""
    monkeypatch.setattr(slurm, "get_min_job_age", slurm.get_min_job_age)


def make_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch, **answers: str) -> None:
    """Programs of Slurm's names that answer so, and no others on the PATH."""
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\n{(ANSWERS | answers).get(name, 'exit 1')}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """The line with which a submission ends."""
    with pytest.raises(SystemExit) as end:
        require_slurm(True, ["--profile", "slurm"])
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    return line


def test_wall_time_grows_with_the_attempt() -> None:
    assert [minutes(60)(None, attempt) for attempt in (1, 2, 3)] == [60, 120, 180]


@pytest.mark.parametrize(
    ("kind", "given", "read"),
    [
        *((str, "gpu:1", "gpu:1"), (float, "1.5", 1.5), (bool, "yes", True), (bool, "no", False)),
        *((str, None, ""), (float, None, 0.0), (bool, None, False)),
    ],
)
def test_site_settings_are_read_from_the_environment(
    kind: type, given: str | None, read: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is not None:
        monkeypatch.setenv("AUDIOSLOTS_SOME", given)
    assert site("SOME", kind) == read


@pytest.mark.parametrize(("kind", "given"), [(bool, "true"), (float, "48h")])
def test_site_setting_of_another_kind_is_named(
    kind: type, given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUDIOSLOTS_SOME", given)
    with pytest.raises(SystemExit):
        site("SOME", kind)
    assert f"AUDIOSLOTS_SOME: {given}; expected" in capsys.readouterr().err


def test_a_cluster_that_is_not_there_or_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_slurm(tmp_path, monkeypatch)
    require_slurm(True, ["--profile", "slurm", "--config", "librispeech=PATH"])
    make_slurm(tmp_path, monkeypatch, sinfo="echo Unable to contact slurm controller >&2; exit 1")
    assert "sinfo: Unable to contact slurm controller; expected a cluster that answers" in refused(capsys)
    (tmp_path / "scancel").unlink()
    line = refused(capsys)
    assert line.startswith("snakemake: scancel: no such program") and "make demo" in line


@pytest.mark.parametrize("option", ["-n", "-np", "--dry-run", "--unlock", "--report=report.zip"])
def test_what_submits_nothing_needs_no_slurm(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    require_slurm(True, ["--profile", "slurm", option])
    with pytest.raises(SystemExit):
        require_slurm(True, ["--profile", "slurm", "--config", "name=x", "-j", "9", "--notemp"])


def test_the_literal_command_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("which", "bash"):  # all that Snakemake itself looks for
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    asked = [sys.executable, "-m", "snakemake", "--profile", "slurm", "--directory", str(tmp_path)]
    known = os.environ | {"PATH": str(tmp_path / "bin")}
    run = subprocess.run(asked, cwd=ROOT, env=known, capture_output=True, text=True)
    lines = [line for line in (run.stdout + run.stderr).splitlines() if not line.startswith("Using ")]  # which profile
    assert run.returncode == 2 and len(lines) == 1, lines
    assert lines[0].startswith("snakemake: sbatch: no such program; expected Slurm's commands")


def test_what_needs_a_gpu_goes_to_the_gpus_partition_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting in ("PARTITION", "GPU_PARTITION"):
        monkeypatch.setenv(f"AUDIOSLOTS_{setting}", setting.lower())
    asked = ["--profile", "slurm", "--dry-run", "--configfile", "config/smoke.yaml", "--directory", str(tmp_path)]
    run = subprocess.run([sys.executable, "-m", "snakemake", *asked], cwd=ROOT, capture_output=True, text=True)
    shown = re.findall(r"^rule (\w+):\n(?: .*\n)*? +resources: .*slurm_partition=(\w+)", run.stdout, re.MULTILINE)
    assert {"evaluate", "evaluate_mixture", "report", "pack"} <= {rule for rule, where in shown if where == "partition"}
    assert {rule for rule, where in shown if where == "gpu_partition"} == {"train", "separate"}
