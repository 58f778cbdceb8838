"""Reading and writing files, so that a crash never leaves half of one under its final name."""

from __future__ import annotations

import hashlib
import io
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from audioslots.runtime.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Parsed = TypeVar("Parsed")


@contextmanager
def written_aside(path: Path, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success sync it and rename it to ``path``, on failure remove it.

    The temporary name keeps the suffix, since some writers (soundfile, pandas) choose the format by it. Leftovers of
    killed processes are called ``.<stem>.<hex>.tmp<suffix>`` and are safe to delete. A caller that writes thousands of
    files may leave out the sync of each, and must then sync all before it records that they exist.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        with naming(path):
            yield aside
            if sync:
                _sync(aside)
            os.replace(aside, path)
            if sync:
                _sync(path.parent)  # else a power cut may undo the renaming
    finally:
        aside.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in an error that the system reports without it, such as a full disk during a write."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def parsed(path: Path, parse: Callable[[str], Parsed], kind: str, error: type[Exception] = ValueError) -> Parsed:
    """Parse a text file.

    Raises:
        InputError: the file is absent, cannot be read, or ``parse`` raises a ValueError or ``error``.
    """
    try:
        return parse(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a {kind} file") from None
    except (OSError, ValueError, error) as reason:
        raise InputError(f"{path}: not valid {kind} ({reason}); expected a {kind} file") from None


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file, every cell as text, empty ones too; raises as ``parsed``."""
    import pandas as pd  # slow to import, and most callers read JSON only

    return parsed(path, lambda text: pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False), "CSV")


def read_json(path: Path) -> Any:
    """Read a JSON file; raises as ``parsed``."""
    return parsed(path, json.loads, "JSON")


def sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
