"""Metadata of LibriMix: which utterances make a mixture, and with which gains.

A metadata table has one row a mixture and LibriMix's columns: ``mixture_ID``, then ``source_<i>_path`` (relative to
the corpus root) and ``source_<i>_gain`` (a factor on the samples) for each source, then optionally ``noise_path`` and
``noise_gain``. In a conversation (``data/conversations.py``) a source has a list of paths, gains and starts, parted by
";". Where mixtures have different numbers of sources, the last columns of those with fewer are empty. Reference:
JorisCos/LibriMix at b898ca3, ``scripts/create_librimix_metadata.py``.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyloudnorm
from tqdm import tqdm

from audioslots.data.corpora.corpus import SEPARATOR, held_out, read_speech, speaker_sex, utterances
from audioslots.data.librimix.layout import LOUDNESS_LUFS, MAX_AMPLITUDE, MIN_UTTERANCE_S, RATE, gain, groups
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import parsed, written_aside

CLIPPED_PEAK = 0.999 * MAX_AMPLITUDE  # from here on a sum counts as held at that peak, gains being rounded
MAX_ID_BYTES = 200  # file systems allow names of 255, of which some go to endings
FRUITLESS_PASSES = 20  # passes over a subset without a new mixture before giving up


def source_count(metadata: pd.DataFrame) -> int:
    """Number of sources a mixture, or the most of them, by the columns present; at least 1."""
    numbers = (re.fullmatch(r"source_(\d+)_(?:path|gain)", str(column)) for column in metadata.columns)
    return max([1, *(int(number[1]) for number in numbers if number)])


def read_metadata(csv: Path) -> pd.DataFrame:
    """Read and validate a metadata table.

    IDs and paths are strings; gains are float64 with every digit of the text (as pandas' Python parser, which LibriMix
    uses, reads them; its default parser may be off by the last bit).

    Raises:
        InputError: naming file, row (the first row of data is row 1) and column: no such file, not a CSV, no rows, a
            column missing, a mixture ID that is empty, repeated or no plain file name, a path that is absolute, leaves
            the corpus or is not in its layout, a gain that is not a finite positive number.
    """
    as_text: dict[str, Any] = {"dtype": str, "keep_default_na": False, "index_col": False}
    table = parsed(csv, lambda text: pd.read_csv(io.StringIO(text), **as_text), "CSV").fillna("")
    names = [f"source_{i}" for i in range(1, max(2, source_count(table)) + 1)]
    if {"noise_path", "noise_gain"} & set(table.columns):
        names.append("noise")
    for column in ["mixture_ID", *(f"{name}_{kind}" for name in names for kind in ("path", "gain"))]:
        if column not in table.columns:
            raise InputError(f"{csv}: column {column} is missing; expected LibriMix's columns for {names}")
    if table.empty:
        raise InputError(f"{csv}: no rows; expected at least one mixture")
    first_row: dict[str, int] = {}
    for row, mixture in enumerate(table["mixture_ID"], start=1):
        where = f"{csv}: row {row}: mixture_ID"
        if not re.fullmatch(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*", mixture):
            raise InputError(f"{where} is {mixture!r}; expected a file name without separators or a leading dot")
        if len(mixture.encode()) > MAX_ID_BYTES:
            raise InputError(f"{where} is {mixture!r}; expected {MAX_ID_BYTES} bytes at most, being a file's name")
        if first_row.setdefault(mixture, row) != row:
            raise InputError(f"{where} {mixture} is also in row {first_row[mixture]}; expected each ID once")
    for name in names:
        layout = "a file" if name == "noise" else "subset/speaker/chapter/utterance"
        turns = f"{name}_start" in table.columns
        lacks = _lacking(table, name, csv)
        for row, texts in enumerate(table[f"{name}_path"], start=1):
            if lacks[row - 1]:
                continue
            for text in texts.split(SEPARATOR) if turns else [texts]:
                path = PurePosixPath(text)
                if path.is_absolute() or ".." in path.parts or "\\" in text or len(path.parts) <= layout.count("/"):
                    problem = f"{name}_path is {text!r}; expected {layout} inside the folder given"
                    raise InputError(f"{csv}: row {row}: {problem}")
        if turns:
            _check_turns(table, name, csv)
        else:
            table[f"{name}_gain"] = [
                math.nan if lacks[row - 1] else _gain(text, f"{csv}: row {row}: {name}_gain")
                for row, text in enumerate(table[f"{name}_gain"], start=1)
            ]
    return table


def _lacking(table: pd.DataFrame, name: str, csv: Path) -> list[bool]:
    """Which rows have no source of that name: the last of some mixtures, whose path and gain are both empty."""
    number = name.removeprefix("source_")
    lacks: list[bool] = (table[f"{name}_path"] == "").tolist()
    if number in ("1", "noise") or not any(lacks) or f"{name}_start" in table.columns:
        return [False] * len(table)
    for row, lacking in enumerate(lacks, start=1):
        given = table.at[row - 1, f"{name}_gain"]
        if lacking and given:
            raise InputError(f"{csv}: row {row}: {name}_path is '' and {name}_gain {given!r}; expected both or neither")
        if not lacking and table.at[row - 1, f"source_{int(number) - 1}_path"] == "":
            raise InputError(f"{csv}: row {row}: {name} follows none; expected the sources from the first on")
    return lacks


def _check_turns(table: pd.DataFrame, name: str, csv: Path) -> None:
    """Check that a source has as many starts and gains as paths, and that they are numbers."""
    for row, record in enumerate(table.to_dict("records"), start=1):
        where = f"{csv}: row {row}: {name}"
        paths, starts, gains = (str(record[f"{name}_{part}"]).split(SEPARATOR) for part in ("path", "start", "gain"))
        if not len(paths) == len(starts) == len(gains):
            raise InputError(f"{where}: {len(paths)} paths, {len(starts)} starts, {len(gains)} gains; expected as many")
        for start in starts:
            if not start.isdecimal():
                raise InputError(f"{where}_start has {start!r}; expected whole numbers of samples, 0 or more")
        for factor in gains:
            _gain(factor, f"{where}_gain")


def turns_of(record: Mapping[Any, Any], name: str) -> list[tuple[str, int, float]]:
    """Path, start (samples at 16 kHz) and gain of each turn of a source in a row of a checked table, if it is there."""
    if not record[f"{name}_path"]:
        return []
    if f"{name}_start" not in record:
        return [(str(record[f"{name}_path"]), 0, float(record[f"{name}_gain"]))]
    parts = (str(record[f"{name}_{part}"]).split(SEPARATOR) for part in ("path", "start", "gain"))
    return [(path, int(start), float(factor)) for path, start, factor in zip(*parts, strict=True)]


def _gain(text: str, where: str) -> float:
    try:
        gain = float(text)
    except ValueError:
        gain = math.nan
    if not (math.isfinite(gain) and gain > 0):
        raise InputError(f"{where} is {text!r}; expected a finite number above 0")
    return gain


def write_metadata(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV; floats with every digit, so that reading it back gives the same gains."""
    with written_aside(path) as aside:
        frame.to_csv(aside, index=False, lineterminator="\n", encoding="utf-8")


