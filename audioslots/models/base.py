"""What every model is: its capabilities, which callers ask instead of its kind, and the estimates it returns."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from pydantic import model_validator
from torch import Tensor, nn

from audioslots.models.spectrogram import STFT
from audioslots.schema import Section, hyper

TINY = 1e-8


class Spectrogram(Section):
    """Short-time Fourier transform and compression of magnitudes."""

    window: int = hyper(512, "Hann window, samples", secondary=512, ge=16, multiple_of=2)
    hop: int = hyper(125, "hop, samples", secondary=125, ge=1)
    exponent: float = hyper(0.3, "magnitudes enter and leave the model to this power", secondary=0.3, gt=0, le=1)

    @model_validator(mode="after")
    def _check_hop(self) -> Spectrogram:
        if self.hop > self.window // 2:
            raise ValueError(f"hop {self.hop} leaves gaps; expected at most half the window ({self.window // 2})")
        return self

    @property
    def stft(self) -> STFT:
        """The transform."""
        return STFT(self.window, self.hop)


class ModelConfig(Section):
    """What callers ask of a model before it is built; a kind overrides what differs."""

    kind: str

    @property
    def num_slots(self) -> int:
        """Estimates per mixture."""
        raise NotImplementedError

    @property
    def num_speech_slots(self) -> int:
        """Estimates that may hold a speaker: all but that of the noise."""
        return self.num_slots

    @property
    def any_length(self) -> bool:
        """Whether the model separates mixtures of any length; else chunks."""
        return False

    @property
    def transform(self) -> Spectrogram | None:
        """The spectrogram that the estimates have magnitudes of; None of a model of waveforms."""
        return None

    def context_samples(self, rate: int) -> int:
        """Samples of the mixture that are read before a chunk, and after it, at ``rate`` Hz."""
        return 0

    @property
    def has_noise_slot(self) -> bool:
        """Whether the last slot is the noise's."""
        return False

    @property
    def has_recurrence(self) -> bool:
        """Whether slots depend on earlier chunks."""
        return False

    @property
    def is_recursive(self) -> bool:
        """Whether sources are separated one after the other."""
        return False

    def provenance(self) -> dict[str, str]:
        """Where the code of a network of another package is from; {} of a model of this one."""
        return {}

    @property
    def shares_mixture(self) -> bool:
        """Whether the estimates share the mixture by construction, so that a single one would be the mixture."""
        return False

    @property
    def oracle(self) -> Literal["magnitude", "psm"] | None:
        """The oracle that bounds the model's waveforms; None of a model that decodes phase."""
        return None


class Estimates(NamedTuple):
    """Estimates of a batch of chunks; K slots in no particular order.

    Attributes:
        waveforms: (B, K, T), at the mixture's level.
        level: (B, 1) root mean square of the mixture; losses are computed on waveforms divided by it.
        compressed: (B, K, F, N) magnitudes of the waveforms divided by ``level``, to the power of the model's exponent;
            None of a model of waveforms.
        spectra: (B, K, F, N) complex spectra of the waveforms divided by ``level``; None likewise.
        slots: (B, K, W) source embeddings; None of a model without.
        presence: (B, K) logits of whether the slots hold a source; None of a model without a presence head.
        state: what the next chunks of the same recording begin with; None of a model without recurrence.
        earlier: estimates of the refinement iterations before the last.
        rests: what each recursion but the last leaves of the mixture, as slots; None of a model without recursion.
    """

    waveforms: Tensor
    level: Tensor
    compressed: Tensor | None = None
    spectra: Tensor | None = None
    slots: Tensor | None = None
    presence: Tensor | None = None
    state: Tensor | None = None
    earlier: tuple[Estimates, ...] = ()
    rests: Estimates | None = None


class Core(nn.Module):
    """The part of a model that other runtimes can run: real tensors in and out, no STFT.

    Attributes:
        input: name of its input.
        outputs: names of its outputs.
    """

    input: str
    outputs: tuple[str, ...]

    def example(self, waveforms: Tensor) -> Tensor:
        """What the core reads of waveforms (B, T) at unit level."""
        raise NotImplementedError


class SeparationModel(nn.Module):
    """A network that separates mixtures: ``model(mixture, chunks, state) -> Estimates``.

    Args:
        config: of the model.
        samples: chunk, samples; models of any length are trained on chunks of that length.

    Attributes:
        any_length: whether mixtures of any length are separated; else chunks with their context.
        num_slots: estimates per mixture, K.
        stft: transform of ``Estimates.compressed``; None of a model of waveforms.
        exponent: of the compressed magnitudes.
    """

    stft: STFT | None

    def __init__(self, config: ModelConfig, samples: int) -> None:
        super().__init__()
        self.samples = samples
        self.any_length, self.num_slots = config.any_length, config.num_slots
        self.stft = config.transform.stft if config.transform else None
        self.exponent = config.transform.exponent if config.transform else 1.0

    @property
    def has_spectrogram(self) -> bool:
        """Whether the estimates have compressed magnitudes."""
        return self.stft is not None

    def core(self) -> Core | None:
        """What can be exported to other runtimes; None where a chunk is not separated by itself and at once."""
        return None

    def forward(self, mixture: Tensor, chunks: int = 1, state: Tensor | None = None) -> Estimates:
        """Estimates of mixtures (B, T).

        Args:
            mixture: any length, or chunks with their context.
            chunks: so many neighbours in the batch are chunks of one recording, in order; for recurrent slots.
            state: of the chunks before, from an earlier call.
        """
        raise NotImplementedError


def slot_sizes(model: SeparationModel, samples: int) -> dict[str, int]:
    """Sizes of a slot and of the spectrogram of one source; {} for a model without slots.

    Args:
        model: any.
        samples: what the model reads for one chunk, samples.

    Returns:
        ``slot_size``: W; ``spectrogram_size``: F x N of one chunk.
    """
    with torch.no_grad():
        estimates = model(torch.zeros(1, samples, device=next(model.parameters()).device))
    if estimates.slots is None or estimates.compressed is None:
        return {}
    bins, frames = estimates.compressed.shape[-2:]
    return {"slot_size": estimates.slots.shape[-1], "spectrogram_size": bins * frames}


def center_crop(waveform: Tensor, samples: int) -> Tensor:
    """The middle (..., ``samples``) of waveforms (..., T): a chunk without its context."""
    return waveform.narrow(-1, (waveform.shape[-1] - samples) // 2, samples)


def level_of(mixture: Tensor) -> Tensor:
    """Root mean square of mixtures (B, T) -> (B, 1), never zero."""
    return mixture.square().mean(dim=-1, keepdim=True).sqrt() + TINY


def compress(magnitudes: Tensor, exponent: float) -> Tensor:
    """Magnitudes to the power of ``exponent``, with a gradient that stays finite at zero."""
    return (magnitudes + TINY) ** exponent


def standardise(spectrogram: Tensor) -> Tensor:
    """Each spectrogram (B, F, N) to zero mean and unit variance: without it training takes about twice the steps."""
    mean = spectrogram.mean(dim=(1, 2), keepdim=True)
    return (spectrogram - mean) / (spectrogram.std(dim=(1, 2), keepdim=True) + TINY)
