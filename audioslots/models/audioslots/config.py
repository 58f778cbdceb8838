"""The section ``model`` of kind audioslots: encoder, slots, decoder and output."""

from __future__ import annotations

from types import ModuleType
from typing import Annotated, Any, Literal, Self

from pydantic import model_validator

from audioslots.models.audioslots import decoders, encoders, slots
from audioslots.models.base import ModelConfig, Spectrogram
from audioslots.schema import Kinds, hyper, modules_in, union


def _kinds(key: str, package: ModuleType, default: str) -> Kinds:
    """The kinds of a part: a kind per file of ``package``."""
    return union(key, {kind: module.Config for kind, module in modules_in(package.__name__).items()}, default)


ENCODERS = _kinds("encoder", encoders, "resnet")
SLOTS = _kinds("slots", slots, "queries")
DECODERS = _kinds("decoder", decoders, "broadcast")


class Config(ModelConfig):
    """AudioSlots; the sizes of Transformer layers hold for encoder, slots and decoder."""

    kind: Literal["audioslots"] = hyper("audioslots", "", paper="audioslots")
    context_s: float = hyper(
        0.0, "before a chunk and after it, as much of the mixture that the encoder reads as well, seconds", ge=0, le=30
    )
    spectrogram: Spectrogram = Spectrogram()
    width: int = hyper(512, "features of a token", secondary=512, ge=8)
    heads: int = hyper(4, "attention heads", secondary=4, ge=1)
    mlp: int = hyper(1024, "hidden units of a Transformer layer's MLP", secondary=1024, ge=8)
    encoder: Annotated[Any, ENCODERS] = ENCODERS.section
    slots: Annotated[Any, SLOTS] = SLOTS.section
    decoder: Annotated[Any, DECODERS] = DECODERS.section
    output: Literal["magnitude", "softmax", "sigmoid", "complex"] = hyper(
        "magnitude",
        "magnitude: compressed magnitudes, with the mixture's phase; softmax, sigmoid, complex: a mask on the mixture",
        paper="magnitude",
    )
    noise_slot: bool = hyper(False, "of a task with noise: the last slot is the noise's, and no estimate of a source")
    presence: bool = hyper(False, "a head that says of each slot whether it holds a source")
    refinement_iterations: int = hyper(
        1, "iterations of slots and decoder, of the same weights; each attends to the estimates before", ge=1, le=4
    )
    recursive: bool = hyper(
        False, "one source after the other, by the same weights: two slots, one source and the rest, which is read next"
    )
    recurrence: Literal["none", "last", "tokens"] = hyper(
        "none",
        "last: slots start from those of the chunk before; tokens: the chunk's tokens attend to those of the last 16 "
        "chunks",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}; expected a multiple")
        ways = {
            "refinement_iterations": self.refinement_iterations > 1,
            "recursive": self.recursive,
            "recurrence": self.recurrence != "none",
        }
        if sum(ways.values()) > 1:
            raise ValueError(f"{' and '.join(key for key, is_set in ways.items() if is_set)}; expected one of them")
        if self.recursive and (self.slots.count < 2 or self.context_s):
            raise ValueError(
                f"recursive with {self.slots.count} slots, context_s {self.context_s}; expected 2 or more, 0"
            )
        return self

    @property
    def slot_size(self) -> int:
        """Numbers in a slot's embedding."""
        return self.slots.tokens * self.width

    def context_samples(self, rate: int) -> int:
        """Samples that are read before a chunk, and after it: whole hops, so that the frames of both agree."""
        hop = self.spectrogram.hop
        return round(self.context_s * rate / hop) * hop

    @property
    def num_slots(self) -> int:  # noqa: D102
        return self.slots.count

    @property
    def num_speech_slots(self) -> int:  # noqa: D102
        return self.slots.count - self.noise_slot

    @property
    def transform(self) -> Spectrogram:  # noqa: D102
        return self.spectrogram

    @property
    def has_noise_slot(self) -> bool:  # noqa: D102
        return self.noise_slot

    @property
    def has_recurrence(self) -> bool:  # noqa: D102
        return self.recurrence != "none"

    @property
    def is_recursive(self) -> bool:  # noqa: D102
        return self.recursive

    @property
    def shares_mixture(self) -> bool:  # noqa: D102
        return self.output == "softmax"

    @property
    def oracle(self) -> Literal["magnitude", "psm"] | None:  # noqa: D102
        return {"magnitude": "magnitude", "complex": None}.get(self.output, "psm")
