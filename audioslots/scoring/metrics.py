"""The metrics of separation, each a function and a record in ``METRICS``, and the scores of a mixture's estimates.

A metric that is not defined for a source is missing (NaN) with a stated reason: it is neither replaced by a number, nor
does it end an evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft
from scipy.linalg import solve_toeplitz
from scipy.optimize import linear_sum_assignment

from audioslots.runtime.errors import InputError
from audioslots.scoring.assignment_accuracy import PERIODS_S, assignment_accuracy, assignment_accuracy_over_time
from audioslots.scoring.perception import estoi, pesq, stoi
from audioslots.scoring.signals import Signal, Undefined, normalize_peak, problem_of_pair, remove_mean

FILTER_TAPS = 512
"""Length of the distortion filter that BSS Eval's SDR allows, in samples."""
DECISIVE_DB = 1000.0
"""Stands for an infinite SI-SDR in the choice of a permutation; beyond what float64 signals can reach."""

Values = Sequence[float | Undefined] | Signal
"""One value per source: a number, or the ``Undefined`` that says why there is none."""


def si_sdr(estimate: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Scale-invariant signal-to-distortion ratio in dB, of signals whose means are removed first.

    Le Roux et al., "SDR - half-baked or well done?", 2019, equation 3. Equals torchmetrics'
    ``scale_invariant_signal_distortion_ratio(zero_mean=True)``.

    Both are [..., samples] and broadcast. The result [...] is inf where the estimate is a scaled copy, -inf where it is
    orthogonal to the reference, NaN where either is constant or not finite.
    """
    estimate, reference = remove_mean(estimate), remove_mean(reference)
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

    Raises:
        Undefined: the shifted copies of the reference [samples] are linearly dependent (a pure tone, for example).
    """
    estimate, reference = normalize_peak(estimate), normalize_peak(reference)
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


@dataclass(frozen=True)
class Metric:
    """A metric: how it is computed, which columns of the scores it has, and how tables show it.

    Attributes:
        function: of the estimates [K, T], the first S of which belong to the sources in their order, the sources
            [S, T], the mixture [T] and the sample rate in Hz; returns one value per source. Signals may be silent, not
            finite, or of different lengths: for such a pair any value is replaced by that reason.
        label: for sentences, of the improvement where the metric has one.
        unit: empty for a number without one.
        digits: after the decimal point, in tables.
        higher_is_better: the direction of the metric itself; an improvement is better when higher.
        gain: column of the improvement over the mixture, which tables then show; empty for a metric without one.
        keeps_input: whether the mixture's own value is a column, ``input_<metric>``.
        bounds: whether rows with oracle stitching, which only bound the blind ones, have it; it then has to be cheap.
    """

    function: Callable[[Signal, Signal, Signal, int], Values]
    label: str
    unit: str = ""
    digits: int = 2
    higher_is_better: bool = True
    gain: str = ""
    keeps_input: bool = True
    bounds: bool = False

    @property
    def title(self) -> str:
        """Label and unit, for tables."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def needs_input(self) -> bool:
        """Whether the mixture's own value is computed."""
        return bool(self.gain) or self.keeps_input


def per_pair(function: Callable[[Signal, Signal, int], float]) -> Callable[[Signal, Signal, Signal, int], Values]:
    """The function of a ``Metric`` from one of an estimate [T], its source [T] and the rate, which may raise Undefined.

    It is not called for signals that no metric is defined for.
    """

    def measure(estimate: Signal, source: Signal, rate: int) -> float | Undefined:
        try:
            problem = problem_of_pair(estimate, source)
            return Undefined(problem) if problem else function(estimate, source, rate)
        except Undefined as undefined:
            return undefined

    return lambda estimates, sources, mixture, rate: [
        measure(estimate, source, rate) for estimate, source in zip(estimates, sources, strict=False)
    ]


METRICS = {
    "si_sdr_db": Metric(
        per_pair(lambda estimate, source, rate: float(si_sdr(estimate, source))),
        "SI-SDRi",
        "dB",
        gain="si_sdri_db",
        bounds=True,
    ),
    "sdr_db": Metric(
        per_pair(lambda estimate, source, rate: sdr(estimate, source)), "SDRi", "dB", gain="sdri_db", keeps_input=False
    ),
    "pesq": Metric(per_pair(pesq), "PESQ"),
    "stoi": Metric(per_pair(stoi), "STOI", digits=3),
    "estoi": Metric(per_pair(estoi), "ESTOI", digits=3),
    "assignment_accuracy": Metric(
        lambda estimates, sources, mixture, rate: assignment_accuracy(estimates, sources, rate),
        "Assignment accuracy",
        keeps_input=False,
        bounds=True,
    ),
}
"""Column of the scores -> the metric; every table and column derives from it."""
REPORTED = {metric.gain or name: metric for name, metric in METRICS.items()}
"""Column that tables show -> the metric."""
BOUNDS = tuple(name for name, metric in METRICS.items() if metric.bounds)
"""The metrics of rows with oracle stitching."""
LOWER_IS_BETTER = tuple(name for name, metric in REPORTED.items() if not (metric.higher_is_better or metric.gain))
"""Of these, the columns of which a lower value is better."""
OUTPUT_COLUMNS = ("outputs", "leak_db")
"""Columns of a mixture: its estimates that are not silent, and the energy of those that no source was given, against
that of the others, dB."""
OVER_TIME = tuple(f"assignment_accuracy_from_{start:g}_s" for start in PERIODS_S)
"""Columns of a period of the mixture: from the start that they name to that of the next."""


def metric_columns(*names: str) -> list[str]:
    """Columns of the scores that hold numbers of these metrics, in their order."""
    columns: list[str] = []
    for name in names:
        metric = METRICS[name]
        inputs = [f"input_{name}"] if metric.keeps_input else []
        columns += [*inputs, name, metric.gain] if metric.gain else [name, *inputs]
    return columns


SCORE_COLUMNS = (*metric_columns(*METRICS), *OVER_TIME, *OUTPUT_COLUMNS)
"""Columns of the scores that hold numbers."""
FIRST = metric_columns("si_sdr_db", "sdr_db", "pesq", "stoi", "estoi")
LATER = tuple(column for column in SCORE_COLUMNS if column not in FIRST)
"""Of these, the columns that scores of earlier versions may lack: they are missing there, without a reason."""


def find_permutation(estimates: ArrayLike, sources: ArrayLike) -> tuple[int, ...]:
    """The index of the estimate of every source: the assignment with the highest sum of SI-SDR.

    Estimates are [K, samples], at least as many as sources [S, samples]. A silent or non-finite one is the last choice.
    """
    estimates, sources = np.asarray(estimates), np.asarray(sources)
    pairs = si_sdr(estimates[None], sources[:, None])
    pairs = np.nan_to_num(pairs, nan=-DECISIVE_DB, posinf=DECISIVE_DB, neginf=-DECISIVE_DB)
    return tuple(int(index) for index in linear_sum_assignment(pairs, maximize=True)[1])


def score_mixture(sources: ArrayLike, mixture: ArrayLike, rate: int) -> list[dict[str, Any]]:
    """Scores of the unprocessed mixture, one dict per source: ``input_<metric>`` where needed, and ``failure``."""
    sources, mixture = np.asarray(sources, np.float64), np.asarray(mixture, np.float64)
    names = [name for name, metric in METRICS.items() if metric.needs_input]
    estimates = np.broadcast_to(mixture, (len(sources), len(mixture)))
    return _measure(names, estimates, sources, mixture, rate, "mixture", "input_")


def score(
    estimates: ArrayLike,
    sources: ArrayLike,
    mixture: ArrayLike,
    rate: int,
    mixture_scores: Sequence[dict[str, Any]] | None = None,
    names: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Every metric of every source, under the one permutation that has the highest sum of SI-SDR.

    Args:
        estimates: [K, samples], at least as many as sources.
        sources: [S, samples].
        mixture: [samples].
        rate: Hz.
        mixture_scores: of ``score_mixture`` for this mixture, computed where it is None.
        names: metrics to compute, all by default; the others are missing, without a reason.

    Returns:
        One dict per source: the ``SCORE_COLUMNS``; permutation (str, such as "1,0": the index of the estimate given to
        each source); failure (str, "metric: reason; metric: reason", empty where nothing is missing). A missing value
        is NaN; an improvement is missing where either of its terms is, and of a single source that is the mixture.

    Raises:
        InputError: fewer estimates than sources.
    """
    estimates, sources, mixture = (np.asarray(signal, np.float64) for signal in (estimates, sources, mixture))
    if len(estimates) < len(sources):
        raise InputError(f"estimates: {len(estimates)} for {len(sources)} sources; expected at least as many")
    if mixture_scores is None:
        mixture_scores = score_mixture(sources, mixture, rate)
    is_comparable = estimates.shape[-1] == sources.shape[-1]
    order = find_permutation(estimates, sources) if is_comparable else tuple(range(len(sources)))
    ordered = estimates[[*order, *(index for index in range(len(estimates)) if index not in order)]]
    periods = assignment_accuracy_over_time(ordered, sources, rate)
    outputs = dict(zip(OUTPUT_COLUMNS, _measure_outputs(ordered, len(sources)), strict=True))
    has_gain = len(sources) > 1 or not np.array_equal(mixture, sources[0])
    rows = _measure(list(METRICS) if names is None else names, ordered, sources, mixture, rate, "estimate")
    for place, (row, inputs) in enumerate(zip(rows, mixture_scores, strict=True)):
        for name, metric in METRICS.items():
            row.setdefault(name, np.nan)
            if metric.gain:
                gain = row[name] - inputs[f"input_{name}"]
                row[metric.gain] = np.nan if not has_gain else gain if metric.higher_is_better else -gain
            if metric.keeps_input:
                row[f"input_{name}"] = inputs[f"input_{name}"]
        row |= outputs | dict(zip(OVER_TIME, map(float, periods[:, place]), strict=True))
        row["permutation"] = ",".join(map(str, order))
        row["failure"] = "; ".join(filter(None, (row["failure"], inputs["failure"])))
    return rows


def _measure_outputs(ordered: Signal, sources: int) -> tuple[float, float]:
    """``OUTPUT_COLUMNS`` of estimates, those of the sources first: NaN dB where there are no others, or all is 0."""
    energies = np.nan_to_num(np.square(ordered).sum(-1), posinf=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        leak = 10 * np.log10(energies[sources:].sum() / energies[:sources].sum())
    return float((energies > 0).sum()), float(leak) if len(energies) > sources and np.isfinite(leak) else np.nan


def _measure(
    names: Sequence[str], estimates: Signal, sources: Signal, mixture: Signal, rate: int, role: str, prefix: str = ""
) -> list[dict[str, Any]]:
    """Metrics by ``<prefix><name>``, one dict per source, and why some are missing; ``role`` names the estimates."""
    problems = [problem_of_pair(*pair, role) for pair in zip(estimates, sources, strict=False)]
    rows: list[dict[str, Any]] = [{} for _ in sources]
    failures: list[list[str]] = [[] for _ in sources]
    for name in names:
        values = METRICS[name].function(estimates, sources, mixture, rate)
        for row, reasons, problem, value in zip(rows, failures, problems, values, strict=True):
            reason = problem or _reason_of(value)
            row[prefix + name] = np.nan if reason else float(value)
            if reason:
                reasons.append(f"{prefix}{name}: {reason}")
    return [row | {"failure": "; ".join(reasons)} for row, reasons in zip(rows, failures, strict=True)]


def _reason_of(value: float | Undefined) -> str:
    """Why a value is missing; empty where it is not."""
    if isinstance(value, Undefined):
        return str(value)
    return "" if np.isfinite(value) else "infinite" if np.isinf(value) else "undefined"
