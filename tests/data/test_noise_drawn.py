"""Noises drawn for a table of mixtures, packed, and mixed on the fly: LibriMix's rules, whoever mixes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyloudnorm
import pytest
import soundfile as sf

from audioslots.data.corpora.corpus import read_speech
from audioslots.data.librimix.layout import MAX_AMPLITUDE, NOISE_LUFS
from audioslots.data.librimix.metadata import read_metadata, write_metadata
from audioslots.data.librimix.noise import noises, read_noise, whole_noise, with_noise
from audioslots.data.librimix.rendering import render
from audioslots.data.training.mixing import Mixer
from audioslots.data.training.packing import Speech, pack
from audioslots.runtime.errors import InputError

RATE = 16_000
NOISES = 3  # a part


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noises in WHAM's layout, of two channels, 3 to 5 s long."""
    folder = tmp_path_factory.mktemp("wham")
    for place, part in enumerate(("tr", "cv", "tt")):
        (folder / part).mkdir()
        for number in range(NOISES):
            random = np.random.default_rng([place, number])
            samples = 0.02 * (number + 1) * random.standard_normal((RATE * (3 + number), 2))
            sf.write(folder / part / f"{part}{number}.wav", samples, RATE, subtype="PCM_16")
    return folder


@pytest.fixture(scope="module")
def packed(made_corpus: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Speech, Speech]:
    """Training speech and noise."""
    folder = tmp_path_factory.mktemp("packed")
    pack(made_corpus, "train-clean", folder / "speech", 8000)
    pack(root, "tr", folder / "noise", 8000, noise=True)
    return Speech.open(folder / "speech"), Speech.open(folder / "noise")


def test_noises_are_listed_and_packed_by_their_first_channel(root: Path, packed: tuple[Speech, Speech]) -> None:
    listed, noise = noises(root, "tr"), packed[1]
    assert listed["path"].tolist() == ["tr/tr0.wav", "tr/tr1.wav", "tr/tr2.wav"]
    assert noise.index["length"].tolist() == [24_000, 32_000, 40_000] and noise.speakers == ["noise"]
    for path, loudness in zip(listed["path"], noise.index["loudness"], strict=True):
        first = sf.read(root / path, always_2d=True)[0][:, 0]
        assert pyloudnorm.Meter(RATE).integrated_loudness(first) == pytest.approx(loudness, abs=1e-3)


def test_noises_are_drawn_by_libri_mixs_rules(table: Path, made_corpus: Path, root: Path, tmp_path: Path) -> None:
    clean = read_metadata(table)
    noisy = with_noise(clean, made_corpus, root, "tt", seed=5)
    pd.testing.assert_frame_equal(noisy, with_noise(noisy, made_corpus, root, "tt", seed=5))
    other = with_noise(clean, made_corpus, root, "tt", seed=6)
    assert list(noisy["noise_path"]) != list(other["noise_path"])
    assert not set(noisy["noise_gain"]) & set(other["noise_gain"])
    for place in range(0, 9, NOISES):  # once each, before any is used again
        assert sorted(noisy["noise_path"].iloc[place : place + NOISES]) == ["tt/tt0.wav", "tt/tt1.wav", "tt/tt2.wav"]
    low, high = NOISE_LUFS
    for was, row in zip(clean.to_dict("records"), noisy.to_dict("records"), strict=True):
        kept = row["source_1_gain"] / was["source_1_gain"]
        assert kept <= 1 and row["source_2_gain"] == pytest.approx(kept * was["source_2_gain"], abs=2e-6)
        gained = whole_noise(root / row["noise_path"]) * row["noise_gain"] / kept
        assert low - 0.01 <= pyloudnorm.Meter(RATE).integrated_loudness(gained) <= high + 0.01
        speech = [read_speech(made_corpus / row[f"source_{i}_path"]) * row[f"source_{i}_gain"] for i in (1, 2)]
        assert all(np.abs(part).max() <= MAX_AMPLITUDE + 1e-4 for part in speech)
    write_metadata(noisy, tmp_path / "noisy.csv")
    folder = render(tmp_path / "noisy.csv", made_corpus, tmp_path, 8000, "max", types=("mix_both",), wham=root)
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"mix_both", "s1", "s2", "noise"}
    peaks = [np.abs(sf.read(path)[0]).max() for path in (folder / "mix_both").iterdir()]
    assert len(peaks) == 10 and max(peaks) <= MAX_AMPLITUDE + 0.02, "but for what resampling adds"


