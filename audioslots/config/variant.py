"""A variant: every hyper-parameter with its meaning, its range and where its value is from.

The defaults are the paper's scale (see ``provenance``); a benchmark's and a study's deltas change them
(``audioslots/config/benchmark.py``). A variant resolved for one seed is all that training needs, in one JSON file; its
*identity* is the hash of its values that decide the result and are not the defaults (``checking.decisive``). The
sections of the model stand in ``architecture``, ``training`` in ``optimisation``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from audioslots.config.architecture import ConvTasNet, Decoder, Encoder, Slots, Spectrogram
from audioslots.config.checking import Name, Section, checked, decisive, hashed, label
from audioslots.config.provenance import hyper, provenance
from audioslots.config.training import DISCOUNT, Training
from audioslots.config.untrained import Oracle
from audioslots.losses import LOSSES, such
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json


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
    speaker_weight: float = hyper(
        0.0, "blind order: as spectrum_weight, but of slots by themselves, which also counts where one is quiet", ge=0
    )
    extra_slots: Literal["drop", "merge"] = hyper(
        "drop", "slots beyond the sources: left out, or each added to the output that grows loud and quiet as it does"
    )
    longest_s: float = hyper(30.0, "chunk of a model that takes any length (conv_tasnet), seconds", gt=0)


class InitFrom(Section):
    """The run whose trained weights a training starts from: that of the same seed."""

    variant: Name
    benchmark: Name | None = Field(None, description="the benchmark that trains it; the same one where not given")


class Variant(Section):
    """One system to train: the model, its loss and its optimisation."""

    title: str = label("", "for tables; the name where empty")
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
    init_from: InitFrom | None = hyper(
        None, "run whose trained weights training starts from, as {variant: film}; none: random initialisation"
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
        if not told.steps and not self.init_from:
            raise ValueError("training.steps 0 without init_from; expected 1 or more, or weights to start from")
        if self.model == "conv_tasnet" and (told.sequence > 1 or told.contrast or told.presence or told.ratio):
            raise ValueError(
                "training.adjacent, contrast, presence, ratio of conv_tasnet, which has no slots; expected false and 0"
            )
        if self.model == "conv_tasnet" and (self.slots.refinement_iterations > 1 or self.slots.recursive):
            recursive = str(self.slots.recursive).lower()
            raise ValueError(
                f"slots.refinement_iterations {self.slots.refinement_iterations}, recursive {recursive} of "
                "conv_tasnet, which has no slots; expected 1, false"
            )
        if told.discount != DISCOUNT and self.slots.refinement_iterations == 1:
            raise ValueError(
                f"training.discount {told.discount} of one iteration; expected slots.refinement_iterations above 1, or "
                f"{DISCOUNT}"
            )
        if self.slots.recurrence != "none" and told.chunks_per_assignment == 1:
            raise ValueError(
                f"slots.recurrence {self.slots.recurrence} is learned from chunks of one recording; expected "
                "training.chunks_per_assignment above 1"
            )
        if self.slots.recursive and (self.context_s or told.assignment == "mixit"):
            raise ValueError(
                f"slots.recursive with context_s {self.context_s}, training.assignment {told.assignment}; "
                "expected 0, and pit or fixed"
            )
        if self.model == "conv_tasnet" and self.context_s:
            raise ValueError(f"context_s {self.context_s} of conv_tasnet, which decodes all it reads; expected 0")
        return self

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
        """What decides the trained model, without default values: not titles, places, stitching or another model's."""
        return decisive(self, "separation", *OTHER_MODELS[self.model])


OTHER_MODELS = {"audioslots": ("conv_tasnet",), "conv_tasnet": ("spectrogram", "encoder", "decoder")}
"""Model -> sections that are not its own."""
MOST_MIXED = 8  # slots of MixIT, whose 2^K sums are all tried


