"""Mixing on the fly: the same mixtures for whoever asks, by LibriMix's rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioslots.data.training.mixing import Mixer
from audioslots.data.training.packing import Speech, pack
from audioslots.runtime.errors import InputError

few = settings(max_examples=15, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def speech(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Speech:
    out = tmp_path_factory.mktemp("packed") / "train"
    pack(made_corpus, "train-clean", out, 8000)
    return Speech.open(out)


def drawn(utterances: list[np.ndarray], loudness: float | None = None) -> Speech:
    """Speech made by hand, a speaker an utterance, its loudness that of its root mean square."""
    samples = [np.rint(np.asarray(part) * 32768).clip(-32768, 32767).astype(np.int16) for part in utterances]
    starts = np.cumsum([0, *map(len, samples)])[:-1]
    rows = [
        (
            f"{number}",
            f"{number}",
            "F",
            start,
            len(part),
            loudness or 10 * np.log10(np.mean(whole**2)),
            abs(whole).max(),
        )
        for number, (start, part, whole) in enumerate(zip(starts, samples, utterances, strict=True))
    ]
    columns = ["utterance", "speaker_id", "sex", "start", "length", "loudness", "peak"]
    return Speech(np.concatenate(samples), pd.DataFrame(rows, columns=columns), 8000, "made")


def steady(*levels: float) -> Speech:
    """Constant signals, so that a crop's value over its level is its gain."""
    return drawn([np.full(1000, level) for level in levels])


def test_a_batch_holds_the_sources_of_its_items(speech: Speech) -> None:
    mixer = Mixer(speech, sources=2, chunk=4000, seed=0)
    batch = mixer.batch(step=3, size=4)
    assert (batch.shape, batch.dtype) == ((4, 2, 4000), np.float32)
    for item in range(4):
        assert np.array_equal(batch[item], mixer.item(3, item))


@few
@given(seed=st.integers(0, 2**32), step=st.integers(0, 300_000), item=st.integers(0, 255))
def test_a_mixture_is_a_pure_function_of_seed_step_and_item(speech, seed: int, step: int, item: int) -> None:
    first = Mixer(speech, 2, 800, seed)
    expected = first.item(step, item)
    second = Mixer(speech, 2, 800, seed)
    second.batch(step + 1, 2)  # what was asked for before does not matter, nor does NumPy's own state
    np.random.default_rng().random()
    assert np.array_equal(second.item(step, item), expected)
    others = (Mixer(speech, 2, 800, seed + 1).item(step, item), first.item(step + 1, item), first.item(step, item + 1))
    assert not any(np.array_equal(other, expected) for other in others)


def test_every_step_and_item_draws_its_own_mixture(speech: Speech) -> None:
    mixer = Mixer(speech, 2, 400, seed=1)
    crops = {mixer.item(step, item).tobytes() for step in range(8) for item in range(8)}
    assert len(crops) == 64


@pytest.mark.parametrize("sources", [2, 3])
def test_the_sources_of_a_mixture_are_different_speakers(sources: int) -> None:
    speakers = drawn([np.sin(np.arange(1000) * rate) / 9 for rate in (0.1, 0.3, 0.9, 2.0)])
    tones = Mixer(speakers, sources, 1000, seed=0)
    heard = set()
    for item in range(30):
        peaks = np.abs(np.fft.rfft(tones.item(0, item))).argmax(axis=1).tolist()
        assert len(set(peaks)) == sources
        heard |= set(peaks)
    assert len(heard) == 4, "every speaker is heard"


def test_each_source_is_brought_to_a_loudness_between_minus_33_and_minus_25() -> None:
    mixer = Mixer(steady(0.01, 0.05, 0.2, 0.4), 2, 100, seed=0)
    loudness = 20 * np.log10(mixer.batch(0, 200)[:, :, 0])
    assert loudness.min() >= -33.01
    assert loudness.max() <= -24.99
    counts, _ = np.histogram(loudness, bins=4, range=(-33, -25))
    assert counts.min() > 60, "uniform: a hundred are expected in each quarter"


