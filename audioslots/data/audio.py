"""Open audio files; what is wrong with one is an input error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import soundfile

from audioslots.runtime.errors import InputError

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}
"""Endings of the files that a search of a folder for audio takes."""


@contextmanager
def open_audio(path: Path) -> Iterator[soundfile.SoundFile]:
    """An audio file to read: WAV, FLAC, OGG, MP3 or whatever else libsndfile reads.

    Raises:
        InputError: it is absent, or it cannot be decoded, on opening or while it is read.
    """
    try:
        with open(path, "rb") as raw, _decoded(raw) as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected an audio file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected a readable audio file") from None
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: cannot be decoded ({error.error_string}); expected a whole audio file") from None


def _decoded(raw: BinaryIO) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(raw)
    except TypeError as error:  # called .raw, which has no header
        raise InputError(f"{raw.name}: cannot be decoded ({error}); expected a whole audio file") from None
