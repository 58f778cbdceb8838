"""Metrics against the packages they must equal, and the table of what is missing and why."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import mir_eval.separation
import numpy as np
import pandas as pd
import pesq as pesq_package
import pystoi
import pytest
import soundfile as sf
import torch
from numpy.typing import NDArray
from scipy.signal import lfilter, resample_poly
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from audioslots.runtime.errors import InputError
from audioslots.scoring import metrics
from audioslots.scoring.metrics import (
    METRICS,
    SCORE_COLUMNS,
    Metric,
    find_permutation,
    per_pair,
    score,
    score_mixture,
    sdr,
    si_sdr,
)
from audioslots.scoring.perception import estoi, pesq
from audioslots.scoring.signals import Undefined

RATE = 8000


def voice(seed: int, seconds: float = 2.5, rate: int = RATE) -> NDArray[np.float64]:
    """Noise through two resonances, in syllables of 0.25 s with random loudness and pauses."""
    rng = np.random.default_rng(seed)
    length = round(seconds * rate)
    loudness = np.repeat(rng.choice([0.0, 0.3, 1.0], math.ceil(4 * seconds), p=[0.2, 0.3, 0.5]), rate // 4)[:length]
    sound = rng.standard_normal(length)
    for frequency in rng.uniform(200, 2500, 2):
        sound = lfilter([1], [1, -1.9 * np.cos(2 * np.pi * frequency / rate), 0.9], sound)
    sound = np.convolve(loudness, np.hanning(rate // 20), "same") * sound + 1e-3 * rng.standard_normal(length)
    return 0.5 * sound / np.abs(sound).max()


def pair(seconds: float = 2.5, rate: int = RATE) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sources [2, samples], and estimates with some of the other source and some noise in them."""
    sources = np.stack([voice(1, seconds, rate), voice(2, seconds, rate)])
    noise = 0.02 * np.random.default_rng(3).standard_normal(sources.shape)
    return sources, sources + [[0.3], [0.1]] * sources[::-1] + noise


def official(shared: Path, rate: int, count: int) -> list[NDArray[np.float64]]:
    """Sources [2, samples] of the first official test mixtures, rendered as LibriMix does (min mode)."""
    rows = pd.read_csv(shared / "librimix" / "libri2mix_test-clean_sample.csv")
    rendered = []
    for row in rows.head(count).to_dict("records"):
        sources = []
        for number in (1, 2):
            path = shared / "librispeech" / "LibriSpeech" / str(row[f"source_{number}_path"])
            speech, speech_rate = sf.read(path, dtype="float32")
            sources.append(resample_poly(speech * row[f"source_{number}_gain"], rate, speech_rate))
        shortest = min(map(len, sources))
        rendered.append(np.stack([source[:shortest] for source in sources]).astype(np.float64))
    return rendered


