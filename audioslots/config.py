"""A variant: every hyper-parameter with its meaning, its range and where its value is from.

The defaults are the paper's scale (see ``provenance``); a benchmark's and a study's deltas change them
(``audioslots/benchmark.py``). A variant resolved for one seed is all that training needs, in one JSON file; its
*identity* is the hash of that file's content. The sections of the model stand in ``architecture``, ``training`` in
``optimisation``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from audioslots.architecture import ATTENTION, ConvTasNet, Decoder, Encoder, Slots, Spectrogram
from audioslots.checking import Name, Section, checked
from audioslots.errors import InputError
from audioslots.files import read_json
from audioslots.losses import LOSSES, such
from audioslots.optimisation import Training
from audioslots.provenance import hyper, provenance
from audioslots.untrained import Oracle


class Separation(Section):
    """From decoded chunks to a whole recording: reconstruction and stitching. A trained model serves any of it."""

    reconstruction: Literal["direct", "ratio", "misi"] = hyper(
        "direct",
        "direct: the decoded magnitudes with the mixture's phase, or the mask; ratio: the decoded magnitudes of all "
        "slots as ratio masks on the mixture; misi: phases that fit the magnitudes and the mixture, by iteration",
        secondary="direct",
    )
    power: float = hyper(1.5, "ratio: of magnitudes, m_k^power / sum_j m_j^power; 1: ratio mask, 2: Wiener-like", gt=0)
    misi_iterations: int = hyper(5, "misi: iterations", ge=1)

    overlap: float = hyper(0.5, "share of a chunk that its successor sees too", ge=0.25, le=0.9)
    embedding_weight: float = hyper(4.0, "blind order: of the slots' likeness, against that of waveforms", ge=0)
    spectrum_weight: float = hyper(1.5, "blind order: of long-term spectra's likeness, against that of waveforms", ge=0)
    quiet_db: float = hyper(
        0.0, "blind order: a slot so far below its chunk says nothing by embedding or spectrum, dB; 0: all do", ge=0
    )
    voice_weight: float = hyper(
        0.0, "blind order: as spectrum_weight, but of slots by themselves, which also counts where one is quiet", ge=0
    )
    spare: Literal["drop", "merge"] = hyper(
        "drop", "slots beyond the sources: left out, or each added to the output that grows loud and quiet as it does"
    )
    longest_s: float = hyper(30.0, "chunk of a model that takes any length (conv_tasnet), seconds", gt=0)

    @property
    def content(self) -> dict[str, Any]:
        """All keys, but for those that came later and are at their defaults."""
        later = {"spare": "drop", "quiet_db": 0.0, "voice_weight": 0.0}
        return {key: value for key, value in self.model_dump(mode="json").items() if later.get(key, ...) != value}


class Variant(Section):
    """One system to train: the model, its loss and its optimisation."""

    title: str = Field("", description="for tables; the name where empty")
    model: Literal["audioslots", "conv_tasnet"] = hyper("audioslots", "conv_tasnet: the baseline", paper="audioslots")
    chunk_s: float = hyper(0.5, "chunk, seconds", secondary=0.5, gt=0, le=30)
    context_s: float = hyper(
        0.0, "before a chunk and after it, as much of the mixture that the encoder reads as well, seconds", ge=0, le=30
    )
    spectrogram: Spectrogram = Spectrogram()
    encoder: Encoder = Encoder()
    slots: Slots = Slots()
    decoder: Decoder = Decoder()
    conv_tasnet: ConvTasNet = ConvTasNet()
    training: Training = Training()
    separation: Separation = Separation()
    start: str = hyper(
        "", "run folder or model file whose weights training starts from, {seed} being the run's; none: drawn anew"
    )

    @model_validator(mode="after")
    def _loss_suits_the_model(self) -> Self:
        if self.model == "conv_tasnet" and LOSSES[self.training.loss].spectral:
            raise ValueError(
                f"training.loss {self.training.loss} needs a spectrogram, which conv_tasnet lacks; "
                f"expected {such(lambda loss: not loss.spectral)}"
            )
        if self.model == "conv_tasnet" and self.separation.reconstruction != "direct":
            raise ValueError(
                f"separation.reconstruction {self.separation.reconstruction} needs a spectrogram, which conv_tasnet "
                "lacks; expected direct"
            )
        told = self.training
        if not told.steps and not self.start:
            raise ValueError("training.steps 0 without start; expected 1 or more, or the weights to start from")
        if self.model == "conv_tasnet" and (told.sequence > 1 or told.contrast or told.existence or told.ratio):
            raise ValueError(
                "training.sequence, contrast, existence, ratio of conv_tasnet, which has no slots; expected 1, 0, 0, 0"
            )
        if self.model == "conv_tasnet" and (self.slots.passes > 1 or self.slots.in_turn):
            passes = f"slots.passes {self.slots.passes}, in_turn {str(self.slots.in_turn).lower()}"
            raise ValueError(f"{passes} of conv_tasnet, which has no slots; expected 1, false")
        if self.slots.carry != "none" and told.joined == 1:
            raise ValueError(
                f"slots.carry {self.slots.carry} is learned from chunks of one recording; expected training.sequence "
                "or together above 1"
            )
        if self.slots.in_turn and (self.context_s or told.order == "mixit"):
            raise ValueError(
                f"slots.in_turn with context_s {self.context_s}, training.order {told.order}; expected 0, and matched "
                "or fixed"
            )
        if self.model == "conv_tasnet" and self.context_s:
            raise ValueError(f"context_s {self.context_s} of conv_tasnet, which decodes all it reads; expected 0")
        return self

    def start_at(self, seed: int | str) -> Path | None:
        """The model file whose weights training starts from with a seed, if it does not draw them anew."""
        path = Path(self.start.replace("{seed}", str(seed)))
        return None if not self.start else path if path.suffix == ".safetensors" else path / "model.safetensors"

    @property
    def slot_width(self) -> int:
        """Numbers in a slot's embedding."""
        return self.slots.tokens * self.encoder.width

    @property
    def ceiling(self) -> str | None:
        """The oracle that bounds output and reconstruction, at the model's own STFT; None where phase is decoded."""
        if self.model == "conv_tasnet":
            return None
        stft, how = (self.spectrogram.window, self.spectrogram.hop), self.separation
        if how.reconstruction == "ratio":
            return Oracle("ratio", how.power, stft).name
        if how.reconstruction == "misi":
            return Oracle("misi", how.misi_iterations, stft).name
        if self.decoder.output == "complex":
            return None
        return Oracle("magnitude" if self.decoder.output == "magnitude" else "psm", None, stft).name

    @property
    def content(self) -> dict[str, Any]:
        """All that decides the result: not the title, not how recordings are stitched, no section of another model."""
        content = self.model_dump(mode="json", exclude=NOT_IDENTITY | UNUSED[self.model])
        training = {key: value for key, value in content["training"].items() if key not in OPERATION}
        if training["sequence"] == 1:
            del training["overlap"]
        if self.slots.passes == 1:
            del training["discount"]
        content["training"] = training
        for section, defaults in LATER.items():
            held = content.get(section, {}) if section else content
            for key, default in defaults.items():
                if held.get(key) == default:
                    del held[key]
        return content


