"""The state a run resumes from: ``checkpoint.pt``, and the one before it."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from audioslots.errors import InputError
from audioslots.files import written_aside


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


def load_state(path: Path, content: dict[str, Any], anew: bool = False) -> dict[str, Any] | None:
    """Read the resume state of a run; None where there is none. Nothing in the file is executed.

    Where the newest is damaged, a warning names it, it is renamed to ``<stem>.damaged.pt``, and the one before is used.

    Args:
        path: of the newest.
        content: of the config, as the state's ``config`` must be.
        anew: set a state of another config aside as ``<stem>-<its identity>.pt``; it counts as none.

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
            warnings.warn(f"{file}: cannot be read ({error}); going on from {previous.name}, one earlier", stacklevel=2)
            os.replace(file, aside)
            continue
        state = state if isinstance(state, dict) else {}
        found, identity = state.get("config"), state.get("identity")
        if found == content:
            return state
        if not anew or not identity:
            raise InputError(f"{file}: belongs to another config: {difference(found, content)}, or --anew")
        aside = path.with_name(f"{path.stem}-{identity}{path.suffix}")
        os.replace(file, aside) if not aside.exists() else file.unlink()
    return None


def previous_of(path: Path) -> Path:
    """Where the checkpoint before ``path`` is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


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
    return "it lacks nothing; expected the same"


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, by dotted keys, in their order."""
    leaves: dict[str, Any] = {}
    for key, value in content.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


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
