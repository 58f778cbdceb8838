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


def slow_for_the_first(item: int) -> int:
    if item == 0:
        time.sleep(0.05)
    return item * item


def own_end(item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_items_and_only_a_few_are_worked_on_ahead(jobs: int) -> None:
    taken: list[int] = []

    def items():
        for item in range(40):
            taken.append(item)
            yield item

    results = in_order(slow_for_the_first, items(), jobs)
    assert next(results) == 0
    assert len(taken) <= 1 + AHEAD * jobs
    assert list(results) == [item * item for item in range(1, 40)]


def test_a_process_that_is_killed_is_one_line() -> None:
    with pytest.raises(InputError, match="--jobs: one of 2 processes was killed; expected memory"):
        list(in_order(own_end, [0], 2))


ORPHANED = """
import os, time
from audioslots.runtime.workers import in_order
def forever(item):
    if item:
        time.sleep(60)
    return os.getpid()
if __name__ == "__main__":
    for result in in_order(forever, range(40), 2):
        print(result, flush=True)
"""


def test_processes_end_with_the_one_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "orphaned.py").write_text(ORPHANED)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "orphaned.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    for _ in range(200):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{worker}/stat").exists() and Path(f"/proc/{worker}/stat").read_text().split()[2] == "Z":
            return  # ended, though nobody has asked for its status yet
        time.sleep(0.02)
    pytest.fail("a worker outlived its parent")
