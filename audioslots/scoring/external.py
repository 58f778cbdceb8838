"""Systems of other packages: audio files that they have written, or a Python function that separates."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from audioslots.config.untrained import COST, EXTERNAL
from audioslots.data.audio import AUDIO_SUFFIXES, open_audio
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_table, sha256
from audioslots.scoring.estimates import Kept
from audioslots.scoring.mixtures import TestMixture, Waveforms, read_mixtures
from audioslots.separation.resampling import resample

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,50}")


def external_name(name: str) -> str:
    """The variant's name of an external system, which says what it is.

    Raises:
        InputError: it cannot name a folder.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"--name: {name!r}; expected small letters, digits, and _ . - after the first")
    return f"{EXTERNAL}{name.removeprefix(EXTERNAL)}"


def costs_of(told: Sequence[str]) -> dict[str, float]:
    """What ``key=number`` says of a system's cost, the keys being those of ``COST``.

    Raises:
        InputError: it says something else.
    """
    found: dict[str, float] = {}
    for words in told:
        key, _, value = words.partition("=")
        try:
            found[key] = float(value)
        except ValueError:
            found[key] = math.nan
        if key not in COST or not 0 < found[key] < math.inf:
            raise InputError(f"--cost: {words}; expected a positive number of {', '.join(COST)}, such as {COST[0]}=2e6")
    return found


@dataclass(frozen=True)
class Files(Kept):
    """Estimates in audio files, each of the mixture's length: of any rate, in any order, of any number.

    The loudest are scored where there are more than sources; silence stands in for those that are too few, and what no
    metric can score is counted as a failure.

    Attributes:
        place: the folder, or the CSV file, that they were found by.
        files: of each mixture's ID.
    """

    place: Path
    name: str
    rate: int
    identity: str
    files: dict[str, tuple[Path, ...]]
    seed: int = 0
    modules: tuple[str, ...] = (__name__,)

    @classmethod
    def load(cls, place: Path, name: str, mixtures: Path) -> Files:
        """Find the estimates of the mixtures of a folder.

        Args:
            place: a folder of ``s1/<mixture>.wav, s2/...``, or of ``<mixture>_s1.wav, <mixture>_s2.wav, ...``; or a CSV
                file with the columns ``mixture_ID, estimate_1_path, estimate_2_path, ...``, paths from its folder on,
                the last ones empty where a mixture has fewer estimates.
            name: of the system.
            mixtures: a finished folder, as ``evaluate`` takes it.

        Raises:
            InputError: a file is absent, of no mixture, or lies elsewhere; numbers leave a gap.
        """
        place, listed = Path(place), read_mixtures(mixtures)
        _, _, rate = listed[0].read()
        known = [item.mixture_id for item in listed]
        if place.is_file():
            home, found = place.parent, _of_table(place, known)
        elif place.is_dir():
            home, found = place, _of_folder(place, known)
        else:
            raise InputError(f"{place}: no such folder or file; expected the estimates of {mixtures}")
        for path in (path for paths in found.values() for path in paths):
            if not path.is_file():
                raise InputError(f"{path}: no such file; expected the estimates of every mixture of {mixtures}")
            if not path.resolve().is_relative_to(home.resolve()):
                raise InputError(f"{path}: leads to {path.resolve()}; expected a file in {home}")
        digest = hashlib.sha256()
        for mixture_id in known:
            digest.update("\n".join([mixture_id, *map(sha256, found[mixture_id])]).encode())
        return cls(place, external_name(name), rate, digest.hexdigest()[:16], found)

    def of(self, item: TestMixture) -> tuple[dict[str, Waveforms], float]:
        """Estimates [estimates, samples] of a mixture at its rate, as ``none``; nobody knows how long they took.

        Raises:
            InputError: a file cannot be read, or is not as long as the mixture.
        """
        with open_audio(item.path) as file:
            samples = file.frames
        read = [_read(path, samples, self.rate) for path in self.files[item.mixture_id]]
        return {"none": fitted(np.stack(read), len(item.speakers))}, 0.0


@dataclass(frozen=True)
class Function:
    """A Python function in a system's place.

    Attributes:
        separate: mixture [samples] as 32-bit floats and rate, Hz -> estimates [estimates, samples].
    """

    separate: Callable[[Waveforms, int], ArrayLike]
    name: str
    rate: int
    identity: str
    seed: int = 0
    modules: tuple[str, ...] = (__name__,)

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        """What the function makes of a mixture, as ``none``: nothing is known of how it goes about it.

        Raises:
            InputError: it returns something else than estimates of the mixture's length, or samples that are not
                finite.
        """
        estimates = np.asarray(self.separate(mixture, self.rate), np.float32)
        if estimates.ndim != 2 or not len(estimates) or estimates.shape[1] != len(mixture):
            raise InputError(f"{self.name}: returned shape {estimates.shape}; expected (estimates, {len(mixture)})")
        if not np.isfinite(estimates).all():
            raise InputError(f"{self.name}: returned samples that are not finite numbers; expected audio")
        return {"none": fitted(estimates, len(sources))}


