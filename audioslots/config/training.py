"""The section ``training`` of a variant: every hyper-parameter of optimisation, with its meaning and its range."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from audioslots.losses import LOSSES
from audioslots.schema import Section, hyper


class Training(Section):
    """Optimisation. What is trained on is a pure function of (seed, step, item)."""

    loss: Literal[tuple(LOSSES)] = hyper(  # type: ignore[valid-type]
        "squared", "; ".join(f"{name}: {loss.about}" for name, loss in LOSSES.items()), secondary="squared"
    )
    exponent: float = hyper(0.3, "magnitudes are compared to this power (squared, absolute)", secondary=0.3, gt=0, le=1)
    ratio: float = hyper(
        0.0, "weight of a second loss, the negative SNR (dB) of spectra: the slots as ratio masks of power 1.5", ge=0
    )
    assignment: Literal["pit", "fixed", "mixit"] = hyper(
        "pit",
        "pit: slots are matched to sources by least cost (PIT); fixed: slot k is source k; mixit: without sources, "
        "slots are summed to the two mixtures whose sum is the input (MixIT)",
        paper="pit",
    )
    supervised: float = hyper(
        0.0, "mixit: share of the steps that are trained on one mixture and its sources instead", ge=0, le=1
    )
    unmatched: Literal["silence", "free"] = hyper("silence", "slots beyond the sources: pulled to silence or left free")
    steps: int = hyper(300_000, "optimiser steps; 0: the weights of init_from as they are", secondary=300_000, ge=0)
    batch: int = hyper(64, "chunks a step", secondary=64, ge=1)
    chunks_per_assignment: int = hyper(
        1, "chunks of the same sources that share one assignment, so a slot stays with its source", ge=1
    )
    adjacent: bool = hyper(
        False,
        "of chunks that share an assignment: overlapping chunks in a row, cut from one crop, through which "
        "model.recurrence goes; else crops from anywhere in the same utterances",
    )
    adjacent_overlap: float = hyper(0.5, "adjacent: share of a chunk that its successor covers too", ge=0, le=0.9)
    presence_weight: float = hyper(
        0.1, "model.presence: weight of the binary cross-entropy on whether a slot holds a source, nats", gt=0
    )
    accumulate: int = hyper(
        1, "gradient accumulation: passes that a batch is computed in, for less memory", ge=1, decides=False
    )
    mixing: Literal["dynamic", "static"] = hyper(
        "dynamic", "dynamic: mixtures are drawn again at every step; static: crops of a fixed list of mixtures"
    )
    single_speaker_fraction: float = hyper(
        0.0,
        "share of the chunks with a single speaker, as in the turns of a conversation: throughout, until some moment, "
        "or from some moment on; silent sources take silent slots",
        ge=0,
        lt=1,
    )
    speed: float = hyper(0.0, "speed perturbation: up to this share faster or slower", ge=0, le=0.5)
    curriculum: float = hyper(
        0.0, "share of the steps during which all sources but one grow from -40 dB to their level", ge=0, le=1
    )
    even_speakers: bool = hyper(False, "draw every speaker equally often, instead of every utterance")
    learning_rate: float = hyper(2e-4, "of AdamW, after warm-up", secondary=2e-4, gt=0)
    warmup: int = hyper(2500, "steps of linear warm-up; a cosine to zero follows", secondary=2500, ge=0)
    weight_decay: float = hyper(0.0, "of AdamW", ge=0)
    precision: Literal["32-true", "tf32", "bf16-mixed"] = hyper(
        "32-true",
        "of matrix products and convolutions: 32 bits; 32 bits rounded to 19, for a GPU's tensor cores; 16 bits",
    )
    validate_every: int = hyper(2500, "steps between validations", ge=1)
    validation_mixtures: int = hyper(256, "mixtures of one chunk, drawn once from held-out speakers", ge=1)
    checkpoint_every: int = hyper(1000, "steps between checkpoints", ge=1, decides=False)

    @property
    def adjacent_chunks(self) -> int:
        """Adjacent chunks that are cut from one crop."""
        return self.chunks_per_assignment if self.adjacent else 1

    @property
    def separate_crops(self) -> int:
        """Crops of the same utterances that share an assignment."""
        return 1 if self.adjacent else self.chunks_per_assignment

    @model_validator(mode="after")
    def _check_chunks(self) -> Self:
        chunks = self.chunks_per_assignment
        if chunks > 1 and self.batch % (chunks * self.accumulate):
            raise ValueError(
                f"batch {self.batch} in {self.accumulate} passes does not hold whole groups of chunks_per_assignment "
                f"{chunks}; expected a multiple of {chunks * self.accumulate}"
            )
        if self.separate_crops > 1 and self.mixing == "static":
            raise ValueError(
                f"chunks_per_assignment {chunks} with mixing static; expected adjacent true, 1, or mixing dynamic"
            )
        if self.adjacent_overlap != 0.5 and not self.adjacent:
            raise ValueError(f"adjacent_overlap {self.adjacent_overlap} with adjacent false; expected 0.5, or true")
        return self

    @model_validator(mode="after")
    def _check_mixtures(self) -> Self:
        if self.mixing == "static" and (self.speed or self.even_speakers or self.single_speaker_fraction):
            raise ValueError(
                "mixing static fixes speed, speakers and who speaks; expected speed 0, even_speakers false and "
                "single_speaker_fraction 0"
            )
        if self.assignment != "mixit":
            if self.supervised:
                raise ValueError(
                    f"supervised {self.supervised} with assignment {self.assignment}; expected 0, or mixit"
                )
            return self
        if self.loss != "snr":
            raise ValueError(f"assignment mixit with loss {self.loss}; expected snr, which compares sums of slots")
        for key in ("ratio", "single_speaker_fraction"):
            if value := getattr(self, key):
                raise ValueError(f"{key} {value} with assignment mixit, without sources; expected 0")
        return self
