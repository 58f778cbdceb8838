"""The section ``training`` of a variant: every hyper-parameter of optimisation, with its meaning and its range."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from audioslots.config.checking import Section
from audioslots.config.provenance import hyper
from audioslots.losses import LOSSES

DISCOUNT = 0.5  # of a refinement iteration


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
        "pit: each source meets the slot that suits best (PIT); fixed: slot k meets source k; mixit: no source is "
        "shown, slots are summed to the two mixtures whose sum the model hears (MixIT)",
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
        "slots.recurrence goes; else crops from anywhere in the same utterances",
    )
    adjacent_overlap: float = hyper(0.5, "adjacent: share of a chunk that its successor covers too", ge=0, le=0.9)
    contrast: float = hyper(
        0.0,
        "weight of a contrastive loss on voices, made of slots: one source's alike in all its chunks, others' apart",
        ge=0,
    )
    presence: float = hyper(
        0.0, "weight of a binary cross-entropy on whether a slot holds a source, which is then told of each slot", ge=0
    )
    discount: float = hyper(
        DISCOUNT,
        "of slots.refinement_iterations: weight of an iteration's loss relative to the next iteration's",
        ge=0,
        le=1,
    )
    accumulate: int = hyper(
        1, "gradient accumulation: parts that a batch is computed in, for less memory", ge=1, decides=False
    )
    mixing: Literal["dynamic", "static"] = hyper(
        "dynamic", "dynamic: mixtures are drawn anew at every step; static: crops of a fixed list of mixtures"
    )
    single_speaker_fraction: float = hyper(
        0.0,
        "share of the chunks in which a source speaks alone, as in the turns of a conversation: in half of them "
        "throughout, in the others until some place, and the rest from some place on; silent sources take silent slots",
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
    clip: float = hyper(5.0, "largest norm of the gradient", gt=0)
    ema: float = hyper(0.0, "share of the past in a moving average of the weights, which is kept (0: none)", ge=0, lt=1)
    keep: Literal["last", "best"] = hyper("last", "weights of model.safetensors: the last, or the best validated")
    precision: Literal["32-true", "tf32", "bf16-mixed"] = hyper(
        "32-true",
        "of matrix products and convolutions: 32 bits; 32 bits rounded to 19, for a GPU's tensor cores; 16 bits",
    )
    compile: bool = hyper(False, "compile the parts of the model by torch.compile")
    validate_every: int = hyper(2500, "steps between validations", ge=1)
    validation_mixtures: int = hyper(256, "mixtures of one chunk, drawn once from held-out speakers", ge=1)
    checkpoint_every: int = hyper(1000, "steps between checkpoints", ge=1, decides=False)
    checkpoint_minutes: float = hyper(10.0, "minutes between checkpoints, at most", gt=0, decides=False)
    skips: int = hyper(
        10, "steps left out for a loss or gradient that is not finite, before the run stops", ge=0, decides=False
    )

    @property
    def sequence(self) -> int:
        """Adjacent chunks that are cut from one crop."""
        return self.chunks_per_assignment if self.adjacent else 1

    @property
    def together(self) -> int:
        """Crops of the same utterances that share an assignment."""
        return 1 if self.adjacent else self.chunks_per_assignment

    @model_validator(mode="after")
    def _batches_are_whole(self) -> Self:
        chunks = self.chunks_per_assignment
        if chunks > 1 and self.batch % (chunks * self.accumulate):
            raise ValueError(
                f"batch {self.batch} in {self.accumulate} parts does not hold whole groups of chunks_per_assignment "
                f"{chunks}; expected a multiple of {chunks * self.accumulate}"
            )
        if self.contrast and chunks == 1:
            raise ValueError("contrast needs several chunks of one source; expected chunks_per_assignment above 1")
        if self.together > 1 and self.mixing == "static":
            raise ValueError(
                f"chunks_per_assignment {chunks} with mixing static; expected adjacent true, 1, or mixing dynamic"
            )
        return self

    @model_validator(mode="after")
    def _overlap_of_adjacent(self) -> Self:
        if self.adjacent_overlap != 0.5 and not self.adjacent:
            raise ValueError(f"adjacent_overlap {self.adjacent_overlap} with adjacent false; expected 0.5, or true")
        return self

    @model_validator(mode="after")
    def _mixtures_without_sources(self) -> Self:
        if self.assignment == "mixit" and self.loss != "snr":
            raise ValueError(
                f"assignment mixit with loss {self.loss}; expected snr, which sums of slots are compared by"
            )
        for key in ("contrast", "ratio", "single_speaker_fraction"):
            if self.assignment == "mixit" and (value := getattr(self, key)):
                raise ValueError(f"{key} {value} with assignment mixit, which knows no sources; expected 0")
        if self.assignment != "mixit" and self.supervised:
            raise ValueError(
                f"supervised {self.supervised} with assignment {self.assignment}; expected 0, or assignment mixit"
            )
        return self

    @model_validator(mode="after")
    def _static_is_fixed(self) -> Self:
        if self.mixing == "static" and (self.speed or self.even_speakers or self.single_speaker_fraction):
            raise ValueError(
                "mixing static fixes speed, speakers and who speaks; expected speed 0, even_speakers false and "
                "single_speaker_fraction 0"
            )
        return self
