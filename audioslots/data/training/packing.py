"""Packed speech, or noise: the recordings of one subset in one memory-mapped int16 array, with an index.

OUT/speech.i16      all utterances end to end, little-endian 16-bit, mono, at the packed rate
OUT/index.csv       a row an utterance: utterance, speaker_id, sex, start and length (samples), loudness (LUFS), peak,
                    crc32 (of its samples' bytes, then of its row up to there)
OUT/manifest.json   rate, counts, what it was made from and SHA-256 of both files; written last

Until all is packed the first two are called ``unfinished.i16`` and ``unfinished.csv`` and grow utterance by utterance.
"""

from __future__ import annotations

import hashlib
import os
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pyloudnorm
from scipy.signal import resample_poly
from tqdm import tqdm

from audioslots.data.corpora.corpus import held_out, read_speech, utterances
from audioslots.data.librimix.layout import MIN_UTTERANCE_S, RATE
from audioslots.data.librimix.noise import noises, whole_noise
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, sha256, write_json
from audioslots.runtime.stage import Stage, require_room
from audioslots.runtime.workers import in_order

RATES = (8_000, 16_000)  # Hz
FULL_SCALE = 32_768
GROWING = {"speech.i16": "unfinished.i16", "index.csv": "unfinished.csv"}
HEADER = b"utterance,speaker_id,sex,start,length,loudness,peak,crc32\n"
ROW_BYTES = 100  # of the index, at most
Packed = tuple[bytes, float, float]


@dataclass(frozen=True)
class Speech:
    """Packed speech, or noise, opened for reading.

    Attributes:
        samples: (total samples,) int16, memory-mapped.
        index: one row an utterance, see the module.
        rate: Hz.
        subset: name of the subset it was packed from.
    """

    samples: np.ndarray
    index: pd.DataFrame
    rate: int
    subset: str

    @classmethod
    def open(cls, folder: Path) -> Speech:
        """Open a packed folder.

        Raises:
            InputError: the folder is absent, unfinished, or its array is not as long as the index says.
        """
        folder = Path(folder)
        if not (folder / "manifest.json").is_file():
            raise InputError(f"{folder}: no manifest.json; expected a folder finished by `audioslots corpus pack`")
        manifest = read_json(folder / "manifest.json")
        array, table = folder / "speech.i16", folder / "index.csv"
        for path, size in ((array, 2 * manifest["samples"]), (table, None)):
            if not path.is_file():
                raise InputError(f"{path}: no such file; expected it beside manifest.json")
            if size is not None and path.stat().st_size != size:
                raise InputError(f"{path}: {path.stat().st_size} bytes; expected {size}")
        index = pd.read_csv(table, dtype={"speaker_id": str, "sex": str}, keep_default_na=False)
        samples = np.memmap(array, dtype="<i2", mode="r")
        return cls(samples, index, manifest["rate"], manifest["subset"])

    @property
    def hours(self) -> float:
        """Hours of speech."""
        return float(self.index["length"].sum()) / self.rate / 3600

    @property
    def speakers(self) -> list[str]:
        """Speaker ids, sorted."""
        return sorted(self.index["speaker_id"].unique())

    def of(self, speakers: list[str]) -> Speech:
        """The utterances of these speakers alone."""
        chosen = self.index[self.index["speaker_id"].isin(speakers)].reset_index(drop=True)
        return Speech(self.samples, chosen, self.rate, self.subset)

    def at_least(self, samples: int) -> Speech:
        """The utterances of so many samples or more.

        Raises:
            InputError: there are none.
        """
        chosen = self.index[self.index["length"] >= samples].reset_index(drop=True)
        if chosen.empty:
            raise InputError(
                f"chunk_s, training.chunks_per_assignment: a crop needs {samples} samples; the longest utterance "
                f"of {self.subset} has {self.index['length'].max()}; expected a crop no longer"
            )
        return Speech(self.samples, chosen, self.rate, self.subset)

    def hold_out(self, count: int, seed: int = 0) -> tuple[Speech, Speech]:
        """Split by speaker: the ``count`` speakers of ``held_out`` apart, the same for every run.

        Returns:
            The speech of all other speakers, and the speech of those held out.

        Raises:
            InputError: as ``held_out``.
        """
        apart = held_out(self.index, count, seed)
        return self.of([speaker for speaker in self.speakers if speaker not in apart]), self.of(apart)


