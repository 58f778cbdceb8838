"""The speech and the noise of a run: what it is trained and validated on, with no speaker in common."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from audioslots.config.variant import Resolved
from audioslots.data.training.mixing import Mixer
from audioslots.data.training.packing import Speech
from audioslots.data.training.static import StaticMixer
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json
from audioslots.runtime.scratch import local_copy


def open_packed(packed: Path, scratch: Path | None = None) -> Speech:
    """Open packed speech or noise; with ``scratch``, its samples from a copy in that folder of this machine's disk.

    Raises:
        InputError: as ``Speech.open`` and ``local_copy``.
    """
    speech, array = Speech.open(packed), packed / "speech.i16"
    if scratch is None:
        return speech
    copy = local_copy(array, read_json(packed / "manifest.json")["sha256"][array.name], scratch)
    return replace(speech, samples=np.memmap(copy, dtype=speech.samples.dtype, mode="r"))


def open_speech(config: Resolved, scratch: Path | None = None) -> tuple[Speech, Speech]:
    """Open the training and the held-out speech, and make sure that they share no speaker.

    Of both, utterances that are shorter than a crop are left out.

    Raises:
        InputError: a folder is missing or of another rate, speakers are shared, or as ``open_packed``.
    """
    speech = open_packed(Path(config.train), scratch)
    if config.validation is None:
        speech, held_out = speech.hold_out(config.held_out_speakers)
    else:
        held_out = open_packed(Path(config.validation), scratch)
    for packed, folder in ((speech, config.train), (held_out, config.validation or config.train)):
        if packed.rate != config.rate:
            raise InputError(f"{folder}: packed at {packed.rate} Hz; expected rate {config.rate}")
    speech = speech.at_least(math.ceil(config.crop_samples * (1 + config.training.speed)))
    held_out = held_out.at_least(config.crop_samples)
    if shared := set(held_out.speakers) & set(speech.speakers):
        raise InputError(
            f"{config.train}: speaker {min(shared)} is in the validation set too; expected speakers of its own"
        )
    return speech, held_out


def open_noise(config: Resolved, part: str, scratch: Path | None = None) -> Speech | None:
    """Open the packed noise to train on, ``tr``, or to validate on, ``cv``; None of a task without.

    Raises:
        InputError: a folder is missing or of another rate.
    """
    if config.noise is None:
        return None
    noise = open_packed(Path(config.noise) / part, scratch)
    if noise.rate != config.rate:
        raise InputError(f"{config.noise}/{part}: packed at {noise.rate} Hz; expected rate {config.rate}")
    return noise


def training_mixer(config: Resolved, speech: Speech, scratch: Path | None = None) -> Mixer:
    """What draws the training mixtures."""
    settings = config.training
    if settings.mixing == "static":
        size = settings.batch // settings.adjacent_chunks
        return StaticMixer(speech, config.speakers, config.crop_samples, config.seed, size=size)
    return Mixer(
        speech,
        config.speakers,
        config.crop_samples,
        config.seed,
        settings.speed,
        settings.even_speakers,
        settings.separate_crops,
        tuple(config.counts),
        open_noise(config, "tr", scratch),
        settings.single_speaker_fraction,
    )
