"""Noise of LibriMix's noisy mixtures, in the layout of WHAM!'s: ``ROOT/tr/*.wav`` to train, ``cv``, ``tt`` to test.

References: JorisCos/LibriMix at b898ca3, ``extend_noise`` of ``scripts/create_librimix_from_metadata.py``, and how
``scripts/create_librimix_metadata.py`` chooses noises and their loudness.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyloudnorm

from audioslots.data.audio import open_audio
from audioslots.data.corpora.corpus import read_speech
from audioslots.data.librimix.layout import MAX_AMPLITUDE, NOISE_LUFS, RATE, gain
from audioslots.data.librimix.metadata import source_count
from audioslots.runtime.errors import InputError

PARTS = ("tr", "cv", "tt")

FADE = RATE // 2 + 1  # samples that a noise and its repetition overlap: the rising half of a Hann window


def noises(root: Path, part: str) -> pd.DataFrame:
    """List the noises of a part from the headers of its files.

    Returns:
        One row a noise, sorted by path, with the columns of ``corpus.utterances``: all of one speaker, ``noise``.

    Raises:
        InputError: the folder is absent or holds no WAV files, or a file is not at 16 kHz.
    """
    folder = Path(root) / part
    paths = sorted(path for path in folder.glob("[!.]*.wav"))
    if not paths:
        raise InputError(f"{folder}: no noise inside; expected WHAM's layout, {'/, '.join(PARTS)}/ with WAV files")
    rows = []
    for path in paths:
        with open_audio(path) as file:
            _check_rate(path, file.samplerate)
            rows.append((f"{part}/{path.name}", "noise", "", part, file.frames))
    return pd.DataFrame(rows, columns=["path", "speaker_id", "sex", "subset", "frames"])


def with_noise(metadata: pd.DataFrame, librispeech: Path, root: Path, part: str, seed: int) -> pd.DataFrame:
    """A table of mixtures with ``noise_path`` and ``noise_gain``, noises drawn by LibriMix's rules.

    Each noise is used once before any is used again; its loudness is uniform in -38 to -30 LUFS, and it is scaled to a
    peak of 0.9 where it would clip, and so is the whole mixture where it would exceed that. Gains are rounded to six
    decimals. One deviation from the reference, beside those of ``metadata.draw``: where the speech of a mixture had to
    be scaled down by itself, the noise is drawn for what it is then.

    Args:
        metadata: a table without noise, or whose noise is replaced.
        librispeech: corpus root that the sources' paths are relative to.
        root: noises in WHAM's layout.
        part: of them, ``tr``, ``cv`` or ``tt``.
        seed: same seed and files, same table.

    Raises:
        InputError: as ``noises``, or a noise is silent.
    """
    paths, rng = noises(root, part)["path"].tolist(), np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(paths)) for _ in range(-(-len(metadata) // len(paths)))])
    table = metadata.drop(columns=["noise_path", "noise_gain"], errors="ignore")
    names = [f"source_{i}" for i in range(1, source_count(table) + 1)]
    rows = []
    for record, place in zip(table.to_dict("records"), order, strict=False):
        noise = paths[int(place)]
        loudness, peak = measured(Path(root) / noise)
        factor = float(gain(rng.uniform(*NOISE_LUFS), loudness, peak))
        gains = [float(record[f"{name}_gain"]) for name in names]
        paths_of = [Path(librispeech) / str(record[f"{name}_path"]) for name in names]
        speech = [read_speech(path) * each for path, each in zip(paths_of, gains, strict=True)]
        longest = max(map(len, speech))
        mixture = read_noise(Path(root) / noise, longest, longest) * factor
        for source in speech:
            mixture[: len(source)] += source
        peak = float(np.abs(mixture).max())
        weight = MAX_AMPLITUDE / peak if peak > MAX_AMPLITUDE else 1.0
        scaled = {f"{name}_gain": round(each * weight, 6) for name, each in zip(names, gains, strict=True)}
        rows.append(record | scaled | {"noise_path": noise, "noise_gain": round(factor * weight, 6)})
    return pd.DataFrame(rows)


@cache
def measured(path: Path) -> tuple[float, float]:
    """Integrated loudness in LUFS and largest absolute sample of a noise, as it is before it is repeated."""
    samples = whole_noise(path)
    loudness = float(pyloudnorm.Meter(RATE).integrated_loudness(samples))
    if not math.isfinite(loudness):
        raise InputError(f"{path}: its loudness is {loudness} LUFS; expected noise")
    return loudness, float(np.abs(samples).max())


def _check_rate(path: Path, rate: int) -> None:
    if rate != RATE:
        raise InputError(f"{path}: sample rate is {rate} Hz; expected {RATE} Hz")


def whole_noise(path: Path) -> np.ndarray:
    """The first channel of a noise as it is, float32. Raises as ``read_noise``."""
    with open_audio(path) as file:
        samples = file.frames
    return read_noise(path, samples, samples)


def read_noise(path: Path, length: int, needed: int) -> np.ndarray:
    """Read the first channel of a noise and repeat it, where it is shorter, up to ``length`` samples.

    Args:
        path: a noise at 16 kHz, of any number of channels.
        length: samples of the longest source of the mixture. A noise is repeated where it is shorter than these, even
            if fewer are needed, since the cross-fade already changes its end.
        needed: samples to return, ``length`` at most.

    Returns:
        ``[needed]`` samples: float32 as decoded, or float64 where repeated, as the reference has it.

    Raises:
        InputError: the file is absent, cannot be decoded, is not at 16 kHz or ends before the length its header
            promises, or is too short to be repeated.
    """
    with open_audio(path) as file:
        _check_rate(path, file.samplerate)
        if file.frames <= FADE and file.frames < length:
            raise InputError(f"{path}: has {file.frames} samples; expected more than {FADE}, to be repeated")
        expected = needed if file.frames >= length else file.frames
        samples = file.read(expected, dtype="float32", always_2d=True)[:, 0]
        repeated = file.frames < length
    if len(samples) < expected:
        raise InputError(f"{path}: truncated after {len(samples)} samples; expected {expected}")
    return extend_noise(samples, length)[:needed] if repeated else samples


def extend_noise(noise: np.ndarray, length: int) -> np.ndarray:
    """Repeat a noise, each time cross-faded over half a second, until it has ``length`` samples.

    Args:
        noise: ``[samples]``, more than ``FADE``.
        length: samples to reach, more than the noise has.

    Returns:
        float64 ``[length]``.
    """
    rise = np.hanning(RATE + 1)[:FADE]
    extended = np.empty(length + len(noise))
    extended[: len(noise)] = noise
    end = len(noise)
    while end < length:
        extended[end - FADE : end] = extended[end - FADE : end] * rise[::-1] + noise[:FADE] * rise
        extended[end : end + len(noise) - FADE] = noise[FADE:]
        end += len(noise) - FADE
    return extended[:length]
