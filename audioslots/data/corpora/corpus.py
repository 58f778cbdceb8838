"""Speech in LibriSpeech's layout on disk: ``ROOT/<subset>/<speaker>/<chapter>/<utterance>.flac``, ``SPEAKERS.TXT``."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from tqdm import tqdm

from audioslots.data.audio import open_audio
from audioslots.data.librimix.layout import RATE
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import parsed

SEXES = {"F": "F", "M": "M", "U": ""}  # U, unknown, is none of LibriSpeech's
LAYOUT = "<subset>/<speaker>/<chapter>/*.flac"
SEPARATOR = ";"  # of the turns of a source, in the table of a conversation


def read_speech(path: Path, frames: int | None = None) -> np.ndarray:
    """Read one utterance.

    Args:
        path: a FLAC file (or another format of libsndfile), 16 kHz, mono.
        frames: read only so many samples from the start (fewer where the file is shorter); all by default.

    Returns:
        (samples,) float32 in [-1, 1).

    Raises:
        InputError: the file is absent, empty, cannot be decoded, ends before the length its header promises, is not
            at 16 kHz or not mono.
    """
    path = Path(path)
    with open_audio(path) as file:
        _check_format(path, file)
        expected = file.frames if frames is None else min(frames, file.frames)
        samples = file.read(expected, dtype="float32")
    if len(samples) < expected:
        raise InputError(f"{path}: truncated after {len(samples)} samples; expected {expected}")
    return samples


def _check_format(path: Path, file: soundfile.SoundFile) -> None:
    if file.samplerate != RATE:
        raise InputError(f"{path}: sample rate is {file.samplerate} Hz; expected {RATE} Hz")
    if file.channels != 1:
        raise InputError(f"{path}: has {file.channels} channels; expected mono")
    # A FLAC header may leave the length open, which libsndfile reports as the largest number there is.
    if not 0 < file.frames < 2**40:
        raise InputError(f"{path}: is empty or of unknown length; expected speech")


def speaker_sex(root: Path) -> dict[str, str]:
    """The sex, ``"F"``, ``"M"`` or ``""``, of every speaker of ``root/SPEAKERS.TXT`` by speaker identifier.

    Raises:
        InputError: the file is absent, or a line of it is not ``ID | F, M or U | SUBSET | MINUTES | NAME``.
    """
    path = Path(root) / "SPEAKERS.TXT"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise InputError(f"{path}: no such file; expected LibriSpeech's table of speakers") from None
    sexes = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(";"):
            continue
        # A name may itself hold a bar.
        fields = [field.strip() for field in line.split("|", 4)]
        if len(fields) < 4 or fields[1] not in SEXES:
            raise InputError(f"{path}: line {number} is {line!r}; expected ID | F, M or U | SUBSET | MINUTES | NAME")
        sexes[fields[0]] = SEXES[fields[1]]
    return sexes


def _files(root: Path, subset: str | None) -> list[Path]:
    """Every FLAC file of a corpus or of one of its subsets, sorted, but for files being written (``.name``)."""
    root = Path(root)
    folder = root if subset is None else root / subset
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected speech at {root}/{LAYOUT}")
    pattern = "*/*/*/*.flac" if subset is None else "*/*/*.flac"
    paths = [path for path in folder.glob(pattern) if not path.name.startswith(".")]
    if not paths:
        raise InputError(f"{folder}: no speech inside; expected {root}/{LAYOUT}")
    return sorted(paths, key=lambda path: path.relative_to(root).as_posix())


def utterances(root: Path, subset: str | None = None) -> pd.DataFrame:
    """List the utterances of a corpus, or of one of its subsets, from the headers of its files.

    Returns:
        One row an utterance, sorted by path: ``path`` (relative to ``root``, with forward slashes), ``speaker_id``
        (str), ``sex`` (F, M or empty), ``subset`` and ``frames`` (samples at 16 kHz).

    Raises:
        InputError: a folder or SPEAKERS.TXT is absent, a speaker is not in it, or a file is not 16 kHz mono speech.
    """
    root = Path(root)
    paths = _files(root, subset)
    sexes = speaker_sex(root)
    rows = []
    for path in paths:
        relative = path.relative_to(root)
        speaker = relative.parts[1]
        if speaker not in sexes:
            raise InputError(f"{root / 'SPEAKERS.TXT'}: speaker {speaker} is missing; expected a line for {path}")
        with open_audio(path) as file:
            _check_format(path, file)
            frames = file.frames
        rows.append((relative.as_posix(), speaker, sexes[speaker], relative.parts[0], frames))
    return pd.DataFrame(rows, columns=["path", "speaker_id", "sex", "subset", "frames"])


def held_out(speech: pd.DataFrame, count: int, seed: int = 0) -> list[str]:
    """The speakers that are held out of training: as many of each sex as can be, whatever the order of ``speech``.

    Args:
        speech: a row an utterance of at least 3 s of the whole subset, with ``speaker_id`` and ``sex``.
        count: how many.
        seed: another, other speakers.

    Raises:
        InputError: fewer than two speakers would be left on either side.
    """
    order = speech[["speaker_id", "sex"]].drop_duplicates().sort_values("speaker_id")
    if not 2 <= count <= len(order) - 2:
        raise InputError(f"held_out_speakers: {count} of {len(order)} speakers; expected 2 to {len(order) - 2}")
    order = order.sample(frac=1, random_state=seed)
    order = order.assign(rank=order.groupby("sex").cumcount()).sort_values("rank", kind="stable")
    speakers: list[str] = order["speaker_id"].head(count).tolist()
    return speakers


def _problem(path: Path) -> tuple[str | None, int]:
    """What is wrong with a file, if anything, and its number of samples."""
    try:
        return None, len(read_speech(path))
    except InputError as error:
        return str(error), 0


def _expected(metadata: Path) -> dict[str, int | None]:
    """The speech that a CSV of LibriMix names: path -> samples, None where the CSV does not tell."""
    table = parsed(metadata, lambda text: pd.read_csv(io.StringIO(text), dtype=str), "CSV")
    if {"origin_path", "length"} <= set(table):
        try:
            return dict(zip(table["origin_path"], table["length"].astype(int), strict=True))
        except ValueError as error:
            raise InputError(f"{metadata}: length: {error}; expected numbers of samples") from None
    columns = [name for name in map(str, table) if name.startswith("source_") and name.endswith("_path")]
    if not columns:
        raise InputError(
            f"{metadata}: has no column source_1_path, and no origin_path and length; expected a LibriMix metadata CSV"
        )
    cells = [text for column in columns for text in table[column].dropna()]
    turns = any(name.endswith("_start") for name in map(str, table))  # of a conversation
    return dict.fromkeys(path for text in cells for path in (text.split(SEPARATOR) if turns else [text]))


def check(root: Path, against: Path | None = None) -> list[str]:
    """Decode every file of a corpus once and list all that is wrong with it.

    Args:
        root: the corpus' root folder.
        against: a metadata CSV of LibriMix: of mixtures, or conversations, whose sources must be there, or of
            LibriSpeech (``metadata/LibriSpeech/<subset>.csv``), whose utterances must be there and as long as it says.

    Returns:
        One line a problem, sorted: files that are missing, empty, truncated (shorter than their header says), not
        decodable, not at 16 kHz, not mono or not of the length that ``against`` gives, and speakers that SPEAKERS.TXT
        lacks. Empty where all is well.

    Raises:
        InputError: ``root`` is no corpus, or ``against`` is no metadata.
    """
    root = Path(root)
    expected = {} if against is None else _expected(Path(against))
    paths = _files(root, None)
    problems = set()
    try:
        sexes = speaker_sex(root)
    except InputError as error:
        problems.add(str(error))
    else:
        for speaker in {path.relative_to(root).parts[1] for path in paths} - sexes.keys():
            problems.add(f"{root / 'SPEAKERS.TXT'}: speaker {speaker} is missing; expected a line for each speaker")
    # libsndfile decodes outside Python's lock, so threads share the work.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = tqdm(pool.map(_problem, paths), "check", total=len(paths), unit="file", disable=None)
        for path, (problem, samples) in zip(paths, found, strict=True):
            length = expected.pop(path.relative_to(root).as_posix(), None)
            if problem:
                problems.add(problem)
            elif length not in (None, samples):
                problems.add(f"{path}: has {samples} samples; expected {length}, by {against}")
    problems.update(f"{root / path}: missing; expected by {against}" for path in expected)
    return sorted(problems)