def assert_equal_to_the_packages(estimates: NDArray[np.float64], sources: NDArray[np.float64], rate: int) -> None:
    rows = score(estimates, sources, sources.sum(0), rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # mir_eval.separation is to go in 0.9
        expected_sdr = mir_eval.separation.bss_eval_sources(sources, estimates, compute_permutation=False)[0]
    for source, estimate, row, expected in zip(sources, estimates, rows, expected_sdr, strict=True):
        signals = torch.from_numpy(estimate), torch.from_numpy(source)
        assert row["failure"] == ""
        assert row["permutation"] == "0,1"
        assert row["si_sdr_db"] == pytest.approx(
            scale_invariant_signal_distortion_ratio(*signals, zero_mean=True).item(), abs=1e-4
        )
        assert row["sdr_db"] == pytest.approx(expected, abs=0.01)
        assert row["pesq"] == pesq_package.pesq(rate, source, estimate, "nb" if rate == 8000 else "wb")
        assert row["stoi"] == pystoi.stoi(source, estimate, rate)
        np.random.seed(0)  # ESTOI adds noise
        assert row["estoi"] == pystoi.stoi(source, estimate, rate, extended=True)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_scores_equal_the_packages_on_made_speech(rate):
    sources, estimates = pair(rate=rate)
    assert_equal_to_the_packages(estimates + 0.01, sources, rate)  # an offset, so that the zero mean shows


def test_scores_equal_the_packages_on_official_mixtures(shared):
    for sources in official(shared, RATE, 2):
        assert_equal_to_the_packages(0.8 * sources + 0.2 * sources.sum(0), sources, RATE)


def test_si_sdr_and_sdr_ignore_the_scale_of_the_estimate():
    sources, estimates = pair()
    for scale in (1e-200, 1e-7, 1e30, 1e200):
        assert si_sdr(scale * estimates[0], sources[0]) == pytest.approx(si_sdr(estimates[0], sources[0]), abs=1e-6)
        assert sdr(scale * estimates[0], sources[0]) == pytest.approx(sdr(estimates[0], sources[0]), abs=1e-6)


def test_estoi_does_not_depend_on_numpys_global_generator_and_leaves_it_alone():
    sources, estimates = pair()
    estimates[0, RATE:] = 0.0  # in silence ESTOI's own random noise decides
    np.random.seed(1)
    first = estoi(estimates[0], sources[0], RATE)
    drawn = np.random.rand()
    np.random.seed(1)
    assert np.random.rand() == drawn
    assert estoi(estimates[0], sources[0], RATE) == first


def test_one_permutation_by_si_sdr_serves_every_metric():
    sources, estimates = pair()
    straight = score(estimates, sources, sources.sum(0), RATE)
    swapped = score(estimates[::-1], sources, sources.sum(0), RATE)
    assert [row.pop("permutation") for row in straight + swapped] == ["0,1", "0,1", "1,0", "1,0"]
    pd.testing.assert_frame_equal(pd.DataFrame(straight), pd.DataFrame(swapped), check_exact=True)


def test_permutation_chooses_among_more_estimates_than_sources():
    sources, estimates = pair()
    extra = [np.zeros_like(sources[0]), np.full_like(sources[0], np.nan)]
    assert find_permutation([extra[0], estimates[1], extra[1], estimates[0]], sources) == (3, 1)
    row = score([extra[0], estimates[1], extra[1], estimates[0]], sources, sources.sum(0), RATE)[0]
    assert (row["permutation"], row["failure"]) == ("3,1", "")


def test_improvements_are_differences_to_the_mixture():
    sources, estimates = pair()
    mixture = sources.sum(0)
    row = score(estimates, sources, mixture, RATE)[0]
    assert set(row) == {*SCORE_COLUMNS, "permutation", "failure"}
    assert row["si_sdri_db"] == row["si_sdr_db"] - float(si_sdr(mixture, sources[0]))
    assert row["sdri_db"] == row["sdr_db"] - sdr(mixture, sources[0])
    assert row["input_pesq"] == pesq_package.pesq(RATE, sources[0], mixture, "nb")
    for row in score(np.stack([mixture, mixture]), sources, mixture, RATE):
        assert (row["si_sdri_db"], row["sdri_db"], row["stoi"]) == (0.0, 0.0, row["input_stoi"])


def test_outputs_are_counted_and_what_no_source_was_given_leaks():
    sources, estimates = pair()
    loud = np.square(estimates).sum()
    further = np.stack([0 * sources[0], np.full(len(sources[0]), np.sqrt(loud / 100 / len(sources[0])))])
    row = score(np.concatenate([further, estimates]), sources, sources.sum(0), RATE)[0]
    assert (row["outputs"], row["leak_db"]) == (3, pytest.approx(-20))
    none = score(estimates, sources, sources.sum(0), RATE)[0]
    assert none["outputs"] == 2 and np.isnan(none["leak_db"])


def test_of_a_single_source_nothing_is_gained():
    source, estimates = pair()[0][:1], pair()[1]
    (row,) = score(estimates, source, source[0], RATE)
    assert np.isfinite(row["si_sdr_db"]) and np.isnan(row["si_sdri_db"]) and np.isnan(row["sdri_db"])
    assert "input_si_sdr_db: infinite" in row["failure"]


def test_given_mixture_scores_are_reused_and_change_nothing(monkeypatch):
    sources, estimates = pair()
    mixture = sources.sum(0)
    expected, given = score(estimates, sources, mixture, RATE), score_mixture(sources, mixture, RATE)
    monkeypatch.setattr(metrics, "score_mixture", lambda *_: pytest.fail("computed again"))
    again = score(estimates, sources, mixture, RATE, given)
    pd.testing.assert_frame_equal(pd.DataFrame(again), pd.DataFrame(expected), check_exact=True)


ALL = set(METRICS)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("change", "missing", "reason"),
    [
        (lambda source, estimate: (source, 0 * estimate), ALL, "estimate is silent"),
        (lambda source, estimate: (source, np.nan * estimate), ALL, "estimate has NaN samples"),
        (lambda source, estimate: (source, estimate + np.inf), ALL, "estimate has infinite samples"),
        (lambda source, estimate: (source, 0 * estimate + 0.5), ALL, "estimate is constant"),
        (lambda source, estimate: (0 * source, estimate), ALL, "source is silent"),
        (lambda source, estimate: (source, source), {"si_sdr_db"}, "infinite"),
        (lambda source, estimate: (source, 1e30 * estimate), {"pesq"}, "No utterances"),
        (lambda source, estimate: (source, 1e-30 * estimate), {"pesq"}, "estimate is too loud or too quiet"),
    ],
)
def test_a_metric_of_a_source_is_a_number_or_missing_with_a_reason(change, missing, reason):
    sources, estimates = pair()
    sources[0], estimates[0] = change(sources[0], estimates[0])
    first, second = score(estimates, sources, pair()[0].sum(0), RATE)
    failures = dict(failure.split(": ") for failure in first["failure"].split("; "))
    for metric in METRICS:
        assert (metric in failures) == (metric in missing) == math.isnan(first[metric]), (metric, first)
    assert all(failures[metric].startswith(reason) for metric in missing)
    assert math.isnan(first["si_sdri_db"]) == ("si_sdr_db" in missing)
    assert math.isnan(first["input_pesq"]) == (reason == "source is silent")
    assert (second["failure"], second["permutation"]) == ("", "0,1")


