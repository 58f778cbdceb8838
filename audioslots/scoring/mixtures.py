"""The mixtures of a test set: a rendered folder, its list and its speakers."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audioslots.audio import opened
from audioslots.errors import InputError
from audioslots.files import parsed, sha256

Waveforms = NDArray[np.float32]


@dataclass(frozen=True)
class TestMixture:
    """One row of a mixture list."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    folder: Path
    mixture_id: str
    speakers: tuple[str, ...]
    sexes: tuple[str, ...]

    def read(self) -> tuple[Waveforms, Waveforms, int]:
        """Mixture [samples], sources [sources, samples], rate in Hz.

        Raises:
            InputError: a WAV file is absent, unreadable, or differs from the mixture in length or rate.
        """
        mixture, rate = _read_wav(self.folder / "mix_clean" / f"{self.mixture_id}.wav")
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
    metadata = folder.parent / "metadata"
    return (
        metadata / f"mixture_{folder.name}_mix_clean.csv",
        metadata / f"info_{folder.name}.csv",
        folder / "manifest.json",
    )


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of ``listing``, by name: folders of the same mixtures have the same."""
    return {path.name: sha256(path) for path in listing(folder)}


def read_mixtures(folder: Path) -> list[TestMixture]:
    """The mixtures of a finished folder, in the order of its list, with speakers and sexes.

    Raises:
        InputError: the folder is not finished, or its list or speakers are absent, empty or do not fit together.
    """
    if not (folder / "manifest.json").is_file():
        raise InputError(f"{folder}: the mixtures are not finished; expected a manifest.json in the folder")
    mixtures, speakers, _ = listing(folder)
    listed, known = _read_csv(mixtures), _read_csv(speakers).set_index("mixture_ID")
    if listed.empty:
        raise InputError(f"{mixtures}: no mixtures; expected at least one row")
    sources = sum(column.startswith("source_") and column.endswith("_path") for column in listed.columns)
    numbers = range(1, sources + 1)
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
                tuple(row[f"speaker_{i}_ID"] for i in numbers),
                tuple(row[f"speaker_{i}_sex"] for i in numbers),
            )
        )
    return found


def _read_wav(path: Path) -> tuple[Waveforms, int]:
    """One channel [samples] as float32, and its rate in Hz."""
    with opened(path) as file:
        waveform, rate = file.read(dtype="float32"), file.samplerate
    if waveform.ndim != 1 or not len(waveform):
        raise InputError(f"{path}: shape {waveform.shape}; expected one channel with at least one sample")
    return waveform, rate


def _read_csv(path: Path) -> pd.DataFrame:
    """A CSV with a column mixture_ID, every cell as text."""
    table = parsed(path, lambda text: pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False), "CSV")
    if "mixture_ID" not in table.columns:
        raise InputError(f"{path}: no column mixture_ID; expected LibriMix's columns")
    return table