def test_a_source_that_would_clip_and_then_the_mixture_are_brought_down_to_a_peak_of_0_9() -> None:
    # Loudness far below what the peaks suggest, as of a few bangs in a long silence: the gain would be 20 dB or more.
    loud = drawn([np.full(1000, 0.99), np.full(1000, 0.98)], loudness=-60.0)
    for item in range(5):
        sources = Mixer(loud, 2, 100, seed=0).item(0, item)
        assert np.abs(sources.sum(axis=0)).max() == pytest.approx(0.9, abs=1e-5)
        assert sources == pytest.approx(np.full((2, 100), 0.45), abs=1e-4), "one factor for both"


@few
@given(step=st.integers(0, 1000))
def test_no_mixture_exceeds_a_peak_of_0_9(speech, step: int) -> None:
    mixtures = Mixer(speech, 3, 2000, seed=2).batch(step, 4).sum(axis=1)
    assert np.abs(mixtures).max() <= 0.9 + 1e-6


def test_levels_do_not_depend_on_the_length_of_the_chunk() -> None:
    speech = steady(0.01, 0.05, 0.2, 0.4)
    short, long = Mixer(speech, 2, 100, seed=3), Mixer(speech, 2, 700, seed=3)
    for item in range(10):
        assert np.array_equal(short.item(5, item), long.item(5, item)[:, :100])


def test_crops_hold_speech_where_an_utterance_is_half_silent() -> None:
    noise = np.random.default_rng(0)
    utterances = [np.concatenate([np.zeros(4000), 0.1 * noise.standard_normal(4000)]) for _ in range(4)]
    crops = Mixer(drawn(utterances), 2, 200, seed=0).batch(0, 100)
    silent = np.mean(np.abs(crops).max(axis=-1) < 1e-4)
    assert silent < 0.03, "a random place would be silent every second time"


def test_crops_are_taken_from_everywhere() -> None:
    ramp = drawn([np.linspace(0.3, 0.4, 1000)] * 2)
    crops = Mixer(ramp, 2, 100, seed=0).batch(0, 100)
    slopes = (crops[..., -1] - crops[..., 0]) / crops[..., 0]  # falls from 1/30 to 1/39 along the ramp
    assert slopes.min() < 0.0268
    assert slopes.max() > 0.0318


def test_speed_moves_the_pitch_by_up_to_its_share_and_no_further() -> None:
    tone = drawn([0.1 * np.sin(2 * np.pi * 0.1 * np.arange(4000)) for _ in range(2)])
    crops = Mixer(tone, 2, 2000, seed=0, speed=0.2).batch(0, 100)
    assert crops.shape == (100, 2, 2000)
    pitches = np.abs(np.fft.rfft(crops)).argmax(axis=-1) / 200  # relative to the tone's own
    assert pitches.min() == pytest.approx(0.8, abs=0.02)
    assert pitches.max() == pytest.approx(1.2, abs=0.02)
    still = Mixer(tone, 2, 2000, seed=0).batch(0, 10)
    assert (np.abs(np.fft.rfft(still)).argmax(axis=-1) == 200).all()


@pytest.mark.parametrize(("even", "share"), [(False, 0.9), (True, 1 / 3)])
def test_every_utterance_or_every_speaker_is_as_likely_as_any_other(even: bool, share: float) -> None:
    tones = drawn([np.sin(np.arange(500) * (2.0 if number < 18 else 0.2)) / 9 for number in range(20)])
    tones.index["speaker_id"] = ["0"] * 18 + ["1", "2"]
    crops = Mixer(tones, 1, 500, seed=0, even_speakers=even).batch(0, 300)[:, 0]
    talkative = np.abs(np.fft.rfft(crops)).argmax(axis=-1) > 100
    assert talkative.mean() == pytest.approx(share, abs=0.08)


