"""An output folder that one process at a time writes into."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from audioslots.errors import InputError

try:
    import fcntl
except ImportError:  # not on Windows, where two writers of one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
FULL = (errno.ENOSPC, errno.EDQUOT)
LOOK_S = 1.0  # between two looks at a folder that another process holds
patient = False
"""Whether this process waits for others; ``audioslots --wait`` sets it."""


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Make ``folder`` and keep every other process out of it; the lock goes with the process, even a killed one.

    The lock file says who holds it: host, process, since when. A folder that stays empty is removed again. Where
    processes are on several machines, their shared file system has to keep locks (flock) for all of them.

    Raises:
        InputError: the folder cannot be made or written, another process holds it and this one is not ``patient``, or
            the disk fills up meanwhile.
    """
    folder = Path(folder)
    lock, made = folder / LOCK, not folder.exists()
    try:
        descriptor = _locked(lock)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); expected a folder to write into") from None
    try:
        yield folder
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise InputError(f"{folder}: {error.strerror}; expected more room: free some, then run again") from None
    finally:
        lock.unlink(missing_ok=True)  # while it is held: whoever opened it before sees that it is gone
        os.close(descriptor)
        if made:
            with suppress(OSError):  # it holds something: the usual case
                folder.rmdir()


def _locked(lock: Path) -> int:
    """Descriptor of the lock file, held; its folder is made."""
    told = False
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl is None:
            return descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            if not patient:
                raise InputError(
                    f"{lock.parent}: another process writes into it{holder}; expected to be alone"
                ) from None
            if not told:
                print(f"{lock.parent}: waiting for another process{holder}", file=sys.stderr, flush=True)
            told = True
            time.sleep(LOOK_S)
            continue
        except OSError:  # no locks on this file system
            os.close(descriptor)
            raise
        if lock.exists() and os.path.samestat(os.fstat(descriptor), os.stat(lock)):
            since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            os.ftruncate(descriptor, 0)  # a killed process has left its own
            os.write(
                descriptor, json.dumps({"host": socket.gethostname(), "process": os.getpid(), "since": since}).encode()
            )
            return descriptor
        os.close(descriptor)  # its holder removed it just before it was ours


def _holder(descriptor: int) -> str:
    """Who holds the lock, as it has written down."""
    try:
        written = json.loads(os.read(descriptor, 4096))
        return f" (process {written['process']} on {written['host']}, since {written['since']})"
    except (OSError, ValueError, KeyError, TypeError):  # it is about to write it
        return ""


def require_room(folder: Path, needed: int) -> None:
    """Check that the disk of an existing folder has ``needed`` bytes left.

    Raises:
        InputError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(f"{folder}: {free / 1e9:.3g} GB free; expected at least {needed / 1e9:.3g} GB")
