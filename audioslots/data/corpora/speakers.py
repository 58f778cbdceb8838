"""Synthetic speakers: voices of eSpeak NG, no two alike, shared among the subsets of a corpus."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from audioslots.runtime.errors import InputError

# Accents by eSpeak NG's names: British, American (and New York's), Received Pronunciation, Lancaster, West Midlands,
# Scotland, Caribbean.
ACCENTS = "en en-us en-us-nyc en-gb-x-rp en-gb-x-gbclan en-gb-x-gbcwmd en-gb-scotland en-029".split()
# eSpeak NG's voice variants by sex: the sex the variant's file declares; where it declares none, "M", since such a
# variant has the library's own (male) formants and pitch. Left out: whisper, whisperf (no voicing); robosoft 1-8,
# RicishayMax 1-3, UniRobot, anikaRobot, announcer, Demonic, Tweaky, kaukovalta, croak, zac (robots, echoes, monsters,
# cartoons); klatt 1-6, adam, benjamin, caleb, david, edward 1-2, mike2, Reed (a second, buzzing synthesiser, part of
# which draws noise from the C library and so differs between systems); Andy, AnxiousAndy, Lee, Jacky (formants
# muted); iven 1-4, ian, boris (lowest formant out of place); Marco, Alicia (audible echo); Storm (sets an accent of
# its own); fast (a test); shelby (of neither sex); miguel, steph2, "Mr serious" (nearly michel, steph, john).
VARIANTS = {
    "F": "Andrea Annie anika aunty belinda f1 f2 f3 f4 f5 grandma linda steph steph3".split(),
    "M": (
        "m1 m2 m3 m4 m5 m6 m7 m8 Alex Denis Diogo Gene Gene2 Henrique Hugo Mario Michael Mike Nguyen antonio ed "
        "grandpa gustave john marcelo max michel norbert pablo paul pedro quincy rob robert sandro travis victor"
    ).split(),
}
# eSpeak NG's pitch, 0 to 99 with 50 the variant's own: no two speakers of one variant and accent share a band, and the
# gap between the bands is about a sixth of the fundamental.
PITCHES = (range(24, 41), range(60, 77))
PITCH_RANGES = range(40, 71)  # percent, where 50 is the variant's own range
RATES = range(145, 196)  # words a minute

FEWEST_SPEAKERS = 12
MOST_SPEAKERS = 2 * len(VARIANTS["F"]) * len(ACCENTS) * len(PITCHES)
SUBSETS = ("train-clean", "dev-clean", "test-clean")
LEVELS = (0.04, 0.09)  # root mean square of an utterance, full scale 1: -28 to -21 dB


@dataclass(frozen=True)
class Speaker:
    """One synthetic speaker: where its speech goes and how it sounds."""

    identity: int
    subset: str
    sex: str
    variant: str
    accent: str
    pitch: int
    pitch_range: int
    rate: int
    level: float

    def __str__(self) -> str:
        return (
            f"eSpeak NG {self.accent}+{self.variant}, pitch {self.pitch}, range {self.pitch_range}, "
            f"{self.rate} words a minute"
        )


def draw_speakers(count: int, seed: int) -> list[Speaker]:
    """Draw distinct speakers, women and men in turn, and share them among the subsets.

    A quarter of them is kept for test, since the intervals of results are as narrow as speakers are many, and a tenth
    for dev; at least four each, and always as many women as men. Variants are used in rounds, so that each is heard
    before one is heard again.

    Args:
        count: number of speakers, from ``FEWEST_SPEAKERS`` to ``MOST_SPEAKERS``.
        seed: seed of the draw, 0 or more.

    Raises:
        InputError: ``count`` is out of range.
    """
    if not FEWEST_SPEAKERS <= count <= MOST_SPEAKERS:
        raise InputError(f"speakers: {count} is out of range; expected {FEWEST_SPEAKERS} to {MOST_SPEAKERS}")
    generator = random.Random(f"speakers {seed}")
    voices = {sex: _voices(variants, generator) for sex, variants in VARIANTS.items()}
    test, dev = (max(4, 2 * round(count / share)) for share in (8, 20))
    speakers = []
    for index in range(count):
        sex = "FM"[index % 2]
        variant, accent, pitches = next(voices[sex])
        from_end = count - count % 2 - index
        subset = SUBSETS[0 if from_end > test + dev or from_end <= 0 else 1 if from_end > test else 2]
        pitch, pitch_range, rate = map(generator.choice, (pitches, PITCH_RANGES, RATES))
        level = generator.uniform(*LEVELS)
        speakers.append(Speaker(1001 + index, subset, sex, variant, accent, pitch, pitch_range, rate, level))
    return speakers


def _voices(variants: list[str], generator: random.Random) -> Iterator[tuple[str, str, range]]:
    """Every (variant, accent, band of pitches) once, in rounds over the variants, each round in a new order."""
    left = {}
    for variant in variants:
        left[variant] = [(accent, pitches) for accent in ACCENTS for pitches in PITCHES]
        generator.shuffle(left[variant])
    for _ in range(len(ACCENTS) * len(PITCHES)):
        for variant in generator.sample(variants, len(variants)):
            yield variant, *left[variant].pop()
