"""The state a run resumes from."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from audioslots.errors import InputError
from audioslots.files import written_aside


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the resume state (tensors, numbers, strings, lists and dictionaries), whole or not at all."""
    with written_aside(path) as aside:
        torch.save(state, aside)


def load_state(path: Path, identity: str, anew: bool = False) -> dict[str, Any] | None:
    """Read the resume state of a run; None where there is none. Nothing in the file is executed.

    With ``anew``, a state of another config is renamed to ``checkpoint-<its identity>.pt`` and counts as none.

    Raises:
        InputError: the file is damaged, or belongs to another config.
    """
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():  # torch.load does not look at the checksums it wrote
                raise RuntimeError(f"{damaged} is damaged")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason}); expected a checkpoint, or none") from None
    found = state.get("identity") if isinstance(state, dict) else None
    if anew and found and found != identity:
        path.rename(path.with_name(f"checkpoint-{found}.pt"))
        return None
    if found != identity:
        raise InputError(f"{path}: belongs to another config than config.json beside it; expected identity {identity}")
    return state
