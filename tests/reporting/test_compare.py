"""The comparison on the terminal: any score files, costs where they lie beside, clear refusals."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from made_results import make, scores

from audioslots.reporting.compare import compare_files, write_means
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import write_json


def written(folder: Path, name: str, *frames: pd.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pd.concat(frames, ignore_index=True).to_parquet(folder / name)
    return folder / name


def test_files_of_runs_are_put_together(tmp_path):
    paths = [
        written(tmp_path, f"{name}{seed}.parquet", scores(name, gain, (seed,)))
        for name, gain in (("base", 5.0), ("idea", 7.0))
        for seed in (1, 2)
    ]
    head, _, row, _, sentence = compare_files(paths, "base").splitlines()
    assert head.split()[-1] == "Verdict" and "MACs" not in head
    assert row.startswith("idea") and row.endswith("better") and " 2 " in row
    assert sentence.startswith("Compared with “base”, “idea” is better by")


def test_costs_are_shown_where_they_lie_beside_the_scores(tmp_path):
    results = make(tmp_path / "made", {"magnitude": 4.0, "mask": 6.0}, examples=0)
    runs = sorted(results.glob("runs/m[a]*/seed*/scores.parquet"))
    assert "100 M" in compare_files(runs, "magnitude"), "of the run"
    whole = written(results, "scores.parquet", *map(pd.read_parquet, runs))
    assert "100 M" in compare_files([whole], "magnitude"), "of a benchmark"
    evaluations = list(results.glob("runs/mask/seed*/evaluation.json"))
    for kept, shown in (({"real_time_factor": 0.0}, False), ({"cost": {"real_time_factor": 0.123}}, True)):
        for path in evaluations:  # as of files, of which nobody knows how long they took, and where it is told
            write_json(path, kept)
        found = compare_files(runs, "magnitude")
        assert ("0.1230" in found) is shown and "0.0000" not in found


def test_two_versions_of_one_variant_are_named_by_their_files(tmp_path):
    paths = [written(tmp_path / name, "s.parquet", scores("mask", gain)) for name, gain in (("old", 5.0), ("new", 6.0))]
    shown = compare_files(paths, f"mask ({paths[0]})", "md")
    assert f"mask ({paths[1]})".replace("_", r"\_") in shown and "better" in shown


def test_latex_on_request(tmp_path):
    path = written(tmp_path, "s.parquet", scores("a_1", 5.0), scores("b", 6.0))
    assert r"\toprule" in compare_files([path], "b", "tex") and r"a\_1" in compare_files([path], "b", "tex")


def test_one_variant_alone_is_refused(tmp_path):
    with pytest.raises(InputError, match="only one variant; expected two or more"):
        compare_files([written(tmp_path, "s.parquet", scores("a", 5.0))], "a")


def test_an_unknown_baseline_lists_the_known(tmp_path):
    with pytest.raises(InputError, match="no scores of 'c'; expected one of 'a', 'b'"):
        compare_files([written(tmp_path, "s.parquet", scores("a", 5.0), scores("b", 5.0))], "c")


def test_other_test_mixtures_are_refused(tmp_path):
    paths = [written(tmp_path, "a.parquet", scores("a", 5.0)), written(tmp_path, "b.parquet", scores("b", 5.0)[4:])]
    with pytest.raises(InputError, match="lacks mixture"):
        compare_files(paths, "a")


def test_means_are_of_each_run_and_stitching_the_highest_first(tmp_path):
    runs = {(name, seed): scores(name, gain, (seed,)) for name, gain in (("a", 3.0), ("b", 5.0)) for seed in (1, 2)}
    runs["b", 2].loc[runs["b", 2]["stitching"] == "blind", "si_sdri_db"] = [float("nan"), *[1.0] * 59]
    write_means(
        [written(tmp_path, f"{name}{seed}.parquet", runs[name, seed]) for name, seed in runs], tmp_path / "m.csv"
    )
    table = pd.read_csv(tmp_path / "m.csv")
    assert list(table) == ["variant", "seed", "stitching", "si_sdri_db", "mixtures"] and len(table) == 8
    assert table["si_sdri_db"].is_monotonic_decreasing and table["variant"][0] == "b"
    found = table.set_index(["variant", "seed", "stitching"])
    for (name, seed), rows in runs.items():
        for stitching in ("oracle", "blind"):
            expected = 1.0 if (name, seed, stitching) == ("b", 2, "blind") else None
            expected = expected or rows.loc[rows["stitching"] == stitching, "si_sdri_db"].mean()
            assert found.loc[(name, seed, stitching), "si_sdri_db"] == pytest.approx(expected)
    assert found.loc[("b", 2, "blind"), "mixtures"] == 29, "a mixture of which a source has no value has none"


def test_means_of_a_run_given_twice_are_refused(tmp_path):
    path = written(tmp_path, "s.parquet", scores("a", 5.0))
    with pytest.raises(InputError, match="appears twice"):
        write_means([path, path], tmp_path / "m.csv")
