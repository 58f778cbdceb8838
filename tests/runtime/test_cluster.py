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


def made_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch, **answers: str) -> None:
    """Programs of Slurm's names, which do as is said, alone on the PATH."""
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\n{(ANSWERS | answers).get(name, 'exit 1')}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_wall_time_grows_with_the_attempt() -> None:
    assert [minutes(60)(None, attempt) for attempt in (1, 2, 3)] == [60, 120, 180]


def test_site_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (site("GRES"), site("TRAIN_HOURS", float), site("ACCOUNTING", bool)) == ("", 0.0, False)
    for name, given, kind, read in (("GRES", "gpu:1", str, "gpu:1"), ("TRAIN_HOURS", "1.5", float, 1.5)):
        monkeypatch.setenv(f"AUDIOSLOTS_{name}", given)
        assert site(name, kind) == read
    for given in ("yes", "no"):
        monkeypatch.setenv("AUDIOSLOTS_ACCOUNTING", given)
        assert site("ACCOUNTING", bool) == (given == "yes")


@pytest.mark.parametrize(("kind", "given"), [(bool, "1"), (bool, "true"), (float, "48h")])
def test_site_setting_of_another_kind_is_named(
    kind: type, given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUDIOSLOTS_SOME", given)
    with pytest.raises(SystemExit):
        site("SOME", kind)
    assert f"AUDIOSLOTS_SOME: {given}; expected" in capsys.readouterr().err


@pytest.mark.parametrize("missing", PROGRAMS[:4])
def test_missing_program_is_named_with_what_to_run_instead(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made_slurm(tmp_path, monkeypatch)
    (tmp_path / missing).unlink()
    with pytest.raises(SystemExit) as end:
        require_slurm(True, ["--profile", "slurm"])
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    assert line.startswith(f"snakemake: {missing}: no such program") and "make demo" in line


def test_cluster_that_does_not_answer_is_named_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made_slurm(tmp_path, monkeypatch, sinfo="echo Unable to contact slurm controller >&2; exit 1")
    with pytest.raises(SystemExit):
        require_slurm(True, ["--profile", "slurm"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "sinfo: Unable to contact slurm controller; expected a cluster that answers" in line


def test_cluster_that_answers_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_slurm(tmp_path, monkeypatch)
    require_slurm(True, ["--profile", "slurm", "--config", "librispeech=PATH"])


@pytest.mark.parametrize(
    "option", ["-n", "-np", "--dry-run", "--unlock", "--lint", "--report=report.zip", "--rulegraph"]
)
def test_what_submits_nothing_needs_no_slurm(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    require_slurm(True, ["--profile", "slurm", option])
    with pytest.raises(SystemExit):
        require_slurm(True, ["--profile", "slurm", "--config", "name=x", "-j", "9", "--notemp"])


def test_the_literal_command_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("which", "bash"):  # all that Snakemake itself looks for
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", "--profile", "slurm", "--directory", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PATH": str(tmp_path / "bin")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = [line for line in run.stdout.splitlines() if not line.startswith("Using ")]  # which profile
    assert run.returncode == 2 and len(lines) == 1, run.stdout
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
