"""Packed speech: the utterances of one subset in one memory-mapped int16 array, with an index.

OUT/speech.i16      all utterances end to end, little-endian 16-bit, mono, at the packed rate
OUT/index.csv       a row an utterance: utterance, speaker_id, sex, start and length (samples), loudness (LUFS), peak
OUT/manifest.json   rate, counts, what it was made from and SHA-256 of both files; written last
"""

from __future__ import annotations

import hashlib
import multiprocessing
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyloudnorm
from scipy.signal import resample_poly
from tqdm import tqdm

from audioslots.data.corpus import read_speech, utterances
from audioslots.errors import InputError
from audioslots.files import read_json, sha256, write_json, written_aside

CORPUS_RATE = 16_000  # Hz, LibriSpeech's
RATES = (8_000, 16_000)  # Hz
SHORTEST_S = 3.0  # LibriMix's rule: utterances of at least 3 s
FULL_SCALE = 32_768


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
        """Split by speaker: ``count`` speakers apart, as many of each sex as can be, the same for every run.

        Returns:
            The speech of all other speakers, and the speech of those held out.

        Raises:
            InputError: fewer than two speakers would be left on either side.
        """
        if not 2 <= count <= len(self.speakers) - 2:
            raise InputError(
                f"held_out_speakers: {count} of {len(self.speakers)} speakers; expected 2 to {len(self.speakers) - 2}"
            )
        order = self.index[["speaker_id", "sex"]].drop_duplicates().sort_values("speaker_id")
        order = order.sample(frac=1, random_state=seed)
        order = order.assign(rank=order.groupby("sex").cumcount()).sort_values("rank", kind="stable")
        held_out = order["speaker_id"].head(count).tolist()
        rest = [speaker for speaker in self.speakers if speaker not in set(held_out)]
        return self.of(rest), self.of(held_out)


def pack(corpus: Path, subset: str, out: Path, rate: int, jobs: int = 1) -> None:
    """Pack one subset of a corpus.

    Utterances shorter than 3 s are left out (LibriMix's rule). Loudness is the whole utterance's, by ITU-R BS.1770 at
    the corpus' 16 kHz, before resampling; resampling is ``scipy.signal.resample_poly``, as in LibriMix. The result is
    the same to the bit for any number of jobs. A finished folder of the same content is verified and left alone.

    Raises:
        InputError: a file cannot be read, no utterance is long enough, or ``out`` holds something else.
    """
    if rate not in RATES:
        raise InputError(f"rate: {rate} Hz; expected one of {', '.join(map(str, RATES))}")
    table = utterances(Path(corpus), subset)
    table = table[table["frames"] >= SHORTEST_S * CORPUS_RATE].reset_index(drop=True)
    if table.empty:
        raise InputError(f"{corpus}/{subset}: no utterance of at least {SHORTEST_S:g} s; expected some")
    listing = table[["path", "frames"]].to_csv(index=False).encode()
    made_from = {"subset": subset, "rate": rate, "files": hashlib.sha256(listing).hexdigest()}
    if _finished(Path(out), made_from):
        return
    starts, rows = 0, []
    with written_aside(Path(out) / "speech.i16") as aside, open(aside, "wb") as array:
        convert = partial(_convert, Path(corpus), rate)
        for row, (pcm, loudness, peak) in zip(
            table.itertuples(), _in_order(convert, table["path"], jobs, f"pack {subset}"), strict=True
        ):
            array.write(pcm.tobytes())
            name = Path(str(row.path)).stem
            rows.append((name, row.speaker_id, row.sex, starts, len(pcm), round(loudness, 4), round(peak, 6)))
            starts += len(pcm)
    columns = ["utterance", "speaker_id", "sex", "start", "length", "loudness", "peak"]
    with written_aside(Path(out) / "index.csv") as aside:
        pd.DataFrame(rows, columns=columns).to_csv(aside, index=False)
    sums = {name: sha256(Path(out) / name) for name in ("speech.i16", "index.csv")}
    counts = {"utterances": len(rows), "speakers": int(table["speaker_id"].nunique()), "samples": starts}
    write_json(Path(out) / "manifest.json", {**made_from, **counts, "sha256": sums})


def _finished(out: Path, made_from: dict[str, Any]) -> bool:
    if not (out / "manifest.json").is_file():
        return False
    manifest = read_json(out / "manifest.json")
    for key, value in made_from.items():
        if manifest.get(key) != value:
            raise InputError(f"{out}: was packed with {key} {manifest.get(key)}; expected {value}, or another folder")
    for name, digest in manifest["sha256"].items():
        if not (out / name).is_file() or sha256(out / name) != digest:
            raise InputError(f"{out / name}: does not match manifest.json; expected SHA-256 {digest}")
    return True


def _convert(corpus: Path, rate: int, path: str) -> tuple[np.ndarray, float, float]:
    speech = read_speech(corpus / path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyloudnorm warns of utterances it finds silent; the result says so too
        loudness = pyloudnorm.Meter(CORPUS_RATE).integrated_loudness(speech)
    if not np.isfinite(loudness):
        raise InputError(f"{corpus / path}: is silent (loudness {loudness} LUFS); expected speech")
    resampled = speech if rate == CORPUS_RATE else resample_poly(speech, rate, CORPUS_RATE)
    pcm = np.clip(np.rint(resampled * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2")
    return pcm, float(loudness), float(np.abs(pcm.astype(np.int32)).max()) / FULL_SCALE


def _in_order(convert: Any, paths: pd.Series, jobs: int, label: str) -> Iterator[Any]:
    progress: Any = partial(tqdm, total=len(paths), desc=label, unit="file", disable=None)
    if jobs == 1:
        yield from progress(map(convert, paths))
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        window = 64 * jobs  # bounds memory: at most so many converted utterances wait to be written
        with progress() as bar:
            for first in range(0, len(paths), window):
                for converted in pool.map(convert, paths[first : first + window], chunksize=4):
                    bar.update()
                    yield converted
