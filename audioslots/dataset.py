"""What a benchmark's data are: a corpus, and sets of mixtures from it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from audioslots.checking import Section

SYNTHESIS = 2  # version of synthesized speech, part of what its data are made from: raised where a sample changes


class Corpus(Section):
    """Speech in LibriSpeech's layout: synthesized, or LibriSpeech on disk."""

    kind: Literal["synthesized", "librispeech"]
    speakers: int = Field(120, ge=12, description="synthesized: speakers of all subsets together")
    hours: float = Field(1.0, gt=0, description="synthesized: hours of all subsets together")
    seed: int = Field(0, ge=0)
    train: str = Field("train-clean", description="subset to train on")
    validation: str | None = Field(None, description="subset to validate on; without one, speakers are held out")
    held_out_speakers: int = Field(0, ge=0, description="speakers held out of training for validation")

    @model_validator(mode="after")
    def _validates(self) -> Self:
        if (self.validation is None) == (self.held_out_speakers == 0):
            raise ValueError("give either validation (a subset) or held_out_speakers (above 0); expected exactly one")
        return self


class MixtureSet(Section):
    """A rendered set of mixtures: official rows, or rows drawn by LibriMix's rules."""

    subset: str = Field(description="subset of the corpus, such as test-clean")
    rows: Literal["drawn", "official"] = "drawn"
    count: int = Field(100, ge=1, description="drawn: number of mixtures")
    seed: int = Field(0, ge=0, description="drawn: seed")
