"""The sections of a variant that are its model: spectrogram, encoder, slots and decoder, or Conv-TasNet."""

from __future__ import annotations

import difflib
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from audioslots.config.checking import Section
from audioslots.config.provenance import hyper

MODEL = Path(__file__).parent.parent / "models" / "audioslots"


def kinds(part: str) -> list[str]:
    """The kinds of a part of the model, ``encoders``, ``slots`` or ``decoders``: the files in its folder."""
    return sorted(path.stem for path in (MODEL / part).glob("[!_]*.py"))


def _known(part: str, kind: str) -> str:
    known = kinds(part)
    if kind not in known:
        close = difflib.get_close_matches(kind, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"no such kind; {hint}expected one of {', '.join(known)}")
    return kind


class Spectrogram(Section):
    """Short-time Fourier transform and compression of magnitudes."""

    window: int = hyper(512, "Hann window, samples", secondary=512, ge=16, multiple_of=2)
    hop: int = hyper(125, "hop, samples", secondary=125, ge=1)
    exponent: float = hyper(0.3, "magnitudes enter and leave the model to this power", secondary=0.3, gt=0, le=1)

    @model_validator(mode="after")
    def _hop_within_window(self) -> Self:
        if self.hop > self.window // 2:
            raise ValueError(f"hop {self.hop} leaves gaps; expected at most half the window ({self.window // 2})")
        return self


class Encoder(Section):
    """From the mixture's spectrogram to features, a set of tokens."""

    kind: Annotated[str, AfterValidator(partial(_known, "encoders"))] = hyper(
        "resnet", "resnet, cnn: on the spectrogram as an image; frames: each frame is one token", secondary="resnet"
    )
    blocks: tuple[Annotated[int, Field(ge=1)], ...] = hyper(
        (3, 4, 6, 3), "residual blocks (resnet) or convolutions (cnn) a stage", secondary=(3, 4, 6, 3), min_length=1
    )
    width: int = hyper(512, "features of a token", secondary=512, ge=8)
    layers: int = hyper(4, "Transformer layers", secondary=4, ge=0)
    heads: int = hyper(4, "attention heads", secondary=4, ge=1)
    mlp: int = hyper(1024, "hidden units of a Transformer layer's MLP", secondary=1024, ge=8)
    kernel: int = hyper(0, "frames seen by a depth-wise convolution in each layer (frames; 0: none)", ge=0)

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}; expected one that is")
        if self.kernel and self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} is even; expected an odd number, or 0")
        return self


ATTENTION = {"update": "mean", "gradient": "all", "start": "queries"}
"""Keys of slot attention alone, at their defaults."""


