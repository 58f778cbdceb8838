"""A machine's GPUs: each training has one of its own, and a local run starts no more trainings than there are GPUs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from running import ROOT, TINY, command, environment

from audioslots.config.benchmark import read_benchmark
from audioslots.runtime import gpus

PROGRAM = """\
#!{python}
import json, os, sys, time
from pathlib import Path
from audioslots.runtime.gpus import take

take()
out, places = Path(sys.argv[sys.argv.index("--out") + 1]), Path({places!r})
began = time.time()
(places / f"{{os.getpid()}}.began").touch()
due = -(-len(list(places.glob("*.began"))) // {gpus}) * {gpus}  # as many beside each other as there are GPUs
while len(list(places.glob("*.began"))) < due and time.time() < began + 60:
    time.sleep(0.05)
time.sleep(0.5)
for name in ("model.safetensors", "history.csv", "system.json"):
    (out / name).write_text("")
ran = dict(gpu=os.environ.get("CUDA_VISIBLE_DEVICES"), began=began, ended=time.time())
(places / f"{{os.getpid()}}.json").write_text(json.dumps(ran))
"""
"""Stands for `audioslots train`: takes a GPU, and says when it ran on which."""


def listing(folder: Path, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an nvidia-smi that lists these GPUs on the PATH."""
    folder.mkdir(exist_ok=True)
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\n" + "".join(f"echo {name}\n" for name in names))
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.mark.parametrize(
    ("given", "expected"),
    [("", []), ("-1", []), ("1", ["1"]), ("0, 2,-1,3", ["0", "2"]), ("GPU-a,GPU-b", ["GPU-a", "GPU-b"])],
)
def test_what_the_environment_makes_visible_is_visible(
    given: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert gpus.visible() == expected


def test_without_the_environment_all_that_the_driver_lists_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing(tmp_path / "bin", ["GPU-a", "GPU-b"], monkeypatch)
    assert gpus.visible() == ["GPU-a", "GPU-b"]
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\necho No devices were found\nexit 6\n")
    assert gpus.visible() == []
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.visible() == []


def taken(count: int, **extra: str) -> tuple[str, subprocess.Popen[str]]:
    """What a new process sees once it has taken so many, and that process, which holds them until its input ends."""
    script = f"import os; from audioslots.runtime.gpus import take; take({count}); "
    script += "print(os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment() | extra,
    )
    assert process.stdout
    return process.stdout.readline().strip(), process


def test_every_process_takes_a_gpu_that_is_free_and_gives_it_back_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing(tmp_path / "bin", ["GPU-a", "GPU-b", "GPU-c"], monkeypatch)
    found, processes = zip(*(taken(count) for count in (1, 2, 1, 3)), strict=True)
    assert found == ("GPU-a", "GPU-b,GPU-c", "GPU-a", "None")  # the third shares; the last asks for all there are
    processes[1].kill()
    processes[1].wait()
    again, process = taken(1)
    assert again == "GPU-b"
    for one in (*processes, process):
        one.kill()
        one.communicate()


def test_a_job_of_a_cluster_keeps_the_gpu_that_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing(tmp_path / "bin", ["GPU-a", "GPU-b"], monkeypatch)
    held = [taken(1, CUDA_VISIBLE_DEVICES="1") for _ in range(2)]
    assert [seen for seen, _ in held] == ["1", "1"]
    for _, process in held:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("names", [["GPU-a"], ["GPU-a", "GPU-b"]], ids=["one GPU", "two GPUs"])
def test_a_local_run_trains_once_a_gpu_at_a_time(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing(tmp_path / "bin", names, monkeypatch)
    program = tmp_path / "bin" / "audioslots"
    (tmp_path / "ran").mkdir()
    program.write_text(PROGRAM.format(python=sys.executable, places=str(tmp_path / "ran"), gpus=len(names)))
    program.chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir()
    benchmark = folder / "tiny.yaml"
    benchmark.write_text(json.dumps(TINY | {"seeds": [0, 1, 2, 3], "device": "auto"}))
    read = read_benchmark(benchmark, beside=[ROOT])
    for place in (read.corpus_root, read.packed("train-clean"), read.packed("dev-clean")):
        (folder / place).mkdir(parents=True)
        (folder / place / "manifest.json").write_text("{}")
    surroundings = environment()
    surroundings["PATH"] = f"{tmp_path / 'bin'}:{surroundings['PATH']}"
    wanted = [f"results/tiny/runs/audioslots/seed{seed}/model.safetensors" for seed in range(4)]
    asked = command(
        folder, "--workflow-profile", str(ROOT / "profiles/default"), "--configfile", str(benchmark), "--", *wanted
    )
    asked[asked.index("--cores") + 1] = "16"
    done = subprocess.run(asked, env=surroundings, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[-3000:]
    ran = sorted(
        (json.loads(path.read_text()) for path in (tmp_path / "ran").glob("*.json")), key=lambda one: one["began"]
    )
    assert len(ran) == 4
    for name in names:
        own = [one for one in ran if one["gpu"] in (name, None)]  # the only GPU is not named
        assert all(earlier["ended"] <= later["began"] for earlier, later in zip(own, own[1:], strict=False))
    at_once = [sum(other["began"] <= one["began"] < other["ended"] for other in ran) for one in ran]
    assert max(at_once) == len(names)
