"""Audio that is shorter than its header promises is refused; headers without a length are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioslots.data.audio import open_audio
from audioslots.runtime.errors import InputError


def write(path: Path, kind: str, subtype: str = "PCM_16") -> bytes:
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000)
    soundfile.write(path, noise, 8000, format=kind, subtype=subtype)
    return path.read_bytes()


def read(path: Path) -> int:
    with open_audio(path) as file:
        return len(file.read())


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        *(("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAVEX", "PCM_24"), ("AIFF", "PCM_16"), ("AU", "PCM_16")),
        *(("W64", "PCM_16"), ("RF64", "PCM_16"), ("FLAC", "PCM_16"), ("CAF", "PCM_16")),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_cut_file_is_refused_and_a_whole_one_is_read(kind: str, subtype: str, share: float, tmp_path: Path) -> None:
    content = write(tmp_path / "whole", kind, subtype)
    assert read(tmp_path / "whole") == 8000
    (tmp_path / "cut").write_bytes(content[: round(share * len(content))])
    with pytest.raises(InputError, match="cut: .*expected a whole audio file"):
        read(tmp_path / "cut")


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_stream_whose_length_was_not_known_is_read(size: int, tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "a.wav", "WAV"))
    content[4:8] = content[40:44] = size.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    assert read(tmp_path / "a.wav") == 8000


def test_bytes_behind_the_audio_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(write(tmp_path / "a.wav", "WAV") + b"notes of a recorder")
    assert read(tmp_path / "a.wav") == 8000
