"""Pauses of read speech: where a reader makes them, and how long they are.

A reader pauses where a clause or a sentence ends. The lengths are fitted to LibriSpeech. As ``perf/pauses.py``
counts (a pause lasts 100 ms or longer, more than 25 dB below the utterance's level), train-clean-100 is in pauses for
14.0 % of the time (11.2 % with speech on both sides: 18.7 a minute, median 0.24 s, 95 % shorter than 0.95 s),
test-clean for 12.8 % (7.1 %: 16.9, 0.18 s, 0.54 s), synthesized speech for 12.8 % (9.0 %: 13.9, 0.24 s, 1.00 s).
Of windows of 0.5 s, 7.4 %, 5.8 % and 4.2 % are 15 dB or more below the utterance's level. With eSpeak NG's own pauses
alone it was 3.1 % of the time (12.2 a minute, 95 % shorter than 0.22 s), and no such window.

What lies in a pause, and before and after an utterance, is digital silence; a recording has its room's noise there.
"""

from __future__ import annotations

import random
import re

import numpy as np

# Quantiles of lengths in ms, evenly spaced: a length is drawn uniformly between two neighbours, any two as likely.
CLAUSE_MS = (60, 120, 180, 260, 380, 560, 1000)
SENTENCE_MS = (300, 440, 560, 700, 860, 1100, 2200)
EDGE_MS = (0, 20, 100, 180, 240, 320, 560)
QUIET = 100  # a sample is speech from this share of the peak on
MARGIN_MS = 30  # kept before and after that


def clauses(text: str) -> list[str]:
    """A text cut after each mark, which stays with what it closes: ``"In May, it rained."`` gives two."""
    return re.split(r"(?<=[,.?]) ", text)


def drawn(quantiles: tuple[int, ...], rate: int, generator: random.Random) -> int:
    """Length of a pause in samples, by whole numbers alone."""
    place = generator.randrange(len(quantiles) - 1)
    shortest, longest = (quantiles[place + end] * rate // 1000 for end in (0, 1))
    return generator.randint(shortest, longest)


def trimmed(samples: np.ndarray, rate: int) -> np.ndarray:
    """A clause without the silence around it: (n,) int16 to (m,)."""
    size = np.abs(samples.astype(np.int64))
    loud = np.flatnonzero(size * QUIET >= size.max())
    margin = MARGIN_MS * rate // 1000
    return samples[max(0, loud[0] - margin) : loud[-1] + 1 + margin]


def joined(texts: list[str], spoken: list[np.ndarray], rate: int, generator: random.Random) -> np.ndarray:
    """Clauses with pauses between them, and silence before the first and after the last.

    Args:
        texts: the clauses, each closed by its mark: a comma, a full stop or a question mark.
        spoken: the same read aloud, (n,) int16 each.
        rate: of the samples, Hz.
        generator: the only source of chance.

    Returns:
        (m,) int16; the silence is digital, of whole samples.
    """
    parts = [np.zeros(drawn(EDGE_MS, rate, generator), np.int16)]
    for text, samples in zip(texts, spoken, strict=True):
        pause = drawn(CLAUSE_MS if text.endswith(",") else SENTENCE_MS, rate, generator)
        parts += [trimmed(samples, rate), np.zeros(pause, np.int16)]
    parts[-1] = np.zeros(drawn(EDGE_MS, rate, generator), np.int16)
    return np.concatenate(parts)
