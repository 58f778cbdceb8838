"""The state a run resumes from: ``checkpoint.pt``, and the one before it."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from audioslots.runtime.errors import InputError
from audioslots.runtime.files import written_aside
from audioslots.runtime.stage import difference


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the resume state (tensors, numbers, strings, lists and dictionaries), whole or not at all.

    The one before is kept as ``previous_of(path)``, and is not touched before the new one is on the disk.

    Raises:
        OSError: it cannot be written, as on a full disk; both checkpoints are as they were.
    """
    with written_aside(path) as aside:
        with open(aside, "wb") as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:  # torch reports a full disk as a file of unexpected length
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None
            file.flush()
            os.fsync(file.fileno())
        if path.is_file():
            os.replace(path, previous_of(path))


def load_state(path: Path, content: dict[str, Any]) -> dict[str, Any] | None:
    """Read the resume state of a run; None where there is none. Nothing in the file is executed.

    Where the newest is damaged, a warning names it, it is renamed to ``<stem>.damaged.pt``, and the one before is used.

    Args:
        path: of the newest.
        content: of the config, as the state's ``config`` must be.

    Raises:
        InputError: the file belongs to another config (the first key that differs is named), is damaged with none
            before it, or holds more than data.
    """
    previous = previous_of(path)
    for file in (path, previous):
        if not file.is_file():
            continue
        try:
            state = _read(file)
        except Damaged as error:
            if file == previous or not previous.is_file():
                raise InputError(f"{file}: cannot be read ({error}); expected a checkpoint, or none") from None
            aside = path.with_name(f"{path.stem}.damaged{path.suffix}")
            warnings.warn(f"{file}: cannot be read ({error}); resuming from {previous.name}, one earlier", stacklevel=2)
            os.replace(file, aside)
            continue
        state = state if isinstance(state, dict) else {}
        if state.get("config") != content:
            raise InputError(f"{file}: belongs to another config: {difference(state.get('config'), content)}")
        return state
    return None


def previous_of(path: Path) -> Path:
    """Where the checkpoint before ``path`` is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


class Damaged(Exception):
    """A file that is no whole checkpoint."""


def _read(path: Path) -> Any:
    """What ``torch.save`` wrote.

    Raises:
        Damaged: the file is truncated, changed or something else.
        InputError: the file is whole, but would run code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():  # torch.load does not look at the checksums it wrote
                raise Damaged(f"{damaged} is damaged")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Damaged:
        raise
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "Unsupported" in line or "GLOBAL" in line), "")
        reason = reason.strip() or "not only tensors, numbers and texts"
        raise InputError(f"{path}: cannot be read: it would run code ({reason}); expected a checkpoint") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise Damaged(str(error).splitlines()[0] if str(error) else type(error).__name__) from None
