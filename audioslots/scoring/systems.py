"""What can be evaluated: a system that separates now, or the estimates that one has saved."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol

from audioslots.runtime.errors import InputError
from audioslots.scoring.mixtures import TestMixture, Waveforms


class System(Protocol):
    """A system that separates: a trained model, an oracle, the mixture itself.

    Attributes:
        name: of the variant.
        seed: of its training, 0 where nothing is trained.
        rate: sample rate in Hz.
        identity: what decides its estimates, besides code; an evaluation is resumed only where it is the same.
        modules: of this package, whose code decides its estimates.
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
        """Estimates [estimates, samples] by stitching ("blind", "oracle" or "none").

        Args:
            mixture: [samples].
            sources: [sources, samples], for oracles only.
        """


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
