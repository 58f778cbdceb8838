"""Systems of other packages: audio files that they have written, or a Python function that separates."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from audioslots.config.untrained import COST, EXTERNAL
from audioslots.data.audio import AUDIO_SUFFIXES, open_audio
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_table, sha256
from audioslots.scoring.estimates import SavedSystem
from audioslots.scoring.mixtures import TestMixture, Waveforms, read_mixtures
from audioslots.separation.resampling import resample


def external_name(name: str) -> str:
    """The variant's name of an external system.

    Raises:
        InputError: it cannot name a folder.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,50}", name):
        raise InputError(f"--name: {name!r}; expected small letters, digits, and _ . - after the first")
    return f"{EXTERNAL}{name.removeprefix(EXTERNAL)}"


def parse_costs(options: Sequence[str]) -> dict[str, float]:
    """The cost of a system from ``key=number``, the keys being those of ``COST``.

    Raises:
        InputError: another key, or no positive number.
    """
    costs: dict[str, float] = {}
    for option in options:
        key, _, value = option.partition("=")
        try:
            costs[key] = float(value)
        except ValueError:
            costs[key] = math.nan
        if key not in COST or not 0 < costs[key] < math.inf:
            raise InputError(
                f"--cost: {option}; expected a positive number of {', '.join(COST)}, such as {COST[0]}=2e6"
            )
    return costs


@dataclass(frozen=True)
class AudioFiles(SavedSystem):
    """Estimates in audio files, each of the mixture's length: of any rate, in any order, of any number.

    The loudest are scored where there are more than sources; silence stands in for those that are too few, and what no
    metric can score is counted as a failure.
    """

    files: dict[str, tuple[Path, ...]]

    @classmethod
    def load(cls, place: Path, name: str, mixtures: Path) -> AudioFiles:
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
        place, items = Path(place), read_mixtures(mixtures)
        if not place.exists():
            raise InputError(f"{place}: no such folder or file; expected the estimates of {mixtures}")
        files = dict(_read_table(place) if place.is_file() else _search_folder(place))
        if absent := [item.mixture_id for item in items if item.mixture_id not in files]:
            raise InputError(f"{place}: no estimates of {absent[0]}; expected those of all {len(items)} mixtures")
        if others := sorted(set(files) - {item.mixture_id for item in items}):
            raise InputError(f"{place}: estimates of {others[0]}, which is not in the set; expected no others")
        home, digest = (place.parent if place.is_file() else place).resolve(), hashlib.sha256()
        for path in (path for paths in files.values() for path in paths):
            if not path.is_file():
                raise InputError(f"{path}: no such file; expected the estimates of every mixture of {mixtures}")
            if not path.resolve().is_relative_to(home):
                raise InputError(f"{path}: leads to {path.resolve()}; expected a file in {home}")
        for item in items:
            digest.update("\n".join([item.mixture_id, *map(sha256, files[item.mixture_id])]).encode())
        return cls(external_name(name), 0, items[0].read_rate(), digest.hexdigest()[:16], (__name__,), files)

    def read(self, item: TestMixture, samples: int) -> tuple[dict[str, Waveforms], float]:
        """Estimates [estimates, samples] of a mixture at its rate, as ``none``; 0 s, since nobody knows the time.

        Raises:
            InputError: a file cannot be read, or is not as long as the mixture.
        """
        estimates = [_read_estimate(path, samples, self.rate) for path in self.files[item.mixture_id]]
        return {"none": select_loudest(np.stack(estimates), len(item.speakers))}, 0.0


@dataclass(frozen=True)
class FunctionSystem:
    """A Python function of a mixture [samples], as 32-bit floats, and rate, Hz, to estimates [estimates, samples]."""

    separate: Callable[[Waveforms, int], ArrayLike]
    name: str
    rate: int
    identity: str
    seed: int = 0
    modules: tuple[str, ...] = (__name__,)

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        """What the function makes of a mixture, as ``none``.

        Raises:
            InputError: it returns something else than finite estimates of the mixture's length.
        """
        estimates = np.asarray(self.separate(mixture, self.rate), np.float32)
        if estimates.ndim != 2 or not len(estimates) or estimates.shape[1] != len(mixture):
            raise InputError(f"{self.name}: returned shape {estimates.shape}; expected (estimates, {len(mixture)})")
        if not np.isfinite(estimates).all():
            raise InputError(f"{self.name}: returned samples that are not finite numbers; expected audio")
        return {"none": select_loudest(estimates, len(sources))}


def select_loudest(estimates: Waveforms, count: int) -> Waveforms:
    """The ``count`` loudest estimates [count, samples] in their order, or with silence added."""
    energies = np.square(estimates, dtype=np.float64).sum(axis=1)
    kept = np.sort(np.argsort(-energies, kind="stable")[:count])
    return np.pad(estimates[kept], ((0, count - len(kept)), (0, 0)))


def _read_table(place: Path) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """Mixture IDs and files of a CSV."""
    table = read_table(place)
    columns = [column for column in table.columns if re.fullmatch(r"estimate_\d+_path", str(column))]
    expected = [f"estimate_{number}_path" for number in range(1, len(columns) + 1)]
    if "mixture_ID" not in table or not columns or set(columns) != set(expected):
        raise InputError(
            f"{place}: columns {', '.join(map(str, table.columns))}; "
            "expected mixture_ID, estimate_1_path, estimate_2_path, ..."
        )
    twice = table["mixture_ID"].duplicated()
    for mixture_id, paths, is_again in zip(table["mixture_ID"], table[expected].to_numpy(), twice, strict=True):
        given = [path for path in paths if path]
        if is_again or not given or list(paths[: len(given)]) != given:
            raise InputError(
                f"{place}: row {mixture_id}: {list(paths)}; expected one row, and no path after an empty one"
            )
        yield mixture_id, tuple(place.parent / path for path in given)


def _search_folder(place: Path) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """Mixture IDs and files of a folder."""
    is_split = (place / "s1").is_dir()
    numbered: dict[str, dict[int, Path]] = {}
    for path in sorted(place.glob("s[0-9]*/*") if is_split else place.iterdir()):
        name = f"{path.stem}_{path.parent.name}" if is_split else path.stem
        match = re.fullmatch(r"(.+)_s(\d+)", name)
        if path.suffix.lower() not in AUDIO_SUFFIXES or match is None and is_split:
            continue
        if match is None:
            raise InputError(f"{path}: is of no mixture; expected <mixture>_s1{path.suffix}, or folders s1, s2, ...")
        mixture_id, number = match[1], int(match[2])
        if number in numbered.setdefault(mixture_id, {}):
            raise InputError(f"{path}: a second file of estimate {number} of {mixture_id}; expected one")
        numbered[mixture_id][number] = path
    most = max((max(paths) for paths in numbered.values()), default=0)
    for mixture_id, paths in numbered.items():
        if gaps := sorted(set(range(1, most + 1)) - set(paths)):
            name = f"s{gaps[0]}/{mixture_id}.wav" if is_split else f"{mixture_id}_s{gaps[0]}.wav"
            raise InputError(
                f"{place / name}: no such file; expected {most} estimates of every mixture, or a CSV file where their "
                "number differs"
            )
        yield mixture_id, tuple(paths[number] for number in sorted(paths))


def _read_estimate(path: Path, samples: int, rate: int) -> Waveforms:
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