def test_a_loud_mixture_is_scaled_down_with_its_noise(table: Path, made_corpus: Path, root: Path) -> None:
    clean = read_metadata(table).head(2)
    loud = clean.assign(source_1_gain=clean["source_1_gain"] * 30)
    for row in with_noise(loud, made_corpus, root, "tt", seed=0).to_dict("records"):
        speech = [read_speech(made_corpus / row[f"source_{i}_path"]) * row[f"source_{i}_gain"] for i in (1, 2)]
        longest = max(map(len, speech))
        noise = read_noise(root / row["noise_path"], longest, longest) * row["noise_gain"]
        mixture = sum((np.pad(part, (0, longest - len(part))) for part in speech), start=noise)
        assert float(np.abs(mixture).max()) == pytest.approx(MAX_AMPLITUDE, abs=1e-4)


@pytest.mark.parametrize("settings", [{}, {"speed": 0.15, "even_speakers": True}, {"together": 2}])
def test_noise_is_added_to_the_same_speech(packed: tuple[Speech, Speech], settings: dict[str, Any]) -> None:
    speech, noise = packed
    clean, noisy = (Mixer(speech, 2, 4000, seed=3, noise=one, **settings) for one in (None, noise))
    assert (clean.parts, noisy.parts) == (2, 3)
    levels = []
    for item in range(12):
        alone, heard = clean.item(1, item), noisy.item(1, item)
        assert heard.shape == (3, 4000)
        scale = np.abs(heard[:2]).max() / np.abs(alone).max()
        assert scale <= 1 + 1e-6 and np.allclose(heard[:2], scale * alone, atol=1e-6)
        crop = noisy.drawn(1, item)[-1]
        assert crop.heard == 4000 and len(set(crop.places)) == 1 and crop.places[0] >= len(speech.samples)
        at = crop.places[0] - len(speech.samples)
        taken = noise.samples[at : at + 4000].astype(np.float64) * crop.gain
        assert np.allclose(heard[2], scale * taken, atol=1e-6)
        levels.append(10 * np.log10(np.mean(taken**2)))
    assert min(levels) > -45 and max(levels) < -30, "white noise, of which half was above 4 kHz, where loudness is most"
    assert max(levels) - min(levels) > 3


def test_chunks_together_hear_other_places_of_one_noise(packed: tuple[Speech, Speech]) -> None:
    speech, noise = packed
    mixer = Mixer(speech, 2, 800, seed=3, together=4, noise=noise)
    crops = [mixer.drawn(0, item)[-1] for item in range(4)]
    assert len({crop.gain for crop in crops}) == 1 and len({crop.places[0] for crop in crops}) == 4
    starts = (len(speech.samples) + noise.index["start"]).to_numpy()
    assert len({int(np.searchsorted(starts, crop.places[0], "right")) for crop in crops}) == 1


def test_bad_noise_is_named(made_corpus: Path, table: Path, tmp_path: Path, packed: tuple[Speech, Speech]) -> None:
    clean = read_metadata(table)
    with pytest.raises(InputError, match="tt: no noise inside; expected WHAM's layout, tr/, cv/, tt/ with WAV files"):
        with_noise(clean, made_corpus, tmp_path, "tt", 0)
    (tmp_path / "tt").mkdir()
    sf.write(tmp_path / "tt" / "a.wav", np.ones(48_000) / 10, 8000)
    with pytest.raises(InputError, match=r"a\.wav: sample rate is 8000 Hz; expected 16000 Hz"):
        with_noise(clean, made_corpus, tmp_path, "tt", 0)
    sf.write(tmp_path / "tt" / "a.wav", np.zeros(48_000), RATE)
    with pytest.raises(InputError, match=r"a\.wav: its loudness is -inf LUFS; expected noise"):
        with_noise(clean, made_corpus, tmp_path, "tt", 0)
    with pytest.raises(InputError, match=r"a\.wav: is silent \(loudness -inf LUFS\); expected noise"):
        pack(tmp_path, "tt", tmp_path / "packed", 8000, noise=True)
    sf.write(tmp_path / "tt" / "a.wav", np.ones(16_000) / 10, RATE)
    with pytest.raises(InputError, match="tt: no noise of at least 3 s; expected some"):
        pack(tmp_path, "tt", tmp_path / "packed", 8000, noise=True)
    with pytest.raises(InputError, match="the shortest noise of tr has 24000; expected a crop no longer"):
        Mixer(packed[0], 2, 24_001, seed=0, noise=packed[1])
