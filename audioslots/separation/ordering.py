"""The order of a chunk's slots: which output of the recording each belongs to.

A model may order its slots differently in every chunk. *Blind* order uses only the model's outputs: where two chunks
overlap, estimates of one source are alike; and so, over the whole recording, are its embeddings and its long-term
spectrum. *Oracle* order uses the references, and shows what blind order costs. *None* is the model's own order.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from audioslots.config.separation import Separation
from audioslots.separation.chunking import Chunk, fade_window

Strategy = Literal["blind", "oracle", "none"]
SILENT = 1e-6  # a chunk with less energy than this share of the loudest so far keeps the last order
TINY = 1e-12
BANDS = 64  # of equal width, in a spectrum
FLOOR = 1e-3  # added to a spectrum, as a share of the slots' mean power, so that silence has a logarithm
ALIKE = 1e-3  # log spectra that differ by less, over all bands, are the same


def create_order(strategy: Strategy, settings: Separation, references: Tensor | None = None) -> Order:
    """The order of one recording by a strategy; ``references`` (S, T), S <= K, are needed for the oracle's."""
    if strategy == "blind":
        return BlindOrder(settings)
    if strategy == "none":
        return Order()
    assert references is not None, "oracle order needs references"
    return OracleOrder(references, settings.extra_slots == "merge")


class Order:
    """The model's own order; base of the others. Chunks are ordered from left to right, silent ones as the last.

    Attributes:
        permutation: the slot of each output in the last chunk.
    """

    def __init__(self) -> None:
        self.permutation: list[int] = []
        self._loudest = 0.0
        self._chunks, self._logits = 0, torch.zeros(0)  # with presence logits, and (K,) their sums per output

    def __call__(self, chunk: Chunk, tail: Tensor | None) -> Tensor:
        """A chunk's waveforms (K, chunk) in the order of the outputs, as ``overlap_add`` asks for."""
        energies = chunk.waveforms.square().sum(dim=-1)
        energy = float(energies.sum())
        self._loudest = max(self._loudest, energy)
        self.permutation = self.permutation or list(range(len(energies)))
        if not energy > SILENT * self._loudest:
            return chunk.waveforms[self.permutation]
        waveforms = self.arrange(chunk, tail, energies)
        if chunk.presence is not None:
            logits = chunk.presence[self.permutation]
            self._chunks, self._logits = self._chunks + 1, logits + (self._logits if self._chunks else 0)
        return waveforms[self.permutation]

    def arrange(self, chunk: Chunk, tail: Tensor | None, energies: Tensor) -> Tensor:
        """Set ``permutation`` for a chunk whose slots have ``energies`` (K,); returns what it applies to (K, chunk)."""
        return chunk.waveforms

    @property
    def presence(self) -> Tensor:
        """Mean presence logit of each output over the chunks that are not silent, (K,); empty where there is none."""
        return self._logits / max(1, self._chunks)


class OracleOrder(Order):
    """The order whose summed inner products with the references are greatest; slots left over follow.

    Args:
        references: (S, T) of the recording, S <= K.
        merge: add each slot left over to the slot of the reference that it is most like.
    """

    def __init__(self, references: Tensor, merge: bool = False) -> None:
        super().__init__()
        self.references, self.merge = references, merge

    def arrange(self, chunk: Chunk, tail: Tensor | None, energies: Tensor) -> Tensor:
        """As of ``Order``."""
        waveforms, samples = chunk.waveforms, chunk.waveforms.shape[-1]
        references = self.references[:, chunk.start : chunk.start + samples]
        references = F.pad(references, (0, samples - references.shape[-1]))
        similarity = references @ waveforms.T  # (S, K)
        self.permutation = _assign(similarity)
        if self.merge:
            waveforms = waveforms.clone()
            similarity = similarity / (references.norm(dim=-1, keepdim=True) + TINY)
            for extra in self.permutation[len(references) :]:
                waveforms[self.permutation[int(similarity[:, extra].argmax())]] += chunk.waveforms[extra]
                waveforms[extra] = 0
        return waveforms


