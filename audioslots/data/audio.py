"""Open audio files; what is wrong with one is an input error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import soundfile

from audioslots.runtime.errors import InputError

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}
"""Endings of the files that a search of a folder for audio takes."""
PROMISED = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""Sizes in libsndfile's log: what the header promises, and what the file holds, bytes."""
STREAMED = 0x7FFFFFFF - 0x1000  # from this size on, the header was written before the length was known


@contextmanager
def open_audio(path: Path) -> Iterator[soundfile.SoundFile]:
    """An audio file to read: WAV, FLAC, OGG, MP3 or whatever else libsndfile reads.

    Raises:
        InputError: it is absent, it holds less than its header promises, or it cannot be decoded, on opening or while
            it is read.
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
        file = soundfile.SoundFile(raw)
    except TypeError as error:  # called .raw, which has no header
        raise InputError(f"{raw.name}: cannot be decoded ({error}); expected a whole audio file") from None
    for promised, present in PROMISED.findall(file.extra_info):
        if int(present) < int(promised) < STREAMED:
            raise InputError(f"{raw.name}: truncated to {present} of {promised} bytes; expected a whole audio file")
    return file
