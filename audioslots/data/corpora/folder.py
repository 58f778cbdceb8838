"""A folder of rendered mixtures: the record of its rows while it grows, and the manifest that closes it.

``record.jsonl`` holds one line a finished row. It stays when the folder is finished, so that a folder whose manifest
was taken away (Snakemake removes the outputs of a rule that runs again) is closed, not remade.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import pandas as pd
from tqdm import tqdm

from audioslots.data.librimix.metadata import write_metadata
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import naming, read_json, sha256, write_json, write_text

WAV_HEADER_BYTES = 44
RECORD = "record.jsonl"
MANIFEST = "manifest.json"

Result = dict[str, Any]  # of one row: mixture_ID, length in samples, pcm_md5 by folder, snr by type of mixture in dB


def pcm_md5(wav: bytes | memoryview) -> str:
    """MD5 of the samples of a WAV file."""
    return hashlib.md5(memoryview(wav)[WAV_HEADER_BYTES:], usedforsecurity=False).hexdigest()


@contextmanager
def recording(folder: Path, jobs: int) -> Iterator[tuple[IO[str], dict[str, Result]]]:
    """Open the record of an unfinished folder and yield it with the rows found done in it.

    A last line torn by a kill is dropped, and so is a row whose files are gone or changed: they are rendered again.

    Raises:
        InputError: the record is damaged.
    """
    path = folder / RECORD
    with naming(path), open(path, "a+", encoding="utf-8", newline="") as file:
        file.seek(0)
        lines = file.read().splitlines(keepends=True)
        whole = lines[:-1] if lines and not lines[-1].endswith("\n") else lines
        try:
            results = [json.loads(line) for line in whole]
            done = {result["mixture_ID"]: result for result in results}
            for damaged in _damaged(folder, results, jobs):
                done.pop(damaged.stem, None)
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError):
            raise InputError(f"{path}: damaged; expected one JSON object per line; delete {folder}") from None
        file.truncate(len("".join(whole).encode()))
        yield file, done


def close(folder: Path, arguments: dict[str, Any], results: list[Result], tables: dict[str, pd.DataFrame]) -> None:
    """Write the tables of a folder whose audio is complete, its record in the order of the rows, and its manifest."""
    metadata = folder.parent / "metadata"
    names = list(dict.fromkeys(name for result in results for name in result["pcm_md5"]))  # of some, not all sources
    _refuse_strays(folder, names, {f"{result['mixture_ID']}.wav" for result in results})
    for leftover in [*folder.rglob(".*.tmp*"), *_leftovers(metadata, tables)]:  # of a killed run
        leftover.unlink(missing_ok=True)
    os.sync()  # a manifest must not outlive, in a power failure, the audio it tells of
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
    write_text(folder / RECORD, "".join(json.dumps(line) + "\n" for line in results))
    write_json(folder / MANIFEST, manifest)


def verify(folder: Path, jobs: int) -> None:
    """Check that the files of a finished folder are all there and unchanged.

    Raises:
        InputError: naming the first file that is missing, changed or belongs to no mixture.
    """
    path = folder / MANIFEST
    manifest = read_json(path)
    remedy = f"expected the files of its {MANIFEST}; delete {folder} to render it again"
    try:
        for name, digest in manifest["metadata_sha256"].items():
            table = folder.parent / "metadata" / name
            if not table.is_file() or sha256(table) != digest:
                raise InputError(f"{table}: missing or changed; {remedy}")
        _refuse_strays(folder, manifest["folders"], {f"{mixture}.wav" for mixture in manifest["pcm_md5"]})
        results = []
        for mixture, digests in manifest["pcm_md5"].items():
            results.append({"mixture_ID": mixture, "length": digests.pop("length"), "pcm_md5": digests})
    except (AttributeError, KeyError, TypeError):
        raise InputError(f"{path}: damaged; expected a manifest; delete {folder} to render it again") from None
    for damaged in _damaged(folder, results, jobs):
        raise InputError(f"{damaged}: missing or changed; {remedy}")


def _refuse_strays(folder: Path, names: list[str], files: set[str]) -> None:
    for name in names:
        if strays := {file.name for file in (folder / name).glob("[!.]*.wav")} - files:
            raise InputError(f"{folder / name / min(strays)}: belongs to no mixture; expected it elsewhere")


def _leftovers(metadata: Path, tables: Iterable[str]) -> list[Path]:
    """Tables written aside by a killed run of this split: others may be at work on other splits."""
    return [file for table in tables for file in metadata.glob(f".{Path(table).stem}.????????.tmp.csv")]


def _damaged(folder: Path, results: list[Result], jobs: int) -> Iterator[Path]:
    """The first file of each row that is missing or whose length or samples are not those of the row."""
    with ThreadPoolExecutor(jobs) as pool:  # reading and hashing happen outside Python's lock
        files = pool.map(partial(_damaged_file, folder), results)
        for file in tqdm(files, f"verify {folder.name}", len(results), unit="mixture", disable=None, leave=False):
            if file is not None:
                yield file


def _damaged_file(folder: Path, result: Result) -> Path | None:
    for name, digest in result["pcm_md5"].items():
        file = folder / name / f"{result['mixture_ID']}.wav"
        try:
            wav = file.read_bytes()
        except OSError:
            return file
        if len(wav) != WAV_HEADER_BYTES + 2 * result["length"] or pcm_md5(wav) != digest:
            return file
    return None
