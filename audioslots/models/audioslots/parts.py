"""The parts a model is built of: a file of ``encoders``, ``slots`` or ``decoders`` is a kind that a config can name."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

from audioslots.config.variant import Variant

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


def modules(config: Variant) -> tuple[str, ...]:
    """Dotted names of the parts that a variant's model is built of: what ``part`` imports for it."""
    if config.model != "audioslots":
        return ()
    kinds = {"encoders": config.encoder.kind, "slots": config.slots.kind, "decoders": config.decoder.kind}
    return tuple(f"audioslots.models.audioslots.{folder}.{kind}" for folder, kind in kinds.items())


def part(folder: str, kind: str) -> Any:
    """The class of a kind: ``part("decoders", "broadcast")`` is ``decoders/broadcast.py``'s ``Decoder``."""
    return getattr(import_module(f"audioslots.models.audioslots.{folder}.{kind}"), CLASSES[folder])
