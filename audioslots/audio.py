"""Opening audio files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile

from audioslots.errors import InputError


@contextmanager
def opened(path: Path) -> Iterator[soundfile.SoundFile]:
    """An audio file to read: WAV, FLAC, OGG, MP3 or whatever else libsndfile reads.

    Raises:
        InputError: it is absent, or it cannot be decoded, on opening or while it is read.
    """
    try:
        with open(path, "rb") as raw, soundfile.SoundFile(raw) as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected an audio file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected a readable audio file") from None
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a file called .raw
        reason = getattr(error, "error_string", error)
        raise InputError(f"{path}: cannot be decoded ({reason}); expected a whole audio file") from None
