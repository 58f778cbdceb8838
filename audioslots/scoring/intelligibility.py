"""STOI and ESTOI: equal to the ``pystoi`` package, of whose parts they are made.

What both need of a pair of signals is made once, and rows and columns are scaled without diagonal matrices. The order
of operations is the package's, so the scores are the same to the bit.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pystoi import utils
from pystoi.stoi import BETA, DYN_RANGE, FS, N_FRAME, NFFT, OBM, N

from audioslots.scoring.signals import Signal, Undefined

FEW = "less than 30 frames of speech"


def stoi(estimate: Signal, reference: Signal, rate: int, extended: bool = False) -> float:
    """Short-time objective intelligibility (0 to 1), or its extended form (ESTOI). Equals the ``pystoi`` package.

    ESTOI adds noise of 1e-16 from numpy's global generator, which decides the result where an estimate is silent for a
    while: here it is always that of seed 0, so that a score is the same in every process and order.

    Args:
        estimate: [samples].
        reference: [samples], whose silent frames are left out.
        rate: Hz.
        extended: ESTOI (Jensen and Taal, 2016) instead of STOI (Taal et al., 2011).

    Raises:
        Undefined: less than about 0.4 s of speech.
    """
    signals = (np.asarray(signal, np.float64).tobytes() for signal in (reference, estimate))
    return _both(*signals, rate)[extended]


@lru_cache(maxsize=1)  # a pair is asked for both, one after the other
def _both(reference: bytes, estimate: bytes, rate: int) -> tuple[float, float]:
    """STOI and ESTOI of two signals in 64-bit floats."""
    try:
        heard = [np.frombuffer(signal) for signal in (reference, estimate)]
        if rate != FS:
            heard = [utils.resample_oct(signal, FS, rate) for signal in heard]
        heard = utils.remove_silent_frames(*heard, DYN_RANGE, N_FRAME, N_FRAME // 2)
        spectra = [utils.stft(signal, N_FRAME, NFFT, overlap=2).transpose() for signal in heard]
    except ValueError:  # not even one frame
        raise Undefined(FEW) from None
    if spectra[0].shape[-1] < N:
        raise Undefined(FEW)
    bands = [np.sqrt(np.matmul(OBM, np.square(np.abs(spectrum)))) for spectrum in spectra]
    segments = [np.ascontiguousarray(sliding_window_view(band, N, axis=1).swapaxes(0, 1)) for band in bands]
    return _plain(*segments), _extended(*segments)


def _plain(reference: Signal, estimate: Signal) -> float:
    """STOI of segments [segments, bands, frames]."""
    level = np.linalg.norm(reference, axis=2, keepdims=True)
    level /= np.linalg.norm(estimate, axis=2, keepdims=True) + utils.EPS
    clipped = np.minimum(estimate * level, reference * (1 + 10 ** (-BETA / 20)))
    correlations = _unit(clipped) * _unit(reference)
    return float(np.sum(correlations) / (reference.shape[0] * reference.shape[1]))


def _unit(segments: Signal) -> Signal:
    """Rows [segments, bands, frames] without their means, of unit length."""
    segments = segments - np.mean(segments, axis=2, keepdims=True)
    return np.asarray(segments / (np.linalg.norm(segments, axis=2, keepdims=True) + utils.EPS))


def _extended(reference: Signal, estimate: Signal) -> float:
    """ESTOI of segments [segments, bands, frames]."""
    noise = np.random.RandomState(0)
    correlations = _normalised(reference, noise) * _normalised(estimate, noise)
    return float(np.sum(correlations / N) / len(reference))


def _normalised(segments: Signal, noise: np.random.RandomState) -> Signal:
    """Segments [segments, bands, frames] whose rows, and then columns, have no mean and unit length."""
    for axis in (2, 1):
        segments = segments + utils.EPS * noise.standard_normal(segments.shape)
        segments -= np.mean(segments, axis=axis, keepdims=True)
        segments *= 1.0 / np.sqrt(utils.vect_two_norm(segments, axis=axis))
    return segments
