"""Separating files: of any kind, rate, channels and length, or an error of one line; nothing half-written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from made_separator import noise, tiny
from torch import Tensor

from audioslots.runtime.errors import InputError
from audioslots.separation.recording import FileOptions, separate_file
from audioslots.separation.separator import Separator


def read(paths: list[Path]) -> np.ndarray:
    """Estimates (S, T)."""
    return np.stack([soundfile.read(path)[0] for path in paths])


def separate(folder: Path, samples: np.ndarray, rate: int = 8000, **options: bool) -> np.ndarray:
    """Estimates (S, T) of a file of 32-bit floats."""
    soundfile.write(folder / "talk.wav", samples, rate, subtype="FLOAT")
    return read(separate_file(tiny(), folder / "talk.wav", folder / "out", FileOptions(**options)))


@pytest.mark.parametrize(
    ("name", "subtype", "rate", "channels"),
    [
        ("talk.wav", "PCM_16", 8000, 1),
        ("talk.wav", "PCM_24", 44_100, 2),
        ("talk.wav", "FLOAT", 48_000, 8),
        ("talk.wav", "DOUBLE", 192_000, 1),
        ("talk.wav", "PCM_U8", 11_025, 1),
        ("talk.flac", "PCM_16", 16_000, 1),
        ("talk.ogg", "VORBIS", 44_100, 2),
        ("talk.mp3", "MPEG_LAYER_III", 44_100, 1),
        ("talk.mp3", "MPEG_LAYER_III", 16_000, 2),
    ],
)
def test_a_file_of_any_kind_and_rate_gives_files_of_the_same_rate_and_length(
    tmp_path: Path, name: str, subtype: str, rate: int, channels: int
) -> None:
    soundfile.write(tmp_path / name, noise(0.777, rate, channels), rate, subtype=subtype)
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
@pytest.mark.parametrize("mixture_consistency", [False, True])
def test_a_file_read_in_blocks_gives_what_its_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, slots: int, mixture_consistency: bool
) -> None:
    waveform = noise(1.3, rate)
    soundfile.write(tmp_path / "talk.wav", waveform, rate, subtype="FLOAT")
    monkeypatch.setattr("audioslots.separation.recording.BLOCK", 997)
    options = FileOptions(mixture_consistency=mixture_consistency, is_float=True)
    estimates = read(separate_file(tiny(slots), tmp_path / "talk.wav", tmp_path, options))
    np.testing.assert_allclose(estimates, tiny(slots).separate(waveform, rate, mixture_consistency), atol=1e-6)
    assert np.allclose(estimates.sum(axis=0), waveform[:, 0], atol=1e-6) == mixture_consistency


TIME = np.arange(8000) / 8000
PAUSED = 0.5 * np.sin(2 * np.pi * 150 * TIME) * np.sin(2 * np.pi * 2 * TIME).clip(0)  # silent every other 0.25 s


@pytest.mark.parametrize("samples", [0 * TIME, 0.9 * np.sin(2 * np.pi * 440 * TIME), PAUSED])
def test_what_is_no_mixture_is_separated_too(tmp_path: Path, samples: np.ndarray) -> None:
    estimates = separate(tmp_path, samples)
    assert estimates.shape == (2, 8000) and np.isfinite(estimates).all()
    assert (np.abs(estimates).max() > 1e-3) == samples.any()
    if samples is PAUSED:
        assert np.abs(estimates[:, 6500:7500]).max() < 1e-3 < np.abs(estimates[:, 800:1200]).max()


@pytest.mark.parametrize("rate", [8000, 192_000])
def test_one_sample_is_a_recording(tmp_path: Path, rate: int) -> None:
    assert separate(tmp_path, np.full(1, 0.5), rate).shape == (2, 1)


def test_channels_are_averaged_or_separated_each_by_itself(tmp_path: Path) -> None:
    several = noise(0.5, 8000, 8)
    mean, third = separate(tmp_path, several.mean(axis=1)), separate(tmp_path, several[:, 2])
    np.testing.assert_allclose(separate(tmp_path, several), mean, atol=1e-4)
    paths = separate_file(tiny(), tmp_path / "talk.wav", tmp_path / "each", FileOptions(each_channel=True))
    assert [path.name for path in paths] == [f"talk_c{c}_s{s}.wav" for c in range(1, 9) for s in (1, 2)]
    np.testing.assert_allclose(read(paths[4:6]), third, atol=1e-4)


def test_what_would_clip_is_scaled_down_together_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = separate(tmp_path, noise(0.5))
    np.testing.assert_allclose(separate(tmp_path, 40 * noise(0.5), is_float=True), 40 * quiet, atol=2e-3)
    assert soundfile.info(tmp_path / "out" / "talk_s1.wav").subtype == "FLOAT"
    assert capsys.readouterr().err == ""
    loud = separate(tmp_path, 40 * noise(0.5))
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and "talk_s*.wav" in printed and "dB quieter" in printed
    assert np.abs(loud).max() > 0.999
    np.testing.assert_allclose(loud * np.abs(quiet).max() / np.abs(loud).max(), quiet, atol=1e-3)


@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_truncated_mp3_is_separated_as_far_as_it_goes(tmp_path: Path, share: float) -> None:
    soundfile.write(tmp_path / "whole.mp3", noise(2.0, 16_000), 16_000)
    content = (tmp_path / "whole.mp3").read_bytes()
    (tmp_path / "talk.mp3").write_bytes(content[: int(share * len(content))])
    estimates = read(separate_file(tiny(), tmp_path / "talk.mp3", tmp_path / "out"))
    assert 0.6 * share < estimates.shape[1] / 32_000 < 1.1 * share + 0.1
    assert np.isfinite(estimates).all() and np.abs(estimates).max() > 1e-3


def test_what_is_no_audio_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    for name in ("text.wav", "text.mp3", "text.raw", "nothing.wav"):
        (tmp_path / name).write_text("no audio at all" if name.startswith("text") else "")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "huge.wav", np.full(100, 1e30), 8000, subtype="FLOAT")
    (tmp_path / "folder.wav").mkdir()
    reasons = dict.fromkeys(("text.wav", "text.mp3", "text.raw", "nothing.wav"), "cannot be decoded")
    reasons |= {"empty.wav": "no samples", "nan.wav": "not finite", "huge.wav": "not finite"}
    for name, reason in (reasons | {"absent.wav": "no such file", "folder.wav": "Is a directory"}).items():
        with pytest.raises(InputError, match=rf"{name}: .*{reason}"):
            separate_file(tiny(), tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_separation_that_breaks_leaves_no_file(tmp_path: Path) -> None:
    class Breaking(Separator):
        def stream(self, *_: object) -> Iterator[Tensor]:  # type: ignore[override]
            yield torch.zeros(2, 100)
            raise KeyboardInterrupt

    soundfile.write(tmp_path / "talk.wav", noise(0.5), 8000)
    with pytest.raises(KeyboardInterrupt):
        separate_file(Breaking(tiny().model, tiny().config), tmp_path / "talk.wav", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_recording_too_long_for_wav_is_written_as_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audioslots.separation.recording.LONGEST_WAV", 1000)
    assert separate(tmp_path, noise(0.5)).shape == (2, 4000)
    assert {soundfile.info(path).format for path in (tmp_path / "out").iterdir()} == {"RF64"}
