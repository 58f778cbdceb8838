"""Noise of LibriMix's noisy mixtures: WHAM's recordings, made as long as the speech.

Reference: JorisCos/LibriMix at b898ca3, ``extend_noise`` of ``scripts/create_librimix_from_metadata.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audioslots.audio import opened
from audioslots.data.librimix import RATE
from audioslots.errors import InputError

FADE = RATE // 2 + 1  # samples that a noise and its repetition overlap: the rising half of a Hann window


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
    with opened(path) as file:
        if file.samplerate != RATE:
            raise InputError(f"{path}: sample rate is {file.samplerate} Hz; expected {RATE} Hz")
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