NOT_IDENTITY = {"title", "name", "benchmark", "train", "validation", "noise", "separation"}
UNUSED = {"audioslots": {"conv_tasnet"}, "conv_tasnet": {"spectrogram", "encoder", "decoder"}}
LATER: dict[str, dict[str, Any]] = {
    "": {"context_s": 0.0, "counts": [], "start": "", "task": "sep_clean"},
    "slots": {"carry": "none", "passes": 1, "in_turn": False, "noise": False, **ATTENTION},
    "decoder": {"stride": [1, 1], "consistent": False},
    "training": {"together": 1, "sequence": 1}
    | dict.fromkeys(("contrast", "supervised", "existence", "ratio", "alone"), 0.0),
}
"""Keys that came later, by section: what leaves them at these defaults keeps the identity that it had."""
OPERATION = {"checkpoint_every", "checkpoint_minutes", "skips", "accumulate"}
"""Of training: the same numbers whatever they are, ``accumulate`` but for rounding."""


MOST_MIXED = 8  # slots of MixIT, whose 2^K sums are all tried


class Resolved(Variant):
    """A variant for one seed and one benchmark: the content of a run folder's ``config.json``."""

    name: Name
    benchmark: Name
    seed: int = Field(ge=0, lt=2**32)
    rate: Literal[8000, 16000]
    sources: int = Field(ge=1, description="speakers a mixture, or the most of them")
    counts: list[int] = Field(default_factory=list, description="numbers of speakers, all as likely; none: sources")
    task: Literal["sep_clean", "sep_noisy", "enh_single"] = Field("sep_clean", description="the last two: with noise")
    noise: str | None = Field(None, description="packed noise, in tr and cv; None: mixtures are of speech alone")
    train: str = Field(description="packed training speech")
    validation: str | None = Field(description="packed validation speech; None: speakers held out of training")
    held_out_speakers: int = Field(ge=0, description="speakers held out of training for validation")
    data_identity: str = Field(description="what the data are made from, hashed")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.slots.count < self.sources:
            raise ValueError(f"slots.count {self.slots.count} is fewer than the sources; expected >= {self.sources}")
        if self.slots.noise and not (self.noise and self.slots.count > self.sources):
            raise ValueError(
                f"slots.noise with {self.slots.count} slots, task {self.task}; expected a task with noise, and a slot "
                "more than sources"
            )
        how, decoder = self.separation.reconstruction, self.decoder
        shares = how == "ratio" or decoder.output == "softmax" or decoder.consistent
        if self.model == "audioslots" and self.slots.count == 1 and shares:
            raise ValueError(
                f"separation.reconstruction {how}, decoder.output {decoder.output}, consistent {decoder.consistent} of "
                "one slot, whose share of the mixture is all of it; expected direct, another output, false, or a slot "
                "for the noise"
            )
        training = self.training
        if self.counts and (training.order != "matched" or training.unmatched == "free" or training.mixing == "static"):
            raise ValueError(
                f"training.order {training.order}, unmatched {training.unmatched}, mixing {training.mixing} with "
                f"sources {self.counts}; expected matched, silence and dynamic"
            )
        if self.slots.noise and training.order == "fixed" and self.slots.speech > self.sources:
            raise ValueError(
                f"training.order fixed with slots.noise and {self.slots.count} slots, the last of which is the "
                f"noise's; expected {self.sources + 1} slots, or order matched"
            )
        if self.counts and training.alone:
            raise ValueError(f"training.alone {training.alone} with sources {self.counts}; expected 0, or one number")
        beyond = self.slots.speech > self.sources or self.silences
        if beyond and training.unmatched == "silence" and LOSSES[training.loss].silence is None:
            raise ValueError(
                f"training.loss {training.loss} pulls no slot beyond the sources to silence; "
                f"expected {such(lambda loss: loss.silence is not None)}"
            )
        if training.order == "mixit" and not 2 * self.sources <= self.slots.count <= MOST_MIXED:
            raise ValueError(
                f"slots.count {self.slots.count} with training.order mixit, which hears two mixtures at once; "
                f"expected {2 * self.sources} to {MOST_MIXED}"
            )
        if (self.noise is None) != (self.task == "sep_clean"):
            raise ValueError(f"noise {self.noise} with task {self.task}; expected it of tasks with noise alone")
        if self.noise and (training.order == "mixit" or training.mixing == "static" or self.slots.in_turn):
            raise ValueError(
                f"training.order {training.order}, mixing {training.mixing}, slots.in_turn {self.slots.in_turn} with "
                f"task {self.task}; expected matched or fixed, dynamic, false"
            )
        if self.model == "audioslots" and self.chunk < self.spectrogram.window:
            raise ValueError(
                f"chunk_s {self.chunk_s} is {self.chunk} samples, shorter than spectrogram.window; "
                f"expected at least {self.spectrogram.window} samples"
            )
        return self

    @property
    def silences(self) -> bool:
        """Whether sources of a training mixture may be silent throughout."""
        return bool(self.counts or self.training.alone)

    @property
    def chunk(self) -> int:
        """Samples in a chunk."""
        return round(self.chunk_s * self.rate)

    @property
    def context(self) -> int:
        """Samples that are read before a chunk, and after it: whole hops, so that the frames of both agree."""
        hop = self.spectrogram.hop
        return round(self.context_s * self.rate / hop) * hop

    @property
    def crop(self) -> int:
        """Samples that the model reads to decode a chunk: those of the chunk, between those of its context."""
        return self.chunk + 2 * self.context

    @property
    def hop(self) -> int:
        """Samples from one chunk of a training sequence to the next."""
        return max(1, round(self.chunk * (1 - self.training.overlap)))

    @property
    def heard(self) -> int:
        """Samples of a training crop: what the model reads of a sequence of chunks."""
        return self.crop + (self.training.sequence - 1) * self.hop

    @property
    def mixed(self) -> int:
        """Speakers of a training example: those of one mixture, or of the two that MixIT adds up."""
        return self.sources * (2 if self.training.order == "mixit" else 1)

    @property
    def parts(self) -> int:
        """Signals that a mixture is the sum of: its sources, and its noise if it has any."""
        return self.sources + (self.noise is not None)

    @property
    def delay(self) -> int:
        """Algorithmic delay in samples of separation chunk by chunk: the longest wait for what an output depends on.

        The first sample of a chunk waits for its last one and for the context after that. Conv-TasNet normalises over
        all that it reads: a recording's length, at most ``separation.longest_s``.
        """
        whole = round(self.separation.longest_s * self.rate)
        return whole if self.model == "conv_tasnet" else self.chunk + self.context

    @property
    def started(self) -> Path | None:
        """The model file whose weights training starts from, if it does not draw them anew."""
        return self.start_at(self.seed)

    @property
    def identity(self) -> str:
        """Hash of ``content``: where the data lie, titles and names do not count."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()[:16]

    def document(self) -> dict[str, Any]:
        """The content of ``config.json``: all values, where each is from, the identity and the ceiling."""
        return {
            **self.model_dump(mode="json"),
            "identity": self.identity,
            "ceiling": self.ceiling,
            "provenance": provenance(self),
        }

    @classmethod
    def read(cls, path: Path) -> Resolved:
        """Read a ``config.json``.

        Raises:
            InputError: the file is absent, is no JSON, or a key is unknown or out of range.
        """
        return cls.of(read_json(path), str(path))

    @classmethod
    def of(cls, document: Any, source: str) -> Resolved:
        """Check the content of a ``config.json``; ``source`` names it in errors."""
        if not isinstance(document, dict):
            raise InputError(f"{source}: is no JSON object; expected a resolved variant")
        beside = ("identity", "ceiling", "provenance", "test")  # the first three are derived; the last was a key once
        content = {key: value for key, value in document.items() if key not in beside}
        if isinstance(training := content.get("training"), dict) and "pieces" in training:  # its name once
            content["training"] = {"accumulate" if key == "pieces" else key: value for key, value in training.items()}
        return checked(cls, content, source)
