"""Rendering in a process of its own, to be killed or measured: ``python rendering_process.py kill|measure ...``."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import time
import traceback
from pathlib import Path

from audioslots.data.librimix.rendering import render

LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT  # whether a process has ended, which stays to be waited for


def started(table: Path, corpus: Path, out: Path, jobs: int) -> int:
    """Fork a process that renders at 8 kHz, ``min``, and return its number: importing it anew would take longer."""
    process = os.fork()
    if process == 0:
        try:
            render(table, corpus, out, 8000, "min", jobs)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return process


def written(out: Path) -> int:
    """WAV files that are there under their final names."""
    return sum(not path.name.startswith(".") for path in out.rglob("*.wav"))


def ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kill(table: Path, corpus: Path, out: Path, jobs: int, kills: int) -> dict[str, int]:
    """Render once undisturbed, then ``kills`` times, each killed once a random share of the files is there, and again.

    A moment is a number of files, not of seconds, so that a machine that becomes faster or slower does not matter.
    """
    assert ended(started(table, corpus, out / "undisturbed", jobs)) == 0
    files = written(out / "undisturbed")
    moments = random.Random(jobs)
    killed = 0
    for number in range(kills):
        process = started(table, corpus, out / str(number), jobs)
        moment = moments.randrange(files)
        while written(out / str(number)) < moment and not os.waitid(os.P_PID, process, LOOK):
            time.sleep(0.001)
        os.kill(process, signal.SIGKILL)
        killed += ended(process) == -signal.SIGKILL
        assert ended(started(table, corpus, out / str(number), jobs)) == 0
    return {"killed": killed}


def measure(table: Path, corpus: Path, out: Path, jobs: int) -> dict[str, int]:
    """Render and tell the peak of this process' resident memory (its own: ``ru_maxrss`` would count its parent's)."""
    render(table, corpus, out, 8000, "min", jobs)
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert peak is not None
    return {"peak_bytes": int(peak[1]) * 1024}


if __name__ == "__main__":
    what, *paths = sys.argv[1:5]
    numbers = map(int, sys.argv[5:])
    print(json.dumps({"kill": kill, "measure": measure}[what](*map(Path, paths), *numbers)))
