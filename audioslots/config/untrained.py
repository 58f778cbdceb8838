"""Systems that are not trained here, by name, with their titles.

A name is ``mixture``, or ``oracle-<kind>[-<number>][-<window>-<hop>]``: the kind of oracle, its number where it has
one, and the STFT it is computed with, in samples; the sample rate's default where that is left out. Or it is
``external-<name>``: a system of another package, whose estimates are scored.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MIXTURE = "mixture"
EXTERNAL = "external-"
COST = ("parameters", "macs_per_second", "real_time_factor", "delay_ms")
"""Costs that may be given for an external system, each a positive number."""
TITLES = {
    "ibm": "binary mask",
    "irm": "ratio mask",
    "wiener": "Wiener-like mask",
    "psm": "phase-sensitive mask",
    "magnitude": "true magnitude, mixture's phase",
    "ratio": "true magnitudes as ratio masks, power {}",
    "misi": "true magnitudes, MISI, iterations: {}",
}
"""Kind of oracle -> its title; those with a place for a number need one."""
NUMBERED = {kind for kind, title in TITLES.items() if "{}" in title}
BASELINES = (MIXTURE, *(f"oracle-{kind}" for kind in TITLES if kind not in NUMBERED))
"""The names that need no number."""

_NAME = re.compile(r"oracle-(?P<kind>[a-z]+)(-(?P<number>\d+(\.\d+)?))??(-(?P<window>\d+)-(?P<hop>\d+))?")


class Oracle(NamedTuple):
    """An oracle: an upper bound, computed from the true sources.

    Attributes:
        kind: of ``TITLES``.
        number: power of magnitudes (ratio) or iterations (misi); None of the other kinds.
        stft: window and hop, samples; None for the sample rate's default.
    """

    kind: str
    number: float | None = None
    stft: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """Its name, which ``parse`` reads."""
        number = [] if self.number is None else [f"{self.number:g}"]
        return "-".join(["oracle", self.kind, *number, *map(str, self.stft or ())])

    @property
    def title(self) -> str:
        """For tables."""
        words = "Oracle: " + TITLES[self.kind].format("" if self.number is None else f"{self.number:g}")
        return words if self.stft is None else f"{words}, STFT {self.stft[0]}/{self.stft[1]}"


def parse(name: str) -> Oracle | None:
    """The oracle of a name; None of any other name."""
    parts = _NAME.fullmatch(name)
    if parts is None or parts["kind"] not in TITLES or (parts["number"] is None) == (parts["kind"] in NUMBERED):
        return None
    number = float(parts["number"]) if parts["number"] else None
    if number is not None and (number == 0 or parts["kind"] == "misi" and number % 1):
        return None
    return Oracle(parts["kind"], number, (int(parts["window"]), int(parts["hop"])) if parts["window"] else None)


def is_untrained(name: str) -> bool:
    """Whether a name is that of a system that is not trained here."""
    return name == MIXTURE or is_external(name) or parse(name) is not None


def is_external(name: str) -> bool:
    """Whether a name is that of a system of another package."""
    return name.startswith(EXTERNAL)


def title(name: str) -> str | None:
    """Title of an untrained system; None of any other name."""
    if name == MIXTURE:
        return "Mixture"
    if is_external(name):
        return f"{name.removeprefix(EXTERNAL)} (external)"
    oracle = parse(name)
    return oracle and oracle.title
