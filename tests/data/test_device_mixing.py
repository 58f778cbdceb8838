"""Mixing on the device gives what mixing on the host gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from audioslots.data.training import device_mixing
from audioslots.data.training.device_mixing import DeviceMixer
from audioslots.data.training.mixing import Mixer
from audioslots.data.training.packing import Speech, pack
from audioslots.data.training.static import StaticMixer
from audioslots.runtime.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def speech(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Speech:
    folder = tmp_path_factory.mktemp("packed")
    pack(made_corpus, "train-clean", folder, 8000)
    return Speech.open(folder)


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand"))],
)
@pytest.mark.parametrize(
    "settings", [{}, {"speed": 0.15, "even_speakers": True}, {"together": 4, "alone": 0.5}, {"counts": (1, 2)}]
)
def test_the_device_mixes_what_the_host_mixes(speech: Speech, settings: dict, device: str) -> None:
    mixer = Mixer(speech, 2, 4000, seed=3, **settings)
    on_device = DeviceMixer(mixer, torch.device(device))
    for step in range(4):
        mixed = on_device.mixed(on_device.drawn(step, range(16)))
        assert mixed.shape == (16, 2, 4000) and mixed.dtype == torch.float32 and mixed.device.type == device
        torch.testing.assert_close(mixed.cpu(), torch.from_numpy(mixer.batch(step, 16)), atol=1e-6, rtol=1e-5)


def test_the_device_holds_speech_that_is_longer_than_a_piece(speech: Speech, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(speech.samples) % 100_001
    monkeypatch.setattr(device_mixing, "PIECE", 100_001)
    assert np.array_equal(DeviceMixer(Mixer(speech, 2, 800, seed=3), CPU).samples.numpy(), speech.samples)


def test_a_share_of_a_batch_is_that_part_of_the_whole(speech: Speech) -> None:
    on_device = DeviceMixer(Mixer(speech, 2, 800, seed=3), CPU)
    whole, half = (on_device.mixed(on_device.drawn(5, items)) for items in (range(8), range(4, 8)))
    torch.testing.assert_close(half, whole[4:], atol=0, rtol=0)


def test_three_sources_and_loud_speech_are_scaled_together(speech: Speech) -> None:
    index = speech.index.assign(loudness=-60.0, peak=0.001)  # so that gains are large, and sums would clip
    mixer = Mixer(Speech(speech.samples, index, speech.rate, speech.subset), 3, 800, seed=0)
    on_device = DeviceMixer(mixer, CPU)
    mixed = on_device.mixed(on_device.drawn(0, range(6)))
    assert mixed.sum(dim=1).abs().max() == pytest.approx(0.9, abs=1e-5)
    torch.testing.assert_close(mixed, torch.from_numpy(mixer.batch(0, 6)), atol=1e-6, rtol=1e-5)


def test_a_fixed_list_of_mixtures_is_refused(speech: Speech) -> None:
    with pytest.raises(InputError, match="--mix-on-device: training.mixing is static; expected dynamic"):
        DeviceMixer(StaticMixer(speech, 2, 800, 0, size=2), CPU)
