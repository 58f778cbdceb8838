"""Work done in a process of its own that may take no more than so much memory."""

from __future__ import annotations

import multiprocessing
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

STATUS = Path("/proc/self/status")
NOT_KEPT = 77


def within(limit: int, work: Callable[..., None], *given: object) -> None:
    """Call ``work`` in a forked process whose private memory may grow by ``limit`` bytes; it fails where that does.

    Private memory is what the process cannot give back under pressure: its data, and no file that it has mapped.
    """
    if not STATUS.exists():
        pytest.skip("how much memory a process has is read from /proc")

    def limited() -> None:
        has = next(int(line.split()[1]) << 10 for line in STATUS.read_text().splitlines() if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (has + limit, has + limit))
        with suppress(MemoryError):
            np.empty(2 * limit, np.int8)
            os._exit(NOT_KEPT)
        work(*given)

    process = multiprocessing.get_context("fork").Process(target=limited)
    process.start()
    process.join()
    if process.exitcode == NOT_KEPT:
        pytest.skip("the system keeps no limit of memory (RLIMIT_DATA)")
    assert process.exitcode == 0, f"{work.__name__} failed within {limit / 1e6:.0f} MB: see its traceback"
