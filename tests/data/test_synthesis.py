"""Synthesized speech: many distinct speakers, the same bits whatever else was read, folders left as they should be."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import espeakng_loader
import numpy as np
import pytest
import scipy.signal

from audioslots.config.data import SYNTHESIS
from audioslots.data.corpora import synthesis
from audioslots.data.corpora.corpus import check, read_speech, utterances
from audioslots.data.corpora.speakers import ACCENTS, PITCHES, SUBSETS, VARIANTS, Speaker, draw_speakers
from audioslots.data.corpora.synthesis import read_aloud, synthesize
from audioslots.runtime.errors import InputError

LIBRARY = "b15ce0803b26254e"  # eSpeak NG's library in the wheel for Linux on x86-64
ARGUMENTS: dict[str, Any] = {"speakers": 12, "hours": 0.02, "seed": 3}


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.name.endswith((".lock", ".stage.json"))
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    synthesize(root, **ARGUMENTS)
    return root


def speech(speaker: Speaker) -> np.ndarray:
    return np.concatenate([samples for _, samples in read_aloud(speaker, 4.0, seed=0)])


def fundamental(samples: np.ndarray) -> float:
    """Median fundamental frequency in Hz of the frames whose autocorrelation has a clear peak."""
    frames = np.lib.stride_tricks.sliding_window_view(samples / 2.0**15, 1024)[::800]
    power = np.abs(np.fft.rfft(frames - frames.mean(1, keepdims=True), 4096)) ** 2
    correlation = np.fft.irfft(power)[:, :400]
    correlation = correlation[correlation[:, 0] > 1]
    correlation = correlation / correlation[:, :1] / (1 - np.arange(400) / 1024)
    lags = 40 + correlation[:, 40:].argmax(1)
    return float(np.median(16000 / lags[correlation.max(1, where=np.arange(400) >= 40, initial=0) > 0.6]))


def test_the_corpus_is_in_librispeechs_layout_and_passes_its_own_check(corpus):
    assert check(corpus) == []
    table = utterances(corpus)
    assert set(table["subset"]) == set(SUBSETS)
    assert table["path"].str.fullmatch(r"[a-z-]+/(\d+)/1/\1-1-\d{4}\.flac").all()
    for transcript in corpus.glob("*/*/*/*.trans.txt"):
        names = [line.split()[0] for line in transcript.read_text().splitlines()]
        assert names == sorted(path.stem for path in transcript.parent.glob("*.flac"))


def test_speakers_are_disjoint_and_every_subset_has_two_of_each_sex_at_least(corpus):
    speakers = utterances(corpus).drop_duplicates(["speaker_id", "subset"])
    assert speakers["speaker_id"].is_unique
    assert (speakers.groupby(["subset", "sex"]).size() >= 2).all() and len(speakers) == 12


def test_the_manifest_counts_what_is_there(corpus):
    manifest = json.loads((corpus / "manifest.json").read_text())
    table = utterances(corpus)
    assert {key: manifest[key] for key in ARGUMENTS} == ARGUMENTS
    for subset, rows in table.groupby("subset"):
        assert manifest["subsets"][subset]["utterances"] == len(rows)
        assert manifest["subsets"][subset]["hours"] == pytest.approx(rows["frames"].sum() / 16000 / 3600)
    # Six seconds a speaker are asked for, but an utterance is the least.
    assert 0.6 < table["frames"].sum() / 16000 / 3600 / ARGUMENTS["hours"] < 1.8


def test_speech_is_neither_silent_nor_clipped_and_begins_and_ends_quietly(corpus):
    for path in utterances(corpus)["path"]:
        samples = read_speech(corpus / path)
        assert 2.0 < len(samples) / 16000 < 36, path
        assert 0.03 < np.sqrt(np.mean(samples**2)) < 0.1, path
        peak = np.abs(samples).max()
        assert 0.1 < peak <= 0.9, path
        loud = np.flatnonzero(np.abs(samples) > 0.02 * peak)
        assert loud[0] <= 0.7 * 16000 and len(samples) - loud[-1] <= 0.7 * 16000, path


def test_samples_change_only_with_the_version(corpus):
    """Where this fails, ``SYNTHESIS`` is to be raised, lest speech of before be taken for speech of now."""
    manifest = json.loads((corpus / "manifest.json").read_text())
    if not manifest["espeak_ng"]["library_sha256"].startswith(LIBRARY):
        pytest.skip("speech of another build of eSpeak NG")
    assert manifest["version"] == SYNTHESIS == 2
    assert manifest["subsets"]["train-clean"]["pcm_sha256"].startswith("7f31d246035897d7")


def test_a_corpus_of_an_older_version_is_refused(corpus, tmp_path):
    note = json.loads((corpus / "synthesize.stage.json").read_text())
    note["request"]["version"] = 1
    (tmp_path / "synthesize.stage.json").write_text(json.dumps(note))
    with pytest.raises(InputError, match=r"stage.json: version is 1; expected 2"):
        synthesize(tmp_path, **ARGUMENTS)


def test_the_bits_do_not_depend_on_the_number_of_jobs(corpus, tmp_path):
    synthesize(tmp_path / "two", **ARGUMENTS, jobs=2)
    assert files(tmp_path / "two") == files(corpus)


def test_a_speaker_sounds_the_same_whoever_was_read_before():
    # f1 has flutter, f5 breath and echo, Denis neither: each leaves eSpeak NG's own state behind in another way.
    draft = Speaker(1, SUBSETS[0], "F", "f1", "en", 50, 50, 170, 0.06)
    speakers = [draft, replace(draft, variant="f5"), replace(draft, variant="Denis", accent="en-029")]
    alone = [speech(speaker) for speaker in speakers]
    for speaker, expected in reversed(list(zip(speakers, alone, strict=True))):
        np.testing.assert_array_equal(speech(speaker), expected)


def test_a_stopped_run_continues_to_the_same_bits(corpus, tmp_path, monkeypatch):
    write = synthesis._write_speaker
    written: list[Speaker] = []

    def stops_at_the_sixth(speaker, **rest):
        if len(written) == 5:
            raise KeyboardInterrupt
        write(speaker, **rest)
        written.append(speaker)

    monkeypatch.setattr(synthesis, "_write_speaker", stops_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path, **ARGUMENTS)
    assert not (tmp_path / "manifest.json").exists()
    with pytest.raises(InputError, match=r"synthesize.stage.json: seed is 3; expected 4"):
        synthesize(tmp_path, **{**ARGUMENTS, "seed": 4})
    monkeypatch.setattr(synthesis, "_write_speaker", write)
    synthesize(tmp_path, **ARGUMENTS)
    assert files(tmp_path) == files(corpus)


def test_a_finished_corpus_is_left_alone_and_never_made_into_another(corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("[!.]*")}
    synthesize(corpus, **ARGUMENTS)
    with pytest.raises(InputError, match=r"synthesize.stage.json: hours is 0.02; expected 0.03"):
        synthesize(corpus, **{**ARGUMENTS, "hours": 0.03})
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("[!.]*")} == before


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds mine.txt, of other origin; expected"):
        synthesize(tmp_path, **ARGUMENTS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"speakers": 11}, "speakers: 11 is out of range; expected 12 to 448"),
        ({"speakers": 449}, "speakers: 449 is out of range"),
        ({"hours": 0}, "hours: 0 is out of range; expected more than 0 and at most 120"),
        ({"hours": float("nan")}, "hours: nan is out of range"),
        ({"hours": 121}, "hours: 121 is out of range"),
        ({"seed": -1}, "seed: -1 is negative"),
        ({"jobs": 0}, "jobs: 0 is too few"),
    ],
)
def test_bad_arguments_are_named_with_their_range_and_nothing_is_written(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        synthesize(tmp_path / "out", **{**ARGUMENTS, **changed})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [12, 13, 60, 121, 448])
def test_drawn_speakers_are_distinct_balanced_and_shared_among_the_subsets(count):
    speakers = draw_speakers(count, seed=1)
    assert len({speaker.identity for speaker in speakers}) == count
    sexes = Counter(speaker.sex for speaker in speakers)
    assert sexes["F"] - sexes["M"] == count % 2
    shares = Counter((speaker.subset, speaker.sex) for speaker in speakers)
    for subset, share in ("dev-clean", 20), ("test-clean", 8):
        assert shares[subset, "F"] == shares[subset, "M"] == max(2, round(count / share))
    same_voice: dict[tuple[str, str], list[int]] = {}
    for speaker in speakers:
        same_voice.setdefault((speaker.variant, speaker.accent), []).append(speaker.pitch)
    for pitches in same_voice.values():
        assert all(abs(one - other) >= 20 for one, other in combinations(pitches, 2))


def test_variants_are_used_in_turn():
    heard = Counter(speaker.variant for speaker in draw_speakers(112, seed=1) if speaker.sex == "F")
    assert set(heard.values()) == {4} and set(heard) == set(VARIANTS["F"])


def test_every_variant_has_the_sex_its_file_declares():
    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    for sex, variants in VARIANTS.items():
        for variant in variants:
            lines = (folder / variant).read_text(encoding="utf-8", errors="replace").lower().splitlines()
            declared = [line.split()[1] for line in lines if line.startswith("gender")]
            assert declared in ([{"F": "female", "M": "male"}[sex]], [] if sex == "M" else None), variant


def test_accents_pitches_and_sexes_are_heard():
    draft = Speaker(1, SUBSETS[0], "M", "m3", "en", 50, 50, 170, 0.06)
    accents = {speech(replace(draft, accent=accent)).tobytes() for accent in ACCENTS}
    assert len(accents) == len(ACCENTS)
    low, high = (fundamental(speech(replace(draft, pitch=pitch))) for pitch in (PITCHES[0][-1], PITCHES[1][0]))
    assert high > 1.12 * low
    assert fundamental(speech(replace(draft, variant="f2"))) > 1.4 * fundamental(speech(draft))


def test_resampling_is_exact_and_close_to_scipys_own():
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, 22050).astype(np.float64)
    ours = scipy.signal.resample_poly(samples, 320, 441, window=synthesis.resampling_filter())
    np.testing.assert_array_equal(ours, np.rint(ours))
    assert np.abs(ours).max() < 2.0**53
    np.testing.assert_allclose(ours / 2.0**28, scipy.signal.resample_poly(samples, 320, 441), atol=0.25)
