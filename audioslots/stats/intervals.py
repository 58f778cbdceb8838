"""Means with 95 % intervals and tests, where speakers recur among mixtures and every seed is tested on all of them.

The variance is dyadic-robust (Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015): two scores may be correlated
if they share a speaker or a seed, and are independent if they share neither. All deviations from the mean sum to zero,
so minus the mean product of the deviations of two scores that share neither estimates the variance of the mean; in a
balanced design it is unbiased. Interval and p-value belong to one Student's t.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import t as student_t

LEVEL = 0.95
SIGNIFICANT = 0.05
SHOWN = 0.0005  # smaller differences count as none, since no table shows them


@dataclass(frozen=True)
class Estimate:
    """Mean, 95 % interval and two-sided p-value against zero, each (columns,); NaN where the scores give none."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


class Mixtures:
    """The mixtures of a test set by their speakers: two, three or any number in each."""

    def __init__(self, speakers: Sequence[Iterable[str]]) -> None:
        sets = [tuple(sorted(set(ids))) for ids in speakers]
        self._sets = _Groups([[ids] for ids in sets])
        self._subsets = _Groups(
            [[ids for size in range(1, len(names) + 1) for ids in combinations(names, size)] for names in sets]
        )
        sizes = np.array([len(names) for names in self._subsets.names])
        self._single = sizes == 1
        self._sign = np.where(sizes % 2, 1.0, -1.0)

    def count_speakers(self, present: np.ndarray) -> np.ndarray:
        """Number of speakers in the mixtures that are present: (mixtures, ...) to (...)."""
        return (self._subsets.sums(present)[self._single] > 0).sum(axis=0)

    def estimate(self, values: np.ndarray) -> Estimate:
        """Mean over seeds and mixtures, its interval, and whether it differs from zero.

        The variance is the largest of three estimates, so that chance hides none of its components: those where scores
        may be correlated if they share a seed or a speaker; a seed or all their speakers; a seed. A single seed is
        taken as given.

        Degrees of freedom are Satterthwaite's, of a component of seeds, with seeds - 1, and a component of speakers.
        The latter is a sum by speaker, with speakers - 1, less a sum by set of speakers: (speakers - 1) / (1 + r)^2,
        where r is the sum by set as a share of the component. At r = 1 they are sets - 1, and r^2 weighs between the
        two. Speakers and sets with unequal numbers of scores count as fewer (``_count_effective``).
        ``perf/intervals.py`` checks all of this against simulations.

        Args:
            values: (seeds, mixtures, columns), NaN where missing. A column is a metric, a variant or a simulation.
        """
        values = values.swapaxes(0, 1)  # (mixtures, seeds, columns)
        present = np.isfinite(values)
        weights = present.astype(float)
        count = weights.sum(axis=(0, 1))
        mean = _ratio(np.where(present, values, 0.0).sum(axis=(0, 1)), count)
        deviations = np.where(present, values - mean, 0.0)
        seeds = present.any(axis=0).sum(axis=0)

        def variance(shared: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
            """Of the mean, if scores may be correlated that share a seed or what ``shared`` sums products by."""

            def products(of: np.ndarray) -> np.ndarray:
                with_seeds = (of.sum(axis=0) ** 2 - shared(of)).sum(axis=0)
                return shared(of.sum(axis=1)) + np.where(seeds > 1, with_seeds, 0.0)

            return _ratio(products(deviations), count**2 - products(weights))

        by_seed = np.where(seeds > 1, variance(lambda of: np.zeros(of.shape[1:])), 0.0)
        by_set = np.maximum(variance(self._by_set) - by_seed, 0.0)
        by_speaker = np.maximum(variance(self._by_speaker) - by_seed, by_set)

        r = _ratio(by_set, by_speaker, otherwise=1.0)
        each = weights.sum(axis=1)
        speakers, sets = (
            _count_effective(self._subsets.sums(each)[self._single]),
            _count_effective(self._sets.sums(each)),
        )
        uncertain = by_seed**2 / np.maximum(seeds - 1, 1)
        uncertain += by_speaker**2 * (
            _ratio((1 - r**2) * (1 + r) ** 2, speakers - 1, otherwise=0.0) + _ratio(r**2, sets - 1, otherwise=0.0)
        )
        error = np.sqrt(by_seed + by_speaker)
        freedom = _ratio(error**4, uncertain, otherwise=np.inf)
        reach = student_t.ppf((1 + LEVEL) / 2, freedom) * error
        t = _ratio(np.abs(mean), error, otherwise=np.where(mean == 0, 0.0, np.inf))
        return Estimate(mean, mean - reach, mean + reach, np.asarray(2 * student_t.sf(t, freedom)))

    def _by_speaker(self, of: np.ndarray) -> np.ndarray:
        """Sum of the products of every two mixtures that share a speaker, and of each with itself.

        (mixtures, ...) to (...), by inclusion and exclusion: squared sums over the mixtures of each speaker, less those
        of each two speakers, whose products that counts twice, plus those of each three, and so on.
        """
        return np.tensordot(self._sign, self._subsets.sums(of) ** 2, 1)

    def _by_set(self, of: np.ndarray) -> np.ndarray:
        """Sum of the products of every two mixtures that share all their speakers, (mixtures, ...) to (...)."""
        return (self._sets.sums(of) ** 2).sum(axis=0)


class _Groups:
    """Groups that mixtures belong to, each to one or more."""

    def __init__(self, of: Sequence[Sequence[tuple[str, ...]]]) -> None:
        self.names = list(dict.fromkeys(name for names in of for name in names))
        place = {name: row for row, name in enumerate(self.names)}
        pairs = np.array([(place[name], mixture) for mixture, names in enumerate(of) for name in names]).reshape(-1, 2)
        self._member = csr_array((np.ones(len(pairs)), pairs.T), shape=(len(self.names), len(of)))

    def sums(self, of: np.ndarray) -> np.ndarray:
        """Sums over the mixtures of each group: (mixtures, ...) to (groups, ...)."""
        return (self._member @ of.reshape(len(of), -1)).reshape(-1, *of.shape[1:])


def _count_effective(counts: np.ndarray) -> np.ndarray:
    """Effective number of groups of these sizes (groups, columns), after Kish (1965)."""
    return _ratio(counts.sum(axis=0) ** 2, (counts**2).sum(axis=0), otherwise=0.0)


def _ratio(above: np.ndarray, below: np.ndarray, otherwise: float | np.ndarray = np.nan) -> np.ndarray:
    """The quotient, or ``otherwise`` where the divisor is zero."""
    return np.divide(above, below, out=np.full_like(above, 1.0) * otherwise, where=below != 0)


def holm(p: np.ndarray, family: int | None = None) -> np.ndarray:
    """P-values corrected by Holm's step-down procedure (Holm 1979); NaN stays and is not counted.

    Args:
        p: (comparisons,).
        family: number of comparisons to correct for, if there are more than these. None of the others is assumed to
            have a smaller p-value, which never corrects for less than knowing them would.
    """
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]  # NaN sorts last
    steps = p[order] * ((len(order) if family is None else family) - np.arange(len(order)))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected
