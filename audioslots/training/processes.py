"""The processes of one run: signals that ask it to stop, and helpers that end with the first process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from audioslots.runtime.errors import InputError, Interrupted

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # the last: Slurm's warning before the time limit


@contextmanager
def stop_asked() -> Iterator[list[int]]:
    """A list that is empty until SIGTERM, SIGINT or SIGUSR1 arrives."""
    asked: list[int] = []
    before = {name: signal.signal(name, lambda number, _: asked.append(number)) for name in STOP_SIGNALS}
    try:
        yield asked
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def is_first() -> bool:
    """Whether this process is the run's first, which alone writes; Fabric starts the others with LOCAL_RANK set."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0


@contextmanager
def following() -> Iterator[None]:
    """What every process but the first does: end when the first is killed, and leave it to the first to say why."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except (InputError, Interrupted):
        raise SystemExit(0) from None
