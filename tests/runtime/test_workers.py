"""Work shared by processes: in order, not far ahead, and never outliving who asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audioslots.runtime.errors import InputError
from audioslots.runtime.workers import AHEAD, in_order

ORPHANED = """
import time
from audioslots.runtime.workers import in_order
def work(item):
    time.sleep(120 if item else 0)
    return item
if __name__ == "__main__":
    for result in in_order(work, range(40), 2):
        print(result, flush=True)
"""


def square(item: int) -> int:
    if item == 0:
        time.sleep(0.05)  # so that the second is ready first
    return item * item


def kill_this_process(item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_items_and_only_a_few_are_worked_on_ahead(jobs: int) -> None:
    taken = []
    results = in_order(square, (taken.append(item) or item for item in range(40)), jobs)
    assert next(results) == 0
    assert len(taken) <= 1 + AHEAD * jobs
    assert list(results) == [item * item for item in range(1, 40)]


def test_a_process_that_is_killed_is_one_line() -> None:
    with pytest.raises(InputError, match="--jobs: one of 2 worker processes was killed"):
        list(in_order(kill_this_process, [0], 2))


def test_processes_end_with_the_one_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "orphaned.py").write_text(ORPHANED)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "orphaned.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout and parent.stdout.readline() == "0\n"
        parent.kill()
        parent.communicate(timeout=60)  # ends when all that hold the other end of the pipe have ended