class Slots(Section):
    """Learned queries that read the features; what they become are the source embeddings."""

    kind: Annotated[str, AfterValidator(partial(_known, "slots"))] = hyper(
        "queries", "queries: they cross-attend to the features; attention: slots compete for them", secondary="queries"
    )
    count: int = hyper(2, "number of slots, at least the number of sources", ge=1)
    noise_slot: bool = hyper(False, "of a task with noise: the last slot is the noise's, and no estimate of a source")
    layers: int = hyper(2, "layers of self-attention, cross-attention and MLP (queries)", ge=1)
    tokens: int = hyper(1, "tokens that read for one slot; side by side they are its embedding", ge=1, le=64)
    iterations: int = hyper(3, "steps of slot attention, all of the same weights (attention)", ge=1, le=10)
    update: Literal["mean", "sum"] = hyper(
        "mean",
        "attention: what a slot takes of its share of the tokens, their mean, or their sum over all tokens' number",
    )
    gradient: Literal["all", "last"] = hyper(
        "all", "attention: through all steps, or through the last alone and from there straight to the queries"
    )
    start: Literal["queries", "gaussian"] = hyper(
        "queries", "attention: slots start from a learned query each, or from draws of one learned Gaussian"
    )
    refinement_iterations: int = hyper(
        1, "passes of slots and decoder, of the same weights; each reads the estimates of the one before", ge=1, le=4
    )
    recurrence: Literal["none", "last", "mean", "gated", "memory", "tokens"] = hyper(
        "none",
        "where a chunk's slots start from. none: the learned queries. last: the slots of the chunk before; mean: the "
        "queries, moved by the mean of all slots before; gated: a state that a GRU makes of all chunks before; memory: "
        "attention over the slots of the last 64 chunks. tokens: the queries, and what they read has attended to the "
        "tokens of the last 16 chunks",
    )

    recursive: bool = hyper(
        False,
        "one source at a time, by the same weights: two slots part one source from the rest, and read the rest next",
    )

    @model_validator(mode="after")
    def _turns_are_of_one_chunk(self) -> Self:
        if self.recursive and (self.refinement_iterations > 1 or self.recurrence != "none" or self.count < 2):
            raise ValueError(
                f"recursive with refinement_iterations {self.refinement_iterations}, recurrence {self.recurrence}, "
                f"count {self.count}; expected 1, none, 2 or more"
            )
        return self

    @property
    def speech(self) -> int:
        """Slots that may hold a source: all but the noise's."""
        return self.count - self.noise_slot

    @model_validator(mode="after")
    def _noise_has_a_query(self) -> Self:
        if self.noise_slot and self.start == "gaussian":
            raise ValueError("noise_slot with start gaussian, where no slot is another than the rest; expected queries")
        return self

    @model_validator(mode="after")
    def _passes_are_of_one_chunk(self) -> Self:
        if self.refinement_iterations > 1 and self.recurrence != "none":
            raise ValueError(
                f"refinement_iterations {self.refinement_iterations} with recurrence {self.recurrence}; expected 1, or "
                "recurrence none"
            )
        return self

    @model_validator(mode="after")
    def _axes_of_attention(self) -> Self:
        for key, usual in ATTENTION.items():
            if self.kind != "attention" and getattr(self, key) != usual:
                raise ValueError(
                    f"{key} {getattr(self, key)} of the kind {self.kind}; expected {usual}, or kind attention"
                )
        return self


class Decoder(Section):
    """From one slot to one source's spectrogram; the same weights for every slot."""

    kind: Annotated[str, AfterValidator(partial(_known, "decoders"))] = hyper(
        "broadcast",
        "from the slot alone: broadcast, an MLP at every point; broadcast_cnn, convolutions; frames, Transformer "
        "layers on frames, to which the slot is broadcast; unfolded, the same with a projection of the slot a frame. "
        "film: on the encoder's features, scaled and shifted by the slot (no bottleneck)",
        paper="broadcast",
    )
    width: int = hyper(512, "hidden units (broadcast) or channels (broadcast_cnn)", ge=8)
    layers: int = hyper(5, "hidden layers, convolutions or Transformer layers", secondary=5, ge=1)
    stride: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = hyper(
        (1, 1), "broadcast: every so many-th bin and frame is decoded, and those between are interpolated"
    )
    output: Literal["magnitude", "softmax", "sigmoid", "complex"] = hyper(
        "magnitude",
        "magnitude: compressed magnitudes, with the mixture's phase; softmax, sigmoid, complex: a mask on the mixture",
        paper="magnitude",
    )
    consistent: bool = hyper(
        False, "what the slots' waveforms lack of the mixture is shared out evenly among them (mixture consistency)"
    )

    @model_validator(mode="after")
    def _strides_of_points(self) -> Self:
        if self.kind != "broadcast" and self.stride != (1, 1):
            raise ValueError(f"stride {list(self.stride)} of the kind {self.kind}; expected [1, 1], or kind broadcast")
        return self


class ConvTasNet(Section):
    """Sizes of Conv-TasNet, a baseline; its ``paper`` is Luo and Mesgarani 2019, by whose letters the keys go."""

    kernel: int = hyper(16, "window of the learned filters, samples (L)", paper=16, ge=2, multiple_of=2)
    filters: int = hyper(512, "learned filters (N)", paper=512, ge=1)
    features: int = hyper(128, "channels between blocks (B)", paper=128, ge=1)
    hidden: int = hyper(512, "channels in a block (H)", paper=512, ge=1)
    layers: int = hyper(8, "blocks a stack, each of twice the dilation (X)", paper=8, ge=1)
    stacks: int = hyper(3, "stacks (R)", paper=3, ge=1)
