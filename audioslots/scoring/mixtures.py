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
KINDS = (*TASKS.values(), "mix")
"""Folders of the mixtures: LibriMix's and WHAM!'s, of the speech, with noise, of the first speaker with noise; then
WSJ0-2mix's. Of a set that has several, the first is taken where a path does not name another, as test/mix_both does."""
SINGLE = TASKS["enh_single"]
NAMES = (
    re.compile(r"(?:^|_)(\d+)-\d+-\d+(?=_|$)"),
    re.compile(r"(?:^|_)([0-9a-z]{3})[0-9a-z]{5}_-?\d+(?:\.\d+)?(?=_|$)"),
)
"""Speakers in the names of mixtures: ``1089-134686-0000_121-127105-0031``, ``050a050a_0.1_442c020h_-0.1``."""


SUFFIXES = (".wav", ".flac")
"""Endings of the files of a mixture and its sources."""


@dataclass(frozen=True)
class TestMixture:
    """One mixture of a test set.

    Attributes:
        folder: of the set.
        mixture_id: name of its files.
        speakers: one per source.
        sexes: likewise, empty where it is not known.
        kind: folder of the mixtures in that of the set.
    """

    __test__ = False  # not a test, whatever pytest thinks of the name

    folder: Path
    mixture_id: str
    speakers: tuple[str, ...]
    sexes: tuple[str, ...]
    kind: str = KINDS[0]

    @property
    def path(self) -> Path:
        """File of the mixture."""
        return _find_audio(self.folder / self.kind, self.mixture_id)

    def read_rate(self) -> int:
        """Sample rate in Hz; raises as ``read``."""
        with open_audio(self.path) as file:
            return int(file.samplerate)

    def read(self) -> tuple[Waveforms, Waveforms, int]:
        """Mixture [samples], sources [sources, samples], rate in Hz.

        Raises:
            InputError: a WAV file is absent, unreadable, or differs from the mixture in length or rate.
        """
        mixture, rate = _read_audio(self.path)
        sources = []
        for number in range(1, len(self.speakers) + 1):
            path = _find_audio(self.folder / f"s{number}", self.mixture_id)
            source, source_rate = _read_audio(path)
            if (len(source), source_rate) != (len(mixture), rate):
                raise InputError(
                    f"{path}: {len(source)} samples at {source_rate} Hz; "
                    f"expected the mixture's {len(mixture)} at {rate} Hz"
                )
            sources.append(source)
        return mixture, np.stack(sources), rate


