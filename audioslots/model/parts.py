"""The parts a model is built of: a file of ``encoders``, ``slots`` or ``decoders`` is a kind that a config can name."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

CLASSES = {"encoders": "Encoder", "slots": "Slots", "decoders": "Decoder"}


class Shape(NamedTuple):
    """What a decoder needs to know of the spectrogram and of the tokens.

    Attributes:
        bins: frequency bins, F.
        frames: N.
        channels: maps a slot, C.
        grid: the tokens' shape over frequency and time, (F', N').
    """

    bins: int
    frames: int
    channels: int
    grid: tuple[int, int]


def part(folder: str, kind: str) -> Any:
    """The class of a kind: ``part("decoders", "broadcast")`` is ``decoders/broadcast.py``'s ``Decoder``."""
    return getattr(import_module(f"audioslots.model.{folder}.{kind}"), CLASSES[folder])
