"""A stage: a folder, the request that fills it, and one process at a time that does so.

Every command that fills a folder opens a stage there, which keeps two files beside the results:

<stage>.stage.json   the request: all that the stage reads; a digest of the code that decides its result; the commit,
                     command and host that made it; when it was begun and, if it is, finished
.<stage>.lock        who works there now; the file stays: what counts is the lock on it, which ends with its process

The same request resumes an interrupted one. Another request is refused. The same request by other code
keeps what is there, with a message. ``audioslots --overwrite`` makes the folder again in both cases.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from audioslots.runtime.code import commit, digest
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, write_json

LOOK_S = 1.0  # between two looks at a folder where another process works


@dataclass(frozen=True)
class Options:
    """How to treat a folder that is in use, or that was made otherwise.

    Attributes:
        wait: for the process that works there, instead of refusing.
        overwrite: make again what another request or other code made, instead of refusing or keeping it.
    """

    wait: bool = False
    overwrite: bool = False


DEFAULT = Options()
_options = ContextVar("stage options", default=DEFAULT)


@contextmanager
def using(options: Options) -> Iterator[None]:
    """Open every stage inside with these options."""
    token = _options.set(options)
    try:
        yield
    finally:
        _options.reset(token)


@dataclass(frozen=True)
class Stage:
    """A folder and the request that fills it.

    Attributes:
        folder: where.
        name: of the stage, such as ``train``; a folder may hold several.
        request: all that it reads and that decides its result, as JSON has it.
        modules: whose code decides the result, see ``code.digest``.
        makes: patterns of the files and folders that it makes, which are removed to make it again.
        keeps: those of them that are renamed instead, to ``<stem>-<key of the request>``.
        alone: whether a folder that holds anything else is refused.
    """

    folder: Path
    name: str
    request: dict[str, Any]
    modules: tuple[str, ...]
    makes: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    alone: bool = False

    @property
    def note(self) -> Path:
        """The file that records what made the folder."""
        return self.folder / f"{self.name}.stage.json"

    @property
    def key(self) -> str:
        """Hash of request and code, 16 hexadecimal digits."""
        return _key(self.request, digest(*self.modules))

    @contextmanager
    def opened(self) -> Iterator[bool]:
        """Do the work of the stage inside, locked; yields whether it was finished before.

        The work resumes what is there, by its own files: a file that is lost is made again.

        Raises:
            InputError: another process works there, unless this one waits; the folder was made for another request,
                unless it is to be overwritten; it holds files of other origin; it cannot be written; the disk is full.
        """
        with self.locked(), _full_disk_named(self.folder):
            for leftover in self.folder.glob(f".{self.note.stem}.*.tmp.*"):  # of a process killed while it wrote
                leftover.unlink()
            if (note := self._checked_note()) is None:
                note = {
                    "request": self.request,
                    "code": digest(*self.modules),
                    "commit": commit(),
                    "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
                    "host": socket.gethostname(),
                    "begun": _now(),
                    "finished": None,
                }
                write_json(self.note, note)
            try:
                yield bool(note["finished"])
            except BaseException:
                if not self._made():
                    self.note.unlink(missing_ok=True)
                raise
            if not note["finished"]:
                write_json(self.note, {**note, "finished": _now()})

    @contextmanager
    def locked(self, wait: bool = False) -> Iterator[None]:
        """Keep other processes out of the stage. This is enough for work of seconds, which is done again every time.

        With ``wait`` this one waits, whatever its options say. Processes on several machines need a file system that
        keeps locks (flock) for all of them.
        """
        path = self.folder / f".{self.name}.lock"
        is_new, new_folders = not path.exists(), [folder for folder in path.parents if not folder.exists()]
        try:
            lock = _lock(path, wait or _options.get().wait)
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot be written ({error.strerror}); expected a folder to write into"
            ) from None
        with lock:
            try:
                yield
            finally:
                with suppress(OSError):
                    if is_new and not self.note.exists() and os.path.samefile(path, lock.fileno()):
                        path.unlink()  # nothing was begun: leave nothing
                        for folder in new_folders:
                            folder.rmdir()

    def _checked_note(self) -> dict[str, Any] | None:
        """What made the folder, if it serves this request; None if nothing did, or what did was cleared away."""
        if not self.note.is_file():
            others = [path.name for path in self.folder.glob("[!.]*") if not path.name.endswith(".stage.json")]
            if self.alone and others:
                raise InputError(f"{self.folder}: holds {min(others)}, of other origin; expected a new or empty folder")
            return None
        note = read_json(self.note)
        if not isinstance(note, dict) or not {"request", "code", "commit", "finished"} <= set(note):
            raise InputError(f"{self.note}: damaged; expected what a stage wrote, or no such file")
        is_other, other_code = note["request"] != self.request, note["code"] != digest(*self.modules)
        if _options.get().overwrite and (is_other or other_code):
            self._clear(_key(note["request"], note["code"]))
            return None
        if is_other:
            differs = difference(note["request"], self.request)
            raise InputError(f"{self.note}: {differs}, another folder, or --overwrite")
        if other_code:
            made = f"made by other code (commit {note['commit'] or 'unknown'})"
            print(f"{self.folder}: {made}; kept; --overwrite makes it again", file=sys.stderr, flush=True)
        return note

    def _made(self) -> list[Path]:
        return [path for pattern in self.makes for path in self.folder.glob(pattern)]

    def _clear(self, key: str) -> None:
        """Remove what was made before, and rename what is kept of it; the note last, so that a kill does no harm."""
        for path in [path for pattern in self.keeps for path in self.folder.glob(pattern)]:
            os.replace(path, path.with_name(f"{path.stem}-{key}{path.suffix}"))
        for path in self._made():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        self.note.unlink()


def difference(content: Any, expected: dict[str, Any]) -> str:
    """The first key, dotted, whose value differs, and both values."""
    if not isinstance(content, dict):
        return "it holds none; expected one"
    ours, theirs = flat(expected), flat(content)
    for key in {**ours, **theirs}:
        if key not in theirs:
            return f"it lacks {key}; expected {ours[key]}"
        if key not in ours or ours[key] != theirs[key]:
            return f"{key} is {theirs[key]}; expected {ours.get(key, 'no such key')}"
    return "no key differs; expected the same"


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, by dotted keys, in their order."""
    leaves: dict[str, Any] = {}
    for key, value in content.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def require_room(folder: Path, needed: int) -> None:
    """Check that the disk of an existing folder has ``needed`` bytes left.

    Raises:
        InputError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(f"{folder}: {free / 1e9:.3g} GB free; expected at least {needed / 1e9:.3g} GB")


def _lock(path: Path, wait: bool) -> IO[str]:
    """The lock file, locked, which says who holds it; its folder is made."""
    job = f" of job {os.environ['SLURM_JOB_ID']}" if os.environ.get("SLURM_JOB_ID") else ""
    is_waiting = False
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as closing:
            lock = closing.enter_context(path.open("a+", encoding="utf-8", errors="replace"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read()
                if not wait:
                    message = f"{path.parent}: another process works there{holder}; wait for it, or pass --wait"
                    raise InputError(message) from None
                if not is_waiting:
                    print(f"{path.parent}: waiting for another process{holder}", file=sys.stderr, flush=True)
                is_waiting = True
                time.sleep(LOOK_S)
                continue
            if os.fstat(lock.fileno()).st_nlink:  # else the folder was removed meanwhile
                lock.truncate(0)
                lock.write(f" (process {os.getpid()}{job} on {socket.gethostname()}, since {_now()})")
                lock.flush()
                closing.pop_all()
                return lock


@contextmanager
def _full_disk_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = error.filename or folder
        raise InputError(f"{place}: {error.strerror}; expected more room: free some, then repeat the command") from None


def _key(request: Any, code: Any) -> str:
    return hashlib.sha256(json.dumps([request, code], sort_keys=True).encode()).hexdigest()[:16]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
