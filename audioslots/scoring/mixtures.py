"""The mixtures of a test set: a rendered folder with its list and speakers, or a folder of mixtures made elsewhere."""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audioslots.config.data import TASKS
from audioslots.data.audio import open_audio
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_table, sha256

Waveforms = NDArray[np.float32]
MIXED = (*TASKS.values(), "mix")
"""Folders of the mixtures: LibriMix's and WHAM!'s, of the speech, with noise, of the first speaker with noise; then
WSJ0-2mix's. Of a set that has several, the first is taken where a path does not name another, as test/mix_both does."""
SINGLE = TASKS["enh_single"]
LIBRIMIX = re.compile(r"(?:^|_)(\d+)-\d+-\d+(?=_|$)")
WSJ0 = re.compile(r"(?:^|_)([0-9a-z]{3})[0-9a-z]{5}_-?\d+(?:\.\d+)?(?=_|$)")
"""Speakers in the names of mixtures: ``1089-134686-0000_121-127105-0031``, ``050a050a_0.1_442c020h_-0.1``."""


@dataclass(frozen=True)
class TestMixture:
    """One row of a mixture list."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    folder: Path
    mixture_id: str
    speakers: tuple[str, ...]
    sexes: tuple[str, ...]
    mixed: str = MIXED[0]

    @property
    def path(self) -> Path:
        """File of the mixture."""
        return self.folder / self.mixed / f"{self.mixture_id}.wav"

    def read(self) -> tuple[Waveforms, Waveforms, int]:
        """Mixture [samples], sources [sources, samples], rate in Hz.

        Raises:
            InputError: a WAV file is absent, unreadable, or differs from the mixture in length or rate.
        """
        mixture, rate = _read_wav(self.path)
        sources = []
        for number in range(1, len(self.speakers) + 1):
            path = self.folder / f"s{number}" / f"{self.mixture_id}.wav"
            source, source_rate = _read_wav(path)
            if (len(source), source_rate) != (len(mixture), rate):
                raise InputError(
                    f"{path}: {len(source)} samples at {source_rate} Hz; "
                    f"expected the mixture's {len(mixture)} at {rate} Hz"
                )
            sources.append(source)
        return mixture, np.stack(sources), rate


def listing(folder: Path) -> tuple[Path, Path, Path]:
    """The files that say what a folder holds: its mixture list, its speakers, its manifest."""
    folder, named = _named(folder)
    metadata = folder.parent / "metadata"
    lists = [metadata / f"mixture_{folder.name}_{mixed}.csv" for mixed in ([named] if named else TASKS.values())]
    there = next((path for path in lists if path.is_file()), lists[0])
    return there, metadata / f"info_{folder.name}.csv", folder / "manifest.json"


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of ``listing``, by name, or of all audio: folders of the same mixtures have the same."""
    if (mixed := _mixed(folder)) is None:
        return {path.name: sha256(path) for path in listing(folder)}
    folder, named = _named(folder)
    digest = hashlib.sha256()
    heard = (mixed,) if named else MIXED
    for path in sorted(path for part in (*heard, "s[0-9]*") for path in folder.glob(f"{part}/*.wav")):
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return {"audio": digest.hexdigest()}


