"""An output folder that one process at a time writes into."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audioslots.errors import InputError

try:
    import fcntl
except ImportError:  # not on Windows, where two writers of one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Make ``folder`` and keep every other process out of it; the lock goes with the process, even a killed one.

    Raises:
        InputError: the folder cannot be made or written, another process holds it, or the disk fills up meanwhile.
    """
    folder = Path(folder)
    lock = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
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


def _locked(lock: Path) -> int:
    """Descriptor of the lock file, held."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl is None:
            return descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise InputError(f"{lock.parent}: another process writes into it; expected to be alone") from None
        if lock.exists() and os.path.samestat(os.fstat(descriptor), os.stat(lock)):
            return descriptor
        os.close(descriptor)  # its holder removed it just before it was ours


def require_room(folder: Path, needed: int) -> None:
    """Check that the disk of an existing folder has ``needed`` bytes left.

    Raises:
        InputError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(f"{folder}: {free / 1e9:.3g} GB free; expected at least {needed / 1e9:.3g} GB")
