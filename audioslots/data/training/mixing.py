"""Training mixtures on the fly: a pure function of (seed, step, item), whoever computes it and in whatever order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from audioslots.data.librimix.layout import LOUDNESS_LUFS, MAX_AMPLITUDE, NOISE_LUFS, gain
from audioslots.data.training.packing import FULL_SCALE, Speech
from audioslots.runtime.errors import InputError

CANDIDATES = 8  # crops looked at before the loudest of them is taken
TURNS = 0.5  # of the items in which a source speaks alone, the share in which another does after it, or both overlap
SPEECH_DB = -15.0  # a crop holds speech if its level is at least this far below the utterance's root mean square


class Crop(NamedTuple):
    """What is random of a source, or of the noise.

    Attributes:
        places: in the packed speech, and from its end on in the packed noise, samples; the first that is loud enough is
            taken, else the loudest.
        heard: samples from there that become the crop.
        enough: level that holds speech, of int16 samples.
        gain: factor on int16 samples.
        since: samples of the chunk before which it is silent.
        until: samples of the chunk from which on it is silent.
    """

    places: list[int]
    heard: int
    enough: float
    gain: float
    since: int
    until: int


@dataclass(frozen=True)
class Mixer:
    """Draws mixtures from packed speech: LibriMix's rules, and two departures from them that make more of few speakers.

    Attributes:
        speech: packed speech of the training (or held-out) speakers.
        sources: speakers a mixture, all different.
        chunk: samples of each crop.
        seed: of the run. Utterances, places and levels depend on it, on the step and on the item, and not on the
            model: variants see the same speech.
        speed: each source is played up to this share faster or slower, pitch and all; 0 for LibriMix's rule.
        even_speakers: every speaker is as likely as any other; LibriMix's rule is that every utterance is.
        together: items that follow one another and are of the same utterances at the same levels, each from places of
            its own.
        counts: numbers of speakers, all as likely, at most ``sources``; sources beyond are silent. Empty: all speak.
        alone: share of the items in which a source speaks alone, any of them: in half of these throughout, in the
            other half until some place, and the others from some other place on, with an overlap or a pause. Those
            together differ in it, as the pieces of a conversation do.
        noise: packed noise, of which every mixture has a crop besides; None: mixtures are of speech alone.

    Raises:
        InputError: too few speakers, or an utterance or a noise shorter than a crop.
    """

    speech: Speech
    sources: int
    chunk: int
    seed: int
    speed: float = 0.0
    even_speakers: bool = False
    together: int = 1
    counts: tuple[int, ...] = ()
    noise: Speech | None = None
    alone: float = 0.0

    def __post_init__(self) -> None:
        shortest, needed = int(self.speech.index["length"].min()), math.ceil(self.chunk * (1 + self.speed))
        if needed > shortest:
            raise InputError(
                f"chunk_s: a crop needs {needed} samples; the shortest utterance of {self.speech.subset} has "
                f"{shortest}; expected a crop no longer"
            )
        if self.noise is not None and (least := int(self.noise.index["length"].min())) < self.chunk:
            raise InputError(
                f"chunk_s: a crop needs {self.chunk} samples; the shortest noise of {self.noise.subset} has {least}; "
                "expected a crop no longer"
            )
        if len(self.speech.speakers) < self.sources:
            raise InputError(
                f"{self.speech.subset}: {len(self.speech.speakers)} speakers; expected at least {self.sources}"
            )

    def batch(self, step: int, size: int) -> np.ndarray:
        """The sources of ``size`` mixtures at one step, then their noise if they have any; a mixture is the sum.

        Returns:
            (size, parts, chunk) float32, in -1..1.
        """
        return np.stack([self.item(step, item) for item in range(size)])

    @property
    def parts(self) -> int:
        """Signals that a mixture is the sum of: its sources, and its noise if it has any."""
        return self.sources + (self.noise is not None)

    def item(self, step: int, item: int) -> np.ndarray:
        """The parts of one mixture: (parts, chunk) float32."""
        crops = np.empty((self.parts, self.chunk), np.float32)
        for out, crop in zip(crops, self.drawn(step, item), strict=True):
            self._read(crop, out)
        peak = np.abs(sum(crops[1:], start=crops[0])).max()
        return crops * np.float32(MAX_AMPLITUDE / peak) if peak > MAX_AMPLITUDE else crops

    def drawn(self, step: int, item: int) -> list[Crop]:
        """What is random of one mixture, a part each. Its speech is the same with noise and without."""
        first = item - item % self.together
        random = np.random.Generator(np.random.Philox(key=[self.seed, (step << 20) + first]))
        rows = self._rows(random)
        crops = [self._drawn(row, random) for row in rows]
        if self.counts:
            speak = self.counts[int(random.integers(len(self.counts)))]
            crops = [crop if place < speak else crop._replace(gain=0.0) for place, crop in enumerate(crops)]
        noises = [int(random.integers(len(self._noise_columns["start"])))] if self._noise_columns else []
        crops += [self._noise(row, random) for row in noises]
        if item != first:
            random = np.random.Generator(np.random.Philox(key=[self.seed, (step << 20) + item]))
            places = [self._places(row, crop.heard, random) for row, crop in zip(rows, crops, strict=False)]
            places += [self._places_of_noise(row, random) for row in noises]
            crops = [crop._replace(places=these) for crop, these in zip(crops, places, strict=True)]
        return self._turns(crops, random)

    def _turns(self, crops: list[Crop], random: np.random.Generator) -> list[Crop]:
        """The parts of an item, in which one of the sources may speak alone, or before the others."""
        if not self.alone or random.random() >= self.alone:
            return crops
        first, until, since = int(random.integers(self.sources)), self.chunk, self.chunk
        if random.random() < TURNS:
            until, since = (int(place * self.chunk) for place in random.random(2))
        sources = [
            crop._replace(until=until) if place == first else crop._replace(since=since)
            for place, crop in enumerate(crops[: self.sources])
        ]
        return sources + crops[self.sources :]

    @cached_property
    def _samples(self) -> np.ndarray:
        """The packed speech: a plain view, since slicing a memory map is several times slower."""
        return np.asarray(self.speech.samples)

    @cached_property
    def _noise_samples(self) -> np.ndarray:
        """The packed noise, as ``_samples``; nothing where there is none."""
        return np.asarray(self.noise.samples if self.noise is not None else ())

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        """The index of the speech column by column: looking a row up in a DataFrame is fifty times slower."""
        return {str(name): column.to_numpy() for name, column in self.speech.index.items()}

    @cached_property
    def _noise_columns(self) -> dict[str, np.ndarray]:
        """The index of the noise, as ``_columns``; empty where there is none."""
        return {} if self.noise is None else {str(name): each.to_numpy() for name, each in self.noise.index.items()}

    @cached_property
    def _rows_of(self) -> list[np.ndarray]:
        """The rows of each speaker."""
        return [np.flatnonzero(self._columns["speaker_id"] == speaker) for speaker in self.speech.speakers]

    def _rows(self, random: np.random.Generator) -> list[int]:
        """Utterances of different speakers."""
        speakers = self._columns["speaker_id"]
        rows: list[int] = []
        while len(rows) < self.sources:
            if self.even_speakers:
                row = int(random.choice(self._rows_of[random.integers(len(self._rows_of))]))
            else:
                row = int(random.integers(len(speakers)))
            if all(speakers[row] != speakers[other] for other in rows):
                rows.append(row)
        return rows

    def _drawn(self, row: int, random: np.random.Generator) -> Crop:
        """What is random of a source: its gain, its speed and the places looked at."""
        columns = self._columns
        loudness, peak = float(columns["loudness"][row]), float(columns["peak"][row])
        low, high = LOUDNESS_LUFS
        factor = float(gain(low + (high - low) * random.random(), loudness, peak))
        heard = round(self.chunk * (1 + self.speed * (2 * random.random() - 1)))
        places = self._places(row, heard, random)
        # The threshold is the loudness itself, read as a level: within a decibel or two of the root mean square.
        enough = FULL_SCALE * 10 ** ((loudness + SPEECH_DB) / 20)
        return Crop(places, heard, enough, factor / FULL_SCALE, 0, self.chunk)

    def _places(self, row: int, heard: int, random: np.random.Generator) -> list[int]:
        """Where in the packed speech a crop of one utterance may begin, samples."""
        start, length = int(self._columns["start"][row]), int(self._columns["length"][row])
        return [start + int(place * (length - heard + 1)) for place in random.random(CANDIDATES)]

    def _noise(self, row: int, random: np.random.Generator) -> Crop:
        """What is random of a noise: its gain, and its place, whether it is loud there or not."""
        loudness, peak = (float(self._noise_columns[key][row]) for key in ("loudness", "peak"))
        low, high = NOISE_LUFS
        factor = float(gain(low + (high - low) * random.random(), loudness, peak))
        return Crop(self._places_of_noise(row, random), self.chunk, 0.0, factor / FULL_SCALE, 0, self.chunk)

    def _places_of_noise(self, row: int, random: np.random.Generator) -> list[int]:
        """As ``_places``, of a noise: the first is taken, so all are one."""
        start, length = (int(self._noise_columns[key][row]) for key in ("start", "length"))
        return [len(self.speech.samples) + start + int(random.random() * (length - self.chunk + 1))] * CANDIDATES

    def _read(self, crop: Crop, out: np.ndarray) -> None:
        """Write one part, (chunk,) float32, to ``out``."""
        loudest_level, speech = -1.0, len(self._samples)
        for at in crop.places:
            packed, at = (self._samples, at) if at < speech else (self._noise_samples, at - speech)
            samples = packed[at : at + crop.heard].astype(np.float64)
            level = math.sqrt(np.dot(samples, samples) / crop.heard)
            if level > loudest_level:
                loudest, loudest_level = samples, level
            if level >= crop.enough:
                break
        if crop.heard != self.chunk:  # linear interpolation: what it blurs and mirrors is far below the other speaker
            loudest = np.interp(np.linspace(0, crop.heard - 1, self.chunk), np.arange(crop.heard), loudest)
        np.multiply(loudest, crop.gain, out=out, casting="same_kind")
        out[: crop.since] = out[crop.until :] = 0.0
