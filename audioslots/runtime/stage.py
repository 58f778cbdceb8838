"""A stage of the work: a folder, what is asked of it, and one process at a time that makes it.

Every verb that fills a folder opens a stage there. Why a folder is made again, or is not, stands in two files of it:

<stage>.stage.json   the request: all that the stage reads; a digest of the code that decides its result; the commit,
                     command and host that made it; when it was begun and, where it is, finished
.<stage>.lock        who works there now; the file stays: what counts is the lock on it, which goes with its process

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
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audioslots.runtime.code import commit, digest
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, write_json

FULL = (errno.ENOSPC, errno.EDQUOT)
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


_options: ContextVar[Options] = ContextVar("stage options")


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
    """What is asked of a folder.

    Attributes:
        folder: where.
        name: of the stage, such as ``train``; a folder may hold several.
        request: all that it reads and that decides its result, as JSON has it.
        modules: whose code decides the result, see ``code.digest``.
        makes: patterns of the files and folders that it makes: what is removed to make it anew.
        keeps: of these, which are renamed instead, to ``<stem>-<key of the request>``.
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
        """The file that says what the folder was made from."""
        return self.folder / f"{self.name}.stage.json"

    @property
    def key(self) -> str:
        """Hash of request and code, 16 hexadecimal digits."""
        return _key(self.request, digest(*self.modules))

    @contextmanager
    def opened(self) -> Iterator[bool]:
        """Do the work of the stage inside, alone; yields whether it was finished before.

        The work resumes what it finds, and tells by its own files how far it was: a file that is lost is made again.

        Raises:
            InputError: another process works there, unless this one waits; the folder was made for another request,
                unless it is to be overwritten; it holds files of other origin; it cannot be written; the disk fills up.
        """
        with self.locked(), _naming_full(self.folder):
            for leftover in self.folder.glob(f".{self.note.stem}.*.tmp.*"):  # of a process killed while it wrote
                leftover.unlink()
            found = self._found()
            if found is None:
                begun = {"host": socket.gethostname(), "begun": _now(), "finished": None}
                made_by = {"code": digest(*self.modules), "commit": commit(), "command": _command()}
                found = {"request": self.request, **made_by, **begun}
                write_json(self.note, found)
            try:
                yield bool(found["finished"])
            except BaseException:
                if not any(self._made()):  # nothing is there that the note could tell of
                    self.note.unlink(missing_ok=True)
                raise
            if not found["finished"]:
                write_json(self.note, {**found, "finished": _now()})

    @contextmanager
    def locked(self, wait: bool = False) -> Iterator[None]:
        """Keep other processes out of the stage. This is enough for work of seconds, which is done again every time.

        With ``wait`` this one waits, whatever its options say. Processes on several machines need a file system that
        keeps locks (flock) for all of them.
        """
        path = self.folder / f".{self.name}.lock"
        new, made = not path.exists(), [folder for folder in path.parents if not folder.exists()]
        try:
            descriptor = _lock(path, wait or _options.get(Options()).wait)
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot be written ({error.strerror}); expected a folder to write into"
            ) from None
        try:
            yield
        finally:
            with suppress(OSError):
                if new and not self.note.exists() and os.path.samestat(os.stat(path), os.fstat(descriptor)):
                    path.unlink()  # nothing was begun: leave nothing
                    for folder in made:
                        folder.rmdir()
            os.close(descriptor)

    def _found(self) -> dict[str, Any] | None:
        """What the folder was made from, if it serves this request; where it is to be made anew, it is cleared."""
        if not self.note.is_file():
            if self.alone and (other := next(self._strangers(), None)):
                raise InputError(f"{self.folder}: holds {other.name}, of other origin; expected a new or empty folder")
            return None
        found = read_json(self.note)
        if not isinstance(found, dict) or not {"request", "code", "commit", "finished"} <= set(found):
            raise InputError(f"{self.note}: damaged; expected what a stage wrote, or no such file")
        differs, other_code = found["request"] != self.request, found["code"] != digest(*self.modules)
        if _options.get(Options()).overwrite and (differs or other_code):
            self._clear(_key(found["request"], found["code"]))
            return None
        if differs:
            raise InputError(
                f"{self.note}: {difference(found['request'], self.request)}, another folder, or --overwrite"
            )
        if other_code:
            made = f"made by other code (commit {found['commit'] or 'unknown'})"
            print(f"{self.folder}: {made}; kept; --overwrite makes it again", file=sys.stderr, flush=True)
        return found

    def _strangers(self) -> Iterator[Path]:
        """What is in the folder beside locks, notes of stages and what killed processes leave."""
        for path in sorted(self.folder.iterdir()):
            if not path.name.endswith((".lock", ".stage.json")) and ".tmp" not in path.suffixes:
                yield path

    def _made(self) -> Iterator[Path]:
        for pattern in self.makes:
            yield from self.folder.glob(pattern)

    def _clear(self, key: str) -> None:
        """Remove what was made before, and rename what is kept of it; the note last, so that a kill is no harm."""
        for path in [path for pattern in self.keeps for path in self.folder.glob(pattern)]:
            os.replace(path, path.with_name(f"{path.stem}-{key}{path.suffix}"))
        for path in list(self._made()):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        self.note.unlink()


def difference(found: Any, expected: dict[str, Any]) -> str:
    """The first key, dotted, that has another value in ``found`` than in ``expected``, and both values."""
    if not isinstance(found, dict):
        return "it holds none; expected one"
    ours, theirs = flat(expected), flat(found)
    for key in {**ours, **theirs}:
        if key not in theirs:
            return f"it lacks {key}; expected {ours[key]}"
        if key not in ours:
            return f"{key} is {theirs[key]}; expected no such key"
        if ours[key] != theirs[key]:
            return f"{key} is {theirs[key]}; expected {ours[key]}"
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


def _lock(path: Path, wait: bool) -> int:
    """Descriptor of the lock file, locked; its folder is made."""
    told = False
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            if not wait:
                raise InputError(f"{path.parent}: another process works there{holder}; expected to be alone") from None
            if not told:
                print(f"{path.parent}: waiting for another process{holder}", file=sys.stderr, flush=True)
            told = True
            time.sleep(LOOK_S)
            continue
        except OSError:  # no locks on this file system
            os.close(descriptor)
            raise
        if os.fstat(descriptor).st_nlink == 0:  # the folder was removed meanwhile
            os.close(descriptor)
            continue
        job = os.environ.get("SLURM_JOB_ID", "")
        holds = {"host": socket.gethostname(), "process": os.getpid(), "since": _now(), "job": job}
        os.ftruncate(descriptor, 0)  # what the one before has left
        os.write(descriptor, json.dumps(holds).encode())
        return descriptor


def _holder(descriptor: int) -> str:
    """Who holds the lock, as it has written down."""
    try:
        written = json.loads(os.read(descriptor, 4096))
        job = f" of job {written['job']}" if written.get("job") else ""
        return f" (process {written['process']}{job} on {written['host']}, since {written['since']})"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # it is about to write it
        return ""


@contextmanager
def _naming_full(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        place = error.filename or folder
        raise InputError(f"{place}: {error.strerror}; expected more room: free some, then repeat the command") from None


def _key(request: Any, code: Any) -> str:
    return hashlib.sha256(json.dumps([request, code], sort_keys=True).encode()).hexdigest()[:16]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
