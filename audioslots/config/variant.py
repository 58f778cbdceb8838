"""A variant: every hyper-parameter with its meaning, its range and where its value is from.

The defaults are the paper's scale; a benchmark's and a study's deltas change them (``config/benchmark.py``). A variant
resolved for one seed is all that training needs, in one JSON file; its *identity* is the hash of its values that decide
the result and are not the defaults (``schema.decisive``). The sections are ``model`` (``audioslots/models``),
``training`` (``training.py``) and ``separation`` (``separation.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from audioslots.config.separation import Separation
from audioslots.config.training import Training
from audioslots.config.untrained import Oracle
from audioslots.losses import LOSSES, losses_where
from audioslots.models import MODELS
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json
from audioslots.schema import Name, Section, checked, decisive, hashed, hyper, label, provenance

MOST_MIXIT_SLOTS = 8  # MixIT tries all 2^K sums
DERIVED = (
    "identity",
    "run_identity",
    "oracle_bound",
    "provenance",
)  # keys of a config.json that are computed


class InitFrom(Section):
    """The run whose trained weights a training starts from: that of the same seed."""

    variant: Name
    benchmark: Name | None = Field(None, description="the benchmark that trains it; the same one where not given")


class Variant(Section):
    """One system to train: the model, its loss and its optimisation."""

    title: str = label("", "for tables; the name where empty")
    chunk_s: float = hyper(0.5, "chunk, seconds", secondary=0.5, gt=0, le=30)
    model: Annotated[Any, MODELS] = MODELS.section
    training: Training = Training()
    separation: Separation = Separation()
    init_from: InitFrom | None = hyper(
        None, "run whose trained weights training starts from, as {variant: film}; none: random initialisation"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        training, reconstruction = self.training, self.separation.reconstruction
        if self.model.transform is None:
            lacks = f"needs a spectrogram, which model {self.model.kind} lacks"
            if LOSSES[training.loss].spectral:
                raise ValueError(
                    f"training.loss {training.loss} {lacks}; expected {losses_where(lambda loss: not loss.spectral)}"
                )
            if reconstruction != "direct":
                raise ValueError(f"separation.reconstruction {reconstruction} {lacks}; expected direct")
            if training.ratio:
                raise ValueError(f"training.ratio {training.ratio} {lacks}; expected 0")
        if not training.steps and not self.init_from:
            raise ValueError("training.steps 0 without init_from; expected 1 or more, or weights to start from")
        if self.model.has_recurrence and training.chunks_per_assignment == 1:
            raise ValueError(
                "model.recurrence is learned from chunks of one recording; expected training.chunks_per_assignment "
                "above 1"
            )
        if self.model.is_recursive and training.assignment == "mixit":
            raise ValueError("model.recursive with training.assignment mixit; expected pit or fixed")
        return self

    @property
    def oracle_bound(self) -> str | None:
        """The oracle that bounds output and reconstruction, at the model's own STFT; None where phase is decoded."""
        if (transform := self.model.transform) is None:
            return None
        stft, settings = (transform.window, transform.hop), self.separation
        if settings.reconstruction == "ratio":
            return Oracle("ratio", settings.power, stft).name
        if settings.reconstruction == "misi":
            return Oracle("misi", settings.misi_iterations, stft).name
        return Oracle(self.model.oracle, None, stft).name if self.model.oracle else None

    @property
    def content(self) -> dict[str, Any]:
        """What decides the trained model, without default values: no titles, no places, no ``separation``."""
        return decisive(self, "separation")