def select(metadata: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Rows whose every source file is on disk under ``root``, for a corpus that is only partly there."""
    paths = [f"source_{i}_path" for i in range(1, source_count(metadata) + 1)]
    present = {
        text: not text or all((Path(root) / path).is_file() for path in text.split(SEPARATOR))
        for text in pd.unique(metadata[paths].to_numpy().ravel())
    }
    return metadata[metadata[paths].map(present.__getitem__).all(axis=1)].reset_index(drop=True)


def info(metadata: pd.DataFrame, root: Path) -> pd.DataFrame:
    """LibriMix's ``_info`` table: mixture_ID, then ``speaker_<i>_ID`` and ``speaker_<i>_sex`` for each source.

    The speaker is the second folder of the path (``subset/speaker/chapter/utterance.flac``); the sex (F or M) is
    SPEAKERS.TXT's, "" where it does not name the speaker.

    Raises:
        InputError: SPEAKERS.TXT is absent or damaged.
    """
    sexes = speaker_sex(root)
    table = metadata[["mixture_ID"]].copy()
    for i in range(1, source_count(metadata) + 1):
        speakers = [PurePosixPath(path).parts[1] if path else "" for path in metadata[f"source_{i}_path"]]
        table[f"speaker_{i}_ID"] = speakers
        table[f"speaker_{i}_sex"] = [sexes.get(speaker, "") for speaker in speakers]
    return table


def draw(root: Path, subset: str, sources: int, count: int, seed: int, of_held_out: int = 0) -> pd.DataFrame:
    """Draw the metadata of ``count`` mixtures of ``sources`` utterances by LibriMix's rules, without noise.

    Utterances are at least 3 s long and of different speakers. A pass over the subset uses each utterance at most
    once; a training subset ("train" in its name) gets one pass, others, and speakers held out of one, as many as it
    takes, without repeating a set of utterances. The loudness of each source is uniform in -33 to -25 LUFS (ITU-R
    BS.1770-4); a source that would clip is scaled to a peak of 0.9, and so is the whole mixture (sources padded to the
    longest) where it exceeds 0.9. The gain is the change of loudness, as a factor, rounded to six decimals so that
    every machine writes the same table.

    Two deviations from the reference: an utterance's loudness is measured before padding to its partner's length
    (so once an utterance), and the order of the draws is this function's own.

    Args:
        root: corpus in LibriSpeech's layout.
        subset: folder under ``root``, e.g. ``test-clean``.
        sources: sources a mixture, 1 or more; of a single one the mixture is the source.
        count: mixtures, 1 or more.
        seed: same seed and corpus, same table, whatever the order of files on disk.
        of_held_out: draw from so many speakers alone, those that ``held_out`` of training; 0: from all.

    Raises:
        InputError: an argument out of range, or too few utterances or speakers.
    """
    if sources < 1 or count < 1:
        raise InputError(f"sample: {sources} sources, {count} mixtures; expected 1 source or more, 1 mixture or more")
    speech = utterances(root, subset)
    speech = speech[speech["frames"] >= MIN_UTTERANCE_S * RATE].sort_values("path", ignore_index=True)
    if of_held_out:
        speech = speech[speech["speaker_id"].isin(held_out(speech, of_held_out))]
    paths = [str(path) for path in speech["path"]]
    speakers = [str(speaker) for speaker in speech["speaker_id"]]
    if len(set(speakers)) < sources:
        problem = f"{len(set(speakers))} speakers with utterances of {MIN_UTTERANCE_S:g} s or more"
        raise InputError(f"{Path(root) / subset}: {problem}; expected at least {sources}")
    rng = np.random.default_rng(seed)
    found: dict[frozenset[int], tuple[int, ...]] = {}
    most = fruitless = 0
    while len(found) < count and fruitless < FRUITLESS_PASSES:
        if "train" in subset and not of_held_out:
            found = {}
        for group in groups(rng.permutation(len(speakers)), speakers, sources):
            found.setdefault(frozenset(group), group)
        fruitless = 0 if len(found) > most else fruitless + 1
        most = max(most, len(found))
    if len(found) < count:
        problem = f"its {len(paths)} utterances give {most} mixtures of {sources} sources"
        raise InputError(f"{Path(root) / subset}: {problem}; expected {count}")

    rows = []
    for group in tqdm(list(found.values())[:count], desc=f"draw {subset}", unit="mixture", disable=None):
        chosen = [paths[index] for index in group]
        row: dict[str, object] = {"mixture_ID": "_".join(PurePosixPath(path).stem for path in chosen)}
        for i, (path, factor) in enumerate(zip(chosen, _gains(Path(root), chosen, rng), strict=True), start=1):
            row |= {f"source_{i}_path": path, f"source_{i}_gain": factor}
        rows.append(row)
    return pd.DataFrame(rows)


def draw_some(
    root: Path, subset: str, sources: Sequence[int], count: int, seed: int, of_held_out: int = 0
) -> pd.DataFrame:
    """As ``draw``, of several numbers of sources: as many mixtures of each, the first ones one more where need be."""
    each = [count // len(sources) + (place < count % len(sources)) for place in range(len(sources))]
    tables = [draw(root, subset, *one, seed, of_held_out) for one in zip(sources, each, strict=True) if one[1]]
    return joined(tables)


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of different numbers of sources as one, without noise; where a mixture has fewer, its cells are empty."""
    if len(tables) == 1:
        return tables[0]
    speech = [table.drop(columns=["noise_path", "noise_gain"], errors="ignore") for table in tables]
    table = pd.concat(speech, ignore_index=True)
    paths = [column for column in table.columns if str(column).endswith("_path")]
    return table.fillna(dict.fromkeys(paths, ""))


def singles(metadata: pd.DataFrame) -> pd.DataFrame:
    """Mixtures of one source: the first ones of a table, with their gains, each utterance once."""
    first = metadata[["source_1_path", "source_1_gain"]].drop_duplicates("source_1_path", ignore_index=True)
    first.insert(0, "mixture_ID", [PurePosixPath(path).stem for path in first["source_1_path"]])
    return first


@cache
def measured(path: Path) -> tuple[int, float, float]:
    """Length in samples, integrated loudness in LUFS and largest absolute sample of an utterance."""
    samples = read_speech(path)
    loudness = float(pyloudnorm.Meter(RATE).integrated_loudness(samples))
    if not math.isfinite(loudness):
        raise InputError(f"{path}: its loudness is {loudness} LUFS; expected speech")
    return len(samples), loudness, float(np.abs(samples).max())


def _mixture_peak(root: Path, paths: list[str], gains: list[float]) -> float:
    """Largest absolute sample of the sum of the padded sources; an upper bound of it where below ``CLIPPED_PEAK``."""
    bound = sum(gain * measured(root / path)[2] for path, gain in zip(paths, gains, strict=True))
    if bound < CLIPPED_PEAK:
        return bound
    scaled = [gain * read_speech(root / path) for path, gain in zip(paths, gains, strict=True)]
    mixture = np.zeros(max(map(len, scaled)))
    for source in scaled:
        mixture[: len(source)] += source
    return float(np.abs(mixture).max())


def _gains(root: Path, paths: list[str], rng: np.random.Generator) -> list[float]:
    gains = []
    for path in paths:
        _, loudness, peak = measured(root / path)
        gains.append(float(gain(rng.uniform(*LOUDNESS_LUFS), loudness, peak)))
    peak = _mixture_peak(root, paths, gains)
    weight = MAX_AMPLITUDE / peak if peak > MAX_AMPLITUDE else 1.0
    return [round(factor * weight, 6) for factor in gains]


def statistics(metadata: pd.DataFrame, root: Path) -> dict[str, object]:
    """What a table holds, measured on its corpus.

    Returns:
        ``mixtures``; ``sources``; ``speakers`` (distinct); ``pairs`` (distinct groups of speakers, in any order);
        ``utterances`` (distinct); ``sexes`` (mixtures by sorted sexes, e.g. FF, FM, MM); ``hours_min`` and
        ``hours_max`` (cut to the shortest source, padded to the longest); ``overlap_ratio`` (mean of shortest over
        longest source, 0 to 1); ``loudness_lufs`` (minimum, mean and maximum over sources, gain applied); ``clipped``
        (mixtures whose sum is held at the peak of 0.9).
    """
    root = Path(root)
    numbers = range(1, source_count(metadata) + 1)
    people = info(metadata, root)
    mixtures = [  # path and gain of the sources of each
        [(str(row[f"source_{i}_path"]), float(row[f"source_{i}_gain"])) for i in numbers if row[f"source_{i}_path"]]
        for row in metadata.to_dict("records")
    ]
    frames = {path: measured(root / path)[0] for mixture in mixtures for path, _ in mixture}
    lengths = [[frames[path] for path, _ in mixture] for mixture in mixtures]
    shortest, longest = np.array([min(of) for of in lengths]), np.array([max(of) for of in lengths])
    loudness = [measured(root / path)[1] + 20 * math.log10(gain) for mixture in mixtures for path, gain in mixture]
    clipped = sum(
        _mixture_peak(root, [path for path, _ in mixture], [gain for _, gain in mixture]) > CLIPPED_PEAK
        for mixture in mixtures
    )
    speakers = [[one for one in row if one] for row in people[[f"speaker_{i}_ID" for i in numbers]].to_numpy()]
    sexes = pd.Series(["".join(sorted(row)) for row in people[[f"speaker_{i}_sex" for i in numbers]].to_numpy()])
    return {
        "mixtures": len(metadata),
        "sources": len(numbers),
        "speakers": len({one for group in speakers for one in group}),
        "pairs": len({frozenset(group) for group in speakers}),
        "utterances": len(frames),
        "sexes": {str(sex): int(mixtures) for sex, mixtures in sexes.value_counts().sort_index().items()},
        "hours_min": round(float(shortest.sum()) / RATE / 3600, 3),
        "hours_max": round(float(longest.sum()) / RATE / 3600, 3),
        "overlap_ratio": round(float((shortest / longest).mean()), 3),
        "loudness_lufs": [round(float(value), 1) for value in (min(loudness), np.mean(loudness), max(loudness))],
        "clipped": int(clipped),
    }
