"""AudioSlots: a mixture's waveform in, an unordered set of source estimates out."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from torch import Tensor

from audioslots.models.audioslots.config import Config
from audioslots.models.audioslots.outputs import OUTPUTS
from audioslots.models.audioslots.parts import Sizes
from audioslots.models.base import Core, Estimates, SeparationModel, center_crop, compress, level_of, standardise
from audioslots.models.spectrogram import STFT


class Encoded(NamedTuple):
    """A mixture as slots and decoder read it.

    Attributes:
        level: (B, 1) root mean square of the mixture with its context.
        unit: (B, T) chunk, without context, divided by ``level``.
        spectrum: (B, F, N) complex spectrum of ``unit``.
        tokens: (B, C, W) features of the chunk with its context.
    """

    level: Tensor
    unit: Tensor
    spectrum: Tensor
    tokens: Tensor


class AudioSlots(SeparationModel):
    """AudioSlots (Reddy et al., arXiv 2305.05591), its parts chosen by the config.

    The mixture is scaled to unit root mean square and the estimates back, so the model is equivariant to level. It
    reads |mixture|^exponent and nothing else.

    Args:
        config: encoder, slots, decoder, output and spectrogram.
        samples: chunk, T samples; the model separates chunks of this length only.
        context: samples that it reads before the chunk and after it, C; a multiple of the hop.
    """

    stft: STFT

    def __init__(self, config: Config, samples: int, context: int = 0) -> None:
        super().__init__(config, samples)
        self.context = context
        self.output = OUTPUTS[config.output]
        bins, frames = self.stft.bins, self.stft.frames(samples)
        frames_read = self.stft.frames(samples + 2 * context)
        sizes = Sizes(config.width, config.heads, config.mlp, config.slot_size, bins, frames_read, self.output.channels)
        self.encoder = part(config.encoder, "Encoder", sizes)
        self.slots = part(config.slots, "Slots", sizes)
        height, length = self.encoder.grid
        self.columns = round(length * frames / frames_read)  # of the tokens' grid: those of the chunk
        self.columns_before = (length - self.columns) // 2
        sizes = sizes._replace(frames=frames, grid=(height, self.columns))
        self.decoder = part(config.decoder, "Decoder", sizes)

    def forward(self, mixture: Tensor, chunks: int = 1, state: Tensor | None = None) -> Estimates:
        """Chunks with their context (B, C + T + C) -> estimates of K sources of the T samples in the middle.

        Raises:
            ValueError: another length than that of a chunk with its context.
        """
        encoded = self.encode(mixture)
        slots = self.slots(encoded.tokens)  # (B, K, S)
        maps = self.decoder(slots, self.crop_tokens(encoded.tokens))  # (B, K, C, F, N)
        return self.estimate(maps, slots, encoded)

    def core(self) -> Core | None:
        """As of ``SeparationModel``."""
        from audioslots.models.audioslots.core import AudioSlotsCore

        return AudioSlotsCore(self) if type(self) is AudioSlots else None

    def encode(self, mixture: Tensor) -> Encoded:
        """Chunks with their context (B, C + T + C) -> features; raises as ``forward``."""
        expected = self.samples + 2 * self.context
        if mixture.shape[-1] != expected:
            raise ValueError(f"mixture has {mixture.shape[-1]} samples; expected a chunk, with its context {expected}")
        level = level_of(mixture)  # (B, 1)
        unit = mixture / level
        spectrum = self.stft(unit)  # (B, F, N), complex
        tokens = self.encoder(standardise(compress(spectrum.abs(), self.exponent)))  # (B, F' N', W)
        if self.context:
            unit = center_crop(unit, self.samples)  # (B, T)
            spectrum = self.stft(unit)
        return Encoded(level, unit, spectrum, tokens)

    def estimate(self, maps: Tensor, slots: Tensor, encoded: Encoded) -> Estimates:
        """Decoded maps (B, K, C, F, N) of slots (B, K, S) -> estimates."""
        maps = maps.to(encoded.unit.dtype)  # in mixed precision too: complex numbers have no 16 bits
        compressed, spectra = self.output.read(maps, encoded.spectrum, self.exponent)  # (B, K, F, N) both
        waveforms = self.stft.inverse(spectra, self.samples)  # (B, K, T)
        return Estimates(waveforms * encoded.level[:, None], encoded.level, compressed, spectra, slots)

    def crop_tokens(self, tokens: Tensor) -> Tensor:
        """Tokens (B, F' N', W) of a chunk with its context -> those of the chunk, which some decoders use."""
        if not self.context:
            return tokens
        grid = tokens.unflatten(1, self.encoder.grid)  # (B, F', N', W)
        return grid.narrow(2, self.columns_before, self.columns).flatten(1, 2)


def part(config: Any, name: str, sizes: Sizes) -> Any:
    """The class ``name`` of the file that the config's kind is, built."""
    return getattr(sys.modules[type(config).__module__], name)(config, sizes)
