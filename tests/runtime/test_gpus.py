"""A machine's GPUs: each training has one of its own, and a local run starts no more trainings than there are GPUs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from running import ROOT, TINY, command, environment

from audioslots.config.benchmark import read_benchmark
from audioslots.runtime import gpus

TRAIN = """\
#!{python}
import fcntl, os, sys, time
from pathlib import Path
from audioslots.runtime.gpus import take

take()
out, folder = Path(sys.argv[sys.argv.index("--out") + 1]), Path({folder!r})
busy = (folder / f"{{os.environ.get('CUDA_VISIBLE_DEVICES')}}.busy").open("w")
fcntl.flock(busy, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails if another process uses this GPU
(folder / f"{{os.getpid()}}.ran").touch()
together = -(-len(list(folder.glob("*.ran"))) // {gpus}) * {gpus}
deadline = time.time() + 60
while len(list(folder.glob("*.ran"))) < together:  # as many run at a time as there are GPUs
    assert time.time() < deadline
    time.sleep(0.05)
time.sleep(0.2)  # for others to start, were they allowed to
for name in ("model.safetensors", "history.csv", "system.json"):
    (out / name).touch()
"""
"""Stands for `audioslots train`: takes a GPU, and fails unless it has one of its own."""
TAKE = """
import os
from audioslots.runtime.gpus import take
take({})
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
input()
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put on the PATH an nvidia-smi that runs a shell script, with locks of GPUs in a folder of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def put(script: str) -> Path:
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "nvidia-smi").chmod(0o755)
        return folder

    return put


@pytest.fixture
def take() -> Iterator[Callable[..., tuple[str, subprocess.Popen[str]]]]:
    """Start a process that takes GPUs and holds them; return what it sees then, and the process."""
    with ExitStack() as stack:

        def start(count: int, **extra: str) -> tuple[str, subprocess.Popen[str]]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", TAKE.format(count)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=environment() | extra,
                )
            )
            stack.callback(process.kill)
            assert process.stdout
            return process.stdout.readline().strip(), process

        yield start


@pytest.mark.parametrize(
    ("given", "expected"),
    [("", []), ("-1", []), ("1", ["1"]), ("0, 2,-1,3", ["0", "2"]), ("GPU-a,GPU-b", ["GPU-a", "GPU-b"])],
)
def test_the_environment_limits_what_is_visible(given: str, expected: list[str], monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert gpus.visible() == expected


def test_without_the_environment_all_gpus_of_the_driver_are_visible(machine, tmp_path: Path, monkeypatch) -> None:
    machine("echo GPU-a; echo GPU-b")
    assert gpus.visible() == ["GPU-a", "GPU-b"]
    machine("echo No devices were found; exit 6")
    assert gpus.visible() == []
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.visible() == []


def test_every_process_takes_a_gpu_that_is_free_and_gives_it_back_when_it_ends(machine, take) -> None:
    machine("echo GPU-a; echo GPU-b; echo GPU-c")
    seen, processes = zip(*(take(count) for count in (1, 2, 1, 3)), strict=True)
    assert seen == ("GPU-a", "GPU-b,GPU-c", "GPU-a", "None")  # the third shares; the last asks for all there are
    processes[1].kill()
    processes[1].wait()
    assert take(1)[0] == "GPU-b"


def test_a_job_of_a_cluster_keeps_the_gpu_that_it_was_given(machine, take) -> None:
    machine("echo GPU-a; echo GPU-b")
    assert [take(1, CUDA_VISIBLE_DEVICES="1")[0] for _ in range(2)] == ["1", "1"]


@pytest.mark.parametrize("names", [["GPU-a"], ["GPU-a", "GPU-b"]], ids=["one GPU", "two GPUs"])
def test_a_local_run_trains_once_a_gpu_at_a_time(names: list[str], machine, tmp_path: Path) -> None:
    programs = machine("\n".join(f"echo {name}" for name in names))
    (ran := tmp_path / "ran").mkdir()
    (programs / "audioslots").write_text(TRAIN.format(python=sys.executable, folder=str(ran), gpus=len(names)))
    (programs / "audioslots").chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir()
    benchmark = folder / "tiny.yaml"
    benchmark.write_text(json.dumps(TINY | {"seeds": [0, 1, 2, 3], "device": "auto"}))
    read = read_benchmark(benchmark, beside=[ROOT])
    for place in (read.corpus_root, read.packed("train-clean"), read.packed("dev-clean")):
        (folder / place).mkdir(parents=True)
        (folder / place / "manifest.json").write_text("{}")
    surroundings = environment()
    surroundings["PATH"] = f"{programs}:{surroundings['PATH']}"
    wanted = [f"results/tiny/runs/audioslots/seed{seed}/model.safetensors" for seed in range(4)]
    profile = ["--workflow-profile", str(ROOT / "profiles/default"), "--configfile", str(benchmark)]
    call = command(folder, *profile, "--", *wanted)
    call[call.index("--cores") + 1] = "16"
    done = subprocess.run(call, env=surroundings, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[-3000:]
    assert len(list(ran.glob("*.ran"))) == 4
