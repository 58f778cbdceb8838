"""Pauses of synthesized speech: where clauses end, of whole samples, as many and as long as in real speech."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from audioslots.data.corpora.pauses import CLAUSE_MS, EDGE_MS, SENTENCE_MS, clauses, drawn, joined, trimmed
from audioslots.data.corpora.synthesis import synthesize

PERF = Path(__file__).resolve().parents[2] / "perf"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(PERF)
    import pauses

    return pauses


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


def test_the_measure_finds_the_pauses_that_were_made(bench: ModuleType, tmp_path: Path) -> None:
    hush = [np.zeros(round(16000 * seconds)) for seconds in (0.3, 0.2, 1.6, 0.08, 0.1)]
    talk = [tone(seconds) for seconds in (1.0, 0.6, 0.6, 0.52)]
    parts = [part for pair in zip(hush, talk, strict=False) for part in pair] + [hush[-1]]
    soundfile.write(tmp_path / "a.flac", np.concatenate(parts) / 2**15, 16000, subtype="PCM_16")
    found = bench.measured(tmp_path)
    assert found.lengths.tolist() == [0.2, 1.6], "80 ms is none, and the edges are not inner pauses"
    assert found.share == pytest.approx(2.2 / 5.0)
    assert found.inner == pytest.approx(1.8 / 5.0)
    assert found.a_minute == pytest.approx(2 / 5.0 * 60)
    assert found.quiet == pytest.approx(2 / 10), "two windows of 0.5 s lie in the pause of 1.6 s"


@pytest.mark.slow
def test_synthesized_speech_pauses_as_read_speech_does(bench: ModuleType, tmp_path: Path) -> None:
    """LibriSpeech: 13 to 14 % of the time, 17 to 19 pauses a minute, 6 to 7 % quiet windows; see ``pauses.py``."""
    synthesize(tmp_path, speakers=24, hours=0.1, seed=0)
    found = bench.measured(tmp_path)
    assert 0.10 < found.share < 0.18
    assert 10 < found.a_minute < 20
    assert 0.15 < np.median(found.lengths) < 0.4
    assert 0.6 < np.quantile(found.lengths, 0.95) < 1.5
    assert 0.02 < found.quiet < 0.09
