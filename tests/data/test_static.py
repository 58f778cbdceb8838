"""Static mixing: the same mixtures every epoch, in an order and with crops that the seed decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from audioslots.data.training.mixing import Mixer
from audioslots.data.training.packing import Speech, pack
from audioslots.data.training.static import StaticMixer
from audioslots.runtime.errors import InputError


@pytest.fixture(scope="module")
def speech(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Speech:
    out = tmp_path_factory.mktemp("packed") / "train"
    pack(made_corpus, "train-clean", out, 8000)
    return Speech.open(out)


def steady(levels: list[float], speakers: list[str], lengths: list[int] | None = None) -> Speech:
    """Utterances of one value each, so that a crop's value names its utterance and its gain."""
    lengths = lengths or [400] * len(levels)
    samples = np.concatenate(
        [np.full(n, round(level * 32768), np.int16) for level, n in zip(levels, lengths, strict=True)]
    )
    index = pd.DataFrame(
        {
            "utterance": [str(number) for number in range(len(levels))],
            "speaker_id": speakers,
            "sex": "F",
            "start": np.cumsum([0, *lengths])[:-1],
            "length": lengths,
            "loudness": 20 * np.log10(levels),
            "peak": levels,
        }
    )
    return Speech(samples, index, 8000, "made")


