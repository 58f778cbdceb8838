"""Oracle masks: their definitions on made spectra, and their bounds on official mixtures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
from scipy.signal import resample_poly

from audioslots.baselines.oracles import MASKS, open_baseline
from audioslots.config.untrained import BASELINES
from audioslots.runtime.errors import InputError
from audioslots.scoring.metrics import find_permutation, si_sdr

MEASURED_BOUNDS = {
    "oracle-ibm": 13.28,
    "oracle-irm": 12.54,
    "oracle-wiener": 13.67,
    "oracle-psm": 14.49,
    "oracle-magnitude": 12.70,
    # Of all 258 official rows whose speech is at hand, less the 0.07 dB by which the others differ from the 1,000.
    "oracle-ratio-1.5": 13.39,
    "oracle-misi-5": 25.92,
}
"""Mean SI-SDRi in dB over the first 1,000 official Libri2Mix test mixtures (min, clean, 8 kHz, STFT 256/64)."""

SOURCES = torch.tensor([[[3 + 0j, 0 + 0j, 1 + 0j]], [[0 + 1j, 0 + 0j, -2 + 0j]]], dtype=torch.complex128)
"""Spectra of two sources in one bin of three frames: one louder, both silent, opposite phases."""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ibm", [[1, 1, 0], [0, 0, 1]]),
        ("irm", [[3 / 4, 0, 1 / 3], [1 / 4, 0, 2 / 3]]),
        ("wiener", [[9 / 10, 0, 1 / 5], [1 / 10, 0, 4 / 5]]),
        ("psm", [[9 / 10, 0, 0], [1 / 10, 0, 1]]),
        ("magnitude", [[3 / 10**0.5, 0, 1], [1 / 10**0.5, 0, 2]]),
    ],
)
def test_masks_follow_their_definitions(name, expected):
    mask = MASKS[name](SOURCES, SOURCES.sum(0))
    assert torch.allclose(mask[:, 0], torch.tensor(expected, dtype=torch.float64))


def noises(length: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, length)).astype(np.float32)


NAMED = [*BASELINES, "oracle-ratio-1.5", "oracle-misi-3", "oracle-misi-3-512-256", "oracle-psm-512-128"]


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("length", [1, 100, 8001])
def test_every_baseline_returns_an_estimate_a_source_of_the_mixtures_length(name, length):
    sources = noises(length)
    system = open_baseline(name, 8000)
    assert (system.name, system.seed, system.rate) == (name, 0, 8000)
    estimates = system.by_stitching(sources.sum(0), sources)["none"]
    assert estimates.shape == sources.shape
    assert estimates.dtype == np.float32
    assert np.isfinite(estimates).all()


@pytest.mark.parametrize("name", [name for name in NAMED if name != "mixture"])
def test_an_oracle_returns_a_lone_source_as_it_is(name):
    sources = noises(8000)
    sources[1] = 0.0
    estimates = open_baseline(name, 8000).by_stitching(sources.sum(0), sources)["none"]
    assert si_sdr(estimates[0], sources[0]) > 100
    assert np.abs(estimates[1]).max() < 1e-6


@pytest.mark.parametrize(("ratio", "mask"), [("oracle-ratio-1", "oracle-irm"), ("oracle-ratio-2", "oracle-wiener")])
def test_ratio_masks_of_power_one_and_two_are_the_fields_masks(ratio, mask):
    sources = noises(4000)
    ours, known = (open_baseline(name, 8000).by_stitching(sources.sum(0), sources)["none"] for name in (ratio, mask))
    np.testing.assert_allclose(ours, known, atol=1e-6)


def test_the_stft_in_a_name_is_the_one_that_is_used():
    sources = noises(4000)
    system = open_baseline("oracle-psm-512-128", 8000)
    assert (system.window, system.hop) == (512, 128)  # type: ignore[union-attr]
    default = open_baseline("oracle-psm", 8000).by_stitching(sources.sum(0), sources)["none"]
    assert np.abs(system.by_stitching(sources.sum(0), sources)["none"] - default).max() > 0.01


def test_baselines_of_another_kind_or_stft_have_another_identity():
    names = ["mixture", "oracle-ibm", "oracle-irm", "oracle-ibm-512-128"]
    assert len({open_baseline(name, 8000).identity for name in names}) == 4
    assert open_baseline("oracle-ibm", 8000).identity == open_baseline("oracle-ibm", 8000).identity


def test_unknown_names_and_rates_are_refused():
    with pytest.raises(InputError, match="oracle-nonsense: unknown baseline; expected one of mixture, oracle-ibm"):
        open_baseline("oracle-nonsense", 8000)
    with pytest.raises(InputError, match="44100 Hz"):
        open_baseline("oracle-ibm", 44100)


def test_bounds_on_official_mixtures_are_those_of_the_whole_test_set(shared):
    rows = pd.read_csv(shared / "librimix" / "libri2mix_test-clean_sample.csv").iloc[::16]
    gains: dict[str, list[float]] = {name: [] for name in MEASURED_BOUNDS}
    for row in rows.to_dict("records"):
        sources = []
        for number in (1, 2):
            speech, rate = sf.read(shared / "librispeech" / "LibriSpeech" / str(row[f"source_{number}_path"]))
            sources.append(resample_poly(speech * row[f"source_{number}_gain"], 8000, rate))
        shortest = min(map(len, sources))
        stacked = np.stack([source[:shortest] for source in sources]).astype(np.float32)
        mixture = stacked.sum(0)
        for name in MEASURED_BOUNDS:
            estimates = open_baseline(name, 8000).by_stitching(mixture, stacked)["none"]
            assert find_permutation(estimates, stacked) == (0, 1)
            gains[name].append(float(np.mean(si_sdr(estimates, stacked) - si_sdr(mixture, stacked))))
    means = {name: float(np.mean(values)) for name, values in gains.items()}
    # The mean over so few mixtures has a standard error of about 0.4 dB, differences between masks far less.
    assert means == pytest.approx(MEASURED_BOUNDS, abs=1.2)
    ceiling, measured_ceiling = means["oracle-magnitude"], MEASURED_BOUNDS["oracle-magnitude"]
    differences = {name: mean - ceiling for name, mean in means.items()}
    assert differences == pytest.approx({n: b - measured_ceiling for n, b in MEASURED_BOUNDS.items()}, abs=0.2)
