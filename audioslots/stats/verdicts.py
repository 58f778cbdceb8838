"""Results at several training lengths, and the verdicts on differences that they support.

A variant with lengths was also trained for shares of its steps, each with a learning-rate schedule of its own. Variants
compared at one share were trained on the same amount of audio; at equal time they were not, if one trains faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from audioslots.stats.comparisons import BETTER, EQUIVALENT, INCONCLUSIVE, MARGIN, WORSE, compare_with_baseline
from audioslots.stats.summaries import COMPARED, METRIC, summarise

_ROW = ["seed", "mixture_id", "source"]


def is_conclusive(differences: np.ndarray) -> bool:
    """Whether differences at doubling lengths have one sign, and would keep it after another doubling like the last."""
    ahead = differences * np.sign(differences[-1])
    return bool((ahead > 0).all() and _extrapolate(ahead) > 0)


def _extrapolate(differences: np.ndarray) -> float:
    """The difference after another doubling like the last."""
    return float(2 * differences[-1] - differences[-2]) if len(differences) > 1 else float(differences[-1])


@dataclass(frozen=True)
class TrainingLengths:
    """The runs of variants at their training lengths.

    Attributes:
        points: one row per variant and length, from the smallest: variant, share (1 for all steps), run (its name in
            ``scores``), steps, train_s (seconds of one run: steps by the least time per step of the variant's runs,
            since other work on a machine only adds to it), commit (of the code that trained it).
        scores: rows of scores.parquet of all these runs, stitched blindly.
    """

    points: pd.DataFrame
    scores: pd.DataFrame

    @classmethod
    def collect(
        cls, lengths: Mapping[str, Mapping[str, str]], costs: pd.DataFrame, scores: pd.DataFrame
    ) -> TrainingLengths:
        """Collect from a benchmark's ``lengths``, the costs (variant, steps, step_s) and the scores of all runs."""
        rows = []
        costs = costs.set_index("variant").reindex(columns=["steps", "step_s", "commit"])
        for variant, shorter in lengths.items():
            if variant not in costs.index:
                continue
            runs = {**{float(share): run for share, run in shorter.items() if run in costs.index}, 1.0: variant}
            step_s = costs.loc[list(runs.values()), "step_s"].min()
            for share, run in sorted(runs.items()):
                steps = round(float(costs["steps"][run]))
                rows.append((variant, share, run, steps, steps * step_s, costs["commit"][run]))
        points = pd.DataFrame(rows, columns=["variant", "share", "run", "steps", "train_s", "commit"])
        kept = scores["variant"].isin(points["run"]) & scores["stitching"].isin(COMPARED)
        return cls(points, scores[kept])

    def select_share(self, variant: str, share: float) -> pd.DataFrame | None:
        """Scores of a variant at a length, under its own name; None where it has none."""
        points = self._points_of(variant)
        runs = points.loc[points["share"] == share, "run"]
        return None if runs.empty else self._scores_of(runs.iloc[0], variant)

    def interpolate(self, variant: str, train_s: float) -> pd.DataFrame | None:
        """Scores of a variant after ``train_s`` seconds, by the logarithm of time between its two nearest lengths.

        None beyond its lengths.
        """
        points = self._points_of(variant)
        times = points["train_s"].to_numpy(float)
        if not len(times) or not times[0] <= train_s <= times[-1] * (1 + 1e-9):
            return None
        last = min(int(np.searchsorted(times, train_s)), len(times) - 1)
        rows = self._scores_of(points["run"].iloc[last], variant)
        if last == 0:
            return rows
        weight = min(1.0, np.log(train_s / times[last - 1]) / np.log(times[last] / times[last - 1]))
        before = self._scores_of(points["run"].iloc[last - 1], variant).set_index(_ROW)[METRIC]
        earlier = before.reindex(pd.MultiIndex.from_frame(rows[_ROW])).to_numpy(float)
        return rows.assign(**{METRIC: weight * rows[METRIC] + (1 - weight) * earlier})

    def summarise(self, variants: Sequence[str] | None = None) -> pd.DataFrame | None:
        """``points`` with mean SI-SDRi and its interval, of all or some variants; None where these have no lengths."""
        points = self.points if variants is None else self.points[self.points["variant"].isin(variants)]
        if points.empty:
            return None
        summary = summarise(self.scores[self.scores["variant"].isin(points["run"])])
        return points.merge(
            summary.rename(columns={"variant": "run"}).drop(columns=["stitching", "failures"]), on="run"
        )

    def judge(self, comparison: pd.DataFrame) -> pd.DataFrame:
        """Add the differences at shorter lengths to a comparison, and make verdicts that they contradict inconclusive.

        Args:
            comparison: of ``compare_with_baseline``.

        Returns:
            The table with columns ``difference_x<share>`` of each shorter length and ``difference_equal_time`` with
            ``_low`` and ``_high``: at the training time that both variants reach; NaN where lengths are absent, or
            where different commits trained the two, whose times were not measured side by side.
        """
        table = comparison.copy()
        shares = sorted(set(self.points["share"]) - {1.0})
        for place, row in table.iterrows():
            pair = row["variant"], row["baseline"]
            differences = []
            for share in shares:
                difference = self._compare([self.select_share(name, share) for name in pair])["difference"]
                table.loc[place, f"difference_x{share:g}"] = difference
                differences.append(difference)
            points = [self._points_of(name) for name in pair]
            is_comparable = pd.concat(points)["commit"].nunique(dropna=False) == 1
            common = float(np.min([each["train_s"].max() for each in points])) if is_comparable else np.nan
            equal = self._compare([self.interpolate(name, common) for name in pair])
            for end, key in (("", "difference"), ("_low", "low"), ("_high", "high")):
                table.loc[place, f"difference_equal_time{end}"] = equal[key]
            path = np.array([*differences, row["difference"]])
            if np.isfinite(path).all() and (
                (row["verdict"] in (BETTER, WORSE) and not is_conclusive(path))
                or (row["verdict"] == EQUIVALENT and abs(_extrapolate(path)) > MARGIN)
            ):
                table.loc[place, "verdict"] = INCONCLUSIVE
        return table

    def _points_of(self, variant: str) -> pd.DataFrame:
        return self.points[self.points["variant"] == variant]

    def _scores_of(self, run: str, variant: str) -> pd.DataFrame:
        return self.scores[self.scores["variant"] == run].assign(variant=variant)

    @staticmethod
    def _compare(pair: Sequence[pd.DataFrame | None]) -> Mapping[Any, float]:
        """Compare a variant with its baseline, the second of the pair."""
        variant, baseline = pair
        if variant is None or baseline is None:
            return dict.fromkeys(("difference", "low", "high"), np.nan)
        scores = pd.concat([baseline, variant])
        return compare_with_baseline(scores, baseline["variant"].iloc[0]).iloc[0].to_dict()