class Resolved(Variant):
    """A variant for one seed and one benchmark: the content of a run folder's ``config.json``."""

    name: Name = label()
    benchmark: Name = label()
    seed: int = Field(ge=0, lt=2**32)
    rate: Literal[8000, 16000]
    sources: int = Field(ge=1, description="speakers per mixture, or the most of them")
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
    def _check_slots(self) -> Self:
        model, training = self.model, self.training
        slots, reconstruction = model.num_slots, self.separation.reconstruction
        if slots < self.sources:
            raise ValueError(f"model: {slots} slots (or outputs) for {self.sources} sources; expected at least as many")
        if model.has_noise_slot and not (self.noise and slots > self.sources):
            raise ValueError(
                f"model.noise_slot with {slots} slots, task {self.task}; expected a task with noise, and a slot more "
                "than sources"
            )
        if slots == 1 and (reconstruction == "ratio" or model.shares_mixture):
            raise ValueError(
                f"separation.reconstruction {reconstruction}, or the output, gives one slot the whole mixture; "
                "expected direct, another output, or a slot for the noise"
            )
        if self.counts and (
            training.assignment != "pit" or training.unmatched == "free" or training.mixing == "static"
        ):
            raise ValueError(
                f"training.assignment {training.assignment}, unmatched {training.unmatched}, mixing {training.mixing} "
                f"with sources {self.counts}; expected pit, silence and dynamic"
            )
        if model.has_noise_slot and training.assignment == "fixed" and model.num_speech_slots > self.sources:
            raise ValueError(
                f"training.assignment fixed with model.noise_slot and {slots} slots, the last of which is the noise's; "
                f"expected {self.sources + 1} slots, or assignment pit"
            )
        if self.counts and training.single_speaker_fraction:
            raise ValueError(
                f"training.single_speaker_fraction {training.single_speaker_fraction} with sources {self.counts}; "
                "expected 0, or one number"
            )
        has_silent_slots = model.num_speech_slots > self.sources or self.may_be_silent
        if has_silent_slots and training.unmatched == "silence" and LOSSES[training.loss].silence is None:
            raise ValueError(
                f"training.loss {training.loss} does not train extra slots towards silence; "
                f"expected {losses_where(lambda loss: loss.silence is not None)}"
            )
        if training.assignment == "mixit" and not 2 * self.sources <= slots <= MOST_MIXIT_SLOTS:
            raise ValueError(
                f"model: {slots} slots with training.assignment mixit, whose input is two mixtures; "
                f"expected {2 * self.sources} to {MOST_MIXIT_SLOTS}"
            )
        if (self.noise is None) != (self.task == "sep_clean"):
            raise ValueError(f"noise {self.noise} with task {self.task}; expected it of tasks with noise only")
        if self.noise and (training.assignment == "mixit" or training.mixing == "static" or model.is_recursive):
            raise ValueError(
                f"training.assignment {training.assignment}, mixing {training.mixing}, model.recursive "
                f"{model.is_recursive} with task {self.task}; expected pit or fixed, dynamic, false"
            )
        if model.transform and self.chunk < model.transform.window:
            raise ValueError(
                f"chunk_s {self.chunk_s} is {self.chunk} samples, shorter than model.spectrogram.window; "
                f"expected at least {model.transform.window} samples"
            )
        return self

    @property
    def may_be_silent(self) -> bool:
        """Whether sources of a training mixture may be silent throughout."""
        return bool(self.counts or self.training.single_speaker_fraction)

    @property
    def chunk(self) -> int:
        """Samples in a chunk."""
        return round(self.chunk_s * self.rate)

    @property
    def context(self) -> int:
        """Samples that are read before a chunk, and after it."""
        return self.model.context_samples(self.rate)

    @property
    def crop(self) -> int:
        """Samples that the model reads for one chunk: the chunk between its contexts."""
        return self.chunk + 2 * self.context

    @property
    def hop(self) -> int:
        """Samples from one adjacent chunk of a training crop to the next."""
        return max(1, round(self.chunk * (1 - self.training.adjacent_overlap)))

    @property
    def crop_samples(self) -> int:
        """Samples of a training crop: adjacent chunks with their contexts."""
        return self.crop + (self.training.adjacent_chunks - 1) * self.hop

    @property
    def speakers(self) -> int:
        """Speakers of a training example: those of one mixture, or of the two that MixIT adds up."""
        return self.sources * (2 if self.training.assignment == "mixit" else 1)

    @property
    def signals(self) -> int:
        """Signals that a mixture is the sum of: its sources, and its noise if it has any."""
        return self.sources + (self.noise is not None)

    @property
    def delay(self) -> int:
        """Algorithmic delay of separation in samples: the longest wait for what an output depends on.

        The first sample of a chunk waits for its last one and for the context after that; with a model of any length,
        for the end of the recording, at most ``separation.longest_s``.
        """
        return round(self.separation.longest_s * self.rate) if self.model.any_length else self.chunk + self.context

    @property
    def content(self) -> dict[str, Any]:
        """As ``Variant.content``; the run that training starts from is named by its identity."""
        return decisive(self, "separation", "init_from")

    @property
    def identity(self) -> str:
        """Hash of ``content``: of the trained model."""
        return hashed(self.content)

    @property
    def run_identity(self) -> str:
        """Hash of ``content`` and ``separation``: of the system that scores belong to."""
        return hashed({**self.content, "separation": decisive(self.separation)})

    def document(self) -> dict[str, Any]:
        """The content of ``config.json``: all values, where each is from, identities and oracle_bound."""
        return {
            **self.model_dump(mode="json"),
            "identity": self.identity,
            "run_identity": self.run_identity,
            "oracle_bound": self.oracle_bound,
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
            raise InputError(f"{source}: is not a JSON object; expected a resolved variant")
        return checked(cls, {key: value for key, value in document.items() if key not in DERIVED}, source)
