"""The report as a whole: from a folder of runs to a folder that can be published."""

from __future__ import annotations

import json
import re
import shutil

import pandas as pd
import pytest
from made_results import make, scores

from audioslots.reporting.report import report
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import write_json


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("made"), {"magnitude": 4.0, "mask": 6.0})


@pytest.fixture
def results(made, tmp_path):
    return shutil.copytree(made, tmp_path / "results")


@pytest.fixture(scope="module")
def out(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    assert report(made, out) == out / "index.html"
    return out


def test_everything_promised_is_written(out):
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    names = "main costs changes pairs input duration speakers published conclusions comparison-decoder".split()
    tables = {f"tables/{name}.{kind}" for name in names for kind in ("csv", "md", "tex")}
    names = "estimates cost spectrograms estimates-decoder learning-decoder input-decoder".split()
    drawn = {f"figures/{name}.{kind}" for name in names for kind in ("svg", "png", "pdf")}
    kept = {"scores.parquet", "index.html"}
    assert tables | drawn | kept == {name for name in written if not name.startswith("audio/")}
    assert {"audio/1/mixture.wav", "audio/2/s2.wav", "audio/2/v1-2.png"} <= written
    assert not any(".tmp" in name for name in written)


def test_every_row_of_every_run_is_in_the_one_table(out):
    rows = pd.read_parquet(out / "scores.parquet")
    assert len(rows) == 30 * 2 * (1 + 1 + 2 * 2 * 2)
    main = pd.read_csv(out / "tables/main.csv", keep_default_na=False)
    assert main["variant"].tolist() == ["mixture", "oracle-magnitude", "magnitude", "magnitude", "mask", "mask"]
    costs = pd.read_csv(out / "tables/costs.csv")
    assert costs["real_time_factor"].tolist() == pytest.approx([0.035, 0.035]), "a mean over seeds"
    assert costs["peak_memory_bytes"].tolist() == [400 * 2**20 + 2] * 2, "the largest over seeds"
    assert costs[["numbers_a_slot", "numbers_a_source"]].to_numpy().tolist() == [[128, 4369]] * 2


def test_the_page_says_what_made_the_results(out):
    page = (out / "index.html").read_text(encoding="utf-8")
    facts = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page)
    assert facts == [
        ("Code of the training", "0" * 40),
        ("Code of the evaluation", "1" * 40),
        ("Machine", "cpu"),
        ("Threads a training", "2"),
        ("Training, all runs", "0.1 h"),
        ("Versions", "torch 2.11.0"),
    ]


def test_long_recordings_have_a_table_of_assignment_accuracy_over_time(results, tmp_path):
    for path in results.glob("runs/*/*/scores.parquet"):
        periods = {
            "assignment_accuracy_from_0_s": 1.0,
            "assignment_accuracy_from_10_s": 0.875,
            "assignment_accuracy_from_30_s": 0.75,
        }
        pd.read_parquet(path).assign(**periods).to_parquet(path)
    page = report(results, tmp_path / "out").read_text(encoding="utf-8")
    assert "Assignment accuracy along a recording" in page and "30 to the end" in page
    table = pd.read_csv(tmp_path / "out" / "tables" / "time.csv", keep_default_na=False)
    assert table["assignment_accuracy_from_30_s"].astype(float).unique().tolist() == [0.75]


def test_the_same_scores_make_the_same_files(made, out, tmp_path):
    report(made, tmp_path)
    for kind in ("index.html", "figures/*", "tables/*", "audio/*/*"):
        for path in out.glob(kind):
            assert path.read_bytes() == (tmp_path / path.relative_to(out)).read_bytes(), path.name


def test_runs_without_history_or_examples_are_reported(results, tmp_path):
    for path in (results / "runs").rglob("history.csv"):
        path.unlink()
    for path in (results / "runs").rglob("examples"):
        shutil.rmtree(path)
    page = report(results, tmp_path).read_text()
    assert not list(tmp_path.glob("figures/learning*")) and not (tmp_path / "figures/spectrograms.svg").exists()
    assert "<audio controls" not in page and "validation SI-SDRi" not in page


