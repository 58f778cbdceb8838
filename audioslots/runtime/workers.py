"""Work shared by processes or threads, its results in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from audioslots.runtime.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2  # items per worker that may be submitted before their results are taken: bounds memory
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def in_order(work: Callable[[Item], Result], items: Iterable[Item], jobs: int) -> Iterator[Result]:
    """``map(work, items)`` by ``jobs`` processes, a few items ahead of the results taken; 1 means this process.

    The processes are spawned, with one thread each, so a script needs the usual ``if __name__ == "__main__"``.

    Raises:
        InputError: a process was killed, most likely because memory ran out.
    """
    if jobs == 1:
        yield from map(work, items)
        return
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)  # read by the libraries when a spawned process loads them
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_end_with_parent)
    try:
        yield from _submit(pool, work, items, AHEAD * jobs)
    except BrokenProcessPool:
        raise InputError(
            f"--jobs: one of {jobs} worker processes was killed, usually for lack of memory; use fewer jobs"
        ) from None
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def ahead(threads: int, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``map(work, items)`` by threads, each at most one item ahead of the results taken, plus one finished result."""
    return _submit(ThreadPoolExecutor(threads), work, items, threads + 1)


def _submit(pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], most: int) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Let a worker end when its parent is killed, and leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
