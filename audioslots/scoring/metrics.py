"""Scores of estimates against true sources: SI-SDR, SDR, PESQ, STOI, ESTOI, and their gain over the mixture.

A metric that is not defined for a pair of signals is missing (NaN) with a stated reason: it is neither replaced by a
number, nor does it end an evaluation.
"""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pesq as pesq_package
import pystoi
from numpy.typing import ArrayLike, NDArray
from scipy import fft
from scipy.linalg import solve_toeplitz
from scipy.optimize import linear_sum_assignment

from audioslots.errors import InputError

Signal = NDArray[np.float64]

FILTER_TAPS = 512
"""Length of the distortion filter that BSS Eval's SDR allows, in samples."""
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
DECISIVE_DB = 1000.0
"""Stands for an infinite SI-SDR in the choice of a permutation; beyond what float64 signals can reach."""


class Undefined(ValueError):
    """A metric has no value for these signals; the message says why."""


def si_sdr(estimate: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Scale-invariant signal-to-distortion ratio in dB, of signals whose means are removed first.

    Le Roux et al., "SDR - half-baked or well done?", 2019, equation 3. Equals torchmetrics'
    ``scale_invariant_signal_distortion_ratio(zero_mean=True)``.

    Args:
        estimate: [..., samples], broadcast against ``reference``.
        reference: [..., samples].

    Returns:
        [...] in dB: inf where the estimate is a scaled copy, -inf where it is orthogonal to the reference, NaN where
        either is constant or not finite.
    """
    estimate, reference = _centred(estimate), _centred(reference)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (estimate * reference).sum(-1, keepdims=True) / np.square(reference).sum(-1, keepdims=True)
        target = scale * reference
        ratio = np.square(target).sum(-1) / np.square(estimate - target).sum(-1)
        return 10 * np.log10(ratio)


def sdr(estimate: ArrayLike, reference: ArrayLike) -> float:
    """Signal-to-distortion ratio of BSS Eval in dB: any 512-tap filtering of the reference counts as signal.

    Vincent et al., 2006. Equals ``mir_eval.separation.bss_eval_sources``, whose SDR does not depend on the other
    sources: the estimate is projected on the shifted copies of its own reference. The normal equations are solved by
    Levinson's recursion, several times faster than in general form and the same for any number of threads.

    Args:
        estimate: [samples].
        reference: [samples].

    Raises:
        Undefined: the shifted copies of the reference are linearly dependent (a pure tone, for example).
    """
    estimate, reference = _at_peak_one(estimate), _at_peak_one(reference)
    padded = len(reference) + FILTER_TAPS - 1
    size = fft.next_fast_len(padded, real=True)
    reference_spectrum, estimate_spectrum = fft.rfft(reference, size), fft.rfft(estimate, size)
    autocorrelation = fft.irfft(np.abs(reference_spectrum) ** 2, size)[:FILTER_TAPS]
    crosscorrelation = fft.irfft(reference_spectrum.conj() * estimate_spectrum, size)[:FILTER_TAPS]
    try:
        taps = solve_toeplitz(autocorrelation, crosscorrelation)
    except np.linalg.LinAlgError:
        raise Undefined("the source does not determine a 512-tap filter") from None
    signal = fft.irfft(reference_spectrum * fft.rfft(taps, size), size)[:padded]
    distortion = np.pad(estimate, (0, FILTER_TAPS - 1)) - signal
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.square(signal).sum() / np.square(distortion).sum()))


def pesq(estimate: Signal, reference: Signal, rate: int) -> float:
    """Perceptual evaluation of speech quality (MOS-LQO, 1 to 4.6): narrow-band at 8 kHz, wide-band at 16 kHz.

    Equals the ``pesq`` package (ITU-T P.862 and P.862.2).

    Args:
        estimate: [samples], finite and not silent.
        reference: [samples], likewise.
        rate: Hz.

    Raises:
        Undefined: another rate, less than 0.25 s, no speech found, more than 50 utterances, or a level out of range.
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
    before = np.random.get_state()
    np.random.seed(0)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
            return float(pystoi.stoi(reference, estimate, rate, extended))
    except (RuntimeWarning, ValueError):  # the second where there is not even one frame
        raise Undefined("less than 30 frames of speech") from None
    finally:
        np.random.set_state(before)


@dataclass(frozen=True)
class Metric:
    """A metric: how it is computed, which columns of the scores it has, and how tables show it.

    Attributes:
        function: of estimate [samples], source [samples] and sample rate in Hz.
        title: heading of what tables show.
        digits: after the decimal point.
        gain: column of its improvement over the mixture, which tables then show; empty of a metric without one.
        of_mixture: whether its value of the mixture is kept, as ``input_<metric>``.
    """

    function: Callable[[Signal, Signal, int], float]
    title: str
    digits: int = 2
    gain: str = ""
    of_mixture: bool = True


METRICS = {
    "si_sdr_db": Metric(lambda estimate, source, _: float(si_sdr(estimate, source)), "SI-SDRi (dB)", gain="si_sdri_db"),
    "sdr_db": Metric(lambda estimate, source, _: sdr(estimate, source), "SDRi (dB)", gain="sdri_db", of_mixture=False),
    "pesq": Metric(pesq, "PESQ"),
    "stoi": Metric(stoi, "STOI", digits=3),
    "estoi": Metric(partial(stoi, extended=True), "ESTOI", digits=3),
}
"""Column of the scores -> the metric; every table and column derives from it."""
REPORTED = {metric.gain or name: metric for name, metric in METRICS.items()}
"""Column that tables show -> the metric."""


def columns() -> list[str]:
    """Columns of the scores that hold numbers of metrics, in their order."""
    found: list[str] = []
    for name, metric in METRICS.items():
        inputs = [f"input_{name}"] if metric.of_mixture else []
        found += [*inputs, name, metric.gain] if metric.gain else [name, *inputs]
    return found


def permutation(estimates: ArrayLike, sources: ArrayLike) -> tuple[int, ...]:
    """Which estimate belongs to each source: the assignment with the highest sum of SI-SDR.

    Args:
        estimates: [estimates, samples], at least as many as sources.
        sources: [sources, samples].

    Returns:
        For every source the index of its estimate. A silent or non-finite estimate is the last choice for all.
    """
    estimates, sources = np.asarray(estimates), np.asarray(sources)
    pairs = si_sdr(estimates[None], sources[:, None])
    pairs = np.nan_to_num(pairs, nan=-DECISIVE_DB, posinf=DECISIVE_DB, neginf=-DECISIVE_DB)
    return tuple(int(index) for index in linear_sum_assignment(pairs, maximize=True)[1])


def score_mixture(sources: ArrayLike, mixture: ArrayLike, rate: int) -> list[dict[str, Any]]:
    """Scores of the unprocessed mixture, one dict a source: ``input_<metric>`` of every metric, and ``failure``.

    Args:
        sources: [sources, samples].
        mixture: [samples].
        rate: Hz.
    """
    mixture = np.asarray(mixture, np.float64)
    return [_measure(mixture, source, rate, "mixture", "input_") for source in np.asarray(sources, np.float64)]


def score(
    estimates: ArrayLike,
    sources: ArrayLike,
    mixture: ArrayLike,
    rate: int,
    mixture_scores: Sequence[dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Every metric of every source, under the one permutation that has the highest sum of SI-SDR.

    Args:
        estimates: [estimates, samples], at least as many as sources.
        sources: [sources, samples].
        mixture: [samples].
        rate: Hz.
        mixture_scores: what ``score_mixture`` returns for this mixture, computed where it is None.

    Returns:
        One dict a source: the ``columns``; permutation (str, such as "1,0": the index of the estimate given to each
        source); failure (str, "metric: reason; metric: reason", empty where nothing is missing). A missing value is
        NaN; an improvement is missing where either of its terms is.

    Raises:
        InputError: fewer estimates than sources.
    """
    estimates, sources = np.asarray(estimates, np.float64), np.asarray(sources, np.float64)
    if len(estimates) < len(sources):
        raise InputError(f"estimates: {len(estimates)} for {len(sources)} sources; expected at least as many")
    if mixture_scores is None:
        mixture_scores = score_mixture(sources, mixture, rate)
    same_length = estimates.shape[-1] == sources.shape[-1]
    order = permutation(estimates, sources) if same_length else tuple(range(len(sources)))
    rows = []
    for index, source, inputs in zip(order, sources, mixture_scores, strict=True):
        scores = _measure(estimates[index], source, rate, "estimate")
        row = {**inputs, **scores}
        for name, metric in METRICS.items():
            if metric.gain:
                row[metric.gain] = row[name] - row[f"input_{name}"]
            if not metric.of_mixture:
                del row[f"input_{name}"]
        row["permutation"] = ",".join(map(str, order))
        row["failure"] = "; ".join(filter(None, (scores["failure"], inputs["failure"])))
        rows.append(row)
    return rows


def _measure(estimate: Signal, source: Signal, rate: int, role: str, prefix: str = "") -> dict[str, Any]:
    """All metrics of one pair, and why some are missing; ``role`` names the estimate in the reasons."""
    problem = _problem(source, "source") or _problem(estimate, role)
    if not problem and estimate.shape != source.shape:
        problem = f"{role} has {len(estimate)} samples and not {len(source)}"
    values: dict[str, Any] = {}
    failures = []
    for name, metric in METRICS.items():
        value, reason = np.nan, problem
        if not problem:
            try:
                value = metric.function(estimate, source, rate)
                reason = "" if np.isfinite(value) else "infinite" if np.isinf(value) else "undefined"
            except Undefined as error:
                reason = str(error)
        values[prefix + name] = np.nan if reason else value
        if reason:
            failures.append(f"{prefix}{name}: {reason}")
    return values | {"failure": "; ".join(failures)}


def _problem(signal: Signal, role: str) -> str:
    """Why no metric at all is defined for a signal, or an empty string."""
    problems = {
        "is empty": signal.size == 0,
        "has NaN samples": np.isnan(signal).any(),
        "has infinite samples": np.isinf(signal).any(),
        "is silent": not signal.any(),
        "is constant": signal.size > 0 and (signal == signal[0]).all(),
    }
    return next((f"{role} {words}" for words, found in problems.items() if found), "")


def _centred(signal: ArrayLike) -> Signal:
    """[..., samples] with zero mean, at a peak of one so that no square over- or underflows."""
    signal = _at_peak_one(signal)
    return signal - signal.mean(-1, keepdims=True)


def _at_peak_one(signal: ArrayLike) -> Signal:
    """[..., samples] divided by its peak; silence becomes NaN."""
    signal = np.asarray(signal, np.float64)
    with np.errstate(invalid="ignore"):
        return signal / np.abs(signal).max(-1, keepdims=True)


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
