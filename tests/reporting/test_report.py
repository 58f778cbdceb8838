"""The report as a whole: from a folder of runs to a folder that can be published."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from audioslots.reporting.report import report
from audioslots.runtime.errors import InputError
from tests.reporting.made_results import (
    edit_json,
    edit_scores,
    identify,
    make_results,
    make_scores,
    read_report,
    write_json,
)

GAINS = {"magnitude": 4.0, "mask": 6.0}
LENGTHS = {name: {"0.25": f"{name}-x0.25", "0.5": f"{name}-x0.5"} for name in ("base", "mask", "slow")}
SHORTER = {"base-x0.25": 2.0, "base-x0.5": 3.0, "mask-x0.25": 3.0, "mask-x0.5": 4.5, "slow-x0.25": 1, "slow-x0.5": 2}
FULL = {"base": 4.0, "mask": 6.0, "slow": 3.0, "wide": 5.0, "narrow": 4.5, "many": 5.5, "twin": 3.5}
STUDIES = {"decoder": ["base", "mask", "slow", "twin"], "encoder": ["wide", "narrow"], "slots": ["base", "many"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("made"), GAINS, examples=2)


@pytest.fixture(scope="module")
def out(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    assert report(made, out) == out / "index.html"
    return out


@pytest.fixture(scope="module")
def made_studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies, one of them at three training lengths, with a twin of the baseline that was not trained."""
    folder = tmp_path_factory.mktemp("studies") / "results"
    make_results(folder, FULL | SHORTER, studies=STUDIES)
    for path in folder.glob("runs/*/*/system.json"):
        share = float(path.parts[-3].partition("-x")[2] or 1)
        edit_json(path, steps=round(400 * share), wall_s=200 * share)
    identify(folder)
    for path in [*folder.glob("runs/twin/*/system.json"), *folder.glob("runs/twin/*/history.csv")]:
        path.unlink()
    edit_json(folder / "benchmark.json", lengths=LENGTHS, models={"twin": "base"})
    return folder


@pytest.fixture
def results(made: Path, tmp_path: Path, without_figures: None) -> Path:
    return shutil.copytree(made, tmp_path / "results")


@pytest.fixture
def studies(made_studies: Path, tmp_path: Path, without_figures: None) -> Path:
    return shutil.copytree(made_studies, tmp_path / "results")


def remove_scores(results: Path, *runs: str) -> None:
    for run in runs:
        for path in results.glob(f"runs/{run}/scores.parquet"):
            path.unlink()


def list_studies(out: Path) -> list[str]:
    return read_report(out, "conclusions")["study"].tolist()


# --- what is written -----------------------------------------------------------------------------------------------


def test_everything_promised_is_written(out: Path) -> None:
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    names = "main costs changes pairs input duration speakers published conclusions comparison-decoder".split()
    tables = {f"tables/{name}.{kind}" for name in names for kind in ("csv", "md", "tex")}
    names = "estimates cost spectrograms estimates-decoder learning-decoder".split()
    figures = {f"figures/{name}.{kind}" for name in names for kind in ("svg", "pdf")}
    kept = {"scores.parquet", "index.html"}
    assert tables | figures | kept == {name for name in written if not name.startswith("audio/")}
    assert {"audio/1/mixture.wav", "audio/2/s2.wav", "audio/2/v1-2.png"} <= written


def test_every_row_of_every_run_is_in_the_one_table(out: Path) -> None:
    assert len(pd.read_parquet(out / "scores.parquet")) == 30 * 2 * (1 + 1 + 2 * 2 * 2)
    main = read_report(out, "main")["variant"].tolist()
    assert main == ["mixture", "oracle-magnitude", "magnitude", "magnitude", "mask", "mask"]
    costs = read_report(out, "costs")
    assert costs["real_time_factor"].tolist() == pytest.approx([0.035, 0.035]), "a mean over seeds"
    assert costs["peak_memory_bytes"].tolist() == [400 * 2**20 + 2] * 2, "the largest over seeds"


def test_the_page_states_the_provenance(out: Path) -> None:
    page = (out / "index.html").read_text(encoding="utf-8")
    assert dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page.partition('id="provenance"')[2])) == {
        "Commit, training": "0" * 40,
        "Commit, evaluation": "1" * 40,
        "Machine": "cpu",
        "Threads per training": "2",
        "Training, all runs": "0.1 h",
        "Versions": "torch 2.11.0",
    }


def test_the_same_scores_make_the_same_files(made: Path, out: Path, tmp_path: Path) -> None:
    report(made, tmp_path)
    for kind in ("index.html", "figures/*", "tables/*", "audio/*/*"):
        for path in out.glob(kind):
            assert path.read_bytes() == (tmp_path / path.relative_to(out)).read_bytes(), path.name


