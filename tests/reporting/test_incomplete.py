"""Results that are not all there yet, or that are of another configuration: what is there is reported, and no more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import made_results
import pandas as pd
import pytest

from audioslots.reporting import style
from audioslots.reporting.report import report
from audioslots.runtime.errors import InputError

STUDIES = {"decoder": ["base", "mask", "slow"], "encoder": ["wide", "narrow"], "slots": ["base", "many"]}
LENGTHS = {name: {"0.25": f"{name}-x0.25", "0.5": f"{name}-x0.5"} for name in ("base", "mask", "slow")}
SHORTER = {"base-x0.25": 2.0, "base-x0.5": 3.0, "mask-x0.25": 3.0, "mask-x0.5": 4.5, "slow-x0.25": 1, "slow-x0.5": 2}
FULL = {"base": 4.0, "mask": 6.0, "slow": 3.0, "wide": 5.0, "narrow": 4.5, "many": 5.5}


@pytest.fixture(scope="module", autouse=True)
def without_figures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "save", made_results.write_no_figure)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies, one of them at three training lengths."""
    folder = tmp_path_factory.mktemp("made") / "results"
    made_results.make(folder, FULL | SHORTER, examples=0, studies=STUDIES)
    for path in folder.glob("runs/*-x0.*/*/system.json"):
        share = float(path.parts[-3].partition("-x")[2])
        made_results.edit(path, steps=round(1200 * share), wall_s=100 * share)
    made_results.edit(folder / "benchmark.json", lengths=LENGTHS)
    return made_results.identify(folder)


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "results")


def without_scores(results: Path, *runs: str) -> None:
    """Take the scores of some runs away: all else of a run is there while it is being scored."""
    for run in runs:
        for path in results.glob(f"runs/{run}/scores.parquet"):
            path.unlink()


def table(out: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(out / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


def studies(out: Path) -> list[str]:
    return table(out, "conclusions")["study"].tolist()


def test_runs_without_scores_are_left_out_and_a_variant_has_the_seeds_that_are_there(results, tmp_path) -> None:
    without_scores(results, "mask/seed2", "many/*")
    page = report(results, tmp_path / "out").read_text(encoding="utf-8")
    main = table(tmp_path / "out", "main").set_index(["variant", "stitching"])
    assert "many" not in main.index and "The many" not in page
    assert main.loc[("mask", "blind"), "seeds"] == 1 and main.loc[("base", "blind"), "seeds"] == 2
    assert table(tmp_path / "out", "comparison-decoder").set_index("variant")["seeds"].to_dict() == {
        "mask": 1,
        "slow": 2,
    }
    rows = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    assert set(rows.loc[rows["variant"] == "mask", "seed"]) == {1}


def test_a_run_that_was_begun_does_not_keep_the_others_from_a_report(results, tmp_path) -> None:
    for path in (results / "runs" / "mask" / "seed2").iterdir():
        path.unlink()
    report(results, tmp_path / "out")
    assert studies(tmp_path / "out") == ["Decoder", "Encoder", "Slots"]


def test_a_study_is_shown_once_its_baseline_and_another_variant_have_scores(results, tmp_path) -> None:
    """Of one study the baseline is absent, of another all but the baseline; the third lacks one of its variants."""
    without_scores(results, "wide/*", "many/*", "slow/*")
    page = report(results, tmp_path / "out").read_text(encoding="utf-8")
    assert studies(tmp_path / "out") == ["Decoder"]
    assert "Does the decoder matter?" in page
    assert "Does the encoder matter?" not in page and "Does the slots matter?" not in page
    assert [path.stem for path in (tmp_path / "out" / "tables").glob("comparison-*.csv")] == ["comparison-decoder"]
    assert table(tmp_path / "out", "comparison-decoder")["variant"].tolist() == ["mask"]
    assert set(table(tmp_path / "out", "changes")["study"]) == {"Decoder"}
    assert "narrow" in table(tmp_path / "out", "main")["variant"].tolist(), "its scores are shown, if not its study"


def test_without_any_scores_there_is_one_line_and_nothing_is_written(results, tmp_path) -> None:
    without_scores(results, "*/*")
    with pytest.raises(InputError, match=f"{results}: no run of the benchmark has scores; expected runs/") as error:
        report(results, tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_only_the_mixture_scored_is_reported(results, tmp_path) -> None:
    without_scores(results, *FULL, *SHORTER, *(f"{name}/*" for name in FULL | SHORTER), "oracle-magnitude/*")
    page = report(results, tmp_path / "out").read_text(encoding="utf-8")
    assert "Nothing was trained." in page and studies(tmp_path / "out") == []


def test_shorter_lengths_that_some_variants_lack_do_not_break_the_table_of_lengths(results, tmp_path) -> None:
    """One variant lacks a length, one has a length of one seed, one has only the shorter lengths."""
    without_scores(results, "mask-x0.25/*", "base-x0.5/seed2", "slow/*")
    report(results, tmp_path / "out")
    lengths = table(tmp_path / "out", "lengths")
    assert list(zip(lengths["variant"], lengths["steps"], lengths["seeds"], strict=True)) == [
        *[("base", steps, seeds) for steps, seeds in ((300, 2), (600, 1), (1200, 2))],
        *[("mask", steps, 2) for steps in (600, 1200)],
    ]
    compared = table(tmp_path / "out", "comparison-decoder").set_index("variant").loc["mask"]
    assert compared[["difference_x0.25"]].isna().all() and compared[["difference_x0.5", "difference"]].notna().all()
    main = table(tmp_path / "out", "main")["variant"].tolist()
    assert not any("-x" in name for name in main) and "slow" not in main


def test_where_no_shorter_length_was_run_there_are_verdicts_without_them(results, tmp_path) -> None:
    without_scores(results, *(f"{name}/*" for name in SHORTER))
    report(results, tmp_path / "out")
    compared = table(tmp_path / "out", "comparison-decoder").set_index("variant")
    assert compared["verdict"].to_dict() == {"mask": "better", "slow": "worse"}
    assert not [name for name in compared if name.startswith("difference_x")]


# --- of another configuration --------------------------------------------------------------------------------------


def test_a_run_of_another_identity_than_the_benchmarks_is_left_out_with_a_line(results, tmp_path, capsys) -> None:
    """As after a change of the config: what was run before it is still on disk."""
    run = results / "runs" / "mask" / "seed2"
    made_results.edit(run / "config.json", run_identity="of the config before")
    page = report(results, tmp_path / "out").read_text(encoding="utf-8")
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"{run}: mask, seed 2, left out: of another configuration than the benchmark's now"
    rows = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    assert set(rows.loc[rows["variant"] == "mask", "seed"]) == {1} and "The mask" in page


def test_a_variant_whose_every_run_is_of_another_identity_has_no_row(results, tmp_path, capsys) -> None:
    for path in results.glob("runs/wide/*/config.json"):
        made_results.edit(path, run_identity="of the config before")
    report(results, tmp_path / "out")
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert "wide" not in table(tmp_path / "out", "main")["variant"].tolist()
    assert studies(tmp_path / "out") == ["Decoder", "Slots"], "its baseline is of another configuration"
