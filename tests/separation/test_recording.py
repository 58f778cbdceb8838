"""Separating files: of any kind, rate, channels and length, or refused in one line; nothing half-written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from made_separator import recording, tiny
from torch import Tensor

from audioslots.runtime.errors import InputError
from audioslots.separation.recording import separate_file
from audioslots.separation.separate import Separator


def read(paths: list[Path]) -> np.ndarray:
    """Estimates (S, T)."""
    return np.stack([soundfile.read(path)[0] for path in paths])


@pytest.mark.parametrize(
    ("name", "subtype", "rate", "channels"),
    [
        ("talk.wav", "PCM_16", 8000, 1),
        ("talk.wav", "PCM_24", 44_100, 2),
        ("talk.wav", "FLOAT", 48_000, 8),
        ("talk.wav", "DOUBLE", 192_000, 1),
        ("talk.wav", "PCM_U8", 11_025, 1),
        ("talk.wav", "PCM_32", 96_000, 1),
        ("talk.flac", "PCM_16", 16_000, 1),
        ("talk.flac", "PCM_24", 22_050, 2),
        ("talk.ogg", "VORBIS", 44_100, 2),
        ("talk.mp3", "MPEG_LAYER_III", 44_100, 1),
        ("talk.mp3", "MPEG_LAYER_III", 16_000, 2),
    ],
)
def test_file_of_any_kind_and_rate_gives_files_of_the_same_rate_and_length(
    tmp_path: Path, name: str, subtype: str, rate: int, channels: int
) -> None:
    soundfile.write(tmp_path / name, recording(0.777, rate, channels), rate, subtype=subtype)
    length = len(soundfile.read(tmp_path / name)[0])
    written = separate_file(tiny(), tmp_path / name, tmp_path / "out" / "deep")
    assert written == [tmp_path / "out" / "deep" / f"talk_s{number}.wav" for number in (1, 2)]
    assert sorted((tmp_path / "out" / "deep").iterdir()) == written
    for path in written:
        info = soundfile.info(path)
        assert (info.samplerate, info.frames, info.channels, info.subtype) == (rate, length, 1, "PCM_16")
        assert np.abs(soundfile.read(path)[0]).max() > 1e-3


@pytest.mark.parametrize("rate", [8000, 44_100])
@pytest.mark.parametrize("slots", [2, 3])
def test_a_file_read_in_blocks_gives_what_its_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, slots: int
) -> None:
    waveform = recording(1.3, rate)
    soundfile.write(tmp_path / "talk.wav", waveform, rate, subtype="FLOAT")
    monkeypatch.setattr("audioslots.separation.recording.BLOCK", 997)
    for mixture_consistency in (False, True):
        estimates = read(
            separate_file(tiny(slots=slots), tmp_path / "talk.wav", tmp_path, False, mixture_consistency, True)
        )
        whole = tiny(slots=slots).separate(waveform, rate, mixture_consistency)
        np.testing.assert_allclose(estimates, whole, atol=1e-6)
    np.testing.assert_allclose(estimates.sum(axis=0), waveform[:, 0], atol=1e-6)


def made(kind: str) -> np.ndarray:
    time = np.arange(8000) / 8000
    speech = np.sin(2 * np.pi * 150 * time) * np.sin(2 * np.pi * 2 * time).clip(0)
    return {"silence": 0 * time, "sine": 0.9 * np.sin(2 * np.pi * 440 * time), "one speaker": 0.5 * speech}[kind]


@pytest.mark.parametrize("kind", ["silence", "sine", "one speaker"])
def test_what_is_no_mixture_is_separated_too(tmp_path: Path, kind: str) -> None:
    soundfile.write(tmp_path / "talk.wav", made(kind), 8000)
    estimates = read(separate_file(tiny(), tmp_path / "talk.wav", tmp_path / "out"))
    assert estimates.shape == (2, 8000) and np.isfinite(estimates).all()
    assert (np.abs(estimates).max() > 1e-3) == (kind != "silence")
    if kind == "one speaker":
        assert np.abs(estimates[:, 6500:7500]).max() < 1e-3 < np.abs(estimates[:, 800:1200]).max()  # the pause stays


def test_one_sample_is_a_recording(tmp_path: Path) -> None:
    for rate in (8000, 192_000):
        soundfile.write(tmp_path / "talk.wav", np.full(1, 0.5), rate)
        assert read(separate_file(tiny(), tmp_path / "talk.wav", tmp_path)).shape == (2, 1)


def test_channels_are_averaged_or_separated_each_by_itself(tmp_path: Path) -> None:
    several = recording(0.5, 8000, 8)
    soundfile.write(tmp_path / "eight.wav", several, 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "mean.wav", several.mean(axis=1), 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "third.wav", several[:, 2], 8000, subtype="FLOAT")
    averaged, mean, third = (
        read(separate_file(tiny(), tmp_path / f"{name}.wav", tmp_path)) for name in ("eight", "mean", "third")
    )
    np.testing.assert_allclose(averaged, mean, atol=1e-4)
    paths = separate_file(tiny(), tmp_path / "eight.wav", tmp_path / "each", each_channel=True)
    assert [path.name for path in paths] == [f"eight_c{c}_s{s}.wav" for c in range(1, 9) for s in (1, 2)]
    np.testing.assert_allclose(read(paths[4:6]), third, atol=1e-4)


def test_what_would_clip_is_scaled_down_together_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loud, quiet = 40 * recording(0.5, 8000), recording(0.5, 8000)
    found = {}
    for name, samples in {"quiet": quiet, "loud": loud}.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, 8000, subtype="FLOAT")
        assert capsys.readouterr().err == ""
        found[name] = read(separate_file(tiny(), tmp_path / f"{name}.wav", tmp_path))
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "loud_s*.wav" in said and "dB quieter" in said
    assert np.abs(found["loud"]).max() > 0.999
    scale = np.abs(found["quiet"]).max() / np.abs(found["loud"]).max()
    np.testing.assert_allclose(found["loud"] * scale, found["quiet"], atol=1e-3)

    floating = separate_file(tiny(), tmp_path / "loud.wav", tmp_path, floating=True)
    assert {soundfile.info(path).subtype for path in floating} == {"FLOAT"}
    np.testing.assert_allclose(read(floating), 40 * found["quiet"], atol=2e-3)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("share", [0.3, 0.99])
def test_truncated_mp3_is_separated_as_far_as_it_goes(tmp_path: Path, share: float) -> None:
    soundfile.write(tmp_path / "whole.mp3", recording(2.0, 16_000), 16_000)
    content = (tmp_path / "whole.mp3").read_bytes()
    (tmp_path / "talk.mp3").write_bytes(content[: int(share * len(content))])
    estimates = read(separate_file(tiny(), tmp_path / "talk.mp3", tmp_path / "out"))
    assert 0.6 * share < estimates.shape[1] / 32_000 < 1.1 * share + 0.1
    assert np.isfinite(estimates).all() and np.abs(estimates).max() > 1e-3


def test_what_is_no_audio_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio at all")
    (tmp_path / "text.mp3").write_text("no audio at all")
    (tmp_path / "text.raw").write_text("no audio at all")
    (tmp_path / "nothing.wav").touch()
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "huge.wav", np.full(100, 1e30), 8000, subtype="FLOAT")
    (tmp_path / "folder.wav").mkdir()
    says = dict.fromkeys(("text.wav", "text.mp3", "text.raw", "nothing.wav"), "cannot be decoded")
    says |= {"empty.wav": "no samples", "nan.wav": "not finite", "huge.wav": "not finite"}
    for name, reason in (says | {"absent.wav": "no such file", "folder.wav": "Is a directory"}).items():
        with pytest.raises(InputError, match=rf"{name}: .*{reason}"):
            separate_file(tiny(), tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_separation_that_breaks_leaves_no_file(tmp_path: Path) -> None:
    class Breaking(Separator):
        def stream(self, blocks: Iterator[Tensor], *settings: object) -> Iterator[Tensor]:
            yield torch.zeros(2, 100)
            raise KeyboardInterrupt

    soundfile.write(tmp_path / "talk.wav", recording(0.5, 8000), 8000)
    with pytest.raises(KeyboardInterrupt):
        separate_file(Breaking(tiny().model, tiny().config), tmp_path / "talk.wav", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_recording_too_long_for_wav_is_written_as_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audioslots.separation.recording.LONGEST_WAV", 1000)
    soundfile.write(tmp_path / "talk.wav", recording(0.5, 8000), 8000)
    written = separate_file(tiny(), tmp_path / "talk.wav", tmp_path / "out")
    assert {soundfile.info(path).format for path in written} == {"RF64"}
    assert read(written).shape == (2, 4000)