def digest_mixtures(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that say what a test set holds, by name, or of all audio: equal for equal mixtures."""
    folder, kinds, is_rendered = _locate(folder)
    if is_rendered:
        return {path.name: sha256(path) for path in _metadata(folder, kinds)}
    digest = hashlib.sha256()
    patterns = [f"{name}/*{suffix}" for name in (*kinds, "s[0-9]*") for suffix in SUFFIXES]
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return {"audio": digest.hexdigest()}


def read_mixtures(folder: Path) -> list[TestMixture]:
    """The mixtures of a finished folder, in the order of its list, with speakers and sexes.

    Where a set has mixtures of several kinds, the path names one, as ``test/mix_both``, or the first of ``KINDS`` is
    taken. ``mix_single`` has only the first source.

    A folder that this package has not rendered has its mixtures in the order of their names, and no sexes; speakers
    are those of the names, by the rules of LibriMix or WSJ0-2mix, else each source is taken to be another speaker's.

    Raises:
        InputError: the folder is not finished, or its list or speakers are absent, empty or do not fit together; or it
            has no mixtures, or no sources of a mixture.
    """
    folder, kinds, is_rendered = _locate(folder)
    return _read_rendered(folder, kinds) if is_rendered else _read_other(folder, kinds)


def _locate(path: Path) -> tuple[Path, tuple[str, ...], bool]:
    """Folder of a set, the kinds that its path leaves open, and whether this package has rendered it, or is to."""
    is_named = path.name in KINDS and not (path / "s1").is_dir()  # a set itself may be called ``mix``
    folder, kinds = (path.parent, (path.name,)) if is_named else (path, KINDS)
    is_rendered = any((folder / name).exists() for name in ("manifest.json", "record.jsonl"))
    return folder, kinds, is_rendered or not any((folder / kind).is_dir() for kind in kinds)


def _metadata(folder: Path, kinds: tuple[str, ...]) -> tuple[Path, Path, Path]:
    """The list of the mixtures, their speakers and the manifest, of a rendered set."""
    metadata = folder.parent / "metadata"
    lists = [metadata / f"mixture_{folder.name}_{kind}.csv" for kind in kinds]
    present = next((path for path in lists if path.is_file()), lists[0])
    return present, metadata / f"info_{folder.name}.csv", folder / "manifest.json"


def _read_rendered(folder: Path, kinds: tuple[str, ...]) -> list[TestMixture]:
    mixtures, speakers, manifest = _metadata(folder, kinds)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected rendered mixtures, or a folder with mix, s1, s2")
    if not manifest.is_file():
        raise InputError(
            f"{folder}: the mixtures are not finished; expected a manifest.json in the folder, or folders mix, s1, s2"
        )
    listed, info = _read_csv(mixtures), _read_csv(speakers).set_index("mixture_ID")
    if listed.empty:
        raise InputError(f"{mixtures}: no mixtures; expected at least one row")
    numbers = range(1, 1 + sum(bool(re.fullmatch("source_.*_path", str(column))) for column in listed.columns))
    missing = {f"speaker_{number}_{key}" for number in numbers for key in ("ID", "sex")} - set(info.columns)
    if missing:
        raise InputError(f"{speakers}: no column {min(missing)}; expected speaker and sex of {len(numbers)} sources")
    kind, items = mixtures.stem.removeprefix(f"mixture_{folder.name}_"), []
    for mixture_id in listed["mixture_ID"]:
        if mixture_id not in info.index:
            raise InputError(f"{speakers}: no row for {mixture_id}; expected one for every mixture of {mixtures.name}")
        row = info.loc[mixture_id]
        present = [number for number in numbers if row[f"speaker_{number}_ID"]]
        ids, sexes = (tuple(row[f"speaker_{number}_{key}"] for number in present) for key in ("ID", "sex"))
        items.append(TestMixture(folder, mixture_id, ids, sexes, kind))
    return items


def _read_other(folder: Path, kinds: tuple[str, ...]) -> list[TestMixture]:
    """The mixtures of a folder that others have made."""
    mixed = next(name for name in kinds if (folder / name).is_dir())
    names = sorted({path.stem for suffix in SUFFIXES for path in (folder / mixed).glob(f"[!.]*{suffix}")})
    if not names:
        raise InputError(f"{folder / mixed}: no WAV or FLAC files; expected mixtures")
    sources = len([number for number in range(1, 10) if (folder / f"s{number}").is_dir()])
    least, words = (1, "one or more") if mixed == SINGLE else (2, "two or more")
    if sources < least or not (folder / f"s{sources}").is_dir():
        raise InputError(
            f"{folder}: {sources} of the folders s1, s2, ...; expected the sources of the mixtures, {words}"
        )
    items, unknown = [], 0
    for name in names:
        matches = (tuple(rule.findall(name)) for rule in NAMES)
        speakers = next((speakers for speakers in matches if len(speakers) == sources), None)
        unknown += speakers is None
        speakers = speakers or tuple(f"{name}-s{number}" for number in range(1, sources + 1))
        speakers = speakers[: 1 if mixed == SINGLE else None]
        items.append(TestMixture(folder, name, speakers, ("",) * len(speakers), mixed))
    if unknown:
        print(
            f"{folder}: the names of {unknown} of {len(names)} mixtures contain no speakers; each source is taken to "
            "be another speaker's, and intervals are too narrow where speakers recur",
            file=sys.stderr,
        )
    return items


def _find_audio(folder: Path, name: str) -> Path:
    """The WAV file of a mixture, or its FLAC file where there is no WAV."""
    paths = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    return next((path for path in paths if path.is_file()), paths[0])


def _read_audio(path: Path) -> tuple[Waveforms, int]:
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
