"""Pauses of synthesized speech: where clauses end, of whole samples, as many and as long as in real speech."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioslots.data.corpora.pauses import CLAUSE_MS, EDGE_MS, SENTENCE_MS, clauses, drawn, joined, trimmed
from audioslots.data.corpora.synthesis import synthesize


def tone(seconds: float, peak: int = 8000) -> np.ndarray:
    return np.rint(peak * np.sin(np.arange(round(16000 * seconds)) * 0.7)).astype(np.int16)


def test_a_text_is_cut_after_every_mark_and_nothing_is_lost() -> None:
    text = "In May, the owl, who slept, woke. Why did it rain?"
    assert clauses(text) == ["In May,", "the owl,", "who slept,", "woke.", "Why did it rain?"]
    assert " ".join(clauses(text)) == text


@pytest.mark.parametrize("quantiles", [CLAUSE_MS, SENTENCE_MS, EDGE_MS])
def test_lengths_follow_their_quantiles_and_are_whole(quantiles: tuple[int, ...]) -> None:
    generator = random.Random(0)
    lengths = [drawn(quantiles, 22050, generator) for _ in range(6000)]
    assert {type(length) for length in lengths} == {int}
    assert quantiles[0] * 22.05 - 1 <= min(lengths) and max(lengths) <= quantiles[-1] * 22.05
    between = np.histogram(lengths, np.array(quantiles) * 22.05)[0]
    assert between.min() > 850 and between.max() < 1150


def test_sentences_are_followed_by_longer_pauses_than_clauses() -> None:
    generator = random.Random(0)
    clause, sentence = (np.median([drawn(q, 16000, generator) for _ in range(999)]) for q in (CLAUSE_MS, SENTENCE_MS))
    assert sentence > 1.5 * clause


def test_silence_around_a_clause_goes_and_its_quiet_ends_stay() -> None:
    spoken = np.concatenate([np.zeros(4000, np.int16), tone(0.2), tone(0.01, 100), np.zeros(6000, np.int16)])
    kept = trimmed(spoken, 16000)
    start = 4001 - 480  # 30 ms before the first sample that is no zero
    assert np.array_equal(kept, spoken[start : start + len(kept)])
    assert start + len(kept) == pytest.approx(4000 + 3360 + 480, abs=4)


def test_clauses_keep_their_samples_and_stand_apart_by_what_is_drawn() -> None:
    texts, spoken = ["One,", "two.", "Three?"], [tone(0.3), tone(0.2), tone(0.4)]
    speech = joined(texts, spoken, 16000, random.Random(5))
    generator = random.Random(5)
    edge, *pauses, _ = (drawn(q, 16000, generator) for q in (EDGE_MS, CLAUSE_MS, SENTENCE_MS, SENTENCE_MS))
    trail = drawn(EDGE_MS, 16000, generator)
    expected = [np.zeros(edge), spoken[0], np.zeros(pauses[0]), spoken[1], np.zeros(pauses[1]), spoken[2]]
    assert speech.dtype == np.int16
    assert np.array_equal(speech, np.concatenate([*expected, np.zeros(trail)]))
    assert np.array_equal(speech, joined(texts, spoken, 16000, random.Random(5)))
    assert not np.array_equal(speech[:9000], joined(texts, spoken, 16000, random.Random(6))[:9000])


@pytest.mark.slow
def test_synthesized_speech_pauses_as_read_speech_does(tmp_path: Path) -> None:
    """As of frames of 20 ms more than 25 dB below the utterance's level: of LibriSpeech, 13 to 14 % of the time."""
    synthesize(tmp_path, speakers=24, hours=0.1, seed=0)
    quiet: list[bool] = []
    for path in tmp_path.rglob("*.flac"):
        samples = soundfile.read(path)[0]
        power = (samples[: len(samples) // 320 * 320].reshape(-1, 320) ** 2).mean(axis=1)
        quiet.extend(power < 10**-2.5 * (samples**2).mean())
    assert 0.12 < np.mean(quiet) < 0.22
