"""Scores of estimates against true sources: SI-SDR, SDR, PESQ, STOI, ESTOI, and their gain over the mixture.

A metric that is not defined for a pair of signals is missing (NaN) with a stated reason: it is neither replaced by a
number, nor does it end an evaluation.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import pesq as pesq_package
from numpy.typing import ArrayLike, NDArray
from scipy import fft
from scipy.linalg import solve_toeplitz
from scipy.optimize import linear_sum_assignment

from audioslots.runtime.errors import InputError
from audioslots.scoring.assignment_accuracy import PERIODS_S, assignment_accuracy, assignment_accuracy_over_time
from audioslots.scoring.intelligibility import stoi
from audioslots.scoring.signals import Signal, Undefined, at_peak_one, centred, problem_of

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
    estimate, reference = centred(estimate), centred(reference)
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
    estimate, reference = at_peak_one(estimate), at_peak_one(reference)
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


@dataclass(frozen=True)
class Metric:
    """A metric: how it is computed, which columns of the scores it has, and how tables show it.

    Attributes:
        function: of estimate [samples], source [samples] and sample rate in Hz.
        title: heading of what tables show.
        digits: after the decimal point.
        gain: column of its improvement over the mixture, which tables then show; empty of a metric without one.
        of_mixture: whether its value of the mixture is kept, as ``input_<metric>``.
        among: whether it is a function of all estimates [estimates, samples], the sources' own first in their order, of
            all sources [sources, samples] and of the sample rate in Hz, which returns a value a source.
    """

    function: Callable[[Signal, Signal, int], Any]
    title: str
    digits: int = 2
    gain: str = ""
    of_mixture: bool = True
    among: bool = False


METRICS = {
    "si_sdr_db": Metric(lambda estimate, source, _: float(si_sdr(estimate, source)), "SI-SDRi (dB)", gain="si_sdri_db"),
    "sdr_db": Metric(lambda estimate, source, _: sdr(estimate, source), "SDRi (dB)", gain="sdri_db", of_mixture=False),
    "pesq": Metric(pesq, "PESQ"),
    "stoi": Metric(stoi, "STOI", digits=3),
    "estoi": Metric(partial(stoi, extended=True), "ESTOI", digits=3),
    "assignment_accuracy": Metric(assignment_accuracy, "Assignment accuracy", of_mixture=False, among=True),
}
"""Column of the scores -> the metric; every table and column derives from it."""
COUNTED = ("outputs", "leak_db")
"""Columns that are of a mixture: its estimates that are not silent, and the energy of those that no source was given,
against that of the others, dB."""
OVER_TIME = tuple(f"assignment_accuracy_from_{start:g}_s" for start in PERIODS_S)
"""Columns that are of a period of the mixture: from the start that they name to that of the next."""
LATER = ("assignment_accuracy", *OVER_TIME, *COUNTED)
"""Columns that scores of earlier versions lack: they are missing there, without a reason."""
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
        One dict a source: the ``columns`` and those of ``OVER_TIME`` and ``COUNTED``; permutation (str, such as "1,0":
        the index of the estimate given to each source); failure (str, "metric: reason; metric: reason", empty where
        nothing is missing).
        A missing value is NaN; an improvement is missing where either of its terms is, and
        of a single source that is the mixture.

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
    ordered = estimates[[*order, *(index for index in range(len(estimates)) if index not in order)]]
    among = {name: metric.function(ordered, sources, rate) for name, metric in METRICS.items() if metric.among}
    periods = assignment_accuracy_over_time(ordered, sources, rate)
    counted = dict(zip(COUNTED, _counted(ordered, len(sources)), strict=True))
    alone = len(sources) == 1 and np.array_equal(mixture, sources[0])  # nothing is to be gained
    rows = []
    for place, (source, inputs) in enumerate(zip(sources, mixture_scores, strict=True)):
        given = {name: float(values[place]) for name, values in among.items()}
        scores = _measure(ordered[place], source, rate, "estimate", given=given)
        over_time = dict(zip(OVER_TIME, map(float, periods[:, place]), strict=True))
        row = {**inputs, **scores, **over_time, **counted}
        for name, metric in METRICS.items():
            if metric.gain:
                row[metric.gain] = np.nan if alone else row[name] - row[f"input_{name}"]
            if not metric.of_mixture and not metric.among:
                del row[f"input_{name}"]
        row["permutation"] = ",".join(map(str, order))
        row["failure"] = "; ".join(filter(None, (scores["failure"], inputs["failure"])))
        rows.append(row)
    return rows


def _counted(ordered: Signal, sources: int) -> tuple[float, float]:
    """Values of ``COUNTED`` of estimates, those of the sources first: NaN dB where there are no others, or all is 0."""
    energies = np.nan_to_num(np.square(ordered).sum(-1), posinf=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        leak = 10 * np.log10(energies[sources:].sum() / energies[:sources].sum())
    return float((energies > 0).sum()), float(leak) if len(energies) > sources and np.isfinite(leak) else np.nan


def _measure(
    estimate: Signal,
    source: Signal,
    rate: int,
    role: str,
    prefix: str = "",
    given: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, Any]:
    """All metrics of one pair, and why some are missing; ``role`` names the estimate in the reasons.

    What is a metric among all signals is ``given``, or left out.
    """
    problem = problem_of(source, "source") or problem_of(estimate, role)
    if not problem and estimate.shape != source.shape:
        problem = f"{role} has {len(estimate)} samples and not {len(source)}"
    values: dict[str, Any] = {}
    failures = []
    for name, metric in METRICS.items():
        if metric.among and name not in given:
            continue
        value, reason = np.nan, problem
        if not problem:
            try:
                value = given[name] if metric.among else metric.function(estimate, source, rate)
                reason = "" if np.isfinite(value) else "infinite" if np.isinf(value) else "undefined"
            except Undefined as error:
                reason = str(error)
        values[prefix + name] = np.nan if reason else value
        if reason:
            failures.append(f"{prefix}{name}: {reason}")
    return values | {"failure": "; ".join(failures)}


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
