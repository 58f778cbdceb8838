"""Results at several training lengths: curves, comparisons at equal time, and whether a difference has settled.

A variant with lengths was also trained for shares of its steps, each time with a schedule of its own. Variants that are
compared at one share have heard equally much; at equal time they have not, where one learns faster than it computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from audioslots.stats.comparisons import compare
from audioslots.stats.summaries import COMPARED, summarise

NOT_CONVERGED = "not converged"
_ROW = ["seed", "mixture_id", "source"]


@dataclass(frozen=True)
class Lengths:
    """The runs of variants at their lengths.

    Attributes:
        points: one row per variant and length, from the smallest: variant, share (1 for all steps), run (its name in
            ``scores``), steps, train_s (seconds of one run; steps by the least time a step of the variant's runs, since
            other work on a machine only adds to it), commit (of the code that trained it).
        scores: rows of scores.parquet of all these runs, stitched blindly.
    """

    points: pd.DataFrame
    scores: pd.DataFrame

    @classmethod
    def of(cls, named: Mapping[str, Mapping[str, str]], spent: pd.DataFrame, scores: pd.DataFrame) -> Lengths:
        """From a benchmark's ``lengths``, the costs of all runs (variant, steps, step_s) and the scores of all runs."""
        rows = []
        by_run = spent.set_index("variant")
        for variant, at in named.items():
            if variant not in by_run.index:
                continue
            runs = {**{float(share): run for share, run in at.items() if run in by_run.index}, 1.0: variant}
            step_s = by_run.loc[list(runs.values()), "step_s"].min()
            for share, run in sorted(runs.items()):
                steps = round(float(by_run["steps"][run]))
                commit = by_run["commit"].get(run, "") if "commit" in by_run else ""
                rows.append((variant, share, run, steps, steps * step_s, commit))
        points = pd.DataFrame(rows, columns=["variant", "share", "run", "steps", "train_s", "commit"])
        kept = scores["variant"].isin(points["run"]) & scores["stitching"].isin(COMPARED)
        return cls(points, scores[kept])

    def at_share(self, variant: str, share: float) -> pd.DataFrame | None:
        """Scores of a variant at a length, under its own name; None where it has none."""
        found = self._of(variant)
        runs = found.loc[found["share"] == share, "run"]
        return None if runs.empty else self._scores(runs.iloc[0], variant)

    def at_time(self, variant: str, train_s: float) -> pd.DataFrame | None:
        """Scores that a variant would have after a time of training, seconds: between its two nearest lengths.

        Each score is interpolated by the logarithm of time; None beyond the lengths.
        """
        found = self._of(variant)
        times = found["train_s"].to_numpy(float)
        if not len(times) or not times[0] <= train_s <= times[-1] * (1 + 1e-9):
            return None
        last = min(int(np.searchsorted(times, train_s)), len(times) - 1)
        first = max(last - 1, 0)
        rows = self._scores(found["run"].iloc[last], variant)
        if first == last:
            return rows
        weight = min(1.0, np.log(train_s / times[first]) / np.log(times[last] / times[first]))
        before = self._scores(found["run"].iloc[first], variant).set_index(_ROW)["si_sdri_db"]
        earlier = before.reindex(pd.MultiIndex.from_frame(rows[_ROW])).to_numpy(float)
        return rows.assign(si_sdri_db=weight * rows["si_sdri_db"] + (1 - weight) * earlier)

    def curves(self, variants: Sequence[str] | None = None) -> pd.DataFrame | None:
        """``points`` with mean SI-SDRi and its interval, of all or some variants; None where these have no lengths."""
        points = self.points if variants is None else self.points[self.points["variant"].isin(variants)]
        if points.empty:
            return None
        summary = summarise(self.scores[self.scores["variant"].isin(points["run"])], ["si_sdri_db"])
        means = summary.rename(columns={"variant": "run"}).drop(columns=["stitching", "failures"])
        return points.merge(means, on="run")

    def settled(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A table of ``comparisons.compare`` of variants at all their steps, with what shorter lengths say of it.

        A verdict of "better" or "worse" stands only where the difference has the same sign at every length, and the
        last doubling, should another one do the same, would not turn it; else it is "not converged".

        Returns:
            The table with columns ``difference_x<share>`` of each shorter length and ``difference_equal_time`` with
            ``_low`` and ``_high``: at the training time that both variants reach; NaN where lengths are absent, or the
            two were trained by different commits, whose times were not measured side by side.
        """
        frame = frame.copy()
        shares = sorted(set(self.points["share"]) - {1.0})
        for place, row in frame.iterrows():
            variant, baseline = row["variant"], row["baseline"]
            differences = []
            for share in shares:
                found = self._difference(self.at_share(variant, share), self.at_share(baseline, share), baseline)
                frame.loc[place, f"difference_x{share:g}"] = found["difference"]
                differences.append(found["difference"])
            pair = [self._of(name) for name in (variant, baseline)]
            times = [points["train_s"].max() for points in pair]  # NaN where it has none
            alike = pd.concat(pair)["commit"].nunique() == 1
            common = float(np.min(times)) if alike else np.nan
            found = self._difference(self.at_time(variant, common), self.at_time(baseline, common), baseline)
            for end in ("", "_low", "_high"):
                frame.loc[place, f"difference_equal_time{end}"] = found[end.removeprefix("_") or "difference"]
            path = np.array([*differences, row["difference"]])
            if row["verdict"] in ("better", "worse") and np.isfinite(path).all() and not settles(path):
                frame.loc[place, "verdict"] = NOT_CONVERGED
        return frame

    def _of(self, variant: str) -> pd.DataFrame:
        return self.points[self.points["variant"] == variant]

    def _scores(self, run: str, variant: str) -> pd.DataFrame:
        return self.scores[self.scores["variant"] == run].assign(variant=variant)

    @staticmethod
    def _difference(variant: pd.DataFrame | None, baseline: pd.DataFrame | None, name: str) -> Mapping[Any, float]:
        if variant is None or baseline is None:
            return dict.fromkeys(("difference", "low", "high"), np.nan)
        return compare([baseline, variant], name).iloc[0].to_dict()


def settles(differences: np.ndarray) -> bool:
    """Whether differences at rising lengths, each twice the last, have one sign and would keep it at the next."""
    ahead = differences * np.sign(differences[-1])
    following = ahead[-1] + (ahead[-1] - ahead[-2]) if len(ahead) > 1 else ahead[-1]
    return bool((ahead > 0).all() and following > 0)
