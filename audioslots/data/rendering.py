"""Mixtures on disk: a metadata table and a corpus rendered as WAV files in LibriMix's layout, to the bit.

Reference: JorisCos/LibriMix at b898ca3, ``scripts/create_librimix_from_metadata.py``.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import pandas as pd
import soundfile as sf
from scipy.signal import resample_poly
from tqdm import tqdm

from audioslots.data.corpus import RATE, read_speech
from audioslots.data.metadata import info, read_metadata, source_count, write_metadata
from audioslots.errors import InputError
from audioslots.files import read_json, sha256, write_json, written_aside

try:
    import fcntl
except ImportError:  # not on Windows, where two renders into one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

WAV_HEADER_BYTES = 44
SNR_EPS = 1e-10  # LibriMix's guard of its division and logarithm
FILTER_REACH = 10  # resample_poly's filter reaches this many samples of the slower rate to either side
MIXTURE = "mix_clean"
UNFINISHED = "unfinished.jsonl"  # the rows done so far; a finished folder has manifest.json instead
ROWS_PER_TASK = 8


@dataclass(frozen=True)
class Row:
    """One mixture to render: its ID, and the corpus path and gain of each source."""

    mixture_id: str
    paths: tuple[str, ...]
    gains: tuple[float, ...]


def render(metadata_csv: Path, librispeech: Path, out: Path, rate: int, mode: str, jobs: int = 1) -> Path:
    """Render the clean mixtures of a metadata table and their sources as 16-bit WAV files.

    Writes ``OUT/Libri<N>Mix/wav<rate>k/<mode>/<split>/{mix_clean,s1,...,sN}/<mixture_ID>.wav``, and beside the split
    folder, in ``metadata/``, LibriMix's ``mixture_<split>_mix_clean.csv`` and ``metrics_<split>_mix_clean.csv`` and
    ``info_<split>.csv``. LibriMix writes absolute paths into the first; here they are relative to ``OUT``, so that the
    same input gives the same bytes everywhere and ``OUT`` can be moved (asteroid, which opens them as they are, then
    runs in ``OUT``; torchaudio and SpeechBrain go by the folders). ``manifest.json`` closes the split folder.

    A folder that is finished is verified and left alone; one that was interrupted is continued. The bytes are the same
    for any number of jobs.

    Args:
        metadata_csv: metadata of N sources, all from one subset; the split is the subset's name without "-clean".
        librispeech: corpus root that the paths in the table are relative to.
        out: folder to hold ``Libri<N>Mix``.
        rate: 8000 or 16000 Hz.
        mode: ``min`` cuts the sources to the shortest, ``max`` pads them with zeros to the longest.
        jobs: processes, 1 or more.

    Returns:
        The split folder.

    Raises:
        InputError: an argument out of range; bad metadata; a source that is missing (found before anything is written)
            or damaged; a folder that belongs to other arguments, is damaged, or is being rendered right now.
    """
    for name, given, allowed in (("rate", rate, (8000, 16000)), ("mode", mode, ("min", "max"))):
        if given not in allowed:
            raise InputError(f"{name}: {given!r}; expected one of {allowed}")
    if jobs < 1:
        raise InputError(f"jobs: {jobs}; expected 1 or more")
    metadata = read_metadata(metadata_csv)
    sources = source_count(metadata)
    split = _split(metadata, metadata_csv)
    base = Path(out) / f"Libri{sources}Mix" / f"wav{rate // 1000}k" / mode
    folder = base / split
    arguments = {"metadata_sha256": sha256(metadata_csv), "mode": mode, "rate": rate, "types": [MIXTURE]}
    if (folder / "manifest.json").exists():
        _verify(folder, arguments)
        (folder / UNFINISHED).unlink(missing_ok=True)
        return folder

    rows = _rows(metadata, metadata_csv, Path(librispeech))
    people = info(metadata, librispeech)
    names = [MIXTURE, *(f"s{i}" for i in range(1, sources + 1))]
    with _progress(folder, arguments) as (progress, done):
        for name in names:
            (folder / name).mkdir(exist_ok=True)
            for leftover in (folder / name).glob(".*.tmp.wav"):  # of a killed run; readers that list *.wav see them
                leftover.unlink()
        work = partial(_render_row, root=Path(librispeech), folder=folder, rate=rate, mode=mode)
        waiting = [row for row in rows if row.mixture_id not in done]
        results = tqdm(_mapped(work, waiting, jobs), f"render {split}", len(waiting), unit="mixture", disable=None)
        for result in results:
            done[result["mixture_ID"]] = result
            progress.write(json.dumps(result) + "\n")
            progress.flush()
        _close(folder, Path(out), arguments, names, [done[row.mixture_id] for row in rows], people)
    return folder


def _close(
    folder: Path,
    out: Path,
    arguments: dict[str, Any],
    names: list[str],
    results: list[dict[str, Any]],
    people: pd.DataFrame,
) -> None:
    """Write LibriMix's tables of a split whose audio is complete, then the manifest, and drop the progress record."""
    mixtures = pd.DataFrame({"mixture_ID": [result["mixture_ID"] for result in results]})
    metrics = mixtures.copy()
    for name in names:
        column = "mixture_path" if name == MIXTURE else f"source_{name[1:]}_path"
        mixtures[column] = [
            f"{(folder / name).relative_to(out).as_posix()}/{mixture}.wav" for mixture in mixtures["mixture_ID"]
        ]
    mixtures["length"] = [result["length"] for result in results]
    for i in range(len(names) - 1):
        metrics[f"source_{i + 1}_SNR"] = np.array([result["snr"][i] for result in results], dtype=np.float32)
    tables = {
        f"mixture_{folder.name}_{MIXTURE}.csv": mixtures,
        f"metrics_{folder.name}_{MIXTURE}.csv": metrics,
        f"info_{folder.name}.csv": people,
    }
    metadata = folder.parent / "metadata"
    for file, table in tables.items():
        write_metadata(table, metadata / file)
    manifest = {
        "arguments": arguments,
        "folders": names,
        "mixtures": len(results),
        "samples": sum(result["length"] for result in results),
        "metadata_sha256": {file: sha256(metadata / file) for file in tables},
        "pcm_md5": {result["mixture_ID"]: {"length": result["length"], **result["pcm_md5"]} for result in results},
    }
    write_json(folder / "manifest.json", manifest)
    (folder / UNFINISHED).unlink()


