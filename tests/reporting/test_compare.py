"""Comparison and selection on the terminal: any score files, costs where they lie beside, clear refusals."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from audioslots.reporting.compare import compare_files
from audioslots.reporting.selection import rank_runs
from audioslots.runtime.errors import InputError
from tests.reporting.made_results import make_results, make_scores, write_json


def write(folder: Path, name: str, *frames: pd.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pd.concat(frames, ignore_index=True).to_parquet(folder / name)
    return folder / name


def test_files_of_runs_are_joined(tmp_path: Path) -> None:
    gains = [(name, gain, seed) for name, gain in (("base", 5.0), ("idea", 7.0)) for seed in (1, 2)]
    paths = [write(tmp_path, f"{name}{seed}.parquet", make_scores(name, gain, (seed,))) for name, gain, seed in gains]
    head, _, row, _, sentence = compare_files(paths, "base").splitlines()
    assert head.split()[-1] == "Verdict" and "MACs" not in head
    assert row.startswith("idea") and row.endswith("better") and " 2 " in row
    assert sentence.startswith("Better: “idea” (+") and sentence.endswith("Compared with “base”.")


def test_costs_are_shown_where_they_lie_beside_the_scores(tmp_path: Path) -> None:
    results = make_results(tmp_path / "made", {"magnitude": 4.0, "mask": 6.0})
    runs = sorted(results.glob("runs/m[a]*/seed*/scores.parquet"))
    assert "100 M" in compare_files(runs, "magnitude"), "of the run"
    whole = write(results, "scores.parquet", *map(pd.read_parquet, runs))
    assert "100 M" in compare_files([whole], "magnitude"), "of a benchmark"
    for evaluation, is_shown in (({"real_time_factor": 0.0}, False), ({"cost": {"real_time_factor": 0.123}}, True)):
        for path in results.glob("runs/mask/seed*/evaluation.json"):
            write_json(path, evaluation)
        text = compare_files(runs, "magnitude")
        assert ("0.1230" in text) is is_shown and "0.0000" not in text, "0.0 is unknown, as of files"


def test_two_versions_of_one_variant_are_named_by_their_files(tmp_path: Path) -> None:
    old, new = (write(tmp_path / name, "s", make_scores("mask", gain)) for name, gain in (("old", 5.0), ("new", 6.0)))
    text = compare_files([old, new], f"mask ({old})", "md")
    assert f"mask ({new})".replace("_", r"\_") in text and "better" in text


def test_latex_on_request(tmp_path: Path) -> None:
    path = write(tmp_path, "s.parquet", make_scores("a_1", 5.0), make_scores("b", 6.0))
    assert r"\toprule" in compare_files([path], "b", "tex") and r"a\_1" in compare_files([path], "b", "tex")


@pytest.mark.parametrize(
    ("variants", "baseline", "message"),
    [("a", "a", "only one variant; expected two or more"), ("ab", "c", "no scores of 'c'; expected one of 'a', 'b'")],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, variants: str, baseline: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare_files([write(tmp_path, "s.parquet", *(make_scores(name, 5.0) for name in variants))], baseline)


def test_runs_are_ranked_by_their_means(tmp_path: Path) -> None:
    runs = {
        (name, seed): make_scores(name, gain, (seed,)) for name, gain in (("a", 3.0), ("b", 5.0)) for seed in (1, 2)
    }
    runs["b", 2].loc[runs["b", 2]["stitching"] == "blind", "si_sdri_db"] = [float("nan"), *[1.0] * 59]
    paths = [write(tmp_path, f"{name}{seed}.parquet", runs[name, seed]) for name, seed in runs]
    rank_runs(paths, tmp_path / "m.csv")
    table = pd.read_csv(tmp_path / "m.csv")
    assert list(table) == ["variant", "seed", "stitching", "si_sdri_db", "mixtures"] and len(table) == 8
    assert table["si_sdri_db"].is_monotonic_decreasing and table["variant"][0] == "b"
    ranked = table.set_index(["variant", "seed", "stitching"])
    expected = pd.concat(runs.values()).groupby(["variant", "seed", "stitching"])["si_sdri_db"].mean()
    pd.testing.assert_series_equal(ranked["si_sdri_db"].sort_index(), expected, check_names=False)
    assert ranked.loc[("b", 2, "blind"), "mixtures"] == 29, "a mixture that lacks the value of one source has none"
    with pytest.raises(InputError, match="appears twice"):
        rank_runs([paths[0], paths[0]], tmp_path / "m.csv")
