"""Estimates of a test set: the systems that make them, and a folder that one job fills and another scores.

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
from audioslots.scoring.mixtures import TestMixture, Waveforms, digest_mixtures, read_mixtures

MANIFEST = "manifest.json"
KEYS = ("variant", "seed", "rate", "identity", "mixtures", "modules", "code", "commit")
SECONDS = "separation_s"
DAMAGED = (BadZipFile, OSError, EOFError, ValueError, KeyError, RuntimeError, struct.error)
"""What a file that was cut or altered can raise as it is read."""


class System(Protocol):
    """A system that separates: a trained model, an oracle, the mixture itself.

    Attributes:
        name: of the variant.
        seed: of its training, 0 where nothing is trained.
        rate: Hz.
        identity: what decides the estimates, besides code; an evaluation is resumed only where it is the same.
        modules: of this package, whose code decides the estimates.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def rate(self) -> int: ...  # noqa: D102
    @property
    def identity(self) -> str: ...  # noqa: D102
    @property
    def modules(self) -> tuple[str, ...]: ...  # noqa: D102

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        """Estimates [estimates, samples] by stitching ("blind", "oracle" or "none"); the sources are for oracles."""


@dataclass(frozen=True)
class SavedSystem(ABC):
    """Estimates on disk, in place of the system that made them; attributes as of ``System``."""

    name: str
    seed: int
    rate: int
    identity: str
    modules: tuple[str, ...]

    @abstractmethod
    def read(self, item: TestMixture, samples: int) -> tuple[dict[str, Waveforms], float]:
        """Estimates [estimates, samples] of a mixture by stitching, and the seconds that separating it took.

        Raises:
            InputError: they are absent, damaged, or something else.
        """


class SeparatedMixture(NamedTuple):
    """A mixture [samples], its sources [sources, samples], its estimates by stitching, and the seconds they took."""

    mixture: Waveforms
    sources: Waveforms
    estimates: dict[str, Waveforms]
    separation_s: float


def separate_mixture(system: System | SavedSystem, item: TestMixture) -> SeparatedMixture:
    """Read a mixture and separate it, or read its estimates.

    Raises:
        InputError: a WAV file is bad, the rates differ, or as ``SavedSystem.read``.
    """
    mixture, sources, rate = item.read()
    if rate != system.rate:
        raise InputError(f"{item.folder}: mixtures at {rate} Hz; expected {system.name}'s {system.rate} Hz")
    if isinstance(system, SavedSystem):
        return SeparatedMixture(mixture, sources, *system.read(item, len(mixture)))
    started = time.perf_counter()
    estimates = system.by_stitching(mixture, sources)
    return SeparatedMixture(mixture, sources, estimates, time.perf_counter() - started)


@dataclass(frozen=True)
class SavedEstimates(SavedSystem):
    """The estimates of a folder, and the digests of the ``mixtures`` that they are of."""

    folder: Path
    mixtures: dict[str, str]

    @classmethod
    def load(cls, folder: Path) -> SavedEstimates:
        """Open what ``separate_set`` has made. Estimates by other code are taken, with a warning.

        Raises:
            InputError: the folder is absent, not finished, damaged, or made by code that this version no longer has.
        """
        manifest = _read_manifest(folder)
        modules = tuple(manifest["modules"])
        if not all(map(is_module, modules)):
            raise InputError(f"{folder}: written by another version; expected estimates of this version")
        if manifest["code"] != digest(*modules):
            by = f"made by other code (commit {manifest['commit'] or 'unknown'})"
            print(f"{folder}: {by}; kept; --overwrite makes it again", file=sys.stderr, flush=True)
        name, seed, rate, identity = (manifest[key] for key in ("variant", "seed", "rate", "identity"))
        return cls(name, seed, rate, identity, modules, folder, manifest["mixtures"])

    def read(self, item: TestMixture, samples: int) -> tuple[dict[str, Waveforms], float]:
        """Estimates and seconds, as of ``SavedSystem``; of any length, as the system has made them."""
        return _read_estimates(_file(self.folder, item))


def separate_set(system: System, mixtures: Path, out: Path) -> None:
    """Separate a finished folder of mixtures and save the estimates, exact to the bit, for ``evaluate`` to score.

    It is a stage beside ``out``, of its name. The folder ``out`` is absent, empty, or of an earlier call, and comes
    whole: until then its files are kept aside, where no workflow that clears up after a failed job finds them, and the
    same call resumes an interrupted one.

    Raises:
        InputError: the mixtures are not finished, a WAV file is absent or bad, the rates differ, ``out`` holds other
            files, or as ``Stage.opened``.
    """
    mixtures, out = Path(mixtures), Path(out)
    if out.name in ("", ".."):
        raise InputError(f"{out}: is a working folder; expected a folder of its own for the estimates")
    items = read_mixtures(mixtures)
    request = {
        **{"variant": system.name, "seed": system.seed, "rate": system.rate, "identity": system.identity},
        "mixtures": digest_mixtures(mixtures),
    }
    stage = Stage(out.parent, out.name, request, (__name__, *system.modules), (out.name,))
    parts = out.with_name(f".{out.name}.{stage.key}.parts")  # named by what decides its files: none are ever mixed
    with stage.opened():
        if out.exists() and any(out.iterdir()):
            if not (out / MANIFEST).is_file() or not request.items() <= _read_manifest(out).items():
                raise InputError(f"{out}: holds files of other origin; expected a new or empty folder")
            if all(_file(out, item).is_file() for item in items):
                return
            shutil.rmtree(parts, ignore_errors=True)
            os.replace(out, parts)  # a file is lost, and made again
        waiting = [item for item in items if not _is_whole(_file(parts, item))]
        for item in tqdm(waiting, f"separate {system.name}", unit="mixture", disable=None):
            separated = separate_mixture(system, item)
            arrays: dict[str, Any] = {name: np.asarray(each, np.float32) for name, each in separated.estimates.items()}
            arrays[SECONDS] = separated.separation_s
            with written_aside(_file(parts, item), sync=False) as aside:  # all at once below, in a fraction of the time
                np.savez(aside, **arrays)
        for leftover in parts.glob(".*.tmp.npz"):  # of a process killed while it wrote
            leftover.unlink()
        provenance = {"modules": list(system.modules), "code": digest(*system.modules), "commit": commit()}
        write_json(parts / MANIFEST, request | provenance)
        os.sync()
        os.replace(parts, out)
        for folder in out.parent.glob(f".{out.name}.*.parts"):  # those of earlier requests
            shutil.rmtree(folder, ignore_errors=True)


def _file(folder: Path, item: TestMixture) -> Path:
    return folder / f"{item.mixture_id}.npz"


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = Path(folder) / MANIFEST
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; expected what `audioslots separate-set` writes")
    if not path.is_file():
        raise InputError(f"{folder}: the estimates are not finished; expected a {MANIFEST} in the folder")
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not set(KEYS) <= set(manifest):
        raise InputError(f"{path}: damaged; expected what `audioslots separate-set` writes")
    return manifest


def _is_whole(path: Path) -> bool:
    """Whether a file is there and can be read to its end: a power cut may leave less."""
    try:
        _read_estimates(path)
    except InputError:
        return False
    return True


def _read_estimates(path: Path) -> tuple[dict[str, Waveforms], float]:
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
            shape = f"{name} has shape {array.shape} of {array.dtype}"
            raise InputError(f"{path}: {shape}; expected (estimates, samples) of float32")
    return arrays, separation_s
