"""Separating whole recordings: lengths, levels and files are kept, whatever the recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from audioslots.config import Resolved
from audioslots.errors import InputError
from audioslots.model.audioslots import AudioSlots
from audioslots.model.weights import build, save_model
from audioslots.separation.separate import Separator, loudest, separate_file


def tiny(rate: int = 8000, slots: int = 2) -> Separator:
    """An untrained model of chunks of 0.1 s."""
    document: dict[str, Any] = {
        "name": "tiny",
        "benchmark": "made",
        "seed": 3,
        "rate": rate,
        "sources": 2,
        "train": "train",
        "validation": None,
        "held_out_speakers": 2,
        "data_identity": "made",
        "chunk_s": 0.1,
        "spectrogram": {"window": 128, "hop": 64},
        "encoder": {"kind": "frames", "width": 16, "layers": 1, "heads": 2, "mlp": 16},
        "slots": {"count": slots, "layers": 1},
        "decoder": {"width": 16, "layers": 1, "output": "sigmoid"},
    }
    config = Resolved.model_validate(document)
    torch.manual_seed(0)
    return Separator(AudioSlots(config, config.chunk).eval(), config)


def recording(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    random = np.random.default_rng(0)
    return 0.1 * random.standard_normal((round(seconds * rate), channels))


@pytest.mark.parametrize("samples", [1, 500, 800, 801, 12_345])
def test_estimates_are_as_long_as_the_recording(samples: int) -> None:
    mixture = 0.1 * torch.randn(samples)
    references = 0.1 * torch.randn(2, samples)
    blind, oracle = tiny().estimates(mixture, references)
    assert oracle is not None
    assert blind.shape == oracle.shape == (2, samples)
    assert torch.isfinite(blind).all() and torch.isfinite(oracle).all()
    assert tiny().estimates(mixture)[1] is None


def test_there_are_as_many_estimates_as_sources_however_many_slots() -> None:
    separator = tiny(slots=3)
    estimates = separator.separate(np.ones(2000, np.float32), np.ones((2, 2000), np.float32))
    assert {name: waveforms.shape for name, waveforms in estimates.items()} == {"blind": (2, 2000), "oracle": (2, 2000)}


@pytest.mark.parametrize("samples", [1, 500, 12_345, 100_000])
def test_conv_tasnet_separates_a_recording_in_one_piece_and_a_longer_one_in_pieces(samples: int) -> None:
    sizes = {"filters": 8, "features": 8, "hidden": 8, "layers": 1, "stacks": 1}
    content = tiny().config.model_dump() | {"model": "conv_tasnet", "conv_tasnet": sizes, "training": {"loss": "snr"}}
    config = Resolved.model_validate(content)
    torch.manual_seed(0)
    model, mixture = build(config).eval(), 0.1 * torch.randn(samples)
    estimates, oracle = Separator(model, config).estimates(mixture, 0.1 * torch.randn(2, samples))
    assert oracle is not None and estimates.shape == oracle.shape == (2, samples)
    torch.testing.assert_close(estimates, model(mixture[None]).waveforms[0].detach(), atol=1e-6, rtol=1e-5)
    short = config.model_copy(update={"separation": config.separation.model_copy(update={"longest_s": 0.5})})
    assert Separator(model, short).estimates(mixture)[0].shape == (2, samples)


def test_estimates_do_not_depend_on_how_many_chunks_go_through_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = 0.1 * torch.randn(20_000)
    whole, _ = tiny().estimates(mixture)
    monkeypatch.setattr("audioslots.separation.separate.BATCH_S", 0.3)
    torch.testing.assert_close(tiny().estimates(mixture)[0], whole)


def test_silence_is_separated_into_silence() -> None:
    blind, _ = tiny().estimates(torch.zeros(3000))
    assert torch.isfinite(blind).all() and blind.abs().max() < 1e-6


def test_saved_model_separates_alike(tmp_path: Path) -> None:
    separator = tiny()
    save_model(tmp_path / "model.safetensors", separator.model, separator.config)
    mixture = 0.1 * torch.randn(3000)
    for path in (tmp_path, tmp_path / "model.safetensors"):
        loaded = Separator.load(path)
        assert (loaded.name, loaded.seed, loaded.rate) == ("tiny", 3, 8000)
        assert torch.equal(loaded.estimates(mixture)[0], separator.estimates(mixture)[0])


@pytest.mark.parametrize(
    ("rate", "channels", "name"), [(44_100, 2, "talk.wav"), (8000, 1, "talk.flac"), (11_025, 1, "talk.ogg")]
)
def test_file_of_any_rate_gives_files_of_the_same_rate_and_length(
    tmp_path: Path, rate: int, channels: int, name: str
) -> None:
    soundfile.write(tmp_path / name, recording(0.777, rate, channels), rate)
    length = soundfile.info(tmp_path / name).frames
    written = separate_file(tiny(), tmp_path / name, tmp_path / "out" / "deep")
    assert written == [tmp_path / "out" / "deep" / f"talk_s{number}.wav" for number in (1, 2)]
    assert sorted((tmp_path / "out" / "deep").iterdir()) == written
    for path in written:
        info = soundfile.info(path)
        assert (info.samplerate, info.frames, info.channels, info.subtype) == (rate, length, 1, "PCM_16")
        assert np.abs(soundfile.read(path)[0]).max() > 1e-3


def test_channels_are_averaged(tmp_path: Path) -> None:
    stereo = recording(0.5, 8000, 2)
    soundfile.write(tmp_path / "stereo.wav", stereo, 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "mono.wav", stereo.mean(axis=1), 8000, subtype="FLOAT")
    for name in ("stereo", "mono"):
        separate_file(tiny(), tmp_path / f"{name}.wav", tmp_path)
    for number in (1, 2):
        one, other = (soundfile.read(tmp_path / f"{name}_s{number}.wav")[0] for name in ("stereo", "mono"))
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_what_would_clip_is_scaled_down_together(tmp_path: Path) -> None:
    loud, quiet = 40 * recording(0.5, 8000), recording(0.5, 8000)
    for name, samples in {"loud": loud, "quiet": quiet}.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, 8000, subtype="FLOAT")
        separate_file(tiny(), tmp_path / f"{name}.wav", tmp_path)
    loud_estimates, quiet_estimates = (
        np.stack([soundfile.read(tmp_path / f"{name}_s{number}.wav")[0] for number in (1, 2)])
        for name in ("loud", "quiet")
    )
    assert np.abs(loud_estimates).max() > 0.999
    scale = np.abs(quiet_estimates).max() / np.abs(loud_estimates).max()
    np.testing.assert_allclose(loud_estimates * scale, quiet_estimates, atol=1e-3)


def test_the_loudest_estimates_are_kept_where_slots_are_spare() -> None:
    separator, levels = tiny(slots=3), torch.tensor([0.2, 0.001, 0.1])
    estimates = levels[:, None].expand(3, 100)
    assert loudest(estimates, 2).tolist() == [0, 2]
    mixture = torch.from_numpy(recording(0.5, 8000)[:, 0]).float()
    every = replace(separator, config=separator.config.model_copy(update={"sources": 3})).estimates(mixture)[0]
    kept = separator.estimates(mixture)[0]
    assert kept.shape == (2, 4000)
    torch.testing.assert_close(kept, every[loudest(every, 2)], atol=0, rtol=0)


def test_what_is_no_audio_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio at all")
    (tmp_path / "nothing.wav").touch()
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 8000, subtype="FLOAT")
    says = {"text": "cannot be read", "nothing": "cannot be read", "empty": "no samples", "nan": "not finite"}
    for name, reason in (says | {"absent": "no such file"}).items():
        with pytest.raises(InputError, match=rf"{name}.wav: .*{reason}"):
            separate_file(tiny(), tmp_path / f"{name}.wav", tmp_path / "out")
    with pytest.raises(InputError, match="no such file"):
        separate_file(tiny(), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