def test_long_recordings_have_a_table_over_time(results: Path, tmp_path: Path) -> None:
    edit_scores(
        results, "*/*", **{f"assignment_accuracy_from_{k}_s": value for k, value in ((0, 1), (10, 1), (30, 0.75))}
    )
    page = report(results, tmp_path / "out").read_text(encoding="utf-8")
    assert "30 to the end" in page
    assert read_report(tmp_path / "out", "time")["assignment_accuracy_from_30_s"].unique().tolist() == [0.75]


def test_runs_without_history_or_examples_are_reported(results: Path, tmp_path: Path) -> None:
    for path in results.rglob("history.csv"):
        path.unlink()
    for path in results.rglob("examples"):
        shutil.rmtree(path)
    page = report(results, tmp_path).read_text()
    assert not list(tmp_path.glob("figures/learning*")) and not (tmp_path / "figures/spectrograms.svg").exists()
    assert "<audio controls" not in page and "validation SI-SDRi" not in page


def test_literature_is_shown_beside_clean_mixtures_only(results: Path, tmp_path: Path) -> None:
    assert "Published elsewhere" in report(results, tmp_path / "clean").read_text()
    edit_json(results / "benchmark.json", task="sep_noisy")
    assert "Published elsewhere" not in report(results, tmp_path / "noisy").read_text()


def test_an_external_system_is_in_the_tables_and_a_study(results: Path, tmp_path: Path) -> None:
    run = results / "runs" / "external-other" / "seed0"
    write_json(run / "evaluation.json", {"real_time_factor": 0.0, "cost": {"parameters": 25.7e6, "delay_ms": 16.0}})
    make_scores("external-other", 5.0, (0,), ("none",)).to_parquet(run / "scores.parquet")
    described = json.loads((results / "benchmark.json").read_text())
    study = {"name": "external-other", "title": "Other", "question": "How do they compare?"}
    study |= {"baseline": "external-other", "variants": list(GAINS)}
    named = [*described["variants"], "external-other"]
    edit_json(results / "benchmark.json", variants=named, studies=[*described["studies"], study])
    out = tmp_path / "out"
    report(results, out)
    compared = read_report(out, "comparison-external-other").set_index("variant")
    assert compared["verdict"].to_dict() == {"magnitude": "worse", "mask": "better"}
    assert (compared["seeds"] == 2).all(), "it has no seed and is paired with every one"
    assert "| other (external) | 25.7 M | – | – | 16 |" in (out / "tables" / "costs.md").read_text(encoding="utf-8")
    conclusion = read_report(out, "conclusions")["conclusion"].iloc[-1]
    assert conclusion.endswith("Compared with “other (external)”."), "its steps are unknown"
    assert set(read_report(out, "changes")["changes"]) == {"–", "another system"}


def test_names_are_escaped(tmp_path: Path, without_figures: None) -> None:
    make_results(tmp_path / "results", {"a & b_%": 4.0, "<img src=x onerror=alert(1)>": 6.0}, seeds=(1,))
    page = report(tmp_path / "results", tmp_path / "out").read_text()
    assert "<img src=x" not in page and "Better: “The &lt;img src=x onerror=alert(1)&gt;”" in page
    assert "a &amp; b_%" in page and "a & b_%" not in page


# --- training lengths ----------------------------------------------------------------------------------------------


