"""Training lengths: curves against steps and time, differences at equal time, and when a difference has settled."""

from __future__ import annotations

from pathlib import Path

import made_results
import numpy as np
import pandas as pd
import pytest
from audioslots.reporting.lengths import NOT_CONVERGED, Lengths, settles

from audioslots.reporting import figures
from audioslots.reporting.report import report
from audioslots.runtime.files import read_json, write_json
from audioslots.stats.comparisons import compare

NAMED = {name: {"0.25": f"{name}-x0.25", "0.5": f"{name}-x0.5"} for name in ("base", "idea")}
STEPS = {"": 400, "-x0.25": 100, "-x0.5": 200}


def lengths(base: list[float], idea: list[float], base_s: float = 1.0, idea_s: float = 1.0) -> Lengths:
    """Two variants at a quarter, a half and all of 400 steps: SI-SDRi in dB, and seconds a step."""
    gains = {f"{name}{at}": gain for name, row in (("base", base), ("idea", idea)) for at, gain in _at(row)}
    scores = pd.concat([made_results.scores(run, gain) for run, gain in gains.items()], ignore_index=True)
    spent = pd.DataFrame(
        [(run, STEPS[run[4:]], base_s if run.startswith("base") else idea_s) for run in gains],
        columns=["variant", "steps", "step_s"],
    )
    return Lengths.of(NAMED, spent, scores)


def _at(row: list[float]) -> list[tuple[str, float]]:
    return list(zip(("-x0.25", "-x0.5", ""), row, strict=True))


def settled(found: Lengths) -> pd.Series:
    full = found.scores[found.scores["variant"].isin(["base", "idea"])]
    return found.settled(compare(full, "base")).iloc[0]


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0, 1.0, 1.0], True),
        ([-1.0, -1.5, -2.0], True),
        ([0.5, 2.0, 1.1], True),  # 1.1 - 0.9 is still above 0
        ([0.5, 2.0, 0.9], False),  # the loser catches up
        ([-0.2, 0.5, 1.0], False),
        ([1.0, -0.2, 1.0], False),
        ([1.0, 0.5], False),  # 0.5 - 0.5 is no difference
        ([0.7], True),
    ],
)
def test_a_difference_settles_where_its_sign_holds_and_another_doubling_would_not_turn_it(differences, expected):
    assert settles(np.array(differences)) is expected
    assert settles(-np.array(differences)) is expected


def test_a_steady_lead_is_a_verdict_and_one_that_melts_is_not_converged():
    steady = settled(lengths([2.0, 3.0, 4.0], [4.0, 5.0, 6.0]))
    assert steady["verdict"] == "better" and steady["difference_x0.25"] == pytest.approx(2.0, abs=0.3)
    melting = settled(lengths([0.0, 2.0, 4.0], [4.0, 4.5, 5.0]))
    assert melting["verdict"] == NOT_CONVERGED and melting["difference"] == pytest.approx(1.0, abs=0.3)
    turned = settled(lengths([3.0, 3.0, 3.0], [2.0, 3.5, 5.0]))
    assert turned["verdict"] == NOT_CONVERGED
    worse = settled(lengths([2.0, 3.0, 4.0], [0.0, 1.0, 2.0]))
    assert worse["verdict"] == "worse"


def test_no_difference_stays_no_difference():
    assert settled(lengths([4.0, 2.0, 3.0], [2.0, 4.0, 3.0]))["verdict"] == "no difference shown"


def test_at_equal_time_the_slower_is_taken_between_its_lengths():
    found = lengths([2.0, 3.0, 4.0], [3.0, 5.0, 7.0], base_s=1.0, idea_s=2**1.5)
    row = settled(found)  # after 400 s the idea is midway, by the logarithm, between 100 and 200 steps: 283 s and 566 s
    assert row["difference"] == pytest.approx(3.0, abs=0.3)
    assert row["difference_equal_time"] == pytest.approx(4.0 - 4.0, abs=0.3)
    assert row["difference_equal_time_low"] < row["difference_equal_time"] < row["difference_equal_time_high"]


def test_at_equal_time_of_equally_fast_variants_is_the_difference_itself():
    row = settled(lengths([2.0, 3.0, 4.0], [3.0, 5.0, 7.0]))
    for end, key in (("", "difference"), ("_low", "low"), ("_high", "high")):
        assert row[f"difference_equal_time{end}"] == row[key]


def test_beyond_the_lengths_there_are_no_scores():
    found = lengths([2.0, 3.0, 4.0], [3.0, 5.0, 7.0], idea_s=10.0)
    assert found.at_time("idea", 400.0) is None, "a quarter of its steps takes 1,000 s"
    assert found.at_time("base", 401.0) is None and found.at_share("base", 0.125) is None
    assert np.isnan(settled(found)["difference_equal_time"])


