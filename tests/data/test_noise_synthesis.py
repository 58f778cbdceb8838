"""Synthesized noise: what it is made of, the same for any number of jobs, and resumed where it was stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audioslots.data.corpora import noise_synthesis
from audioslots.data.corpora.corpus import utterances
from audioslots.data.corpora.noise_synthesis import SAMPLES, TALKERS, babble, coloured, recordings, synthesize_noise
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json

SUBSETS = {"tr": "train-clean", "cv": "dev-clean", "tt": "test-clean"}


def made(corpus: Path, out: Path, jobs: int = 1, seed: int = 0) -> dict[str, bytes]:
    synthesize_noise(out, corpus, SUBSETS, 0.01, seed, jobs)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.glob("*/*.wav")}


def test_noise_is_the_same_for_any_number_of_jobs_and_differs_by_seed(made_corpus: Path, tmp_path: Path) -> None:
    one, two, other = (made(made_corpus, tmp_path / name, jobs, seed) for name, jobs, seed in NAMED)
    assert one == two and len(one) == sum(recordings(0.01, part) for part in SUBSETS) == 12
    assert one.keys() == other.keys() and all(one[name] != other[name] for name in one)
    assert len(set(one.values())) == len(one)
    assert read_json(tmp_path / "one" / "manifest.json") == read_json(tmp_path / "two" / "manifest.json")
    for path in (tmp_path / "one").glob("*/*.wav"):
        samples, rate = sf.read(path)
        assert (samples.shape, rate) == ((SAMPLES,), 16_000)
        assert 0.005 < np.sqrt(np.mean(samples**2)) < 0.031 and np.abs(samples).max() <= 0.9


NAMED = (("one", 1, 0), ("two", 2, 0), ("other", 1, 1))


def test_what_a_stopped_call_has_made_is_kept(
    made_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(made_corpus, tmp_path / "whole")
    write, out = noise_synthesis._write, tmp_path / "stopped"

    def stopping(one: tuple[str, int], **given: object) -> None:
        if one == ("cv", 1):
            raise KeyboardInterrupt
        write(one, **given)  # type: ignore[arg-type]

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(noise_synthesis, "_write", stopping)
        made(made_corpus, out)
    assert not (out / "manifest.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*/*.wav")}
    assert len(kept) == 5
    assert made(made_corpus, out) == whole
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())


def test_coloured_noise_falls_by_a_slope_of_its_own() -> None:
    slopes = []
    for seed in range(12):
        power = np.abs(np.fft.rfft(coloured(np.random.default_rng(seed)))) ** 2
        frequencies = np.fft.rfftfreq(SAMPLES, 1 / 16_000)
        low, high = (power[(frequencies > f) & (frequencies < 2 * f)].mean() for f in (100, 3200))
        slopes.append(10 * np.log10(low / high) / 5)  # dB an octave
    assert -0.3 < min(slopes) < 2 and 4 < max(slopes) < 6.3


def test_babble_is_of_several_speakers_of_the_subset_alone(made_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speech, heard = utterances(made_corpus, "train-clean"), set()
    read = noise_synthesis.read_speech
    monkeypatch.setattr(noise_synthesis, "read_speech", lambda path: (heard.add(path.parts[-3]), read(path))[1])
    noise = babble(np.random.default_rng(0), made_corpus, speech)
    assert noise.shape == (SAMPLES,) and np.isfinite(noise).all()
    assert heard == set(speech["speaker_id"]) and len(heard) == TALKERS
    heard.clear()
    babble(np.random.default_rng(0), made_corpus, utterances(made_corpus, "test-clean"))
    assert len(heard) == 4, "no more than there are"


@pytest.mark.parametrize(
    ("subsets", "hours", "seed", "jobs", "says"),
    [
        (SUBSETS, 0.0, 0, 1, "hours 0.0, seed 0, jobs 1; expected more than 0, 0 or more, 1 or more"),
        (SUBSETS, 1.0, -1, 1, "seed -1"),
        (SUBSETS, 1.0, 0, 0, "jobs 0"),
        ({"tr": "train-clean"}, 1.0, 0, 1, "subsets: tr; expected one for each of tr, cv, tt"),
        (SUBSETS | {"tt": "test-other"}, 1.0, 0, 1, "test-other: no such folder; expected speech"),
    ],
)
def test_bad_arguments_are_named(
    made_corpus: Path, tmp_path: Path, subsets: dict[str, str], hours: float, seed: int, jobs: int, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        synthesize_noise(tmp_path / "noise", made_corpus, subsets, hours, seed, jobs)
    assert not list(tmp_path.glob("noise/**/*.wav"))
