"""Audio files of any length: read in blocks, separated as they come, written aside."""

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
from audioslots.separation.presence import Presence, Sources
from audioslots.separation.resampling import resampled
from audioslots.separation.separate import Separator, consistent

BLOCK = 1 << 18  # frames read at a time: bounds memory
LARGEST = 1e9  # beyond this a sample is no audio, and its square may be no number
LONGEST_WAV = (1 << 32) - 1024  # bytes of samples that a WAV file can hold; RF64, its extension, holds more

Frames = NDArray[np.float32]


@dataclass(frozen=True)
class Recording:
    """An audio file that was read once, to its end: it is what it says.

    Attributes:
        path: WAV, FLAC, OGG, MP3 or whatever else libsndfile reads.
        rate: Hz.
        channels: number of channels.
        frames: samples of each.
    """

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


@dataclass(frozen=True)
class Spool:
    """Estimates of one channel of a recording, in a file at the model's rate: (samples, slots) 32-bit floats.

    Only at the end is it known which slots are kept, and how loud they get.
    """

    file: BinaryIO
    rate: int
    slots: int
    kept: list[list[int]]
    recording: Recording
    channel: int | None

    @classmethod
    def fill(
        cls, file: BinaryIO, separator: Separator, recording: Recording, channel: int | None, sources: Sources = None
    ) -> Spool:
        """Separate a recording into an empty file; of its sources as many are kept as ``Separator.count`` says."""
        length = max(1, round(recording.frames * separator.rate / recording.rate))
        mixture = resampled(recording.blocks(channel), recording.rate, separator.rate, length)
        presence, slots = Presence(), 0
        with tqdm(total=round(length / separator.rate), desc=recording.path.name, unit="s", disable=None) as progress:
            for piece in separator.stream((torch.from_numpy(block[:, 0]) for block in mixture), None, presence):
                slots = len(piece)
                file.write(piece.T.contiguous().numpy().tobytes())
                progress.update(piece.shape[-1] / separator.rate)
        kept = separator.kept(presence, separator.count(presence, sources))
        return cls(file, separator.rate, slots, kept, recording, channel)

    def estimates(self, mixture_consistency: bool) -> Iterator[Frames]:
        """Blocks (n, S) at the recording's rate."""
        whole = resampled(self._blocks(), self.rate, self.recording.rate, self.recording.frames)
        if not mixture_consistency:
            yield from whole
            return
        waiting = np.zeros((0, len(self.kept)), np.float32)
        for mixture in self.recording.blocks(self.channel):
            while len(waiting) < len(mixture):
                waiting = np.concatenate([waiting, next(whole)])
            yield consistent(waiting[: len(mixture)], mixture[:, 0])
            waiting = waiting[len(mixture) :]

    def _blocks(self) -> Iterator[Frames]:
        self.file.seek(0)
        while content := self.file.read(BLOCK * self.slots * 4):
            every = np.frombuffer(content, np.float32).reshape(-1, self.slots)
            yield np.stack([every[:, parts].sum(axis=1) for parts in self.kept], axis=1)


def separate_file(
    separator: Separator,
    audio: Path,
    out: Path,
    each_channel: bool = False,
    mixture_consistency: bool = False,
    floating: bool = False,
    sources: Sources = None,
) -> list[Path]:
    """Separate one audio file of any length and rate, in bounded memory; progress is shown on a terminal.

    Writes ``<stem>_s1.wav`` ... at the file's own rate and level.

    Args:
        separator: what separates.
        audio: the file; several channels are averaged to one.
        out: folder of the estimates.
        each_channel: separate each channel by itself instead, into ``<stem>_c1_s1.wav`` ...
        mixture_consistency: make the estimates add up to the recording.
        floating: write 32-bit float instead of 16-bit PCM. PCM that would clip is scaled down, all estimates alike,
            and standard error says so.
        sources: how many it has, as of ``Separator.count``; where that is found, standard error says it.

    Returns:
        The files written.

    Raises:
        InputError: the file is absent, is no audio, or is empty, or as ``Separator.count``; nothing is written then.
    """
    recording = Recording.open(audio)
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for channel in range(recording.channels) if each_channel else [None]:
        stem = audio.stem if channel is None else f"{audio.stem}_c{channel + 1}"
        with TemporaryFile(dir=out) as file:
            spool = Spool.fill(file, separator, recording, channel, sources)
            paths = [out / f"{stem}_s{number}.wav" for number in range(1, len(spool.kept) + 1)]
            if separator.finds(sources):
                number = len(paths)
                print(f"{out / stem}_s*.wav: {number} source{'s'[: number != 1]} found", file=sys.stderr)
            peak = 1.0
            if not floating:
                peak = max(np.abs(block).max(initial=1.0) for block in spool.estimates(mixture_consistency))
            if peak > 1:
                quieter = f"{20 * np.log10(peak):.1f} dB quieter than they are, or they would clip"
                print(f"{out / stem}_s*.wav: {quieter}; --float keeps their level", file=sys.stderr)
            scaled = (block / peak for block in spool.estimates(mixture_consistency))
            _write(paths, scaled, recording, "FLOAT" if floating else "PCM_16")
        written += paths
    return written


def _read(file: soundfile.SoundFile) -> Frames:
    """The next frames (n, channels); none at the end."""
    return file.read(BLOCK, dtype="float32", always_2d=True)


def _write(paths: list[Path], blocks: Iterator[Frames], recording: Recording, subtype: str) -> None:
    """Write blocks (n, S) as one WAV file a source, aside until all are whole."""
    long = recording.frames * (4 if subtype == "FLOAT" else 2) > LONGEST_WAV
    with ExitStack() as stack:
        files = []
        for path in paths:
            aside = stack.enter_context(written_aside(path))
            file = soundfile.SoundFile(aside, "w", recording.rate, 1, subtype, format="RF64" if long else "WAV")
            files.append(stack.enter_context(file))
        for block in blocks:
            for path, file, estimate in zip(paths, files, block.T, strict=True):
                try:
                    file.write(estimate)
                except soundfile.LibsndfileError as error:
                    raise InputError(f"{path}: cannot be written ({error}); expected a place with room") from None