def fitted(estimates: Waveforms, sources: int) -> Waveforms:
    """As many estimates [sources, samples] as sources: the loudest in their order, or with silence added."""
    energies = np.square(estimates, dtype=np.float64).sum(axis=1)
    kept = np.sort(np.argsort(-energies, kind="stable")[:sources])
    return np.pad(estimates[kept], ((0, sources - len(kept)), (0, 0)))


def _of_table(place: Path, known: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """Files by mixture, of a CSV."""
    table = read_table(place)
    columns = [column for column in table.columns if re.fullmatch(r"estimate_\d+_path", str(column))]
    wanted = [f"estimate_{number}_path" for number in range(1, len(columns) + 1)]
    if "mixture_ID" not in table or not columns or set(columns) != set(wanted):
        raise InputError(
            f"{place}: columns {', '.join(map(str, table.columns))}; "
            "expected mixture_ID, estimate_1_path, estimate_2_path, ..."
        )
    found: dict[str, tuple[Path, ...]] = {}
    for _, row in table.iterrows():
        mixture_id, paths = str(row["mixture_ID"]), [str(row[column]) for column in wanted]
        given = [path for path in paths if path]
        if mixture_id in found or not given or paths[: len(given)] != given:
            raise InputError(f"{place}: row {mixture_id}: {paths}; expected one row, and no path after an empty one")
        found[mixture_id] = tuple(place.parent / path for path in given)
    return _each(place, found, known)


def _of_folder(place: Path, known: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """Files by mixture, of a folder."""
    split = (place / "s1").is_dir()
    numbered: dict[str, dict[int, Path]] = {}
    for path in sorted(place.glob("s*/*") if split else place.iterdir()):
        if path.suffix.lower() not in AUDIO_SUFFIXES:
            continue
        if split:
            number, mixture_id = re.fullmatch(r"s(\d+)", path.parent.name), path.stem
            if number is None:
                continue
            place_of = int(number[1])
        else:
            parts = re.fullmatch(r"(.+)_s(\d+)", path.stem)
            if parts is None:
                raise InputError(
                    f"{path}: is of no mixture; expected <mixture>_s1{path.suffix}, or folders s1, s2, ..."
                )
            mixture_id, place_of = parts[1], int(parts[2])
        if place_of in numbered.setdefault(mixture_id, {}):
            raise InputError(f"{path}: a second file of estimate {place_of} of {mixture_id}; expected one")
        numbered[mixture_id][place_of] = path
    most = max((max(paths) for paths in numbered.values()), default=0)
    found = {}
    for mixture_id, paths in numbered.items():
        if gaps := sorted(set(range(1, most + 1)) - set(paths)):
            named = f"s{gaps[0]}/{mixture_id}.wav" if split else f"{mixture_id}_s{gaps[0]}.wav"
            raise InputError(
                f"{place / named}: no such file; expected {most} estimates of every mixture, or a CSV file where their "
                "number differs"
            )
        found[mixture_id] = tuple(paths[number] for number in sorted(paths))
    return _each(place, found, known)


def _each(place: Path, found: dict[str, tuple[Path, ...]], known: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """What was found, of every mixture and of no other."""
    if absent := [mixture_id for mixture_id in known if mixture_id not in found]:
        raise InputError(f"{place}: no estimates of {absent[0]}; expected those of all {len(known)} mixtures")
    if others := sorted(set(found) - set(known)):
        raise InputError(f"{place}: estimates of {others[0]}, which is no mixture of the set; expected those alone")
    return found


def _read(path: Path, samples: int, rate: int) -> Waveforms:
    """One estimate [samples] at a rate."""
    with open_audio(path) as file:
        waveform, own = file.read(dtype="float32", always_2d=True), file.samplerate
    expected = samples * own / rate
    if waveform.shape[1] != 1:
        raise InputError(f"{path}: {waveform.shape[1]} channels; expected one")
    if abs(len(waveform) - expected) >= (1 if own == rate else 2):
        raise InputError(f"{path}: {len(waveform)} samples at {own} Hz; expected the mixture's {expected:g}")
    if not np.isfinite(waveform).all():
        raise InputError(f"{path}: holds samples that are not finite numbers; expected audio")
    return waveform[:, 0] if own == rate else resample(waveform, own, rate, samples)[:, 0]
