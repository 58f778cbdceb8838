"""PESQ, STOI and ESTOI of an estimate: equal to the packages ``pesq`` and ``pystoi``, to the bit."""

from __future__ import annotations

import io
import subprocess
import sys
from functools import lru_cache

import numpy as np
import pesq as pesq_package
from numpy.lib.stride_tricks import sliding_window_view
from pystoi import utils
from pystoi.stoi import BETA, DYN_RANGE, FS, N_FRAME, NFFT, OBM, N

from audioslots.scoring.signals import Signal, Undefined

PESQ_MODES = {8000: "nb", 16000: "wb"}
"""Sample rate in Hz -> narrow-band (P.862) or wide-band (P.862.2) PESQ."""
PESQ_UTTERANCES = 50
"""Room in PESQ's C code, which crashes the process when a signal has more."""
PESQ_SAFE_SECONDS = 19.0
"""Up to this length no signal has more utterances than that: each takes 0.39 s at least, its pause included."""
PESQ_LEVEL = "estimate is too loud or too quiet for its arithmetic"
PESQ_CHILD = """
import io, sys, numpy, pesq
reference, estimate = numpy.load(io.BytesIO(sys.stdin.buffer.read()))
print(pesq.pesq(int(sys.argv[1]), reference, estimate, sys.argv[2]))
"""
STOI_SHORT = "less than 30 frames of speech"


def pesq(estimate: Signal, reference: Signal, rate: int) -> float:
    """Perceptual evaluation of speech quality (MOS-LQO, 1 to 4.6): narrow-band at 8 kHz, wide-band at 16 kHz.

    Equals the ``pesq`` package (ITU-T P.862 and P.862.2). Both signals are [samples], finite and not silent.

    Raises:
        Undefined: another rate, less than 0.25 s, no speech, more than 50 utterances, or a level out of range.
    """
    if rate not in PESQ_MODES:
        raise Undefined("defined at 8000 and 16000 Hz only")
    if len(reference) > PESQ_SAFE_SECONDS * rate:
        return _pesq_in_child(estimate, reference, rate)
    try:
        return float(pesq_package.pesq(rate, reference, estimate, PESQ_MODES[rate]))
    except pesq_package.PesqError as error:
        reason = error.args[0] if error.args else type(error).__name__
        raise Undefined(reason.decode() if isinstance(reason, bytes) else str(reason)) from None
    except ValueError:  # of float32, which PESQ computes in
        raise Undefined(PESQ_LEVEL) from None


def _pesq_in_child(estimate: Signal, reference: Signal, rate: int) -> float:
    """PESQ in a process of its own, which may crash."""
    signals = io.BytesIO()
    np.save(signals, np.stack([reference, estimate]))
    command = [sys.executable, "-P", "-c", PESQ_CHILD, str(rate), PESQ_MODES[rate]]
    child = subprocess.run(command, input=signals.getvalue(), capture_output=True, check=False)
    if b"NoUtterancesError" in child.stderr:
        raise Undefined("No utterances detected")
    if b"ValueError" in child.stderr:
        raise Undefined(PESQ_LEVEL)
    if child.returncode:
        raise Undefined(f"more than {PESQ_UTTERANCES} utterances")
    return float(child.stdout)


def stoi(estimate: Signal, reference: Signal, rate: int) -> float:
    """Short-time objective intelligibility (Taal et al., 2011), 0 to 1, without silent frames of the reference.

    Equals the ``pystoi`` package. Both signals are [samples].

    Raises:
        Undefined: less than about 0.4 s of speech.
    """
    return _stoi_and_estoi(reference.tobytes(), estimate.tobytes(), rate)[0]


def estoi(estimate: Signal, reference: Signal, rate: int) -> float:
    """Extended STOI (Jensen and Taal, 2016), otherwise as ``stoi``.

    The package adds noise of 1e-16 from numpy's global generator, which decides the result where an estimate is silent
    for a while. Here it is always that of seed 0, so that a score is the same in every process and order.
    """
    return _stoi_and_estoi(reference.tobytes(), estimate.tobytes(), rate)[1]


@lru_cache(maxsize=4)  # STOI of every source comes before ESTOI of every source
def _stoi_and_estoi(reference: bytes, estimate: bytes, rate: int) -> tuple[float, float]:
    """Both, of signals in 64-bit floats: made of the package's parts in its order of operations.

    What both need is computed once, and rows and columns are scaled without diagonal matrices, in 60 % of the time.
    """
    try:
        signals = [np.frombuffer(signal) for signal in (reference, estimate)]
        if rate != FS:
            signals = [utils.resample_oct(signal, FS, rate) for signal in signals]
        signals = utils.remove_silent_frames(*signals, DYN_RANGE, N_FRAME, N_FRAME // 2)
        spectra = [utils.stft(signal, N_FRAME, NFFT, overlap=2).transpose() for signal in signals]
    except ValueError:  # not even one frame
        raise Undefined(STOI_SHORT) from None
    if spectra[0].shape[-1] < N:
        raise Undefined(STOI_SHORT)
    bands = [np.sqrt(np.matmul(OBM, np.square(np.abs(spectrum)))) for spectrum in spectra]
    # [segments, bands, frames]
    source, other = [np.ascontiguousarray(sliding_window_view(band, N, axis=1).swapaxes(0, 1)) for band in bands]
    noise = np.random.RandomState(0)
    correlations = _normalize_both_axes(source, noise) * _normalize_both_axes(other, noise)
    extended = float(np.sum(correlations / N) / len(source))
    level = np.linalg.norm(source, axis=2, keepdims=True)
    level /= np.linalg.norm(other, axis=2, keepdims=True) + utils.EPS
    clipped = np.minimum(other * level, source * (1 + 10 ** (-BETA / 20)))
    correlations = _normalize_rows(clipped) * _normalize_rows(source)
    return float(np.sum(correlations) / (source.shape[0] * source.shape[1])), extended


def _normalize_rows(segments: Signal) -> Signal:
    """Rows of [segments, bands, frames] without their means, of unit length."""
    segments = segments - np.mean(segments, axis=2, keepdims=True)
    return np.asarray(segments / (np.linalg.norm(segments, axis=2, keepdims=True) + utils.EPS))


def _normalize_both_axes(segments: Signal, noise: np.random.RandomState) -> Signal:
    """[segments, bands, frames] whose rows, and then columns, have no mean and unit length."""
    for axis in (2, 1):
        segments = segments + utils.EPS * noise.standard_normal(segments.shape)
        segments -= np.mean(segments, axis=axis, keepdims=True)
        segments *= 1.0 / np.sqrt(utils.vect_two_norm(segments, axis=axis))
    return segments