class BlindOrder(Order):
    """The order whose summed similarity to the outputs so far is greatest.

    The similarity of a slot to an output is the correlation of their waveforms in the overlap, plus
    ``embedding_weight`` times the cosine similarity of the slot's embedding to the output's mean embedding, plus
    ``spectrum_weight`` times that of their log spectra relative to the other slots', plus ``speaker_weight`` times
    that of their timbres, which count where one speaker talks alone. A slot ``quiet_db`` or more below its chunk is
    quiet: its embedding and its timbre do not count, nor do the relative spectra of its chunk. What is remembered
    does not grow with the recording.

    Args:
        settings: weights and ``quiet_db`` (0: no slot is quiet).
    """

    def __init__(self, settings: Separation) -> None:
        super().__init__()
        self.settings = settings
        self.quiet = 10 ** (-settings.quiet_db / 10) if settings.quiet_db else 0.0  # share of the chunk's energy
        self._embeddings = self._spectra = torch.zeros(())  # (K, W) and (K, BANDS), sums per output
        self._timbres = self._timbre_weights = torch.zeros(())  # (K, BANDS) weighted means per output, (K, 1)

    def arrange(self, chunk: Chunk, tail: Tensor | None, energies: Tensor) -> Tensor:
        """As of ``Order``."""
        waveforms, window, energy = chunk.waveforms, fade_window(chunk.waveforms.shape[-1]), float(energies.sum())
        is_loud = energies >= self.quiet * energy
        embeddings = waveforms.new_zeros(len(waveforms), 1)
        if chunk.embeddings is not None:
            embeddings = F.normalize(chunk.embeddings, dim=-1) * is_loud[:, None]
        spectra, timbres = relative_spectra(waveforms * window) * is_loud.all(), timbre(waveforms * window)
        weights = (energies / energy * is_loud)[:, None]
        if not self._embeddings.ndim:
            self._embeddings, self._spectra = torch.zeros_like(embeddings), torch.zeros_like(spectra)
            self._timbres, self._timbre_weights = torch.zeros_like(timbres), torch.zeros_like(weights)
        if tail is not None:
            overlap = tail.shape[-1]
            before, now = tail * window[:overlap], waveforms[:, :overlap] * window[:overlap]
            similarity = (
                before @ now.T / (before.norm() * now.norm() + TINY)
                + self.settings.embedding_weight * (F.normalize(self._embeddings, dim=-1) @ embeddings.T)
                + self.settings.spectrum_weight * (F.normalize(self._spectra, dim=-1) @ spectra.T)
            )
            self.permutation = _assign(similarity + self.settings.speaker_weight * self._compare(timbres) * is_loud)
        order = self.permutation
        self._embeddings = self._embeddings + embeddings[order]
        self._spectra = self._spectra + spectra[order]
        self._timbre_weights = self._timbre_weights + weights[order]
        change = (timbres[order] - self._timbres) * weights[order] / self._timbre_weights.clamp(min=TINY)
        self._timbres = self._timbres + change
        return waveforms

    def _compare(self, timbres: Tensor) -> Tensor:
        """Cosine similarity of outputs and slots by timbre, relative to the mean of the outputs: (K, K)."""
        has_timbre = self._timbre_weights > 0
        mean = (self._timbres * has_timbre).sum(dim=0) / has_timbre.sum().clamp(min=1)
        outputs = F.normalize((self._timbres - mean) * has_timbre, dim=-1)
        return outputs @ F.normalize(timbres - mean, dim=-1).T


def relative_spectra(waveforms: Tensor) -> Tensor:
    """The log spectrum of each slot relative to the other slots', whatever its level: windowed (K, T) -> (K, BANDS).

    It has unit length; 0 where spectra are the same.
    """
    power = _band_power(waveforms)
    level = (power / (power.mean() + TINY) + FLOOR).log()
    level = level - level.mean(dim=0)
    return F.normalize(level - level.mean(dim=1, keepdim=True), dim=-1, eps=ALIKE)


def timbre(waveforms: Tensor) -> Tensor:
    """The log spectrum of each slot by itself, of mean 0, whatever its level: windowed (K, T) -> (K, BANDS)."""
    power = _band_power(waveforms)
    level = (power / (power.mean(dim=1, keepdim=True) + TINY) + FLOOR).log()
    return level - level.mean(dim=1, keepdim=True)


def _band_power(waveforms: Tensor) -> Tensor:
    """Mean power of waveforms (K, T) in each band: (K, BANDS)."""
    return F.adaptive_avg_pool1d(torch.fft.rfft(waveforms).abs().square(), BANDS)


def _assign(similarity: Tensor) -> list[int]:
    """The slot of each output that makes the summed similarity (O, K) greatest; slots left over follow."""
    slots = linear_sum_assignment(similarity.cpu().numpy(), maximize=True)[1].tolist()
    return slots + [slot for slot in range(similarity.shape[1]) if slot not in slots]