class Resolved(Variant):
    """A variant for one seed and one benchmark: the content of a run folder's ``config.json``."""

    name: Name = label()
    benchmark: Name = label()
    seed: int = Field(ge=0, lt=2**32)
    rate: Literal[8000, 16000]
    sources: int = Field(ge=1, description="speakers a mixture, or the most of them")
    counts: list[int] = Field(default_factory=list, description="numbers of speakers, all as likely; none: sources")
    task: Literal["sep_clean", "sep_noisy", "enh_single"] = Field("sep_clean", description="the last two: with noise")
    noise: str | None = label(None, "packed noise, in tr and cv; None: mixtures of speech only")
    train: str = label(description="packed training speech")
    validation: str | None = label(description="packed validation speech; None: speakers held out of training")
    init_model: str | None = label(None, "model file whose weights training starts from")
    init_identity: str | None = Field(None, description="identity of the run that made it")
    held_out_speakers: int = Field(ge=0, description="speakers held out of training for validation")
    data_identity: str = Field(description="what the data are made from, hashed")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.slots.count < self.sources:
            raise ValueError(f"slots.count {self.slots.count} is fewer than the sources; expected >= {self.sources}")
        if self.slots.noise_slot and not (self.noise and self.slots.count > self.sources):
            raise ValueError(
                f"slots.noise_slot with {self.slots.count} slots, task {self.task}; expected a task with noise, "
                "and a slot more than sources"
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
        if self.counts and (
            training.assignment != "pit" or training.unmatched == "free" or training.mixing == "static"
        ):
            raise ValueError(
                f"training.assignment {training.assignment}, unmatched {training.unmatched}, mixing {training.mixing} "
                f"with sources {self.counts}; expected pit, silence and dynamic"
            )
        if self.slots.noise_slot and training.assignment == "fixed" and self.slots.speech > self.sources:
            raise ValueError(
                f"training.assignment fixed with slots.noise_slot and {self.slots.count} slots, the last of which is "
                f"the noise's; expected {self.sources + 1} slots, or assignment pit"
            )
        if self.counts and training.single_speaker_fraction:
            raise ValueError(
                f"training.single_speaker_fraction {training.single_speaker_fraction} with sources {self.counts}; "
                "expected 0, or one number"
            )
        beyond = self.slots.speech > self.sources or self.silences
        if beyond and training.unmatched == "silence" and LOSSES[training.loss].silence is None:
            raise ValueError(
                f"training.loss {training.loss} pulls no slot beyond the sources to silence; "
                f"expected {such(lambda loss: loss.silence is not None)}"
            )
        if training.assignment == "mixit" and not 2 * self.sources <= self.slots.count <= MOST_MIXED:
            raise ValueError(
                f"slots.count {self.slots.count} with training.assignment mixit, whose input is two mixtures; "
                f"expected {2 * self.sources} to {MOST_MIXED}"
            )
        if (self.noise is None) != (self.task == "sep_clean"):
            raise ValueError(f"noise {self.noise} with task {self.task}; expected it of tasks with noise alone")
        if self.noise and (training.assignment == "mixit" or training.mixing == "static" or self.slots.recursive):
            raise ValueError(
                f"training.assignment {training.assignment}, mixing {training.mixing}, slots.recursive "
                f"{self.slots.recursive} with task {self.task}; expected pit or fixed, dynamic, false"
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
        return bool(self.counts or self.training.single_speaker_fraction)

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
        return max(1, round(self.chunk * (1 - self.training.adjacent_overlap)))

    @property
    def heard(self) -> int:
        """Samples of a training crop: what the model reads of a sequence of chunks."""
        return self.crop + (self.training.sequence - 1) * self.hop

    @property
    def mixed(self) -> int:
        """Speakers of a training example: those of one mixture, or of the two that MixIT adds up."""
        return self.sources * (2 if self.training.assignment == "mixit" else 1)

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
    def content(self) -> dict[str, Any]:
        """As ``Variant.content``; the run that training starts from is named by its identity."""
        return decisive(self, "separation", "init_from", *OTHER_MODELS[self.model])

    @property
    def identity(self) -> str:
        """Hash of ``content``: of the trained model."""
        return hashed(self.content)

    @property
    def run_identity(self) -> str:
        """Hash of ``content`` and ``separation``: of the model as it is put to use, which its scores depend on."""
        return hashed({**self.content, "separation": decisive(self.separation)})

    def document(self) -> dict[str, Any]:
        """The content of ``config.json``: all values, where each is from, the identity and the ceiling."""
        return {
            **self.model_dump(mode="json"),
            "identity": self.identity,
            "run_identity": self.run_identity,
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
        derived = ("identity", "run_identity", "ceiling", "provenance")
        content = {key: value for key, value in document.items() if key not in derived}
        return checked(cls, content, source)