def test_nothing_trained_is_reported_too(results, tmp_path):
    edit(results, variants=["mixture", "oracle-magnitude"], studies=[])
    page = report(results, tmp_path).read_text()
    assert "Nothing was trained." in page


def test_a_study_of_three_has_all_pairs_and_one_of_slots_its_figure(tmp_path):
    make(tmp_path / "results", {"slots-2": 5.0, "slots-4": 6.0, "slots-8": 4.0}, examples=1)
    for path in (tmp_path / "results/runs/slots-8").rglob("config.json"):
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "ceiling"}))
    page = report(tmp_path / "results", tmp_path / "out").read_text()
    drawn = {path.stem for path in (tmp_path / "out/figures").glob("*.svg")}
    assert {"slots-decoder", "significance-decoder"} <= drawn and "significance" not in drawn
    main = pd.read_csv(tmp_path / "out/tables/main.csv").set_index("variant")
    assert main.loc["slots-8", "below_ceiling_db"].isna().all(), "nothing bounds it"
    assert "corrected by Holm for all 3 pairs" in page


def test_one_variant_with_one_seed_is_reported_without_its_study(tmp_path):
    make(tmp_path / "results", {"magnitude": 4.0}, seeds=(3,), examples=1)
    page = report(tmp_path / "results", tmp_path / "out").read_text()
    assert "share a speaker (the one seed is taken as given)" in page and "The magnitude" in page
    assert "Does the decoder matter?" not in page and not (tmp_path / "out/tables/comparison-decoder.csv").exists()
    assert pd.read_csv(tmp_path / "out/tables/conclusions.csv").empty


def test_scores_of_clean_mixtures_that_others_published_are_shown_and_none_in_noise(results, tmp_path):
    assert "Published elsewhere" in report(results, tmp_path / "clean").read_text()
    edit(results, task="sep_noisy")
    assert "Published elsewhere" not in report(results, tmp_path / "noisy").read_text()


def test_a_system_of_another_package_is_in_tables_page_and_a_study_and_said_to_be_one(tmp_path):
    folder = make(tmp_path / "made", {"slots-2": 4.0, "slots-4": 9.0})
    rows = scores("external-other", 6.0, (0,), ("none",))
    run = folder / "runs" / "external-other" / "seed0"
    run.mkdir(parents=True)
    rows.to_parquet(run / "scores.parquet")
    write_json(run / "evaluation.json", {"real_time_factor": 0.0, "cost": {"parameters": 25.7e6, "delay_ms": 16.0}})
    described = json.loads((folder / "benchmark.json").read_text())
    described["variants"].append("external-other")
    about = {"name": "external-other", "title": "other (external)", "question": "How do the variants compare?"}
    described["studies"].append(about | {"baseline": "external-other", "variants": ["slots-2", "slots-4"]})
    (folder / "benchmark.json").write_text(json.dumps(described))
    out = tmp_path / "out"
    report(folder, out)
    assert "| other (external) | – |" in (out / "tables" / "main.md").read_text(encoding="utf-8")
    compared = pd.read_csv(out / "tables" / "comparison-external-other.csv").set_index("variant")
    assert compared["verdict"].to_dict() == {"slots-2": "worse", "slots-4": "better"}
    assert (compared["seeds"] == 2).all(), "it has no seed and is paired with every one"
    assert "other (external)" in (out / "index.html").read_text(encoding="utf-8")
    costs = pd.read_csv(out / "tables" / "costs.csv").set_index("variant")
    told = costs.loc["external-other", ["parameters", "delay_ms"]]
    assert (
        list(told) == [25.7e6, 16.0] and costs.loc["external-other"].drop(["title", "seeds", *told.index]).isna().all()
    )
    assert "| other (external) | 25.7 M | – | – | 16 |" in (out / "tables" / "costs.md").read_text(encoding="utf-8")
    conclusion = pd.read_csv(out / "tables" / "conclusions.csv")["conclusion"].iloc[-1]
    assert conclusion.startswith("Compared with “other (external)”"), "nobody knows its steps"


