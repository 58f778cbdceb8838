"""STOI and ESTOI, from what they share: pystoi's arithmetic, in whole arrays instead of loops over frames.

Taal et al., 2011, and Jensen and Taal, 2016. Both equal ``pystoi.stoi`` to the bit; ESTOI adds noise of 1e-16 there,
from numpy's global generator, which decides the result where an estimate is silent for a while: here it is always that
of seed 0, so that a score is the same in every process and order.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pystoi import utils
from pystoi.stoi import BETA, DYN_RANGE, FS, N_FRAME, NFFT, OBM, N

Signal = NDArray[np.float64]
WINDOW = np.hanning(N_FRAME + 2)[1:-1]
HOP = N_FRAME // 2


def segments(estimate: Signal, reference: Signal, rate: int) -> tuple[Signal, Signal] | None:
    """Magnitudes in 15 third-octave bands, in all runs of 30 frames: (runs, 15, 30) of reference and estimate.

    Frames where the reference is silent are left out.

    Args:
        estimate: [samples].
        reference: [samples].
        rate: Hz.

    Returns:
        None where fewer than 30 frames (about 0.4 s) of speech are left.
    """
    if rate != FS:
        reference, estimate = (utils.resample_oct(signal, FS, rate) for signal in (reference, estimate))
    if len(reference) <= N_FRAME:
        return None
    frames = [_frames(signal) for signal in (reference, estimate)]
    energies = 20 * np.log10(np.linalg.norm(frames[0], axis=1) + utils.EPS)
    speech = (np.max(energies) - DYN_RANGE - energies) < 0
    signals = [utils._overlap_and_add(each[speech], HOP) for each in frames]
    if -(-(len(signals[0]) - N_FRAME) // HOP) < N:
        return None
    spectra = [np.fft.rfft(_frames(signal), n=NFFT).transpose() for signal in signals]
    bands = [np.sqrt(np.matmul(OBM, np.square(np.abs(spectrum)))) for spectrum in spectra]
    runs = [np.ascontiguousarray(sliding_window_view(band, N, axis=1).transpose(1, 0, 2)) for band in bands]
    return runs[0], runs[1]


def stoi_of(reference: Signal, estimate: Signal) -> float:
    """STOI of what ``segments`` returns."""
    scale = np.linalg.norm(reference, axis=2, keepdims=True) / (
        np.linalg.norm(estimate, axis=2, keepdims=True) + utils.EPS
    )
    clipped = np.minimum(estimate * scale, reference * (1 + 10 ** (-BETA / 20)))
    centred = [signal - np.mean(signal, axis=2, keepdims=True) for signal in (clipped, reference)]
    first, second = (signal / (np.linalg.norm(signal, axis=2, keepdims=True) + utils.EPS) for signal in centred)
    return float(np.sum(first * second) / (reference.shape[0] * reference.shape[1]))


def estoi_of(reference: Signal, estimate: Signal) -> float:
    """ESTOI of what ``segments`` returns."""
    noises = _noises(reference.shape)
    first, second = _normalised(reference, *noises[:2]), _normalised(estimate, *noises[2:])
    return float(np.sum(first * second / N) / len(reference))


def _normalised(runs: Signal, noise: Signal, more: Signal) -> Signal:
    """Rows, then columns of every run with zero mean and unit norm."""
    rows = runs + utils.EPS * noise
    rows -= np.mean(rows, axis=-1, keepdims=True)
    rows *= 1.0 / np.sqrt(np.sum(np.square(rows), axis=-1, keepdims=True))
    rows += utils.EPS * more
    rows -= np.mean(rows, axis=1, keepdims=True)
    rows *= 1.0 / np.sqrt(np.sum(np.square(rows), axis=1, keepdims=True))
    return rows


@lru_cache(maxsize=2)  # estimates of one source need the same
def _noises(shape: tuple[int, ...]) -> list[Signal]:
    generator = np.random.RandomState(0)
    return [generator.standard_normal(shape) for _ in range(4)]


def _frames(signal: Signal) -> Signal:
    """Windowed frames (frames, 256); like pystoi's they stop short of the last sample."""
    return WINDOW * sliding_window_view(signal[:-1], N_FRAME)[::HOP]
