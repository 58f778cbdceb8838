"""The whole model: a mixture's waveform in, an unordered set of source estimates out."""

from __future__ import annotations

from torch import Tensor, nn

from audioslots import config
from audioslots.model.estimates import Estimates, level_of
from audioslots.model.outputs import OUTPUTS, compress
from audioslots.model.parts import Shape, part
from audioslots.model.spectrogram import STFT

TINY = 1e-8


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
        self.output = OUTPUTS[variant.decoder.output]
        self.stft = STFT(variant.spectrogram.window, variant.spectrogram.hop)
        bins, frames = self.stft.bins, self.stft.frames(samples)
        self.encoder = part("encoders", variant.encoder.kind)(variant.encoder, bins, frames)
        self.slots = part("slots", variant.slots.kind)(variant.slots, variant.encoder)
        shape = Shape(bins, frames, self.output.channels, self.encoder.grid)
        self.decoder = part("decoders", variant.decoder.kind)(variant, shape)

    def forward(self, mixture: Tensor) -> Estimates:
        """Mixtures (B, T) -> estimates of K sources each.

        Raises:
            ValueError: T is not the model's chunk.
        """
        if mixture.shape[-1] != self.samples:
            raise ValueError(f"mixture has {mixture.shape[-1]} samples; expected a chunk of {self.samples}")
        level = level_of(mixture)
        spectrum = self.stft(mixture / level)  # (B, F, N)
        tokens = self.encoder(standardise(compress(spectrum.abs(), self.exponent)))
        slots = self.slots(tokens)
        compressed, spectra = self.output.read(self.decoder(slots, tokens), spectrum, self.exponent)
        waveforms = self.stft.inverse(spectra, self.samples) * level[:, None]
        return Estimates(waveforms, level, compressed, slots)


def standardise(spectrogram: Tensor) -> Tensor:
    """Each spectrogram (B, F, N) to zero mean and unit variance: without it training takes about twice the steps."""
    mean = spectrogram.mean(dim=(1, 2), keepdim=True)
    return (spectrogram - mean) / (spectrogram.std(dim=(1, 2), keepdim=True) + TINY)