def test_scores_at_a_length_s_own_time_are_that_length_s():
    found = lengths([2.0, 3.0, 4.0], [3.0, 5.0, 7.0])
    for share, time in ((0.25, 100.0), (0.5, 200.0), (1.0, 400.0)):
        at_share, at_time = found.at_share("base", share), found.at_time("base", time)
        assert at_share is not None and at_time is not None
        np.testing.assert_allclose(at_time["si_sdri_db"], at_share["si_sdri_db"])
        assert set(at_time["variant"]) == {"base"}


def test_curves_have_one_point_per_length_and_only_blind_scores():
    curves = lengths([2.0, 3.0, 4.0], [3.0, 5.0, 7.0], idea_s=2.0).curves(["idea", "another"])
    assert (
        curves is not None and list(curves["steps"]) == [100, 200, 400] and list(curves["train_s"]) == [200, 400, 800]
    )
    assert curves["si_sdri_db"].to_list() == pytest.approx([3.0, 5.0, 7.0], abs=0.5), "by the references 1 dB more"
    assert lengths([2.0, 3.0, 4.0], [3.0, 5.0, 7.0]).curves(["another"]) is None


def test_the_figure_has_both_panels_and_names_each_variant_once():
    curves = lengths([2.0, 3.0, 4.0], [3.0, 5.0, 7.0]).curves()
    assert curves is not None
    figure = figures.lengths(curves, {"base": "Base", "idea": "Idea"})
    assert [axes.get_xlabel() for axes in figure.axes] == ["training steps", "training time (s)"]
    assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == ["Base", "Idea"]


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("lengths") / "made"
    gains = dict(_named("base", [1.0, 2.0, 3.0]) + _named("idea", [2.0, 4.0, 6.0]) + [("twin", 3.5)])
    made_results.make(results, gains, studies={"idea": ["base", "idea"], "stitching": ["base", "twin"]})
    described = read_json(results / "benchmark.json")
    write_json(results / "benchmark.json", described | {"lengths": NAMED, "models": {"twin": "base"}})
    for seed in results.glob("runs/twin/*"):  # whose model is the base's: nothing was trained here
        (seed / "system.json").unlink()
        (seed / "history.csv").unlink(missing_ok=True)
    for path in results.glob("runs/*/*/system.json"):
        steps = STEPS["-x" + path.parts[-3].partition("-x")[2] if "-x" in path.parts[-3] else ""]
        write_json(path, read_json(path) | {"steps": steps, "wall_s": 0.5 * steps})
    report(results, results)
    return results


def _named(name: str, row: list[float]) -> list[tuple[str, float]]:
    return [(f"{name}{at}", gain) for at, gain in _at(row)]


def test_a_report_shows_shorter_lengths_only_beside_their_variant(reported: Path) -> None:
    main = pd.read_csv(reported / "tables" / "main.csv")
    assert not main["variant"].str.contains("-x").any() and {"base", "idea", "twin"} <= set(main["variant"])
    table = pd.read_csv(reported / "tables" / "lengths.csv")
    assert list(zip(table["variant"], table["steps"], table["train_s"], strict=True)) == [
        (name, steps, steps / 2) for name in ("base", "idea") for steps in (100, 200, 400)
    ]
    assert (reported / "figures" / "lengths-idea.svg").is_file() and not (
        reported / "figures" / "lengths-x.svg"
    ).exists()
    kept = pd.read_parquet(reported / "scores.parquet")
    assert {"idea-x0.25", "idea-x0.5", "idea"} <= set(kept["variant"]), "all scores are kept"


def test_a_report_s_comparison_and_sentence_say_the_length(reported: Path) -> None:
    comparison = pd.read_csv(reported / "tables" / "comparison-idea.csv")
    assert comparison.loc[0, "verdict"] == "better"
    assert {"difference_x0.25", "difference_x0.5", "difference_equal_time"} <= set(comparison.columns)
    page = (reported / "index.html").read_text(encoding="utf-8")
    assert "After 400 steps (3 min 20 s a run), compared with “The base”, “The idea” is better by" in page
    assert "at equal time +" in page


def test_a_variant_that_is_not_trained_itself_has_the_costs_of_its_model_and_no_lengths_of_its_own(
    reported: Path,
) -> None:
    costs = pd.read_csv(reported / "tables" / "costs.csv").set_index("variant")
    assert costs.loc["twin", "train_s"] == costs.loc["base", "train_s"] == 200
    comparison = pd.read_csv(reported / "tables" / "comparison-stitching.csv")
    assert comparison[["difference_x0.5", "difference_equal_time"]].isna().all(axis=None)
    assert comparison.loc[0, "verdict"] in ("better", "no difference shown")