def names(speakers: int, each: int) -> list[str]:
    return [str(number // each) for number in range(speakers * each)]


@pytest.mark.parametrize("sources", [2, 3])
def test_a_list_has_each_utterance_once_at_most_and_different_speakers(speech: Speech, sources: int) -> None:
    mixtures = StaticMixer(speech, sources, 800, seed=0, size=4).mixtures
    assert mixtures.shape == (24 // sources, sources)
    assert len(np.unique(mixtures)) == mixtures.size
    speakers = speech.index["speaker_id"].to_numpy()[mixtures]
    assert all(len(set(group)) == sources for group in speakers)


def test_the_list_is_the_same_for_every_seed_and_size(speech: Speech) -> None:
    first, second = (StaticMixer(speech, 2, 800, seed, size=seed + 1) for seed in (0, 5))
    assert np.array_equal(first.mixtures, second.mixtures)
    assert np.array_equal(first.gains, second.gains)


def test_one_epoch_is_the_whole_list_and_the_next_has_the_same_mixtures_in_another_order() -> None:
    speech = steady([0.05 + 0.01 * number for number in range(20)], names(5, 4))
    mixer = StaticMixer(speech, 2, 100, seed=0, size=4)
    count = len(mixer.mixtures)
    drawn = [tuple(mixer.item(*divmod(number, 4))[:, 0].tolist()) for number in range(3 * count)]
    epochs = [drawn[first : first + count] for first in range(0, 3 * count, count)]
    assert len(set(epochs[0])) == count
    assert set(epochs[0]) == set(epochs[1]) == set(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_crop_is_a_pure_function_of_seed_step_and_item(speech: Speech) -> None:
    mixer = StaticMixer(speech, 2, 800, seed=3, size=4)
    batch = mixer.batch(7, 4)
    assert (batch.shape, batch.dtype) == ((4, 2, 800), np.float32)
    again = StaticMixer(speech, 2, 800, seed=3, size=4)
    again.batch(1000, 4)
    assert np.array_equal(again.batch(7, 4), batch)
    assert np.array_equal(again.item(7, 2), batch[2])
    assert not np.array_equal(StaticMixer(speech, 2, 800, seed=4, size=4).batch(7, 4), batch)


def test_a_mixture_that_comes_up_again_is_cropped_elsewhere_at_one_place_for_all_sources() -> None:
    ramp = np.arange(4000)
    speech = steady([0.1, 0.1], ["0", "1"], [4000, 4000])
    speech.samples[:] = np.concatenate([ramp, ramp]) + 1000
    mixer = StaticMixer(speech, 2, 100, seed=0, size=1)
    crops = np.stack([mixer.item(step, 0) for step in range(20)]) / mixer.gains[0][:, None]
    places = np.rint(crops[:, :, 0] * 32768)
    assert np.array_equal(places[:, 0], places[:, 1])
    assert len(set(places[:, 0])) > 15


@pytest.mark.parametrize("lengths", [[1000, 2600], [2600, 1000], [1000, 1000], [700, 2600, 1700]])
def test_crops_are_uniform_over_every_utterance_to_its_end_at_one_alignment(lengths: list[int]) -> None:
    speech = steady([0.1] * len(lengths), [str(number) for number in range(len(lengths))], lengths)
    speech.samples[:] = np.concatenate([np.arange(length) + 1000 for length in lengths])
    mixer = StaticMixer(speech, len(lengths), 100, seed=0, size=1)
    rows = mixer.mixtures[0]
    crops = np.stack([mixer.item(step, 0) for step in range(1000)]) / mixer.gains[0][:, None]
    heard = np.rint(crops * 32768).astype(int) - 1000  # which sample of its utterance each is
    longest = int(np.argmax(np.array(lengths)[rows]))
    for source, row in enumerate(rows):
        assert np.array_equal(heard[:, source], heard[:, longest] % lengths[row])
        missed = set(range(lengths[row])) - set(heard[:, source].ravel())
        assert len(missed) < 10, "all but a few samples of either end are heard"
    tenths = np.histogram(heard[:, longest, 0], 10, (0, max(lengths) - 100))[0]
    assert tenths.min() > 60 and tenths.max() < 140


def test_a_mixture_is_held_at_a_peak_of_0_9_where_a_shorter_source_is_said_again() -> None:
    speech = steady([0.1, 0.1], ["0", "1"], [400, 900])
    speech.index["loudness"] = -60.0  # needs gains that would clip
    speech.samples[100:] = 0
    speech.samples[400 + 400 : 400 + 500] = 3277  # meets the loud part of the shorter when that is said again
    mixer = StaticMixer(speech, 2, 100, seed=0, size=1)
    peaks = [np.abs(mixer.item(step, 0).sum(axis=0)).max() for step in range(300)]
    assert max(peaks) == pytest.approx(0.9, abs=1e-3)


def test_crops_hold_speech() -> None:
    half = steady([0.1] * 2, ["0", "1"], [8000] * 2)
    half.samples[4000:8000] = 0
    crops = StaticMixer(half, 2, 200, seed=0, size=1)
    silent = np.mean([np.abs(crops.item(step, 0)).max(axis=1).min() < 1e-4 for step in range(100)])
    assert silent < 0.03, "a random place would be silent every second time"


def test_gains_bring_sources_to_minus_33_to_minus_25_and_loud_mixtures_to_a_peak_of_0_9() -> None:
    mixer = StaticMixer(steady([0.1] * 400, names(200, 2)), 2, 100, seed=0, size=1)
    loudness = 20 * np.log10(mixer.gains * 0.1)
    assert -33 <= loudness.min() < -32.5 and -25.5 < loudness.max() <= -25
    loud = steady([0.1] * 2, ["0", "1"], [400, 500])
    loud.index["loudness"] = -60.0  # needs a gain that would clip
    mixer = StaticMixer(loud, 2, 100, seed=0, size=1)
    assert mixer.item(0, 0).sum(axis=0).max() == pytest.approx(0.9, abs=1e-3)


def test_it_refuses_what_dynamic_mixing_refuses_and_another_size(speech: Speech) -> None:
    assert isinstance(StaticMixer(speech, 2, 800, seed=0, size=4), Mixer)
    with pytest.raises(InputError, match="chunk_s: a crop needs"):
        StaticMixer(speech, 2, 800_000, seed=0, size=4)
    with pytest.raises(InputError, match="6 speakers; expected at least 7"):
        StaticMixer(speech, 7, 800, seed=0, size=4)
    with pytest.raises(InputError, match="batch: 5 mixtures; expected 4"):
        StaticMixer(speech, 2, 800, seed=0, size=4).batch(0, 5)