def test_a_run_that_failed_is_missing_and_said_to_be(results, tmp_path):
    """A training that diverged leaves rows without scores: they are counted, and the other seed still stands."""
    path = results / "runs/mask/seed2/scores.parquet"
    rows = pd.read_parquet(path)
    scored = [name for name in rows if name.startswith(("si_", "sdr", "pesq", "stoi", "estoi"))]
    rows.assign(**dict.fromkeys(scored, float("nan")), failure="si_sdr: not finite").to_parquet(path)
    page = report(results, tmp_path).read_text()
    main = pd.read_csv(tmp_path / "tables/main.csv").set_index(["variant", "stitching"]).loc[("mask", "blind")]
    assert main["si_sdri_db"] == pytest.approx(6.0, abs=0.5) and main["failures"] == 60
    assert "Missing, and left out of the mean" in page and "The mask (blind) SI-SDRi 30 of 60" in page
    assert pd.read_csv(tmp_path / "tables/comparison-decoder.csv")["missing"].tolist() == [30]


def test_a_variant_whose_every_run_failed_has_no_verdict(results, tmp_path):
    for path in results.glob("runs/mask/seed*/scores.parquet"):
        rows = pd.read_parquet(path)
        rows.assign(si_sdri_db=float("inf"), failure="si_sdr: not finite").to_parquet(path)
    page = report(results, tmp_path).read_text()
    assert "for “The mask” there is no score to compare" in page


def test_hostile_names_end_as_text(tmp_path):
    make(tmp_path / "results", {"a & b_%": 4.0, "<img src=x onerror=alert(1)>": 6.0}, seeds=(1,))
    page = report(tmp_path / "results", tmp_path / "out").read_text()
    assert "<img src=x" not in page and "The &lt;img src=x onerror=alert(1)&gt;” is better by" in page
    assert "a &amp; b_%" in page and "a & b_%" not in page


def edit(results, **changes):
    path = results / "benchmark.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_scores_that_are_not_parquet_are_refused(results, tmp_path):
    (results / "runs/mask/seed2/scores.parquet").write_bytes(b"PAR1 half a file")
    with pytest.raises(InputError, match="mask/seed2/scores.parquet: not readable"):
        report(results, tmp_path / "out")


def test_scores_of_another_run_are_refused(results, tmp_path):
    shutil.copyfile(results / "runs/magnitude/seed2/scores.parquet", results / "runs/mask/seed2/scores.parquet")
    with pytest.raises(InputError, match="expected those of variant 'mask', seed 2"):
        report(results, tmp_path / "out")


def test_unequal_test_mixtures_are_refused(results, tmp_path):
    path = results / "runs/mask/seed2/scores.parquet"
    pd.read_parquet(path).iloc[4:].to_parquet(path)
    with pytest.raises(InputError, match="'mask' seed 2 .* lacks mixture"):
        report(results, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variants": ["../../x"], "studies": []}, "'../../x' cannot name a folder"),
        ({"title": None}, "title: absent or of another kind"),
        ({"seeds": []}, "seeds: empty"),
        ({"studies": [{"name": "x"}]}, "studies: no baseline, question, title, variants"),
        (
            {"studies": [{"name": "x", "title": "", "question": "", "baseline": "gone", "variants": []}]},
            "'gone': not among the benchmark's variants",
        ),
    ],
)
def test_a_wrong_benchmark_is_refused(results, tmp_path, changes, message):
    edit(results, **changes)
    with pytest.raises(InputError, match=message):
        report(results, tmp_path / "out")
