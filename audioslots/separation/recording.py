"""Audio files of any length: read in blocks, separated as a stream, their estimates written whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from audioslots.data.audio import open_audio
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import written_aside
from audioslots.separation.presence import NumSpeakers, Presence
from audioslots.separation.resampling import resample_blocks
from audioslots.separation.separator import Separator, add_residual, sum_groups

BLOCK = 1 << 18  # frames read at a time: bounds memory
LARGEST = 1e9  # beyond this a sample is no audio, and its square may be no number
LONGEST_WAV = (1 << 32) - 1024  # bytes of samples that a WAV file can hold; RF64, its extension, holds more

Frames = NDArray[np.float32]


@dataclass(frozen=True)
class FileOptions:
    """How the files of a recording are separated.

    Attributes:
        each_channel: separate each channel by itself, into ``<stem>_c1_s1.wav`` ...; else their mean.
        mixture_consistency: make the estimates add up to the recording.
        is_float: write 32-bit float; else 16-bit PCM, where estimates that would clip are all scaled down alike, with a
            warning on standard error.
        num_speakers: as of ``Separator.is_counted``; an estimated number is printed on standard error.
    """

    each_channel: bool = False
    mixture_consistency: bool = False
    is_float: bool = False
    num_speakers: NumSpeakers = None


@dataclass(frozen=True)
class Recording:
    """An audio file (WAV, FLAC, OGG, MP3 or whatever else libsndfile reads) of known length, at ``rate`` Hz."""

    path: Path
    rate: int
    channels: int
    frames: int

    @classmethod
    def open(cls, path: Path) -> Recording:
        """Read a file through, in blocks.

        Raises:
            InputError: it is absent, no audio, damaged, empty, or has samples that are not numbers.
        """
        with open_audio(path) as file:
            frames = 0
            while len(block := _read(file)):
                if not np.abs(block).max() < LARGEST:
                    raise InputError(f"{path}: holds samples that are not finite numbers; expected audio")
                frames += len(block)
            if not frames:
                raise InputError(f"{path}: holds no samples; expected audio")
            return cls(path, file.samplerate, file.channels, frames)

    def blocks(self, channel: int | None = None) -> Iterator[Frames]:
        """Blocks (n, 1) of one channel, or of the mean of all."""
        with open_audio(self.path) as file:
            while len(block := _read(file)):
                yield block.mean(axis=1, keepdims=True) if channel is None else block[:, channel : channel + 1]


def separate_file(separator: Separator, audio: Path, out: Path, options: FileOptions = FileOptions()) -> list[Path]:
    """Separate one audio file of any length and rate, in bounded memory, with a progress bar on a terminal.

    Writes ``<stem>_s1.wav`` ... into the folder ``out``, at the file's own rate and level; returns the files written.

    Raises:
        InputError: the file is absent, is no audio, or is empty, or as ``Separator.is_counted``; nothing is written.
    """
    separator.is_counted(options.num_speakers)
    recording = Recording.open(audio)
    out.mkdir(parents=True, exist_ok=True)
    channels = range(recording.channels) if options.each_channel else [None]
    return [path for channel in channels for path in _separate_channel(separator, recording, channel, out, options)]


def _separate_channel(
    separator: Separator, recording: Recording, channel: int | None, out: Path, options: FileOptions
) -> list[Path]:
    prefix = out / (recording.path.stem + ("" if channel is None else f"_c{channel + 1}"))
    with TemporaryFile(dir=out) as spool:  # which outputs are estimates, and how loud, is known only at the end
        presence = _spool_outputs(spool, separator, recording, channel)
        groups = separator.group_outputs(presence, options.num_speakers)

        def estimate() -> Iterator[Frames]:
            """Blocks (n, S) at the recording's rate."""
            outputs = _read_spool(spool, len(presence.energies))
            estimates = (sum_groups(block.T, groups).T for block in outputs)
            resampled = resample_blocks(estimates, separator.rate, recording.rate, recording.frames)
            if not options.mixture_consistency:
                return resampled
            return _add_residuals(resampled, recording.blocks(channel), len(groups))

        if separator.is_counted(options.num_speakers):
            print(f"{prefix}_s*.wav: {len(groups)} source{'s'[: len(groups) != 1]} found", file=sys.stderr)
        peak = 1.0 if options.is_float else max(np.abs(block).max(initial=1.0) for block in estimate())
        if peak > 1:
            quieter = f"{20 * np.log10(peak):.1f} dB quieter than they are, or they would clip"
            print(f"{prefix}_s*.wav: {quieter}; --float keeps their level", file=sys.stderr)
        paths = [Path(f"{prefix}_s{number}.wav") for number in range(1, len(groups) + 1)]
        _write(paths, (block / peak for block in estimate()), recording, "FLOAT" if options.is_float else "PCM_16")
    return paths


def _spool_outputs(spool: BinaryIO, separator: Separator, recording: Recording, channel: int | None) -> Presence:
    """Separate a channel into an empty file of (samples, K) 32-bit floats at the model's rate."""
    length = max(1, round(recording.frames * separator.rate / recording.rate))
    mixture = resample_blocks(recording.blocks(channel), recording.rate, separator.rate, length)
    presence = Presence()
    with tqdm(total=round(length / separator.rate), desc=recording.path.name, unit="s", disable=None) as progress:
        for piece in separator.stream((torch.from_numpy(block[:, 0]) for block in mixture), None, presence):
            spool.write(piece.T.contiguous().numpy().tobytes())
            progress.update(piece.shape[-1] / separator.rate)
    return presence


def _read_spool(spool: BinaryIO, outputs: int) -> Iterator[Frames]:
    """Blocks (n, K) of what ``_spool_outputs`` wrote."""
    spool.seek(0)
    while content := spool.read(BLOCK * outputs * 4):
        yield np.frombuffer(content, np.float32).reshape(-1, outputs)


def _add_residuals(estimates: Iterator[Frames], mixture: Iterator[Frames], count: int) -> Iterator[Frames]:
    """Blocks (n, S) of estimates that add up to a mixture of blocks (n, 1) cut elsewhere."""
    waiting = np.zeros((0, count), np.float32)
    for block in mixture:
        while len(waiting) < len(block):
            waiting = np.concatenate([waiting, next(estimates)])
        yield add_residual(waiting[: len(block)], block[:, 0])
        waiting = waiting[len(block) :]


def _read(file: soundfile.SoundFile) -> Frames:
    """The next frames (n, channels); none at the end."""
    return file.read(BLOCK, dtype="float32", always_2d=True)


def _write(paths: list[Path], blocks: Iterator[Frames], recording: Recording, subtype: str) -> None:
    """Write blocks (n, S) as one WAV file per source, in place only when all are complete."""
    is_long = recording.frames * (4 if subtype == "FLOAT" else 2) > LONGEST_WAV
    with ExitStack() as stack:
        files = []
        for path in paths:
            aside = stack.enter_context(written_aside(path))
            file = soundfile.SoundFile(aside, "w", recording.rate, 1, subtype, format="RF64" if is_long else "WAV")
            files.append(stack.enter_context(file))
        for block in blocks:
            for path, file, estimate in zip(paths, files, block.T, strict=True):
                try:
                    file.write(estimate)
                except soundfile.LibsndfileError as error:
                    raise InputError(f"{path}: cannot be written ({error}); expected a place with room") from None