def _split(metadata: pd.DataFrame, csv: Path) -> str:
    """LibriMix's name of the split: the one subset that all sources come from, without "-clean"."""
    paths = metadata[[f"source_{i}_path" for i in range(1, source_count(metadata) + 1)]]
    subsets = sorted(set(paths.map(lambda path: PurePosixPath(path).parts[0]).to_numpy().ravel()))
    if len(subsets) > 1:
        raise InputError(f"{csv}: sources of several subsets ({', '.join(subsets)}); expected one subset a table")
    return subsets[0].replace("-clean", "")


def _rows(metadata: pd.DataFrame, csv: Path, root: Path) -> list[Row]:
    """The table as rows, every source of which is on disk."""
    numbers = range(1, source_count(metadata) + 1)
    rows = []
    for number, record in enumerate(metadata.to_dict("records"), start=1):
        paths = tuple(str(record[f"source_{i}_path"]) for i in numbers)
        for path in paths:
            if not (root / path).is_file():
                raise InputError(f"{csv}: row {number}: {root / path} does not exist; expected a speech file")
        rows.append(Row(str(record["mixture_ID"]), paths, tuple(float(record[f"source_{i}_gain"]) for i in numbers)))
    return rows


def _verify(folder: Path, arguments: dict[str, Any]) -> None:
    """Check that a finished folder belongs to these arguments and that its files are all there, by number and size."""
    manifest = read_json(folder / "manifest.json")
    _require_same(folder / "manifest.json", manifest.get("arguments", {}), arguments)
    remedy = f"expected the files of its manifest.json; delete {folder} to render it anew"
    for name, digest in manifest["metadata_sha256"].items():
        table = folder.parent / "metadata" / name
        if not table.is_file() or sha256(table) != digest:
            raise InputError(f"{table}: missing or changed; {remedy}")
    lengths = {f"{mixture}.wav": entry["length"] for mixture, entry in manifest["pcm_md5"].items()}
    for name in manifest["folders"]:
        sizes = {file.name: file.stat().st_size for file in (folder / name).glob("*.wav")}
        for file, length in lengths.items():
            if sizes.pop(file, None) != WAV_HEADER_BYTES + 2 * length:
                raise InputError(f"{folder / name / file}: missing or of the wrong size; {remedy}")
        if sizes:
            raise InputError(f"{folder / name / min(sizes)}: belongs to no mixture; {remedy}")


def _require_same(file: Path, found: dict[str, Any], asked: dict[str, Any]) -> None:
    for key, value in asked.items():
        if found.get(key) != value:
            problem = f"made with {key} {found.get(key)}, asked for {value}"
            raise InputError(f"{file}: {problem}; expected the same arguments, or another --out")


def _is_whole(folder: Path, record: dict[str, Any]) -> bool:
    size = WAV_HEADER_BYTES + 2 * record["length"]
    files = [folder / name / f"{record['mixture_ID']}.wav" for name in record["pcm_md5"]]
    return all(file.is_file() and file.stat().st_size == size for file in files)


