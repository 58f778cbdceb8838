"""The speech and the noise of a run: what it is trained and validated on, with no speaker in common."""

from __future__ import annotations

import math
from pathlib import Path

from audioslots.config import Resolved
from audioslots.data import scratch
from audioslots.data.mixing import Mixer
from audioslots.data.packing import Speech
from audioslots.data.static import StaticMixer
from audioslots.errors import InputError


def open_speech(config: Resolved) -> tuple[Speech, Speech]:
    """Open the training and the held-out speech, and make sure that they share no speaker.

    Of both, utterances that are shorter than a crop are left out.

    Raises:
        InputError: a folder is missing or of another rate, speakers are shared, or as ``scratch.opened``.
    """
    speech = scratch.opened(Path(config.train))
    if config.validation is None:
        speech, held_out = speech.hold_out(config.held_out_speakers)
    else:
        held_out = scratch.opened(Path(config.validation))
    for packed, folder in ((speech, config.train), (held_out, config.validation or config.train)):
        if packed.rate != config.rate:
            raise InputError(f"{folder}: packed at {packed.rate} Hz; expected rate {config.rate}")
    speech = speech.at_least(math.ceil(config.heard * (1 + config.training.speed)))
    held_out = held_out.at_least(config.heard)
    if shared := set(held_out.speakers) & set(speech.speakers):
        raise InputError(
            f"{config.train}: speaker {min(shared)} is in the validation set too; expected speakers of its own"
        )
    return speech, held_out


def open_noise(config: Resolved, part: str) -> Speech | None:
    """Open the packed noise to train on, ``tr``, or to validate on, ``cv``; None of a task without.

    Raises:
        InputError: a folder is missing or of another rate.
    """
    if config.noise is None:
        return None
    noise = scratch.opened(Path(config.noise) / part)
    if noise.rate != config.rate:
        raise InputError(f"{config.noise}/{part}: packed at {noise.rate} Hz; expected rate {config.rate}")
    return noise


def training_mixer(config: Resolved, speech: Speech) -> Mixer:
    """What draws the training mixtures."""
    settings = config.training
    if settings.mixing == "static":
        size = settings.batch // settings.sequence
        return StaticMixer(speech, config.mixed, config.heard, config.seed, size=size)
    return Mixer(
        speech,
        config.mixed,
        config.heard,
        config.seed,
        settings.speed,
        settings.even_speakers,
        settings.together,
        tuple(config.counts),
        open_noise(config, "tr"),
        settings.alone,
    )
