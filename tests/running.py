"""Snakemake run on a copy of the workflow, and a benchmark small enough for it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
TINY: dict[str, Any] = {
    "name": "tiny",
    "title": "Tiny",
    "rate": 8000,
    "seeds": [0],
    "corpus": {"kind": "synthesized", "speakers": 12, "hours": 0.03, "validation": "dev-clean"},
    "test": {"subset": "test-clean", "count": 2},
    "dev": {"subset": "dev-clean", "count": 2},
    "baselines": ["mixture"],
    "studies": ["audioslots"],
    "examples": 1,
    "device": "cpu",
    "variant": {
        "chunk_s": 0.25,
        "model": {
            **{"width": 16, "heads": 2, "mlp": 16, "spectrogram": {"window": 128, "hop": 64}},
            "encoder": {"kind": "frames", "layers": 1},
            "slots": {"layers": 1},
            "decoder": {"kind": "unfolded", "layers": 1},
        },
        "training": {
            "steps": 4,
            "batch": 2,
            "validate_every": 2,
            "validation_mixtures": 2,
            "checkpoint_every": 1,
        },
    },
}
REPORT = 3000  # characters of a failed run to show: its end


def environment(clone: Path | None = None) -> dict[str, str]:
    """As after activating .venv; with ``clone``, the package of that copy instead of the installed one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    extra = {} if clone is None else {"PYTHONPATH": str(clone)}
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"} | extra


def command(folder: Path, *arguments: str, root: Path = ROOT) -> list[str]:
    where = ["--snakefile", str(root / "Snakefile"), "--directory", str(folder), "--cores", "2"]
    return [sys.executable, "-m", "snakemake", *where, *arguments]


def snakemake(folder: Path, *arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in ``folder``; its output and its errors come out together, in ``stdout``."""
    return subprocess.run(
        command(folder, *arguments, root=root),
        cwd=folder,
        env=environment(None if root == ROOT else root),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def planned(output: str) -> dict[str, int]:
    """Rule -> number of jobs, from Snakemake's table."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE) if rule != "total"}


class Plan(NamedTuple):
    """What a dry run lists: jobs by rule, the commands of `audioslots`, and its whole output."""

    jobs: dict[str, int]
    calls: list[list[str]]
    output: str


def dry_run(folder: Path, *arguments: str, root: Path = ROOT) -> Plan:
    """What Snakemake would run in ``folder``."""
    run = snakemake(folder, "--dry-run", "--printshellcmds", *arguments, root=root)
    assert run.returncode == 0, run.stdout[-REPORT:]
    calls = re.findall(r"audioslots --wait (?:--overwrite )?(.*?) 2?> ", run.stdout)
    return Plan(planned(run.stdout), [shlex.split(call) for call in calls], run.stdout)


def run_all(folder: Path, *arguments: str, root: Path = ROOT) -> str:
    """Run Snakemake to its end; then nothing is left to be done. Its output."""
    run = snakemake(folder, *arguments, root=root)
    assert run.returncode == 0, run.stdout[-REPORT:]
    assert dry_run(folder, *arguments, root=root).jobs == {}
    return run.stdout


def refusal(folder: Path, *arguments: str, root: Path = ROOT) -> str:
    """The one line with which Snakemake ends, of status 2."""
    run = snakemake(folder, *arguments, root=root)
    lines = [line for line in run.stdout.splitlines() if not line.startswith("Using ")]  # which profile
    assert run.returncode == 2 and len(lines) == 1 and lines[0].startswith("snakemake: "), run.stdout
    return lines[0].removeprefix("snakemake: ")


def write_config(path: Path, **other: Any) -> Path:
    path.write_text(yaml.safe_dump(TINY | other))
    return path


def clone(to: Path) -> Path:
    """A copy of the repository, as far as the workflow needs it, to be changed at will."""
    for name in ("workflow", "profiles", "slurm", "config", "ablations", "audioslots"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", to)
    return to


def change_variant(copy: Path, name: str, **delta: Any) -> None:
    """Add a variant to the study ``audioslots`` of a copy of the repository, or change keys of one."""
    study = copy / "ablations" / "audioslots.yaml"
    content = yaml.safe_load(study.read_text())
    content["variants"].setdefault(name, {"title": name.capitalize()}).update(delta)
    study.write_text(yaml.safe_dump(content, sort_keys=False))