def test_shorter_lengths_are_shown_only_beside_their_variant(studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    page = report(studies, out).read_text(encoding="utf-8")
    main = read_report(out, "main")["variant"]
    assert not main.str.contains("-x").any() and set(FULL) <= set(main)
    assert set(SHORTER) <= set(pd.read_parquet(out / "scores.parquet")["variant"]), "all scores are kept"
    assert (out / "figures" / "lengths-decoder.svg").is_file() and not (
        out / "figures" / "lengths-encoder.svg"
    ).exists()
    compared = read_report(out, "comparison-decoder").set_index("variant")
    assert compared.loc["mask", ["difference_x0.25", "difference_x0.5", "difference_equal_time"]].notna().all()
    assert "Better: “The mask” (+" in page and "Compared with “The base” after 400 training steps." in page


def test_a_variant_that_shares_a_model_has_its_costs_and_no_lengths(studies: Path, tmp_path: Path) -> None:
    report(studies, tmp_path / "out")
    costs = read_report(tmp_path / "out", "costs").set_index("variant")
    assert costs.loc["twin", "train_s"] == costs.loc["base", "train_s"] == 200
    compared = read_report(tmp_path / "out", "comparison-decoder").set_index("variant").loc["twin"]
    assert compared[["difference_x0.5", "difference_equal_time"]].isna().all()


def test_a_variant_may_lack_a_length_or_a_seed_of_it(studies: Path, tmp_path: Path) -> None:
    remove_scores(studies, "mask-x0.25/*", "base-x0.5/seed2", "slow/*")
    report(studies, tmp_path / "out")
    compared = read_report(tmp_path / "out", "comparison-decoder").set_index("variant").loc["mask"]
    assert pd.isna(compared["difference_x0.25"]) and compared[["difference_x0.5", "difference"]].notna().all()
    assert "slow" not in read_report(tmp_path / "out", "main")["variant"].tolist()


# --- incomplete ----------------------------------------------------------------------------------------------------


def test_runs_without_scores_are_left_out(studies: Path, tmp_path: Path) -> None:
    """A study is shown once its baseline and another variant have scores; the shorter lengths are absent."""
    remove_scores(studies, "wide/*", "many/*", "slow/*", "mask/seed2", *(f"{name}/*" for name in SHORTER))
    for path in (studies / "runs" / "twin" / "seed2").iterdir():
        path.unlink()
    out = tmp_path / "out"
    page = report(studies, out).read_text(encoding="utf-8")
    assert list_studies(out) == ["Decoder"] and set(read_report(out, "changes")["study"]) == {"Decoder"}
    assert "Does the encoder matter?" not in page and "The many" not in page
    compared = read_report(out, "comparison-decoder").set_index("variant")
    assert compared["seeds"].to_dict() == {"mask": 1, "twin": 1} and compared.loc["mask", "verdict"] == "better"
    assert not compared.filter(like="difference_x").size
    main = read_report(out, "main").set_index(["variant", "stitching"])["seeds"]
    assert main["mask", "blind"] == 1 and main["base", "blind"] == 2 and main["narrow", "blind"] == 2


def test_the_mixture_only_is_reported(results: Path, tmp_path: Path) -> None:
    remove_scores(results, "m[!i]*/*", "oracle-magnitude/*")
    assert "Nothing was trained." in report(results, tmp_path / "out").read_text(encoding="utf-8")
    assert list_studies(tmp_path / "out") == []


def test_one_variant_with_one_seed_is_reported_without_its_study(tmp_path: Path, without_figures: None) -> None:
    make_results(tmp_path / "results", {"magnitude": 4.0}, seeds=(3,))
    page = report(tmp_path / "results", tmp_path / "out").read_text()
    assert "30 test mixtures and 1 seed, with" in page and "The magnitude" in page
    assert list_studies(tmp_path / "out") == [] and "Does the decoder matter?" not in page


@pytest.mark.parametrize(("runs", "failed"), [("seed2", 30), ("*", 60)])
def test_failed_runs_are_counted_as_missing(results: Path, tmp_path: Path, runs: str, failed: int) -> None:
    """A training that diverged leaves rows without scores; the other seed still stands."""
    names = ["si_sdr_db", "si_sdri_db", "sdr_db", "sdri_db", "pesq", "stoi", "estoi"]
    edit_scores(results, f"mask/{runs}", **dict.fromkeys(names, float("inf")), failure="si_sdr: not finite")
    page = report(results, tmp_path).read_text()
    main = read_report(tmp_path, "main").set_index(["variant", "stitching"]).loc[("mask", "blind")]
    assert main["failures"] == 2 * failed and f"Undefined for up to {failed} scores per row" in page
    assert read_report(tmp_path, "comparison-decoder")["missing"].tolist() == [failed]
    if failed == 60:
        assert "No score: “The mask”." in page
    else:
        assert main["si_sdri_db"] == pytest.approx(6.0, abs=0.5)


def test_runs_of_another_configuration_are_left_out_with_a_line(studies: Path, tmp_path: Path, capsys) -> None:
    """As after a change of the config: earlier runs are still on disk."""
    changed = [studies / "runs" / name / f"seed{seed}" for name, seed in (("mask", 2), ("wide", 1), ("wide", 2))]
    for run in changed:
        edit_json(run / "config.json", run_identity="of the config before")
    report(studies, tmp_path / "out")
    assert sorted(line.partition(": ")[0] for line in capsys.readouterr().err.splitlines()) == sorted(map(str, changed))
    rows = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    assert set(rows.loc[rows["variant"] == "mask", "seed"]) == {1} and "wide" not in set(rows["variant"])
    assert list_studies(tmp_path / "out") == ["Decoder", "Slots"]


# --- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            lambda run: (run / "scores.parquet").write_bytes(b"PAR1 half a file"),
            "mask/seed2/scores.parquet: not readable",
        ),
        (lambda run: shutil.copy(run.parent / "seed1/scores.parquet", run), "expected those of variant 'mask', seed 2"),
        (lambda run: edit_scores(run.parents[2], "mask/seed2", source=9), "lacks mixture|appears twice"),
        (lambda run: (run / "config.json").unlink(), "mask/seed2/config.json: no such file"),
        (lambda run: remove_scores(run.parents[2], "*/*"), "no run of the benchmark has scores"),
        (lambda run: edit_json(run.parents[2] / "benchmark.json", title=None), "title: absent or of another kind"),
    ],
)
def test_damaged_results_are_refused_by_name(results: Path, tmp_path: Path, broken, message: str) -> None:
    broken(results / "runs" / "mask" / "seed2")
    with pytest.raises(InputError, match=message) as error:
        report(results, tmp_path / "out")
    assert "\n" not in str(error.value)
