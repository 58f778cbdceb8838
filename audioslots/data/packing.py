"""Packed speech: the utterances of one subset in one memory-mapped int16 array, with an index.

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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyloudnorm
from scipy.signal import resample_poly
from tqdm import tqdm

from audioslots.data.corpus import held_out, read_speech, utterances
from audioslots.data.librimix import MIN_UTTERANCE_S, RATE
from audioslots.errors import InputError
from audioslots.files import read_json, sha256, write_json
from audioslots.stage import Stage, require_room
from audioslots.workers import in_order

RATES = (8_000, 16_000)  # Hz
FULL_SCALE = 32_768
GROWING = {"speech.i16": "unfinished.i16", "index.csv": "unfinished.csv"}
HEADER = b"utterance,speaker_id,sex,start,length,loudness,peak,crc32\n"
ROW_BYTES = 100  # of the index, at most


@dataclass(frozen=True)
class Speech:
    """Packed speech opened for reading.

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
            raise InputError(f"{folder}: no manifest.json; expected a folder finished by `audioslots pack`")
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

    def hold_out(self, count: int, seed: int = 0) -> tuple[Speech, Speech]:
        """Split by speaker: the ``count`` speakers of ``held_out`` apart, the same for every run.

        Returns:
            The speech of all other speakers, and the speech of those held out.

        Raises:
            InputError: as ``held_out``.
        """
        apart = held_out(self.index, count, seed)
        return self.of([speaker for speaker in self.speakers if speaker not in apart]), self.of(apart)


def pack(corpus: Path, subset: str, out: Path, rate: int, jobs: int = 1) -> None:
    """Pack one subset of a corpus.

    Utterances shorter than 3 s are left out (LibriMix's rule). Loudness is the whole utterance's, by ITU-R BS.1770 at
    the corpus' 16 kHz, before resampling; resampling is ``scipy.signal.resample_poly``, as in LibriMix. The result is
    the same to the bit for any number of jobs, interrupted or not: the stage ``pack`` keeps what a killed run has
    packed. A finished folder is verified and left alone; where only its manifest is lost, it is verified and closed.

    Raises:
        InputError: a file cannot be read, no utterance is long enough, or as ``Stage.opened``.
    """
    if rate not in RATES:
        raise InputError(f"rate: {rate} Hz; expected one of {', '.join(map(str, RATES))}")
    table = utterances(Path(corpus), subset)
    table = table[table["frames"] >= MIN_UTTERANCE_S * RATE].reset_index(drop=True)
    if table.empty:
        raise InputError(f"{corpus}/{subset}: no utterance of at least {MIN_UTTERANCE_S:g} s; expected some")
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
        samples = _grow(table, Path(corpus), out, rate, jobs)
        sums = {name: sha256(out / name) for name in GROWING}
        counts = {"utterances": len(table), "speakers": int(table["speaker_id"].nunique()), "samples": samples}
        write_json(out / "manifest.json", {**made_from, **counts, "sha256": sums})


def _verify(out: Path) -> None:
    for name, digest in read_json(out / "manifest.json")["sha256"].items():
        if not (out / name).is_file() or sha256(out / name) != digest:
            raise InputError(f"{out / name}: does not match manifest.json; expected SHA-256 {digest}")


def _grow(table: pd.DataFrame, corpus: Path, out: Path, rate: int, jobs: int) -> int:
    """Write the array and its index, going on from what is there already; return the number of samples."""
    for name, growing in GROWING.items():
        if not (out / growing).exists() and (out / name).exists():  # closed, but for the manifest
            os.replace(out / name, out / growing)
    with open(out / GROWING["index.csv"], "a+b") as index, open(out / GROWING["speech.i16"], "a+b") as array:
        rows, index_bytes, end = _kept(table, rate, index, array)
        index.truncate(index_bytes)
        array.truncate(2 * end)
        if not rows:
            index.write(HEADER)
        rest = table.iloc[rows:]
        require_room(out, 2 * sum(_length(frames, rate) for frames in rest["frames"]) + ROW_BYTES * len(rest))
        packed = in_order(partial(_convert, corpus, rate), rest["path"], jobs)
        bar = tqdm(packed, f"pack {table['subset'][0]}", len(table), initial=rows, unit="file", disable=None)
        for row, (pcm, loudness, peak) in zip(rest.itertuples(), bar, strict=True):
            array.write(pcm)
            array.flush()  # first the speech, then its row: a row is only ever of speech that is there
            text = f"{_beginning(row, rate, end)}{loudness:.4f},{peak:.6f},".encode()
            index.write(text + b"%d\n" % _checksum(pcm, text))
            index.flush()
            end += len(pcm) // 2
        for file in (array, index):
            file.flush()
            os.fsync(file.fileno())
    for name, growing in GROWING.items():
        os.replace(out / growing, out / name)
    return end


def _kept(table: pd.DataFrame, rate: int, index: IO[bytes], array: IO[bytes]) -> tuple[int, int, int]:
    """How much of an unfinished array is sound: rows, bytes of the index, samples."""
    index.seek(0)
    array.seek(0)
    if index.readline() != HEADER:
        return 0, 0, 0
    rows, index_bytes, end = 0, len(HEADER), 0
    for row, line in zip(table.itertuples(), index, strict=False):
        length = _length(row.frames, rate)
        text = line[: line.rfind(b",") + 1]
        expected = text + b"%d\n" % _checksum(array.read(2 * length), text)
        if line != expected or not text.startswith(_beginning(row, rate, end).encode()):
            break
        rows, index_bytes, end = rows + 1, index_bytes + len(line), end + length
    return rows, index_bytes if rows else 0, end


def _length(frames: Any, rate: int) -> int:
    """Samples that an utterance of so many samples at 16 kHz is resampled to."""
    return int(-(-frames * rate // RATE))


def _beginning(row: Any, rate: int, start: int) -> str:
    """An index row up to what only the speech itself tells."""
    return f"{Path(row.path).stem},{row.speaker_id},{row.sex},{start},{_length(row.frames, rate)},"


def _checksum(pcm: bytes, text: bytes) -> int:
    return zlib.crc32(text, zlib.crc32(pcm))


def _convert(corpus: Path, rate: int, path: str) -> tuple[bytes, float, float]:
    """Packed bytes of an utterance, its loudness in LUFS and its peak."""
    speech = read_speech(corpus / path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyloudnorm warns of utterances it finds silent; the result says so too
        loudness = pyloudnorm.Meter(RATE).integrated_loudness(speech)
    if not np.isfinite(loudness):
        raise InputError(f"{corpus / path}: is silent (loudness {loudness} LUFS); expected speech")
    resampled = speech if rate == RATE else resample_poly(speech, rate, RATE)
    pcm = np.clip(np.rint(resampled * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2")
    return pcm.tobytes(), float(loudness), float(np.abs(pcm.astype(np.int32)).max()) / FULL_SCALE
