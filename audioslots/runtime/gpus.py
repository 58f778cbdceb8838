"""The GPUs of this machine: how many a local run may use at once, and which of them a process takes."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from itertools import takewhile
from pathlib import Path
from typing import IO

_held: list[IO[str]] = []  # locks of the GPUs that this process has taken, until it ends


def visible() -> list[str]:
    """Names of the GPUs that this process may use: those of CUDA_VISIBLE_DEVICES, or all that nvidia-smi lists."""
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        names = [name.strip() for name in given.split(",")]
        return list(takewhile(lambda name: name and not name.startswith("-"), names))  # as CUDA reads it
    if not (program := shutil.which("nvidia-smi")):
        return []
    command = [program, "--query-gpu=uuid", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.split() if answer.returncode == 0 else []


def take(count: int = 1) -> None:
    """Restrict this process to ``count`` GPUs, first those that no other process of this project has taken.

    Call it before CUDA starts; the GPUs are held until the process ends. Nothing changes where there are no more GPUs
    than that, as in a job of a cluster.
    """
    names = visible()
    if len(names) <= count:
        return
    free = []
    for name in names:
        lock = (Path(tempfile.gettempdir()) / f"audioslots-{os.getuid()}-gpu-{name}.lock").open("w", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _held.append(lock)
        free.append(name)
        if len(free) == count:
            break
    taken = [name for name in names if name not in free]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join([*free, *taken][:count])