@pytest.mark.parametrize(
    ("samples", "missing", "reason"),
    [
        ((1, 1), ALL, "source is constant"),
        ((800, 800), {"pesq", "stoi", "estoi"}, "less than 30 frames of speech"),
        ((2400, 2400), {"stoi", "estoi"}, "less than 30 frames of speech"),
        ((20000, 19999), ALL, "estimate has 19999 samples and not 20000"),
    ],
)
def test_short_signals_and_different_lengths_are_missing_with_a_reason(samples, missing, reason):
    sources, estimates = (signals[:, :length] for signals, length in zip(pair(), samples, strict=True))
    row = score(estimates, sources, sources.sum(0), RATE)[0]
    failures = dict(failure.split(": ") for failure in row["failure"].split("; "))
    assert {metric for metric in METRICS if metric in failures} == missing and failures["stoi"] == reason


def test_pesq_states_the_reason_at_other_rates_and_below_a_quarter_of_a_second():
    with pytest.raises(Undefined, match="1/4 of a second"):
        pesq(voice(1)[:1600], voice(2)[:1600], RATE)
    with pytest.raises(Undefined, match="8000 and 16000"):
        pesq(voice(1), voice(2), 44100)


def test_speech_without_utterances_does_not_end_the_process():
    noise = np.random.default_rng(0).standard_normal(40 * RATE)
    for seconds in (3, 40):
        with pytest.raises(Undefined, match="No utterances"):
            pesq(1e30 * noise[::-1][: seconds * RATE], noise[: seconds * RATE], RATE)


def test_more_utterances_than_pesq_has_room_for_do_not_end_the_process():
    speech = np.tile(np.repeat([1.0, 0.0], RATE // 2), 60) * np.random.default_rng(0).standard_normal(60 * RATE)
    with pytest.raises(Undefined, match="more than 50 utterances"):
        pesq(speech + 0.1 * np.roll(speech, 1), speech, RATE)


def test_pesq_of_a_long_signal_equals_the_package():
    speech, other = voice(1, 20), voice(2, 20)
    assert pesq(speech + 0.1 * other, speech, RATE) == pesq_package.pesq(RATE, speech, speech + 0.1 * other, "nb")


def test_a_pure_tone_has_an_sdr_or_a_reason():
    tone = np.sin(0.3 * np.arange(RATE))
    row = score([tone + 0.1 * voice(1, 1.0)], [tone], tone + voice(1, 1.0), RATE)[0]
    assert math.isnan(row["sdr_db"]) == ("sdr_db" in row["failure"].replace("input_sdr_db", ""))


# --- the contract of a metric --------------------------------------------------------------------------------------


def test_a_metric_is_a_function_of_all_signals_with_one_value_per_source(monkeypatch):
    """One like the word error rate: lower is better, the improvement is positive, a source may have no value."""
    sources, estimates = pair()
    mixture, further = sources.sum(0), np.full_like(sources[:1], 1e-3)

    def error_rate(outputs, references, mixed, rate):
        assert np.array_equal(references, sources) and np.array_equal(mixed, mixture) and rate == RATE
        if len(outputs) == 3:  # the estimates: those of the sources first
            assert np.array_equal(outputs, [*estimates, further[0]])
            return [0.25, Undefined("no words")]
        assert np.array_equal(outputs, [mixture, mixture])
        return [0.75, 0.5]

    metric = Metric(error_rate, "WERi", "%", higher_is_better=False, gain="weri", keeps_input=False)
    monkeypatch.setitem(METRICS, "wer", metric)
    assert metric.title == "WERi (%)" and metrics.metric_columns("wer") == ["wer", "weri"]
    first, second = score(np.concatenate([further, estimates[::-1]]), sources, mixture, RATE)
    assert (first["wer"], first["weri"], first["failure"]) == (0.25, 0.5, "") and "input_wer" not in first
    assert np.isnan([second["wer"], second["weri"]]).all() and second["failure"] == "wer: no words"


def test_a_metric_of_pairs_is_not_called_where_no_metric_is_defined():
    sources, estimates = pair()
    estimates[0] = np.nan
    values = per_pair(lambda estimate, source, rate: float(np.isfinite(estimate).all()))(estimates, sources, [], RATE)
    assert str(values[0]) == "estimate has NaN samples" and values[1] == 1.0


def test_fewer_estimates_than_sources_are_refused():
    sources, estimates = pair()
    with pytest.raises(InputError, match="1 for 2 sources; expected at least as many"):
        score(estimates[:1], sources, sources.sum(0), RATE)
