"""Estimates of a test set: what makes them, and a folder of them, made by one job and scored by another.

<mixture>.npz   [estimates, samples] by stitching, 32-bit floats, and ``separation_s``, the seconds they took
manifest.json   whose they are, of which mixtures, by which code
"""

from __future__ import annotations

import os
import shutil
import struct
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from zipfile import BadZipFile, ZipFile

import numpy as np
from tqdm import tqdm

from audioslots.runtime.code import commit, digest, is_module
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, write_json, written_aside
from audioslots.runtime.stage import Stage
from audioslots.scoring.mixtures import TestMixture, Waveforms, digests, read_mixtures

MANIFEST = "manifest.json"
SECONDS = "separation_s"
DAMAGED = (BadZipFile, OSError, EOFError, ValueError, KeyError, RuntimeError, struct.error)
"""What a file that was cut or altered can raise as it is read."""


class System(Protocol):
    """What can be evaluated: a trained model, an oracle, the mixture itself."""

    @property
    def name(self) -> str:
        """Name of the variant."""

    @property
    def seed(self) -> int:
        """Seed of its training, 0 where nothing is trained."""

    @property
    def rate(self) -> int:
        """Sample rate in Hz."""

    @property
    def identity(self) -> str:
        """What decides its estimates, besides code: an interrupted evaluation is resumed only where it is the same."""

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules of this package whose code decides its estimates."""

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        """Estimates [estimates, samples] by stitching ("blind", "oracle" or "none").

        Args:
            mixture: [samples].
            sources: [sources, samples], for oracles only.
        """


class Kept(ABC):
    """Estimates on disk, in place of the system that made them."""

    name: str
    seed: int
    rate: int
    identity: str
    modules: tuple[str, ...]

    @abstractmethod
    def of(self, item: TestMixture) -> tuple[dict[str, Waveforms], float]:
        """Estimates [estimates, samples] of a mixture by stitching, and the seconds that separating it took.

        Raises:
            InputError: they are absent, damaged, or something else.
        """


@dataclass(frozen=True)
class Estimated(Kept):
    """The estimates of a folder, in place of the system that made them: of its name, seed, rate and identity.

    Attributes:
        mixtures: digests of the files that say which mixtures they are of.
    """

    folder: Path
    name: str
    seed: int
    rate: int
    identity: str
    modules: tuple[str, ...]
    mixtures: dict[str, str]

    @classmethod
    def load(cls, folder: Path) -> Estimated:
        """What ``estimate`` has made. Estimates by other code are taken, and that is said.

        Raises:
            InputError: the folder is absent, not finished, damaged, or made by code that this version has no more.
        """
        found = _manifest(folder)
        modules = tuple(found["modules"])
        if not all(map(is_module, modules)):
            raise InputError(f"{folder}: made by another version; expected estimates that this one has made")
        if found["code"] != digest(*modules):
            made = f"made by other code (commit {found['commit'] or 'unknown'})"
            print(f"{folder}: {made}; kept; --overwrite makes it again", file=sys.stderr, flush=True)
        name, seed, rate, identity = (found[key] for key in ("variant", "seed", "rate", "identity"))
        return cls(folder, name, seed, rate, identity, modules, found["mixtures"])

    def of(self, item: TestMixture) -> tuple[dict[str, Waveforms], float]:
        """Estimates [estimates, samples] of a mixture by stitching, and the seconds that separating it took.

        Raises:
            InputError: the mixture's file is absent, damaged, or holds anything else.
        """
        return _read(_file(self.folder, item))


class Separated(NamedTuple):
    """A mixture [samples], its sources [sources, samples], its estimates by stitching, and the seconds they took."""

    mixture: Waveforms
    sources: Waveforms
    estimates: dict[str, Waveforms]
    separation_s: float


def separated(system: System | Kept, item: TestMixture) -> Separated:
    """Read a mixture and separate it, or take its estimates where they are made.

    Raises:
        InputError: a WAV file is bad, the rates differ, or as ``Kept.of``.
    """
    mixture, sources, rate = item.read()
    if rate != system.rate:
        raise InputError(f"{item.folder}: mixtures at {rate} Hz; expected {system.name}'s {system.rate} Hz")
    if isinstance(system, Kept):
        return Separated(mixture, sources, *system.of(item))
    started = time.perf_counter()
    estimates = system.by_stitching(mixture, sources)
    return Separated(mixture, sources, estimates, time.perf_counter() - started)


def estimate(system: System, mixtures: Path, out: Path) -> None:
    """Separate the mixtures of a folder and keep the estimates, exact to the bit, for ``evaluate`` to score.

    It is a stage beside ``out``, of its name. The folder comes whole: until then its files are kept aside, where no
    workflow that clears up after a failed job finds them, and the same call resumes an interrupted one.

    Args:
        system: what separates.
        mixtures: a finished folder, as ``evaluate`` takes it.
        out: folder to write, absent, empty, or of an earlier call.

    Raises:
        InputError: the mixtures are not finished, a WAV file is absent or bad, the rates differ, ``out`` holds other
            files, or as ``Stage.opened``.
    """
    mixtures, out = Path(mixtures), Path(out)
    if out.name in ("", ".."):
        raise InputError(f"{out}: is a place to work in; expected a folder of its own for the estimates")
    listed = read_mixtures(mixtures)
    request = {
        **{"variant": system.name, "seed": system.seed, "rate": system.rate, "identity": system.identity},
        "mixtures": digests(mixtures),
    }
    stage = Stage(out.parent, out.name, request, (__name__, *system.modules), (out.name,))
    parts = out.with_name(f".{out.name}.{stage.key}.parts")  # named by what decides its files: none are ever mixed
    with stage.opened():
        if out.exists() and any(out.iterdir()):
            if not (out / MANIFEST).is_file() or not request.items() <= _manifest(out).items():
                raise InputError(f"{out}: holds files of other origin; expected a new or empty folder")
            if all(_file(out, item).is_file() for item in listed):
                return
            shutil.rmtree(parts, ignore_errors=True)
            os.replace(out, parts)  # a file is lost, and made again
        for item in tqdm(
            [item for item in listed if not _is_whole(_file(parts, item))],
            desc=f"separate {system.name}",
            unit="mixture",
            disable=None,
        ):
            made = separated(system, item)
            arrays: dict[str, Any] = {name: np.asarray(one, np.float32) for name, one in made.estimates.items()}
            arrays[SECONDS] = made.separation_s
            with written_aside(_file(parts, item), sync=False) as aside:  # all at once below, in a fraction of the time
                np.savez(aside, **arrays)
        for leftover in parts.glob(".*.tmp.npz"):  # of a process killed while it wrote
            leftover.unlink()
        made_by = {"modules": list(system.modules), "code": digest(*system.modules), "commit": commit()}
        write_json(parts / MANIFEST, request | made_by)
        os.sync()
        os.replace(parts, out)
        for folder in out.parent.glob(f".{out.name}.*.parts"):  # those of earlier requests
            shutil.rmtree(folder, ignore_errors=True)


def _file(folder: Path, item: TestMixture) -> Path:
    return folder / f"{item.mixture_id}.npz"


def _manifest(folder: Path) -> dict[str, Any]:
    """What a folder of estimates says of itself."""
    path = Path(folder) / MANIFEST
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; expected what `audioslots separate-set` writes")
    if not path.is_file():
        raise InputError(f"{folder}: the estimates are not finished; expected a {MANIFEST} in the folder")
    found = read_json(path)
    keys = {"variant", "seed", "rate", "identity", "mixtures", "modules", "code", "commit"}
    if not isinstance(found, dict) or not keys <= set(found):
        raise InputError(f"{path}: damaged; expected what `audioslots separate-set` writes")
    return found


def _is_whole(path: Path) -> bool:
    """Whether a file is there and can be read to its end: a power cut may leave less."""
    try:
        _read(path)
    except InputError:
        return False
    return True


def _read(path: Path) -> tuple[dict[str, Waveforms], float]:
    """Estimates by stitching, and the seconds they took."""
    try:
        with ZipFile(path) as archive:  # NumPy trusts what it reads before its checksum
            if archive.testzip() or len(archive.namelist()) < 2:
                raise BadZipFile
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        separation_s = float(arrays.pop(SECONDS))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the estimates of a mixture") from None
    except DAMAGED:
        raise InputError(f"{path}: damaged; expected the estimates of a mixture") from None
    for name, array in arrays.items():
        if array.ndim != 2 or array.dtype != np.float32:
            has = f"{name} has shape {array.shape} of {array.dtype}"
            raise InputError(f"{path}: {has}; expected (estimates, samples) of float32")
    return arrays, separation_s
