"""What a benchmark's data are: a corpus, and sets of mixtures from it."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from audioslots.checking import Section

SUBSETS = {
    **{"dev-clean": 337926286, "dev-other": 314305928, "test-clean": 346663984, "test-other": 328757843},
    **{"train-clean-100": 6387309499, "train-clean-360": 23049477885, "train-other-500": 30593501606},
}
"""Subset of LibriSpeech -> bytes of its archive at openslr.org; its speech takes as many once more."""
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

    def described(self, sources: int) -> str:
        """What the set holds, in words; ``sources`` a mixture."""
        if self.length_s:
            shortest, longest = self.length_s
            return f"{self.count} conversations of {sources} speakers of {self.subset}, {shortest:g} to {longest:g} s"
        drawn = f"{self.count} drawn" if self.rows == "drawn" else "official"
        return f"{drawn} Libri{sources}Mix mixtures of {self.subset}"
