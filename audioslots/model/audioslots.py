"""The whole model: a mixture's waveform in, an unordered set of source estimates out."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from audioslots import config
from audioslots.model.decoders import DECODERS
from audioslots.model.encoder import ENCODERS
from audioslots.model.slots import LearnedQueries
from audioslots.model.spectrogram import STFT

TINY = 1e-8


class Estimates(NamedTuple):
    """What the model says of a batch of chunks; K slots in no particular order.

    Attributes:
        compressed: (B, K, F, N) magnitudes to the power of ``exponent``, at the model's level.
        spectra: (B, K, F, N) complex, with the mixture's phase, at the model's level.
        slots: (B, K, W) source embeddings.
        level: (B, 1) what the mixture was divided by.
    """

    compressed: Tensor
    spectra: Tensor
    slots: Tensor
    level: Tensor


class AudioSlots(nn.Module):
    """AudioSlots (Reddy et al., arXiv 2305.05591), its parts chosen by the config.

    The mixture is scaled to unit root mean square on its way in and the estimates back on their way out, so the model
    is equivariant to level. It reads |mixture|^exponent and nothing else.

    Args:
        variant: encoder, slots, decoder and spectrogram.
        samples: of a chunk, T; the model takes chunks of this length only.
    """

    def __init__(self, variant: config.Variant, samples: int) -> None:
        super().__init__()
        self.samples = samples
        self.exponent = variant.spectrogram.exponent
        self.output = variant.decoder.output
        self.stft = STFT(variant.spectrogram.window, variant.spectrogram.hop)
        bins, frames = self.stft.bins, self.stft.frames(samples)
        self.encoder = ENCODERS[variant.encoder.kind](variant.encoder, bins, frames)
        self.slots = LearnedQueries(variant.slots, variant.encoder)
        self.decoder = DECODERS[variant.decoder.kind](variant, bins, frames)

    def forward(self, mixture: Tensor) -> Estimates:
        """Mixtures (B, T) -> estimates of K sources each.

        Raises:
            ValueError: T is not the model's chunk.
        """
        if mixture.shape[-1] != self.samples:
            raise ValueError(f"mixture has {mixture.shape[-1]} samples; expected a chunk of {self.samples}")
        level = mixture.square().mean(dim=-1, keepdim=True).sqrt() + TINY
        spectrum = self.stft(mixture / level)  # (B, F, N)
        magnitude = spectrum.abs()
        tokens = self.encoder(standardise(self.compress(magnitude)))
        slots = self.slots(tokens)
        maps = self.decoder(slots, tokens)  # (B, K, F, N)
        if self.output == "magnitude":
            compressed = nn.functional.softplus(maps)
            phase = spectrum / (magnitude + TINY)
            spectra = compressed ** (1 / self.exponent) * phase[:, None]
        else:
            spectra = maps.sigmoid() * spectrum[:, None]
            compressed = self.compress(spectra.abs())
        return Estimates(compressed, spectra, slots, level)

    def compress(self, magnitude: Tensor) -> Tensor:
        """Magnitudes to the power of ``exponent``, with a gradient that stays finite at zero."""
        return (magnitude + TINY) ** self.exponent

    def waveforms(self, estimates: Estimates) -> Tensor:
        """Estimates -> waveforms (B, K, T), at the mixture's level."""
        return self.stft.inverse(estimates.spectra, self.samples) * estimates.level[:, None]


def standardise(spectrogram: Tensor) -> Tensor:
    """Each spectrogram (B, F, N) to zero mean and unit variance: without it training takes about twice the steps."""
    mean = spectrogram.mean(dim=(1, 2), keepdim=True)
    return (spectrogram - mean) / (spectrogram.std(dim=(1, 2), keepdim=True) + TINY)
