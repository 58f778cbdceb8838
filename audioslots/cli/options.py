"""Options that commands of several groups share."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from audioslots.runtime.errors import InputError
from audioslots.runtime.gpus import take

Device = Annotated[str, Option(help="Device to compute on: cpu, cuda or auto.")]
Jobs = Annotated[int, Option(min=1, help="Number of processes; the result does not depend on it.")]


def torch_device(device: str, count: int = 1) -> str:
    """The torch device that ``--device`` names, usable; ``count`` free GPUs are taken for this process.

    Raises:
        InputError: there is no such device.
    """
    if device in ("auto", "cuda"):
        take(count)
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device: {device} cannot be used ({str(error).splitlines()[0]}); expected cpu") from None
    return device