def pack(corpus: Path, subset: str, out: Path, rate: int, jobs: int = 1, noise: bool = False) -> None:
    """Pack one subset of a corpus, or one part of noises in WHAM's layout (``noise``), of which the first channel.

    Utterances shorter than 3 s are left out (LibriMix's rule). Loudness is the whole utterance's, by ITU-R BS.1770 at
    the corpus' 16 kHz, before resampling; resampling is ``scipy.signal.resample_poly``, as in LibriMix. The result is
    the same to the bit for any number of jobs, interrupted or not: the stage ``pack`` keeps what a killed run has
    packed. A finished folder is verified and left alone; where only its manifest is lost, it is verified and closed.

    Raises:
        InputError: a file cannot be read, no utterance is long enough, or as ``Stage.opened``.
    """
    if rate not in RATES:
        raise InputError(f"rate: {rate} Hz; expected one of {', '.join(map(str, RATES))}")
    table = noises(Path(corpus), subset) if noise else utterances(Path(corpus), subset)
    table = table[table["frames"] >= MIN_UTTERANCE_S * RATE].reset_index(drop=True)
    if table.empty:
        what = "noise" if noise else "utterance"
        raise InputError(f"{corpus}/{subset}: no {what} of at least {MIN_UTTERANCE_S:g} s; expected some")
    listing = table[["path", "frames"]].to_csv(index=False).encode()
    made_from = {"subset": subset, "rate": rate, "files": hashlib.sha256(listing).hexdigest()}
    out = Path(out)
    makes = (*GROWING, *GROWING.values(), "manifest.json")
    with Stage(out, "pack", made_from, (__name__,), makes, alone=True).opened():
        if (out / "manifest.json").is_file():
            _verify(out)
            return
        for leftover in out.glob(".*.tmp*"):  # of a run killed while it wrote the manifest
            leftover.unlink()
        convert = partial(_convert, Path(corpus), rate, noise=noise)
        samples = _grow(table, out, convert, rate, jobs)
        sums = {name: sha256(out / name) for name in GROWING}
        counts = {"utterances": len(table), "speakers": int(table["speaker_id"].nunique()), "samples": samples}
        write_json(out / "manifest.json", {**made_from, **counts, "sha256": sums})


def _verify(out: Path) -> None:
    for name, digest in read_json(out / "manifest.json")["sha256"].items():
        if not (out / name).is_file() or sha256(out / name) != digest:
            raise InputError(f"{out / name}: does not match manifest.json; expected SHA-256 {digest}")


def _grow(table: pd.DataFrame, out: Path, convert: Callable[[str], Packed], rate: int, jobs: int) -> int:
    """Write the array and its index, resuming from what is there already; return the number of samples."""
    for name, growing in GROWING.items():
        if not (out / growing).exists() and (out / name).exists():  # closed, but for the manifest
            os.replace(out / name, out / growing)
    lengths = [-(-int(frames) * rate // RATE) for frames in table["frames"]]  # of what the utterances are resampled to
    starts = [0, *accumulate(lengths)]
    rows = zip(table["path"], table["speaker_id"], table["sex"], starts, lengths, strict=False)
    known = [f"{Path(path).stem},{','.join(map(str, rest))},".encode() for path, *rest in rows]  # of each row
    with open(out / GROWING["index.csv"], "a+b") as index, open(out / GROWING["speech.i16"], "a+b") as array:
        done = _sound(known, lengths, index, array)
        array.truncate(2 * starts[done])
        require_room(out, 2 * (starts[-1] - starts[done]) + ROW_BYTES * (len(table) - done))
        packed = in_order(convert, table["path"].iloc[done:], jobs)
        bar = tqdm(packed, f"pack {table['subset'][0]}", len(table), initial=done, unit="file", disable=None)
        for beginning, (pcm, loudness, peak) in zip(known[done:], bar, strict=True):
            array.write(pcm)
            array.flush()  # first the speech, then its row: a row is only ever of speech that is there
            text = beginning + b"%.4f,%.6f," % (loudness, peak)
            index.write(text + b"%d\n" % _checksum(pcm, text))
            index.flush()
        for file in (array, index):
            os.fsync(file.fileno())
    for name, growing in GROWING.items():
        os.replace(out / growing, out / name)
    return starts[-1]


def _sound(known: list[bytes], lengths: list[int], index: IO[bytes], array: IO[bytes]) -> int:
    """How many rows of an unfinished index are sound, and so is their speech; the index is cut after them."""
    index.seek(0)
    array.seek(0)
    rows, size = 0, len(HEADER)
    if index.readline() == HEADER:
        for beginning, length, line in zip(known, lengths, index, strict=False):
            text = line[: line.rfind(b",") + 1]
            expected = text + b"%d\n" % _checksum(array.read(2 * length), text)
            if line != expected or not text.startswith(beginning):
                break
            rows, size = rows + 1, size + len(line)
    index.truncate(size if rows else 0)
    if not rows:
        index.write(HEADER)
    return rows


def _checksum(pcm: bytes, text: bytes) -> int:
    return zlib.crc32(text, zlib.crc32(pcm))


def _convert(corpus: Path, rate: int, path: str, noise: bool = False) -> Packed:
    """Packed bytes of an utterance or a noise, its loudness in LUFS and its peak."""
    speech = whole_noise(corpus / path) if noise else read_speech(corpus / path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyloudnorm warns of utterances it finds silent; the result says so too
        loudness = pyloudnorm.Meter(RATE).integrated_loudness(speech)
    if not np.isfinite(loudness):
        what = "noise" if noise else "speech"
        raise InputError(f"{corpus / path}: is silent (loudness {loudness} LUFS); expected {what}")
    resampled = speech if rate == RATE else resample_poly(speech, rate, RATE)
    pcm = np.clip(np.rint(resampled * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2")
    return pcm.tobytes(), float(loudness), float(np.abs(pcm.astype(np.int32)).max()) / FULL_SCALE
