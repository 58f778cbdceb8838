"""Packed speech: what is in it, that it never depends on the jobs, and that nothing half-made is ever used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyloudnorm
import pytest
import soundfile as sf
from scipy.signal import resample_poly

from audioslots.data.librimix.metadata import draw
from audioslots.data.training import packing
from audioslots.data.training.packing import Speech, pack
from audioslots.runtime.errors import InputError

RATE = 16_000


def write(corpus: Path, speaker: int, utterance: int, samples: np.ndarray) -> None:
    path = corpus / "train-clean" / str(speaker) / "1" / f"{speaker}-1-{utterance:04d}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, samples, RATE, subtype="PCM_16")


@pytest.fixture(scope="module")
def few(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of five utterances in ``train-clean``, one of them shorter than 3 s."""
    corpus = tmp_path_factory.mktemp("few")
    shutil.copy(made_corpus / "SPEAKERS.TXT", corpus)
    for number, path in enumerate(sorted(made_corpus.glob("train-clean/10[12]/1/*000[01].flac"))):
        write(corpus, 101 + number // 2, number % 2, sf.read(path)[0])
    write(corpus, 101, 2, 0.1 * np.random.default_rng(0).standard_normal(3 * RATE - 1))
    return corpus


@pytest.fixture(scope="module")
def packed(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``few`` packed at 8 kHz; copy it before damaging it."""
    out = tmp_path_factory.mktemp("packed") / "train-clean"
    pack(few, "train-clean", out, 8000)
    return out


@pytest.fixture
def own(packed: Path, tmp_path: Path) -> Path:
    """A copy of ``packed`` to damage."""
    return Path(shutil.copytree(packed, tmp_path / "own"))


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith((".lock", ".stage.json"))
    }


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_the_array_holds_the_speech_resampled_as_librimix_does(few: Path, tmp_path: Path, rate: int) -> None:
    pack(few, "train-clean", tmp_path / "out", rate)
    speech = Speech.open(tmp_path / "out")
    assert (speech.rate, speech.subset, speech.samples.dtype) == (rate, "train-clean", np.dtype("<i2"))
    end, rows = 0, list[Any](speech.index.itertuples())
    for row in rows:
        flac = few / "train-clean" / row.speaker_id / "1" / f"{row.utterance}.flac"
        exact = sf.read(flac, dtype="int16")[0]
        expected = exact
        if rate != RATE:
            expected = np.rint(resample_poly(exact.astype(np.float32) / 32768, rate, RATE) * 32768)
        found = speech.samples[row.start : row.start + row.length]
        assert (row.start, row.length) == (end, len(expected))
        assert np.array_equal(found, expected)
        assert row.loudness == pytest.approx(pyloudnorm.Meter(RATE).integrated_loudness(exact / 32768), abs=1e-3)
        assert row.peak == pytest.approx(np.abs(found.astype(int)).max() / 32768, abs=1e-6)
        end += row.length
    assert end == len(speech.samples)


def test_utterances_shorter_than_three_seconds_are_left_out(packed: Path) -> None:
    assert Speech.open(packed).index["utterance"].tolist() == ["101-1-0000", "101-1-0001", "102-1-0000", "102-1-0001"]


def test_speakers_sexes_and_hours_are_those_of_the_corpus(packed: Path) -> None:
    speech = Speech.open(packed)
    assert speech.speakers == ["101", "102"]
    assert dict(zip(speech.index["speaker_id"], speech.index["sex"], strict=True)) == {"101": "F", "102": "M"}
    assert speech.hours == pytest.approx(len(speech.samples) / 8000 / 3600)


def test_two_jobs_pack_the_same_bytes_as_one(few: Path, packed: Path, tmp_path: Path) -> None:
    pack(few, "train-clean", tmp_path / "out", 8000, jobs=2)
    assert content(tmp_path / "out") == content(packed)


def test_a_finished_folder_is_left_alone(few: Path, own: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in own.glob("[!.]*")}
    pack(few, "train-clean", own, 8000)
    assert {path: path.stat().st_mtime_ns for path in own.glob("[!.]*")} == before


def test_a_folder_packed_otherwise_is_refused_and_kept(few: Path, own: Path, made_corpus: Path) -> None:
    before = content(own)
    with pytest.raises(InputError, match="own/pack.stage.json: rate is 8000; expected 16000"):
        pack(few, "train-clean", own, 16_000)
    with pytest.raises(InputError, match="own/pack.stage.json: subset is train-clean; expected dev-clean"):
        pack(made_corpus, "dev-clean", own, 8000)
    with pytest.raises(InputError, match="own/pack.stage.json: files is"):
        pack(made_corpus, "train-clean", own, 8000)
    assert content(own) == before


@pytest.mark.parametrize("name", ["speech.i16", "index.csv"])
def test_a_damaged_file_is_named_when_packing_again(few: Path, own: Path, name: str) -> None:
    data = bytearray((own / name).read_bytes())
    data[len(data) // 2] ^= 1
    (own / name).write_bytes(data)
    with pytest.raises(InputError, match=f"{name}: does not match manifest.json"):
        pack(few, "train-clean", own, 8000)


@pytest.mark.parametrize("lost", [2, 1, 2000])
def test_a_shortened_array_is_refused_on_opening(own: Path, lost: int) -> None:
    array = own / "speech.i16"
    array.write_bytes(array.read_bytes()[:-lost])
    with pytest.raises(InputError, match=r"speech\.i16"):
        Speech.open(own)


@pytest.mark.parametrize("name", ["speech.i16", "index.csv"])
def test_a_missing_file_is_named_on_opening(own: Path, name: str) -> None:
    (own / name).unlink()
    with pytest.raises(InputError, match=name):
        Speech.open(own)


def test_an_unfinished_folder_is_refused_on_opening_and_made_again_by_packing(few, packed, own) -> None:
    (own / "manifest.json").unlink()
    (own / "speech.i16").write_bytes(b"half")
    with pytest.raises(InputError, match="own: no manifest.json"):
        Speech.open(own)
    pack(few, "train-clean", own, 8000)
    assert content(own) == content(packed)


def test_the_manifest_is_written_last(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    present: list[set[str]] = []
    monkeypatch.setattr(packing, "write_json", lambda path, value: present.append(set(content(path.parent))))
    pack(few, "train-clean", tmp_path / "out", 8000)
    assert present == [{"speech.i16", "index.csv"}]


def test_the_manifest_counts_and_sums(packed: Path) -> None:
    manifest = json.loads((packed / "manifest.json").read_text())
    assert (manifest["rate"], manifest["utterances"], manifest["speakers"]) == (8000, 4, 2)
    assert manifest["samples"] * 2 == (packed / "speech.i16").stat().st_size
    assert set(manifest["sha256"]) == {"speech.i16", "index.csv"}


def test_a_truncated_flac_is_named_and_leaves_nothing_under_its_final_name(few, packed, tmp_path) -> None:
    corpus = shutil.copytree(few, tmp_path / "corpus")
    flac = corpus / "train-clean" / "102" / "1" / "102-1-0001.flac"
    flac.write_bytes(flac.read_bytes()[:20_000])
    with pytest.raises(InputError, match=r"102-1-0001\.flac"):
        pack(corpus, "train-clean", tmp_path / "out", 8000)
    assert set(content(tmp_path / "out")) == {"unfinished.i16", "unfinished.csv"}
    shutil.copy(few / flac.relative_to(corpus), flac)
    pack(corpus, "train-clean", tmp_path / "out", 8000)
    assert content(tmp_path / "out") == content(packed)


def test_silence_and_a_corpus_of_snippets_are_refused(few: Path, tmp_path: Path) -> None:
    shutil.copy(few / "SPEAKERS.TXT", tmp_path)
    write(tmp_path, 101, 0, np.ones(RATE) * 0.1)
    with pytest.raises(InputError, match="no utterance of at least 3 s"):
        pack(tmp_path, "train-clean", tmp_path / "out", 8000)
    write(tmp_path, 101, 1, np.zeros(4 * RATE))
    with pytest.raises(InputError, match=r"101-1-0001\.flac: is silent"):
        pack(tmp_path, "train-clean", tmp_path / "out", 8000)


def crowd(women: int, men: int) -> Speech:
    """Two utterances a speaker, of nothing."""
    speakers = [(f"{number:03d}", "F" if number < women else "M") for number in range(women + men)]
    rows = [(f"{name}-{part}", name, sex, 0, 8, -20.0, 0.5) for name, sex in speakers for part in "ab"]
    columns = ["utterance", "speaker_id", "sex", "start", "length", "loudness", "peak"]
    return Speech(np.zeros(8, np.int16), pd.DataFrame(rows, columns=columns), 8000, "train-clean")


@pytest.mark.parametrize(("women", "men", "count", "held"), [(6, 6, 4, (2, 2)), (9, 4, 6, (3, 3)), (2, 9, 6, (2, 4))])
def test_held_out_speakers_are_apart_and_as_many_women_as_men(women, men, count, held) -> None:
    speech = crowd(women, men)
    rest, apart = speech.hold_out(count)
    assert not set(rest.speakers) & set(apart.speakers)
    assert sorted(rest.speakers + apart.speakers) == speech.speakers
    assert len(rest.index) + len(apart.index) == len(speech.index)
    sexes = apart.index.drop_duplicates("speaker_id")["sex"].tolist()
    assert (sexes.count("F"), sexes.count("M")) == held


def test_the_same_speakers_are_held_out_whatever_the_order_of_the_index() -> None:
    speech = crowd(5, 5)
    turned = Speech(speech.samples, speech.index[::-1].reset_index(drop=True), speech.rate, speech.subset)
    assert turned.hold_out(4)[1].speakers == speech.hold_out(4)[1].speakers
    chosen = {tuple(speech.hold_out(4, seed)[1].speakers) for seed in range(5)}
    assert len(chosen) > 1


def test_mixtures_of_held_out_speakers_are_of_those_that_training_holds_out(made_corpus: Path, tmp_path: Path) -> None:
    """Of them alone, each utterance as often as it takes, though the subset is one to train on."""
    pack(made_corpus, "train-clean", tmp_path, 8000)
    for count in (2, 3):
        rest, apart = Speech.open(tmp_path).hold_out(count)
        drawn = draw(made_corpus, "train-clean", 2, 4 * len(apart.index) // 2, seed=0, of_held_out=count)
        speakers = {path.split("/")[1] for i in (1, 2) for path in drawn[f"source_{i}_path"]}
        assert speakers == set(apart.speakers) and not speakers & set(rest.speakers)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9])
def test_holding_out_too_few_or_too_many_speakers_is_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"held_out_speakers: {count} of 8 speakers; expected 2 to 6"):
        crowd(4, 4).hold_out(count)
