"""What a benchmark's data are: a corpus, and sets of mixtures from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from audioslots.checking import Section
from audioslots.errors import InputError
from audioslots.untrained import COST

SUBSETS = {
    **{"dev-clean": 337926286, "dev-other": 314305928, "test-clean": 346663984, "test-other": 328757843},
    **{"train-clean-100": 6387309499, "train-clean-360": 23049477885, "train-other-500": 30593501606},
}
"""Subset of LibriSpeech -> bytes of its archive at openslr.org; its speech takes as many once more."""
DOWNLOADED = Path("data")
"""Where LibriSpeech and LibriMix's metadata are put that were not given, for all benchmarks."""
SYNTHESIS = 2  # version of synthesized speech, part of what its data are made from: raised where a sample changes


class Corpus(Section):
    """Speech in LibriSpeech's layout: synthesized, or LibriSpeech, on disk or downloaded."""

    kind: Literal["synthesized", "librispeech"]
    speakers: int = Field(120, ge=12, description="synthesized: speakers of all subsets together")
    hours: float = Field(1.0, gt=0, description="synthesized: hours of all subsets together")
    seed: int = Field(0, ge=0)
    train: str = Field("train-clean", description="subset to train on")
    validation: str | None = Field(None, description="subset to validate on; without one, speakers are held out")
    held_out_speakers: int = Field(0, ge=0, description="speakers held out of training for validation")

    @property
    def described(self) -> str:
        """What it is, in words."""
        return "synthesized speech" if self.kind == "synthesized" else "LibriSpeech"

    @model_validator(mode="after")
    def _validates(self) -> Self:
        if (self.validation is None) == (self.held_out_speakers == 0):
            raise ValueError("give either validation (a subset) or held_out_speakers (above 0); expected exactly one")
        return self


class External(Section):
    """A system of another package: where its estimates of the test mixtures are, and what it is known to cost."""

    estimates: str = Field(description="folder or CSV")
    cost: dict[Literal[COST], Annotated[float, Field(gt=0)]] = Field(  # type: ignore[valid-type]
        default_factory=dict, description="of separation, for the table of costs"
    )

    @model_validator(mode="before")
    @classmethod
    def _estimates_alone(cls, content: Any) -> Any:
        return {"estimates": content} if isinstance(content, str) else content


class MixtureSet(Section):
    """A rendered set of mixtures: official rows, rows drawn by LibriMix's rules, or conversations."""

    subset: str = Field(description="subset of the corpus, such as test-clean")
    rows: Literal["drawn", "official", "conversations"] = "drawn"
    count: int = Field(100, ge=1, description="drawn, conversations: number of mixtures")
    seed: int = Field(0, ge=0, description="drawn, conversations: seed")
    length_s: tuple[float, float] | None = Field(None, description="conversations: the shortest and the longest, s")

    @model_validator(mode="after")
    def _of_a_length(self) -> Self:
        if self.rows != "conversations":
            if self.length_s:
                raise ValueError(f"rows {self.rows} have no length_s; expected it of conversations alone")
        elif not self.length_s or not 0 < self.length_s[0] <= self.length_s[1]:
            raise ValueError("conversations are of no length_s; expected the shortest and the longest, as in [30, 120]")
        return self

    @property
    def content(self) -> dict[str, Any]:
        """The keys that it has, as JSON."""
        return self.model_dump(mode="json", exclude_none=True)

    def described(self, sources: int, counts: list[int]) -> str:
        """What the set holds, in words; ``sources`` a mixture, or each of several numbers of them."""
        if self.length_s:
            shortest, longest = self.length_s
            return f"{self.count} conversations of {sources} speakers of {self.subset}, {shortest:g} to {longest:g} s"
        drawn = f"{self.count} drawn" if self.rows == "drawn" else "official"
        if counts:
            numbers = f"{', '.join(map(str, counts[:-1]))} and {counts[-1]}"
            return f"{drawn} mixtures of {self.subset} of {numbers} speakers by LibriMix's rules"
        return f"{drawn} Libri{sources}Mix mixtures of {self.subset}"


def official_table(subset: str, sources: int, root: Path, librimix: str | None) -> Path:
    """LibriMix's own CSV for a subset: ``librimix`` itself, or in it, or in a clone near LibriSpeech, ``root``.

    Where that is not given and none is near, the place that it is downloaded to.

    Raises:
        InputError: it is not where it was said to be.
    """
    name = f"libri{sources}mix_{subset}.csv"
    inside = Path("metadata") / f"Libri{sources}Mix" / name
    near = [root.parent, root.parent.parent]
    homes = [Path(librimix)] if librimix else [p / n for p in near for n in ("LibriMix", "librimix")]
    for candidate in [p for home in homes for p in (home, home / name, home / inside)]:
        if candidate.is_file():
            return candidate
    if not librimix:
        return DOWNLOADED / "LibriMix" / inside
    raise InputError(
        f"librimix: no {name} in {' or '.join(map(str, homes))}; expected a clone of JorisCos/LibriMix, "
        "its metadata folder or the file (--config librimix=PATH)"
    )
