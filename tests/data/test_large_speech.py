"""The paper's 41 GB of packed speech: read, mixed, copied and packed in bounded memory. The file is sparse."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from limited import within

from audioslots.data.training import packing
from audioslots.data.training.mixing import Mixer
from audioslots.data.training.packing import Speech, pack
from audioslots.data.training.static import StaticMixer
from audioslots.runtime.files import sha256, write_json
from audioslots.training.speech import open_packed

MB = 1_000_000
RATE = 16_000
UTTERANCES, SPEAKERS, LENGTH = 100_000, 100, 205_000  # of 12.8 s
CHUNK = RATE // 2
SPOKEN = [UTTERANCES // 2, UTTERANCES - 1]  # the utterances that are not silent, of two speakers


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that is removed after the test, and not kept as pytest does."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def sparse(path: Path, size: int) -> Path:
    """A file of zeros that takes no room."""
    try:
        path.touch()
        os.truncate(path, size)
    except OSError as error:
        pytest.skip(f"the file system has no files of {size / 1e9:.0f} GB: {error.strerror}")
    if path.stat().st_blocks * 512 > MB:
        pytest.skip("the file system keeps the zeros of a sparse file")
    return path


def described(folder: Path, utterances: int, digest: str = "") -> Path:
    """The index and the manifest of an array."""
    rows = np.arange(utterances)
    index = {"utterance": rows, "speaker_id": rows % SPEAKERS, "sex": "F", "start": rows * LENGTH, "length": LENGTH}
    pd.DataFrame(index | {"loudness": -25.0, "peak": 0.1, "crc32": 0}).to_csv(folder / "index.csv", index=False)
    sums = {"speech.i16": digest}
    manifest = {"subset": "train-clean-360", "rate": RATE, "samples": utterances * LENGTH, "sha256": sums}
    write_json(folder / "manifest.json", manifest)
    return folder


@pytest.fixture
def large(disk: Path) -> Path:
    """A packed folder of 41 GB, silent but for two utterances."""
    array = sparse(disk / "speech.i16", 2 * UTTERANCES * LENGTH)
    noise = 1000 * np.random.default_rng(0).standard_normal(LENGTH)
    with open(array, "r+b") as file:
        for row in SPOKEN:
            file.seek(2 * row * LENGTH)
            file.write(noise.astype("<i2").tobytes())
    return described(disk, UTTERANCES)


def mix(folder: Path) -> None:
    speech = Speech.open(folder)
    assert speech.samples.nbytes == 41_000 * MB and len(speech.speakers) == SPEAKERS
    mixers = [Mixer(speech, 2, CHUNK, 0), Mixer(speech, 2, CHUNK, 0, speed=0.1, even_speakers=True, together=2)]
    for mixer in [*mixers, StaticMixer(speech, 2, CHUNK, 0, size=16)]:
        for step in (0, 1, 1_000_000):
            assert mixer.batch(step, 16).shape == (16, 2, CHUNK)
    spoken = Speech(speech.samples, speech.index.iloc[SPOKEN].reset_index(drop=True), RATE, speech.subset)
    levels = np.abs(Mixer(spoken, 2, CHUNK, 0).batch(0, 4)).max(axis=-1)
    assert (levels > 0.01).all(), "the noise is where the index says"


def test_41_gb_are_mixed_in_300_mb(large: Path) -> None:
    within(300 * MB, mix, large)


def copy_to_scratch(folder: Path, to: Path) -> None:
    assert open_packed(folder, to).samples.nbytes == 2 * 500 * LENGTH


def test_200_mb_are_copied_to_scratch_in_100_mb(disk: Path) -> None:
    array = sparse(disk / "speech.i16", 2 * 500 * LENGTH)
    within(100 * MB, copy_to_scratch, described(disk, 500, sha256(array)), disk / "scratch")


def pack_again(out: Path) -> None:
    pack(out.parent, "train-clean", out, RATE)
    (out / "manifest.json").unlink()  # so that all is read again
    pack(out.parent, "train-clean", out, RATE)


def test_200_mb_are_packed_and_read_again_in_100_mb(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [f"{row}/1/{row}-1-0000.flac" for row in range(500)]
    table = pd.DataFrame(
        {"path": paths, "speaker_id": range(500), "sex": "F", "frames": LENGTH, "subset": "train-clean"}
    )
    monkeypatch.setattr(packing, "utterances", lambda corpus, subset: table)
    monkeypatch.setattr(packing, "_convert", lambda corpus, rate, path, noise: (bytes(2 * LENGTH), -25.0, 0.1))
    within(100 * MB, pack_again, disk / "packed")
    assert sha256(disk / "packed" / "speech.i16") == hashlib.sha256(bytes(2 * 500 * LENGTH)).hexdigest()
