"""Putting the slots of neighbouring chunks in one order and cross-fading them.

The order of a model's slots may change from chunk to chunk. *Blind* order uses the model's output alone: where two
chunks overlap, estimates of one source are alike; and so, over the whole recording, are its embeddings and its
long-term spectrum. *Oracle* order uses the references, and shows what blind order costs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from audioslots.separation.chunking import cut, fade

SILENT = 1e-6  # a chunk with less energy than this share of the loudest so far says nothing about its order
TINY = 1e-12
BANDS = 64  # of equal width, in a spectrum
FLOOR = 1e-3  # added to a spectrum, as a share of the slots' mean power, so that silence has a logarithm
ALIKE = 1e-3  # log spectra that differ by less, over all bands, are the same


class Stitcher:
    """Whole estimates from chunks that come one after the other; what it remembers is no longer than a chunk.

    From left to right, a chunk's slots go to the outputs where the summed likeness is greatest. In blind order the
    likeness of a slot and an output is the correlation of their waveforms in the overlap, plus ``embedding_weight``
    times the cosine similarity of the slot's embedding and the output's mean embedding so far, plus
    ``spectrum_weight`` times that of the slot's log spectrum and the output's long-term one so far, less what all
    slots share: only what tells the speakers apart counts. ``speaker_weight`` is of spectra too, but compares a slot by
    itself with the long-term spectra of the outputs, so that it counts where one speaker talks by
    themselves. A chunk of silence carries the last order on.

    Args:
        hop: samples from one chunk's start to the next's.
        embedding_weight: of embeddings, against 1 for waveforms.
        spectrum_weight: of long-term spectra, against 1 for waveforms.
        quiet_db: a slot whose energy is so many dB or more below that of its chunk is quiet: its embedding and its
            voice say nothing in blind order, nor does the chunk's comparison of spectra; 0: no slot is.
        speaker_weight: of long-term spectra of single slots, against 1 for waveforms.
    """

    def __init__(
        self,
        hop: int,
        embedding_weight: float = 0.0,
        spectrum_weight: float = 0.0,
        quiet_db: float = 0.0,
        speaker_weight: float = 0.0,
    ) -> None:
        self.hop = hop
        self.quiet = 10 ** (-quiet_db / 10) if quiet_db else 0.0  # share of the chunk's energy
        self.embedding_weight = embedding_weight
        self.spectrum_weight = spectrum_weight
        self.speaker_weight = speaker_weight
        self.order: list[int] = []
        self.loudest = 0.0
        self.told, self.logits = 0, torch.zeros(0)  # chunks, and (K,) summed logits of the outputs
        self.mean = torch.zeros(0)  # (K, W) summed embeddings of the outputs
        self.spectrum = torch.zeros(0)  # (K, BANDS) summed log spectra of the outputs, as of ``distinct``
        self.voice, self.heard = torch.zeros(0), torch.zeros(0)  # (K, BANDS) mean of ``timbre``, (K, 1) its weight
        self.total = self.weight = self.window = torch.zeros(0)  # (K, chunk) and (chunk,), from the next chunk's start

    def add(
        self,
        chunks: Tensor,
        embeddings: Tensor | None = None,
        references: Tensor | None = None,
        existence: Tensor | None = None,
        merge: bool = False,
    ) -> Tensor:
        """Order and cross-fade the next chunks.

        Args:
            chunks: (B, K, chunk) estimates of each chunk, slots in any order.
            embeddings: (B, K, W) of the slots, for blind order; None for a model without.
            references: (B, S, chunk) true sources, S <= K, for oracle order; None for blind order.
            existence: (B, K) logits of whether the slots hold a source; None of a model that does not say it.
            merge: in oracle order, add every slot that is left over to the one whose reference it is most like.

        Returns:
            (K, B * hop) samples that no later chunk changes.
        """
        named = chunks.new_zeros(*chunks.shape[:2], 1) if embeddings is None else F.normalize(embeddings, dim=-1)
        if not self.order:
            self.order = list(range(chunks.shape[1]))
            self.total, self.weight = torch.zeros_like(chunks[0]), torch.zeros_like(chunks[0, 0])
            self.window, self.mean = fade(chunks.shape[-1]).to(chunks), torch.zeros_like(named[0])
            self.spectrum = chunks.new_zeros(chunks.shape[1], BANDS)
            self.voice, self.heard = torch.zeros_like(self.spectrum), chunks.new_zeros(chunks.shape[1], 1)
        done = []
        for number, chunk in enumerate(chunks):
            energies = chunk.square().sum(dim=-1)
            energy = float(energies.sum())
            self.loudest = max(self.loudest, energy)
            if energy > SILENT * self.loudest:
                tells = energies >= self.quiet * energy
                spectrum, names = distinct(chunk * self.window) * tells.all(), named[number] * tells[:, None]
                voice, share = timbre(chunk * self.window), (energies / energy * tells)[:, None]
                if references is not None:
                    likeness = references[number] @ chunk.T  # (S, K)
                    self.order = _best(likeness)
                    chunk = _merged(chunk, references[number], likeness, self.order) if merge else chunk
                elif self.weight[0] > 0:
                    likeness = self._likeness(chunk, names, spectrum)
                    self.order = _best(likeness + self.speaker_weight * self._by_voices(voice) * tells)
                self.mean += names[self.order]
                self.spectrum += spectrum[self.order]
                self.heard += share[self.order]
                self.voice += (voice[self.order] - self.voice) * share[self.order] / self.heard.clamp(min=TINY)
                if existence is not None:
                    told = existence[number][self.order]
                    self.told, self.logits = self.told + 1, told + (self.logits if self.told else 0)
            self.total += chunk[self.order] * self.window
            self.weight += self.window
            done.append(self.total[:, : self.hop] / self.weight[: self.hop])
            self.total = F.pad(self.total[:, self.hop :], (0, self.hop))
            self.weight = F.pad(self.weight[self.hop :], (0, self.hop))
        return torch.cat(done, dim=-1)

    @property
    def existence(self) -> Tensor:
        """Mean logit of each output over the chunks that are not silent: (K,); empty where none was told."""
        return self.logits / max(1, self.told)

    def rest(self) -> Tensor:
        """What is left after the last chunk: (K, chunk - hop)."""
        left = self.total.shape[-1] - self.hop
        return self.total[:, :left] / self.weight[:left]

    def _likeness(self, chunk: Tensor, named: Tensor, spectrum: Tensor) -> Tensor:
        """How alike outputs and slots are: (K, K)."""
        overlap = slice(0, chunk.shape[-1] - self.hop)
        before = self.total[:, overlap] / self.weight[overlap] * self.window[overlap]
        now = chunk[:, overlap] * self.window[overlap]
        correlation = before @ now.T / (before.norm() * now.norm() + TINY)
        by_slots = F.normalize(self.mean, dim=-1) @ named.T
        by_spectra = F.normalize(self.spectrum, dim=-1) @ spectrum.T
        return correlation + self.embedding_weight * by_slots + self.spectrum_weight * by_spectra

    def _by_voices(self, voice: Tensor) -> Tensor:
        """How alike the voices of outputs and slots are, from the middle of those that outputs have had: (K, K)."""
        had = self.heard > 0
        middle = (self.voice * had).sum(dim=0) / had.sum().clamp(min=1)
        return F.normalize((self.voice - middle) * had, dim=-1) @ F.normalize(voice - middle, dim=-1).T


def stitch(
    chunks: Tensor,
    hop: int,
    samples: int,
    references: Tensor | None = None,
    embeddings: Tensor | None = None,
    embedding_weight: float = 0.0,
    spectrum_weight: float = 0.0,
    merge: bool = False,
) -> Tensor:
    """Order the slots of every chunk of a whole recording, and cross-fade.

    Args:
        chunks: (C, K, chunk) estimates of each chunk, slots in any order.
        hop: samples from one chunk's start to the next's.
        samples: length of the recording, T.
        references: (S, T), S <= K, for oracle order; None for blind order.
        embeddings: (C, K, W) of the slots, for blind order; None for a model without.
        embedding_weight: as of ``Stitcher``.
        spectrum_weight: likewise.
        merge: as of ``Stitcher.add``.

    Returns:
        (K, T) estimates. In oracle order the first S are in the references' order.
    """
    stitcher = Stitcher(hop, embedding_weight, spectrum_weight)
    wanted = None if references is None else cut(references, chunks.shape[-1], hop)  # (C, S, chunk)
    return torch.cat([stitcher.add(chunks, embeddings, wanted, merge=merge), stitcher.rest()], dim=-1)[:, :samples]


def distinct(chunk: Tensor) -> Tensor:
    """What tells the spectrum of each slot from the others', whatever its level.

    Args:
        chunk: (K, chunk) windowed estimates.

    Returns:
        (K, BANDS) log power less its means over slots and over bands, of unit length; 0 where spectra are the same.
    """
    power = _bands(chunk)
    level = (power / (power.mean() + TINY) + FLOOR).log()
    level = level - level.mean(dim=0)
    return F.normalize(level - level.mean(dim=1, keepdim=True), dim=-1, eps=ALIKE)


def timbre(chunk: Tensor) -> Tensor:
    """The spectrum of each slot, whatever its level and the other slots.

    Args:
        chunk: (K, chunk) windowed estimates.

    Returns:
        (K, BANDS) natural log of the power, less its mean over bands.
    """
    power = _bands(chunk)
    level = (power / (power.mean(dim=1, keepdim=True) + TINY) + FLOOR).log()
    return level - level.mean(dim=1, keepdim=True)


def _bands(chunk: Tensor) -> Tensor:
    """Mean power of each slot of a chunk (K, chunk) in each band: (K, BANDS)."""
    return F.adaptive_avg_pool1d(torch.fft.rfft(chunk).abs().square(), BANDS)


def _best(likeness: Tensor) -> list[int]:
    """The slot of each output that makes the summed likeness (O, K) greatest; slots left over follow."""
    chosen = linear_sum_assignment(likeness.cpu().numpy(), maximize=True)[1].tolist()
    return chosen + [slot for slot in range(likeness.shape[1]) if slot not in chosen]


def _merged(chunk: Tensor, references: Tensor, likeness: Tensor, order: list[int]) -> Tensor:
    """A chunk (K, chunk) whose slots left over are added to those of the references (S, chunk) they are most like."""
    merged, sources = chunk.clone(), len(references)
    alike = likeness / (references.norm(dim=-1, keepdim=True) + TINY)
    for spare in order[sources:]:
        merged[order[int(alike[:, spare].argmax())]] += chunk[spare]
        merged[spare] = 0
    return merged
