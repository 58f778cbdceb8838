"""The speech of a run: what it is trained and validated on, with no speaker in common."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from audioslots.config import Resolved
from audioslots.data.mixing import Mixer
from audioslots.data.packing import Speech
from audioslots.data.static import StaticMixer
from audioslots.errors import InputError


def open_speech(config: Resolved) -> tuple[Speech, Speech]:
    """Open the training and the held-out speech, and make sure that they share no speaker with each other or the test.

    Raises:
        InputError: a folder is missing or of another rate, or speakers are shared.
    """
    speech = Speech.open(Path(config.train))
    if config.validation is None:
        speech, held_out = speech.hold_out(config.held_out_speakers)
    else:
        held_out = Speech.open(Path(config.validation))
    for packed, folder in ((speech, config.train), (held_out, config.validation or config.train)):
        if packed.rate != config.rate:
            raise InputError(f"{folder}: packed at {packed.rate} Hz; expected rate {config.rate}")
    apart = {"validation": set(held_out.speakers), "test": speakers_of(config.test)}
    for name, speakers in apart.items():
        if shared := speakers & set(speech.speakers):
            raise InputError(
                f"{config.train}: speaker {min(shared)} is in the {name} set too; expected speakers of its own"
            )
    return speech, held_out


def training_mixer(config: Resolved, speech: Speech) -> Mixer:
    """What draws the training mixtures."""
    settings = config.training
    if settings.mixing == "static":
        return StaticMixer(speech, config.sources, config.crop, config.seed, size=settings.batch)
    return Mixer(
        speech, config.sources, config.crop, config.seed, settings.speed, settings.even_speakers, settings.together
    )


def speakers_of(mixtures: str | None) -> set[str]:
    """Speakers of a rendered mixtures folder; none where none is given."""
    if mixtures is None:
        return set()
    folder = Path(mixtures)
    info = folder.parent / "metadata" / f"info_{folder.name}.csv"
    if not info.is_file():
        raise InputError(f"{info}: no such file; expected it from `audioslots mixtures render`")
    table = pd.read_csv(info, dtype=str)
    return set(table.filter(regex=r"^speaker_\d+_ID$").to_numpy().ravel())
