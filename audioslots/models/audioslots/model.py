"""The whole model: a mixture's waveform in, an unordered set of source estimates out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioslots.config import variant as config
from audioslots.models.audioslots.carry import CARRIES
from audioslots.models.audioslots.outputs import OUTPUTS, compress
from audioslots.models.audioslots.parts import Shape, part
from audioslots.models.audioslots.refinement import Reread
from audioslots.models.estimates import Estimates, covered, level_of
from audioslots.models.spectrogram import STFT

TINY = 1e-8
VOICE = 64  # numbers that say whose a slot is, where they are trained to


class AudioSlots(nn.Module):
    """AudioSlots (Reddy et al., arXiv 2305.05591), its parts chosen by the config.

    The mixture is scaled to unit root mean square on its way in and the estimates back on their way out, so the model
    is equivariant to level. It reads |mixture|^exponent and nothing else.

    Args:
        variant: encoder, slots, decoder and spectrogram.
        samples: of a chunk, T; the model decodes chunks of this length only.
        context: samples that it reads before the chunk and after it, C; a multiple of the hop.
    """

    def __init__(self, variant: config.Variant, samples: int, context: int = 0) -> None:
        super().__init__()
        self.samples, self.context = samples, context
        self.exponent = variant.spectrogram.exponent
        self.output, self.consistent = OUTPUTS[variant.decoder.output], variant.decoder.consistent
        self.stft = STFT(variant.spectrogram.window, variant.spectrogram.hop)
        bins, frames = self.stft.bins, self.stft.frames(samples)
        read = self.stft.frames(samples + 2 * context)
        self.encoder = part("encoders", variant.encoder.kind)(variant.encoder, bins, read)
        self.slots = part("slots", variant.slots.kind)(variant.slots, variant.encoder)
        self.carry = CARRIES[variant.slots.recurrence](variant.encoder) if variant.slots.recurrence != "none" else None
        self.voice = nn.Linear(variant.slot_width, VOICE) if variant.training.contrast else None
        self.existence = nn.Linear(variant.slot_width, 1) if variant.training.presence else None
        height, length = self.encoder.grid
        self.shown = round(length * frames / read)  # of the tokens' columns: those of the chunk, for the decoder
        self.before = (length - self.shown) // 2
        shape = Shape(bins, frames, self.output.channels, (height, self.shown))
        self.decoder = part("decoders", variant.decoder.kind)(variant, shape)
        self.passes = variant.slots.refinement_iterations
        if self.passes > 1:
            self.reread = Reread(bins, shape.grid, variant.encoder.width, self.exponent)

    def forward(self, mixture: Tensor, sequence: int = 1, state: Tensor | None = None) -> Estimates:
        """Mixtures (B, C + T + C) -> estimates of K sources each, of the T samples in the middle.

        Args:
            mixture: chunks with their context.
            sequence: of so many, side by side, the slots are carried from one to the next.
            state: of an earlier call, to carry on from.

        Raises:
            ValueError: the mixtures are no chunk with its context.
        """
        expected = self.samples + 2 * self.context
        if mixture.shape[-1] != expected:
            raise ValueError(f"mixture has {mixture.shape[-1]} samples; expected a chunk, with its context {expected}")
        level = level_of(mixture)
        unit = mixture / level
        spectrum = self.stft(unit)  # (B, F, N)
        tokens = self.encoder(standardise(compress(spectrum.abs(), self.exponent)))
        slots, tokens, state = self._read(tokens, sequence, state)
        if self.context:
            unit = covered(unit, self.samples)
            spectrum = self.stft(unit)
        found, spectra = self._decoded(slots, self.decoder(slots, self._shown(tokens)), spectrum, unit, level)
        earlier: list[Estimates] = []
        for _ in range(1, self.passes):
            earlier.append(found)
            slots, maps = self._again(tokens, self.reread(spectra.detach(), spectrum))
            found, spectra = self._decoded(slots, maps, spectrum, unit, level)
        return found._replace(state=state, earlier=tuple(earlier))

    def _decoded(
        self, slots: Tensor, maps: Tensor, spectrum: Tensor, unit: Tensor, level: Tensor
    ) -> tuple[Estimates, Tensor]:
        """What maps (B, K, C, F, N) of slots say of a chunk (B, T) of unit level; and the spectra (B, K, F, N)."""
        maps = maps.to(unit.dtype)  # in mixed precision too: complex numbers have no 16 bits
        compressed, spectra = self.output.read(maps, spectrum, self.exponent)
        waveforms = self.stft.inverse(spectra, self.samples)
        if self.consistent:
            waveforms = consistent(waveforms, unit)
        voices = None if self.voice is None else self.voice(slots)
        existence = None if self.existence is None else self.existence(slots).squeeze(-1)
        return Estimates(waveforms * level[:, None], level, compressed, slots, voices, existence), spectra

    def _again(self, tokens: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
        """Slots and maps of another pass: each slot reads tokens (B, C, W) with what was ``added`` for it."""
        batch, count = added.shape[:2]
        columns = tokens.unflatten(1, self.encoder.grid)
        added = added.unflatten(2, (-1, self.shown)).to(tokens.dtype)
        around = (0, 0, self.before, columns.shape[2] - self.shown - self.before)  # the context was not decoded
        own = (columns[:, None] + F.pad(added, around)).flatten(2, 3).flatten(0, 1)  # (B K, C, W)
        read = self.slots.readers.joined(self.slots(own)).unflatten(0, (batch, count))  # (B, K, K, M W)
        slots = read.diagonal(dim1=1, dim2=2).movedim(-1, 1)  # slot k of what was read for it
        maps = self.decoder(slots.flatten(0, 1)[:, None], self._shown(own)).squeeze(1)
        return slots, maps.unflatten(0, (batch, count))

    def _read(self, tokens: Tensor, sequence: int, state: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Slots (B, K, M W) of tokens (B, C, W), the tokens that they read, and the state after each sequence."""
        if self.carry is None:
            return self.slots.readers.joined(self.slots(tokens)), tokens, None
        heard, read = [], []
        for chunk in tokens.unflatten(0, (-1, sequence)).unbind(dim=1):
            chunk, queries = self.carry(chunk, self.slots.start(chunk.shape[0]), state)
            heard.append(chunk)
            read.append(self.slots(chunk, queries))
            state = self.carry.next(self._shown(chunk), read[-1], state)
        tokens, joined = (torch.stack(chunks, dim=1).flatten(0, 1) for chunks in (heard, read))
        return self.slots.readers.joined(joined), tokens, state

    def _shown(self, tokens: Tensor) -> Tensor:
        """Of all tokens, those of the chunk, which some decoders look at."""
        if not self.context:
            return tokens
        columns = tokens.unflatten(1, self.encoder.grid)  # (B, F', N', W)
        return columns.narrow(2, self.before, self.shown).flatten(1, 2)


def consistent(waveforms: Tensor, mixture: Tensor) -> Tensor:
    """Waveforms (B, K, T) that add up to the mixture (B, T): the nearest such (Wisdom et al. 2019, equation 7)."""
    return waveforms + (mixture - waveforms.sum(dim=1))[:, None] / waveforms.shape[1]


def standardise(spectrogram: Tensor) -> Tensor:
    """Each spectrogram (B, F, N) to zero mean and unit variance: without it training takes about twice the steps."""
    mean = spectrogram.mean(dim=(1, 2), keepdim=True)
    return (spectrogram - mean) / (spectrogram.std(dim=(1, 2), keepdim=True) + TINY)
