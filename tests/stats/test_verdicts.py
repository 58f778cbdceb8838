"""Training lengths: differences at equal time, and when a verdict is conclusive."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audioslots.stats.comparisons import EQUIVALENT, INCONCLUSIVE, compare_with_baseline
from audioslots.stats.verdicts import TrainingLengths, is_conclusive
from tests.reporting.made_results import make_scores

LENGTHS = {name: {"0.25": f"{name}-x0.25", "0.5": f"{name}-x0.5"} for name in ("base", "idea")}
STEPS = {"-x0.25": 100, "-x0.5": 200, "": 400}


def make_lengths(base: list[float], idea: list[float], idea_s: float = 1.0) -> TrainingLengths:
    """Two variants at a quarter, a half and all of 400 steps: SI-SDRi in dB; seconds per step of the second one."""
    runs = [(f"base{at}", gain, STEPS[at], 1.0) for at, gain in zip(STEPS, base, strict=True)]
    runs += [(f"idea{at}", gain, STEPS[at], idea_s) for at, gain in zip(STEPS, idea, strict=True)]
    scores = pd.concat([make_scores(run, gain) for run, gain, *_ in runs], ignore_index=True)
    costs = pd.DataFrame([(run, *cost) for run, _, *cost in runs], columns=["variant", "steps", "step_s"])
    return TrainingLengths.collect(LENGTHS, costs, scores)


def judge(lengths: TrainingLengths) -> pd.Series:
    full = lengths.scores[lengths.scores["variant"].isin(["base", "idea"])]
    return lengths.judge(compare_with_baseline(full, "base")).iloc[0]


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0, 1.0, 1.0], True),
        ([0.5, 2.0, 1.1], True),  # 1.1 - 0.9 is still above 0
        ([0.5, 2.0, 0.9], False),  # the loser catches up
        ([-0.2, 0.5, 1.0], False),
        ([1.0, -0.2, 1.0], False),
        ([1.0, 0.5], False),  # 0.5 - 0.5 is no difference
        ([0.7], True),
    ],
)
def test_a_difference_is_conclusive_if_its_sign_holds_and_another_doubling_would_keep_it(differences, expected) -> None:
    assert is_conclusive(np.array(differences)) is expected
    assert is_conclusive(-np.array(differences)) is expected


@pytest.mark.parametrize(
    ("base", "idea", "verdict"),
    [
        ([2.0, 3.0, 4.0], [4.0, 5.0, 6.0], "better"),
        ([2.0, 3.0, 4.0], [0.0, 1.0, 2.0], "worse"),
        ([0.0, 2.0, 4.0], [4.0, 4.5, 5.0], INCONCLUSIVE),
        ([3.0, 3.0, 3.0], [2.0, 3.5, 5.0], INCONCLUSIVE),
        ([4.0, 2.0, 3.0], [2.0, 4.0, 3.0], INCONCLUSIVE),
    ],
)
def test_verdicts_take_the_shorter_lengths_into_account(base, idea, verdict) -> None:
    row = judge(make_lengths(base, idea))
    assert row["verdict"] == verdict
    assert row["difference_x0.25"] == pytest.approx(idea[0] - base[0], abs=0.3)


@pytest.mark.parametrize(
    ("idea", "verdict"),
    [([3.0, 3.0, 3.0], EQUIVALENT), ([5.3, 4.0, 3.0], INCONCLUSIVE), ([3.0, 2.0, 3.0], INCONCLUSIVE)],
)
def test_equivalence_also_needs_that_another_doubling_stays_within_the_margin(idea, verdict) -> None:
    lengths = make_lengths([3.0, 3.0, 3.0], idea)
    full = lengths.scores[lengths.scores["variant"].isin(["base", "idea"])]
    comparison = compare_with_baseline(full, "base").assign(verdict=EQUIVALENT)
    assert lengths.judge(comparison).iloc[0]["verdict"] == verdict


def test_at_equal_time_the_slower_one_is_interpolated_between_its_lengths() -> None:
    row = judge(make_lengths([2.0, 3.0, 4.0], [3.0, 5.0, 7.0], idea_s=2**1.5))
    # After 400 s the idea is midway, by the logarithm, between 100 and 200 steps: 283 s and 566 s.
    assert row["difference"] == pytest.approx(3.0, abs=0.3)
    assert row["difference_equal_time"] == pytest.approx(4.0 - 4.0, abs=0.3)
    assert row["difference_equal_time_low"] < row["difference_equal_time"] < row["difference_equal_time_high"]


def test_at_equal_speed_equal_time_changes_nothing() -> None:
    lengths = make_lengths([2.0, 3.0, 4.0], [3.0, 5.0, 7.0])
    row = judge(lengths)
    assert [row[f"difference_equal_time{end}"] for end in ("", "_low", "_high")] == [
        *row[["difference", "low", "high"]]
    ]
    for share, seconds in ((0.25, 100.0), (0.5, 200.0), (1.0, 400.0)):
        at_share, at_time = lengths.select_share("base", share), lengths.interpolate("base", seconds)
        assert at_share is not None and at_time is not None and set(at_time["variant"]) == {"base"}
        np.testing.assert_allclose(at_time["si_sdri_db"], at_share["si_sdri_db"])


def test_beyond_the_lengths_there_are_no_scores() -> None:
    lengths = make_lengths([2.0, 3.0, 4.0], [3.0, 5.0, 7.0], idea_s=10.0)
    assert lengths.interpolate("idea", 400.0) is None, "a quarter of its steps takes 1,000 s"
    assert lengths.interpolate("base", 401.0) is None and lengths.select_share("base", 0.125) is None
    assert np.isnan(judge(lengths)["difference_equal_time"])


def test_means_at_each_length_are_of_blind_rows() -> None:
    curves = make_lengths([2.0, 3.0, 4.0], [3.0, 5.0, 7.0], idea_s=2.0).summarise(["idea", "another"])
    assert curves is not None
    assert list(curves["steps"]) == [100, 200, 400] and list(curves["train_s"]) == [200, 400, 800]
    assert curves["si_sdri_db"].to_list() == pytest.approx([3.0, 5.0, 7.0], abs=0.5), "oracle stitching has 1 dB more"
    assert make_lengths([2.0, 3.0, 4.0], [3.0, 5.0, 7.0]).summarise(["another"]) is None