def test_a_chunk_as_long_as_the_shortest_utterance_fits() -> None:
    speech = drawn([np.full(1000, 0.1), np.full(600, 0.1)])
    assert Mixer(speech, 2, 600, seed=0).batch(0, 4).shape == (4, 2, 600)
    with pytest.raises(InputError, match="needs 660 samples"):  # played a tenth faster
        Mixer(speech, 2, 600, seed=0, speed=0.1)
    with pytest.raises(InputError, match="needs 601 samples; the shortest utterance of made has 600"):
        Mixer(speech, 2, 601, seed=0)


def test_fewer_speakers_than_sources_are_refused() -> None:
    with pytest.raises(InputError, match="made: 2 speakers; expected at least 3"):
        Mixer(steady(0.1, 0.2), 3, 100, seed=0)


def test_items_together_are_of_the_same_utterances_and_levels_from_places_of_their_own(speech: Speech) -> None:
    mixer, alone = Mixer(speech, 2, 2000, 0, speed=0.1, together=3), Mixer(speech, 2, 2000, 0, speed=0.1)
    crops = [mixer.drawn(5, item) for item in range(6)]
    for group in (crops[:3], crops[3:]):
        for source in range(2):
            assert len({(crop[source].gain, crop[source].heard, crop[source].enough) for crop in group}) == 1
            assert len({tuple(crop[source].places) for crop in group}) == 3
            starts, lengths = speech.index["start"].to_numpy(), speech.index["length"].to_numpy()
            rows = {int(np.searchsorted(starts, crop[source].places[0], side="right")) - 1 for crop in group}
            assert len(rows) == 1
            row = rows.pop()
            for crop in group:
                assert all(0 <= at - starts[row] <= lengths[row] - crop[source].heard for at in crop[source].places)
    assert [mixer.drawn(5, item) for item in (0, 3)] == [alone.drawn(5, item) for item in (0, 3)]
    assert crops[0][0].gain != crops[3][0].gain


def test_in_a_share_of_the_items_a_source_speaks_alone_or_before_the_other_and_else_nothing_changes(
    speech: Speech,
) -> None:
    both, alone = (Mixer(speech, 2, 2000, 3, together=2, alone=share) for share in (0.0, 0.4))
    items = [(step, item) for step in range(100) for item in range(8)]
    drawn = [alone.drawn(*item) for item in items]
    whole = np.array([[crop.since == 0 and crop.until == 2000 for crop in crops] for crops in drawn])
    silent = np.array([[crop.since == 2000 for crop in crops] for crops in drawn])
    assert 0.33 < (~whole.all(axis=1)).mean() < 0.47
    assert not silent.all(axis=1).any() and all(0.07 < silent[:, source].mean() < 0.13 for source in range(2))
    assert (~silent[~whole.all(axis=1)].any(axis=1)).mean() == pytest.approx(0.5, abs=0.1), "half of them are turns"
    turns = [crops for crops, parted in zip(drawn, ~(whole.any(axis=1) | silent.any(axis=1)), strict=True) if parted]
    pauses = [crops[0].until < crops[1].since or crops[1].until < crops[0].since for crops in turns]
    assert turns and 0.3 < np.mean(pauses) < 0.7, "with a pause or an overlap"
    first, second = whole[::2].all(axis=1), whole[1::2].all(axis=1)
    assert 0.3 < (first != second).mean() < 0.6, "those together differ in it"
    for item, crops in zip(items, drawn, strict=True):
        assert both.drawn(*item) == [crop._replace(since=0, until=2000) for crop in crops]
    for item in items[:40]:
        for crop, signal in zip(alone.drawn(*item), alone.item(*item), strict=True):
            assert not signal[: crop.since].any() and not signal[crop.until :].any()
            assert signal[crop.since : crop.until].any() or crop.until - crop.since < 200