@contextmanager
def _progress(folder: Path, arguments: dict[str, Any]) -> Iterator[tuple[IO[str], dict[str, dict[str, Any]]]]:
    """Open the record of an unfinished folder, alone, and yield it with the rows found done in it.

    Its first line holds the arguments, each other line the result of one row. A last line torn by a kill is dropped,
    and so is a row whose files are gone: they are rendered again.
    """
    path = folder / UNFINISHED
    if folder.is_dir() and any(folder.iterdir()) and not path.exists():
        raise InputError(f"{folder}: holds files of other origin; expected an empty or absent folder, or another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); expected a folder to write into") from None
    with open(path, "a+", encoding="utf-8", newline="") as file:
        if fcntl is not None:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(f"{folder}: another process renders into it; expected to be alone") from None
        file.seek(0)
        lines = file.read().splitlines(keepends=True)
        whole = lines[:-1] if lines and not lines[-1].endswith("\n") else lines
        try:
            first, *records = [json.loads(line) for line in whole] or [arguments]
            done = {record["mixture_ID"]: record for record in records if _is_whole(folder, record)}
        except (json.JSONDecodeError, KeyError, TypeError):
            raise InputError(f"{path}: damaged; expected one JSON object a line; delete {folder}") from None
        _require_same(path, first, arguments)
        file.truncate(len("".join(whole).encode()))
        if not whole:
            file.write(json.dumps(arguments) + "\n")
            file.flush()
        yield file, done


def _mapped(work: partial[dict[str, Any]], rows: list[Row], jobs: int) -> Iterator[dict[str, Any]]:
    """Results in the order of the rows."""
    if jobs == 1 or len(rows) <= ROWS_PER_TASK:
        yield from map(work, rows)
        return
    with ProcessPoolExecutor(min(jobs, len(rows)), initializer=_end_with_parent) as pool:
        yield from pool.map(work, rows, chunksize=ROWS_PER_TASK)


def _end_with_parent() -> None:
    """Let a worker end when its parent is killed, and leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _render_row(row: Row, root: Path, folder: Path, rate: int, mode: str) -> dict[str, Any]:
    sources = _sources([root / path for path in row.paths], row.gains, rate, mode)
    mixture = np.zeros_like(sources[0])
    for source in sources:
        mixture += source
    signals = {MIXTURE: mixture} | {f"s{i}": source for i, source in enumerate(sources, start=1)}
    return {
        "mixture_ID": row.mixture_id,
        "length": len(mixture),
        "pcm_md5": {name: _write(folder / name / f"{row.mixture_id}.wav", signals[name], rate) for name in signals},
        "snr": [_snr(source, mixture - source) for source in sources],
    }


def _sources(paths: list[Path], gains: tuple[float, ...], rate: int, mode: str) -> list[np.ndarray]:
    """Sources at ``rate``, gain applied, of equal length: float32 ``[samples]`` each.

    In ``min`` mode the tail of a longer utterance is not even decoded: the samples kept depend on no more than the
    filter's reach beyond them.
    """
    frames: list[int | None] = [None] * len(paths)
    if mode == "min":
        down = RATE // rate
        shortest = min(_frames(path) for path in paths)
        kept = math.ceil(shortest / down) * down + FILTER_REACH * down
        frames = [min(kept if down > 1 else shortest, _frames(path)) for path in paths]
    # A plain float keeps the product in float32, where a float64 scalar would widen it.
    speech = [read_speech(path, count) * float(gain) for path, count, gain in zip(paths, frames, gains, strict=True)]
    resampled = [resample_poly(samples, rate, RATE) for samples in speech]
    lengths = [len(samples) for samples in resampled]
    if mode == "min":
        return [samples[: min(lengths)] for samples in resampled]
    return [np.pad(samples, (0, max(lengths) - len(samples))) for samples in resampled]


def _frames(path: Path) -> int:
    """Length of an utterance in samples, by its header."""
    try:
        return int(sf.info(str(path)).frames)
    except sf.LibsndfileError as error:
        raise InputError(f"{path}: {error.error_string}; expected a speech file") from None


def _write(path: Path, samples: np.ndarray, rate: int) -> str:
    """Write a WAV file of 16-bit PCM; return the MD5 of its PCM bytes."""
    with written_aside(path) as aside:
        sf.write(aside, samples, rate, subtype="PCM_16")
        return hashlib.md5(aside.read_bytes()[WAV_HEADER_BYTES:], usedforsecurity=False).hexdigest()


def _snr(source: np.ndarray, rest: np.ndarray) -> float:
    """Power of a source over that of the rest of the mixture in dB, in float32 and with LibriMix's guards."""
    return float(10 * np.log10(np.mean(source**2) / (np.mean(rest**2) + SNR_EPS) + SNR_EPS))