def read_mixtures(folder: Path) -> list[TestMixture]:
    """The mixtures of a finished folder, in the order of its list, with speakers and sexes.

    Where a set has mixtures of several kinds, the path names one, as ``test/mix_both``, or the first of ``MIXED`` is
    taken. The sources of ``mix_single`` are the first ones alone.

    A folder that this package has not rendered has its mixtures in the order of their names, and nobody's sex; speakers
    are those of the names, by the rules of LibriMix or WSJ0-2mix, else each source is taken to be another speaker's.

    Raises:
        InputError: the folder is not finished, or its list or speakers are absent, empty or do not fit together; or it
            has no mixtures, or no sources of a mixture.
    """
    if mixed := _mixed(folder):
        return _of_folder(_named(folder)[0], mixed)
    mixtures, speakers, _ = listing(folder)
    folder, _ = _named(folder)
    if not (folder / "manifest.json").is_file():
        raise InputError(
            f"{folder}: the mixtures are not finished; expected a manifest.json in the folder, or folders mix, s1, s2"
        )
    listed, known = _read_csv(mixtures), _read_csv(speakers).set_index("mixture_ID")
    if listed.empty:
        raise InputError(f"{mixtures}: no mixtures; expected at least one row")
    sources = sum(column.startswith("source_") and column.endswith("_path") for column in listed.columns)
    numbers, mixed = range(1, sources + 1), mixtures.stem.removeprefix(f"mixture_{folder.name}_")
    missing = {f"speaker_{i}_{word}" for i in numbers for word in ("ID", "sex")} - set(known.columns)
    if missing:
        raise InputError(f"{speakers}: no column {min(missing)}; expected speaker and sex of {sources} sources")
    found = []
    for mixture_id in listed["mixture_ID"]:
        if mixture_id not in known.index:
            raise InputError(f"{speakers}: no row for {mixture_id}; expected one for every mixture of {mixtures.name}")
        row = known.loc[mixture_id]
        found.append(
            TestMixture(
                folder,
                mixture_id,
                tuple(row[f"speaker_{i}_ID"] for i in numbers if row[f"speaker_{i}_ID"]),
                tuple(row[f"speaker_{i}_sex"] for i in numbers if row[f"speaker_{i}_ID"]),
                mixed,
            )
        )
    return found


def _named(folder: Path) -> tuple[Path, str]:
    """The folder of a set, and the kind of its mixtures if the path names one: a set itself may be called ``mix``."""
    named = folder.name in MIXED and not (folder / "s1").is_dir()
    return (folder.parent, folder.name) if named else (folder, "")


def _mixed(folder: Path) -> str | None:
    """The folder of the mixtures of a set that this package has not rendered; None of one that it has, or not yet."""
    folder, named = _named(folder)
    if any((folder / name).exists() for name in ("manifest.json", "record.jsonl")):
        return None
    return next((name for name in ([named] if named else MIXED) if (folder / name).is_dir()), None)


def _of_folder(folder: Path, mixed: str) -> list[TestMixture]:
    """The mixtures of a folder that others have made."""
    names = sorted(path.stem for path in (folder / mixed).glob("[!.]*.wav"))
    if not names:
        raise InputError(f"{folder / mixed}: no WAV files; expected mixtures")
    sources = len([number for number in range(1, 10) if (folder / f"s{number}").is_dir()])
    single = mixed == SINGLE
    if sources < 2 - single or not (folder / f"s{sources}").is_dir():
        raise InputError(
            f"{folder}: {sources} of the folders s1, s2, ...; expected the sources of the mixtures, "
            + ("one or more" if single else "two or more")
        )
    known = [_speakers(name, sources) for name in names]
    if unknown := sum(one is None for one in known):
        print(
            f"{folder}: the names of {unknown} of {len(names)} mixtures tell no speakers; each source is taken to be "
            "another speaker's, and intervals are too narrow where speakers recur",
            file=sys.stderr,
        )
    found = []
    for name, speakers in zip(names, known, strict=True):
        others = tuple(f"{name}-s{number}" for number in range(1, sources + 1))
        kept = (speakers or others)[: 1 if single else None]
        found.append(TestMixture(folder, name, kept, ("",) * len(kept), mixed))
    return found


def _speakers(name: str, sources: int) -> tuple[str, ...] | None:
    """Whom the name of a mixture names, if it does."""
    named = (tuple(rule.findall(name)) for rule in (LIBRIMIX, WSJ0))
    return next((speakers for speakers in named if len(speakers) == sources), None)


def _read_wav(path: Path) -> tuple[Waveforms, int]:
    """One channel [samples] as float32, and its rate in Hz."""
    with open_audio(path) as file:
        waveform, rate = file.read(dtype="float32"), file.samplerate
    if waveform.ndim != 1 or not len(waveform):
        raise InputError(f"{path}: shape {waveform.shape}; expected one channel with at least one sample")
    return waveform, rate


def _read_csv(path: Path) -> pd.DataFrame:
    """A CSV with a column mixture_ID, every cell as text."""
    table = read_table(path)
    if "mixture_ID" not in table.columns:
        raise InputError(f"{path}: no column mixture_ID; expected LibriMix's columns")
    return table
