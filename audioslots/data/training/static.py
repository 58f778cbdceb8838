"""A fixed list of training mixtures, as a rendered training set holds: what mixing anew at every step replaces."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from audioslots.data.librimix.layout import LOUDNESS_LUFS, MAX_AMPLITUDE, gain, groups
from audioslots.data.training.mixing import CANDIDATES, SPEECH_DB, Mixer
from audioslots.data.training.packing import FULL_SCALE
from audioslots.runtime.errors import InputError

TINY = 1e-12  # keeps the logarithm of silence finite
LIST_SEED = 72  # of the list of mixtures, the same for every run; LibriMix's own number, though not its order


@dataclass(frozen=True, kw_only=True)
class StaticMixer(Mixer):
    """Crops of fixed mixtures: the same speakers, gains and alignment whenever a mixture comes up again.

    The list is drawn once by LibriMix's rules for training sets: each utterance in one mixture at most, of different
    speakers, gains fixed, the whole mixture scaled to a peak of 0.9 where it exceeds that. Like a rendered set it does
    not depend on the run's seed. An epoch is the whole list in an order drawn by seed; a crop is at one place for all
    sources. ``speed`` and ``even_speakers`` have no meaning here.

    One departure from a rendered set: LibriMix cuts a mixture to its shortest source (min) or pads that with silence
    (max). The end of every longer utterance would then be heard never, or alone, and dynamic mixing would have more
    speech to learn from. Here a mixture is as long as its longest source, and a shorter one starts again where it
    ends, so that a crop may be anywhere in any utterance and always holds all sources.

    Attributes:
        size: mixtures a step, which says which step is in which epoch.

    Raises:
        InputError: as ``Mixer``; ``batch`` is asked for another size.
    """

    size: int

    def batch(self, step: int, size: int) -> np.ndarray:
        """The sources of the mixtures of one step: (size, sources, chunk) float32, in -1..1."""
        if size != self.size:
            raise InputError(f"batch: {size} mixtures; expected {self.size} at every step")
        return super().batch(step, size)

    def item(self, step: int, item: int) -> np.ndarray:
        """The sources of one mixture: (sources, chunk) float32."""
        epoch, place = divmod(step * self.size + item, len(self.mixtures))
        mixture = _order(self.seed, epoch, len(self.mixtures))[place]
        rows, gains = self.mixtures[mixture], self.gains[mixture]
        levels, longest = self._columns["loudness"][rows], int(self._columns["length"][rows].max())
        random = np.random.Generator(np.random.Philox(key=[self.seed, (step << 20) + item]))
        chosen, most = np.zeros((len(rows), self.chunk)), -np.inf
        for place in random.random(CANDIDATES):
            at = int(place * (longest - self.chunk + 1))
            crops = np.stack([self._crop(row, at) for row in rows]).astype(np.float64)
            powers = np.einsum("st,st->s", crops, crops) / (self.chunk * FULL_SCALE**2)
            speech = (10 * np.log10(powers + TINY) - levels).min()  # dB, of the quietest source
            if speech > most:
                chosen, most = crops, speech
            if speech >= SPEECH_DB:
                break
        return (chosen * (gains[:, None] / FULL_SCALE)).astype(np.float32)

    def _crop(self, row: int, at: int) -> np.ndarray:
        """An utterance, said again and again, from sample ``at``: (chunk,) int16."""
        start, length = int(self._columns["start"][row]), int(self._columns["length"][row])
        at %= length
        first = self._samples[start + at : start + min(at + self.chunk, length)]
        return np.concatenate([first, self._samples[start : start + self.chunk - len(first)]])

    @cached_property
    def mixtures(self) -> np.ndarray:
        """(mixtures, sources) rows of the index; a group of different speakers a row, each utterance once at most."""
        speakers = self._columns["speaker_id"]
        order = np.random.default_rng(LIST_SEED).permutation(len(speakers))
        return np.array(list(groups(order, speakers, self.sources)))

    @cached_property
    def gains(self) -> np.ndarray:
        """(mixtures, sources) factors on the samples."""
        loudness, peaks = self._columns["loudness"][self.mixtures], self._columns["peak"][self.mixtures]
        wanted = np.random.default_rng([LIST_SEED, 1]).uniform(*LOUDNESS_LUFS, self.mixtures.shape)
        gains: np.ndarray = gain(wanted, loudness, peaks)
        for number in np.flatnonzero((gains * peaks).sum(axis=1) > MAX_AMPLITUDE):  # the others cannot exceed it
            peak = self._peak(self.mixtures[number], gains[number])
            if peak > MAX_AMPLITUDE:
                gains[number] *= MAX_AMPLITUDE / peak
        return gains

    def _peak(self, rows: np.ndarray, gains: np.ndarray) -> float:
        """Largest absolute sample of a mixture, its shorter sources said again up to the end of the longest."""
        starts, lengths = self._columns["start"][rows], self._columns["length"][rows]
        mixture = np.zeros(lengths.max())
        for start, length, factor in zip(starts, lengths, gains, strict=True):
            mixture += np.resize(self._samples[start : start + length], len(mixture)) * (factor / FULL_SCALE)
        return float(np.abs(mixture).max())


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of the mixtures in one epoch."""
    return np.random.default_rng([seed, epoch]).permutation(count)
