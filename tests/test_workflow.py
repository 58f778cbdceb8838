"""The workflow as people call it: it runs, stops, resumes, and repeats nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from running import (
    REPORT,
    ROOT,
    TINY,
    change_variant,
    clone,
    command,
    dry_run,
    environment,
    refusal,
    run_all,
    snakemake,
    write_config,
)

from audioslots.config.study import read_study
from audioslots.reporting.publish import publish_results

pytestmark = pytest.mark.slow

TWIN = "audioslots-direct"  # the model of audioslots, evaluated with another config
VARIANTS = ("audioslots", TWIN, "film")
CONFIG = ("--configfile", "tiny.yaml")
ONE_RUN = dict.fromkeys(("resolve", "train", "separate", "evaluate"), 1)
DESCRIBED = {"describe": 1, "report": 1, "all": 1}
EVALUATED = {"evaluate_mixture": 1, "separate": len(VARIANTS), "evaluate": len(VARIANTS)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny benchmark, ``tiny.yaml``, has been run from end to end; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    write_config(folder / "tiny.yaml")
    run_all(folder, *CONFIG)
    return folder


@pytest.fixture
def work(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "work"))


def ages(folder: Path) -> dict[Path, int]:
    """When each model was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}


def steps(folder: Path, variant: str) -> int:
    return json.loads((folder / f"results/tiny/runs/{variant}/seed0/system.json").read_text())["steps"]


def test_one_command_makes_everything(finished: Path) -> None:
    results = finished / "results" / "tiny"
    scores = pd.read_parquet(results / "scores.parquet")
    oracles = {"oracle-ratio-1.5-128-64", "oracle-magnitude-128-64"}  # of the scale's own STFT
    assert set(scores["variant"]) == {"mixture", *oracles, *VARIANTS}
    assert len(scores) == 2 * 2 * (3 + 3 * 2)  # mixtures, sources, and for the three variants two ways of stitching
    for variant in VARIANTS:
        made = {path.name for path in (results / "runs" / variant / "seed0").iterdir()}
        trained = {"system.json", "history.csv", "model.safetensors"}
        assert {"config.json", "scores.parquet", "evaluation.json"} <= made
        assert trained & made == (set() if variant == TWIN else trained)
    assert steps(finished, "audioslots") == 4
    assert "Tiny" in (results / "index.html").read_text(encoding="utf-8")
    assert not [path for path in finished.rglob("*") if ".tmp" in path.name or path.suffix == ".parts"]
    assert not list(results.rglob("estimates")), "they are there while they are scored"


def test_snakemakes_own_report_is_made(work: Path) -> None:
    run = snakemake(work, *CONFIG, "--report", "report.zip")
    assert run.returncode == 0 and zipfile.is_zipfile(work / "report.zip"), run.stdout[-REPORT:]


def test_dev_scores_the_models_that_are_there_and_leaves_the_report_alone(work: Path) -> None:
    data = dict.fromkeys(("sample", "render_dev_clean", "check_speakers", "dev"), 1)
    assert dry_run(work, *CONFIG, "--", "dev").jobs == data | EVALUATED
    run_all(work, *CONFIG, "--", "dev")
    results = work / "results" / "tiny"
    table = pd.read_csv(results / "dev" / "scores.csv")
    assert set(table["variant"]) == set(VARIANTS) and set(table["stitching"]) == {"blind", "oracle"}
    test, dev = (pd.read_parquet(results / part / "mixture/seed0/scores.parquet") for part in ("runs", "dev"))
    assert not set(dev["speaker_id"]) & set(test["speaker_id"])
    assert not list(results.glob("dev/**/examples")) and dry_run(work, *CONFIG).jobs == {}


def test_scoring_that_failed_resumes_with_the_estimates_that_are_there(work: Path, tmp_path: Path) -> None:
    runs = Path("results/tiny/runs")
    scores, inputs = runs / "audioslots/seed0/scores.parquet", work / runs / "mixture/seed0/scores.parquet"
    known = pd.read_parquet(work / scores)
    (work / scores).unlink()
    (work / scores).with_suffix(".stage.json").unlink()
    inputs.rename(tmp_path / "aside")
    inputs.write_bytes(b"damaged")
    arguments = (*CONFIG, "--", str(scores))
    assert snakemake(work, *arguments).returncode != 0 and (work / scores).with_name("estimates").is_dir()
    inputs.unlink()
    (tmp_path / "aside").rename(inputs)
    assert dry_run(work, *arguments).jobs == {"evaluate": 1}
    run_all(work, *arguments)
    pd.testing.assert_frame_equal(pd.read_parquet(work / scores), known, check_exact=True)
    assert not (work / scores).with_name("estimates").exists()


def test_lost_scores_are_made_again_and_a_lost_model_where_it_is_needed(work: Path) -> None:
    run = work / "results" / "tiny" / "runs" / "film" / "seed0"
    scores, model = pd.read_parquet(run / "scores.parquet"), (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").unlink()
    assert dry_run(work, *CONFIG).jobs == {}, "its scores are there"
    (run / "scores.parquet").unlink()
    assert dry_run(work, *CONFIG).jobs == {"train": 1, "separate": 1, "evaluate": 1, "report": 1, "all": 1}
    run_all(work, *CONFIG)
    pd.testing.assert_frame_equal(pd.read_parquet(run / "scores.parquet"), scores, check_exact=True)
    assert (run / "model.safetensors").read_bytes() == model


def test_interrupted_training_is_resumed_by_the_same_command(work: Path) -> None:
    training = TINY["variant"]["training"] | {"steps": 400, "checkpoint_every": 5, "validate_every": 400}
    write_config(work / "tiny.yaml", seeds=[7], variant=TINY["variant"] | {"training": training})
    run = work / "results" / "tiny" / "runs" / "audioslots" / "seed7"
    arguments = [str((run / "model.safetensors").relative_to(work)), *CONFIG]
    # A session of its own, so that the signal reaches all of its processes, as Ctrl-C does, and none of the tests'.
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    asked = command(work, *arguments)
    with subprocess.Popen(asked, cwd=work, env=environment(), start_new_session=True, **quiet) as process:
        while not (run / "checkpoint.pt").exists():
            with pytest.raises(subprocess.TimeoutExpired):  # it must not end before
                process.wait(0.05)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) != 0
    stopped = re.search(r"stopped after step (\d+) of 400", (run / "train.log").read_text())
    assert stopped and not (run / "model.safetensors").exists()
    run_all(work, *arguments)
    assert (run / "model.safetensors").exists() and pd.read_csv(run / "history.csv")["step"].tolist()[-1] == 400


# --- changes -------------------------------------------------------------------------------------------------------


def test_white_space_in_a_rule_repeats_nothing(finished: Path, tmp_path: Path) -> None:
    copy = clone(tmp_path)
    for rules in (copy / "workflow" / "rules").glob("*.smk"):
        changed = rules.read_text().replace('"audioslots --wait --overwrite ', '"audioslots  --wait  --overwrite ')
        assert changed != rules.read_text()
        rules.write_text(changed)
    assert dry_run(finished, *CONFIG, root=copy).jobs == {}


def test_larger_test_set_is_sampled_and_scored_and_nothing_is_trained_or_packed_again(work: Path) -> None:
    trained = ages(work)
    write_config(work / "tiny.yaml", test=TINY["test"] | {"count": 3})
    data = dict.fromkeys(("sample", "render_test_clean", "check_speakers"), 1)
    assert dry_run(work, *CONFIG).jobs == data | EVALUATED | {"evaluate_oracle": 2} | DESCRIBED
    run_all(work, *CONFIG)
    assert pd.read_parquet(work / "results/tiny/scores.parquet")["mixture_id"].nunique() == 3
    assert trained == ages(work)


@pytest.mark.parametrize("name", ["film", "added"])
def test_changed_or_added_variant_is_trained_and_no_other(work: Path, tmp_path: Path, name: str) -> None:
    copy = clone(tmp_path / "clone")
    change_variant(copy, name, training={"steps": 5})
    plan = dry_run(work, *CONFIG, root=copy)
    assert plan.jobs == ONE_RUN | DESCRIBED
    assert f"variant={name}," in plan.output and "variant=audioslots," not in plan.output
    run_all(work, *CONFIG, root=copy)
    assert (steps(work, "audioslots"), steps(work, name)) == (4, 5)


def test_a_second_study_of_a_benchmark_makes_only_what_the_first_has_not(work: Path) -> None:
    made = ages(work)
    without = [f"slots-{name}" for name in ("4", "8", "3-free", "4-free", "8-free")]
    write_config(work / "tiny.yaml", studies=["audioslots", "slots"], lengths=2, without=without)
    assert dry_run(work, *CONFIG, "--config", "studies=[audioslots]", "lengths=1").jobs == DESCRIBED
    second = (*CONFIG, "--config", "studies=[slots]")
    # The baseline at half its steps; the other variant at both lengths.
    plan = dry_run(work, *second)
    assert plan.jobs == DESCRIBED | dict.fromkeys(ONE_RUN, 3)
    assert all(f"variant={name}," in plan.output for name in ("audioslots-x0.5", "slots-3", "slots-3-x0.5"))
    run_all(work, *second)

    results = work / "results" / "tiny"
    assert [path.name for path in results.parent.iterdir()] == ["tiny"]
    scores = pd.read_parquet(results / "scores.parquet")
    rows = scores[~scores["variant"].str.match("mixture|oracle")].groupby("variant").size()
    assert dict(rows) == dict.fromkeys([*VARIANTS, "slots-3", "audioslots-x0.5", "slots-3-x0.5"], 2 * 2 * 2)
    assert not scores.duplicated(["variant", "seed", "mixture_id", "source", "stitching"]).any()
    page = (results / "index.html").read_text(encoding="utf-8")
    assert all(read_study(study, ROOT / "ablations").question in page for study in ("audioslots", "slots"))
    assert steps(work, "audioslots-x0.5") == 2 and made.items() <= ages(work).items()
    rest = dry_run(work, *CONFIG)  # all of the file: the first study's other variant at half its steps
    assert rest.jobs == ONE_RUN | {"report": 1, "all": 1} and "variant=film-x0.5," in rest.output


def test_corpus_that_was_moved_is_still_good(made_corpus: Path, tmp_path: Path) -> None:
    config = str(write_config(tmp_path / "tiny.yaml", corpus={"kind": "librispeech", "validation": "dev-clean"}))
    for place in ("here", "there"):
        shutil.copytree(made_corpus, tmp_path / place)
        run_all(tmp_path, "--until", "render_test_clean", "--configfile", config, "--config", f"librispeech={place}")
        shutil.rmtree(tmp_path / place)


# --- published results ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of the tiny benchmark, published as if by code that is committed."""
    results = tmp_path_factory.mktemp("publish") / "tiny"
    shutil.copytree(finished / "results" / "tiny", results)
    for path in [*results.glob("runs/*/*/system.json"), *results.glob("runs/*/*/evaluation.json")]:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"commit": "0123456789ab"}))
    return publish_results(results, results.parent / "reference", "make run BENCHMARK=tiny")


def test_published_runs_are_taken_and_only_a_new_variant_is_made(
    finished: Path, published: Path, tmp_path: Path
) -> None:
    copy, folder = clone(tmp_path / "clone"), tmp_path / "work"
    change_variant(copy, "added", model={"slots": {"layers": 2}})
    shutil.copytree(finished / "data", folder / "data")
    write_config(folder / "tiny.yaml")
    given = (*CONFIG, "--config", f"published={published}")
    plan = dry_run(folder, *given, root=copy)
    assert plan.jobs == ONE_RUN | {"evaluate_mixture": 1, "evaluate_oracle": 1} | DESCRIBED
    assert "variant=audioslots" not in plan.output
    run_all(folder, *given, root=copy)
    results = folder / "results" / "tiny"
    assert {path.name for path in (results / "runs").iterdir()} == {"added", "mixture", "oracle-magnitude-128-64"}
    assert {*VARIANTS, "added"} <= set(pd.read_parquet(results / "scores.parquet")["variant"])
    page = (results / "index.html").read_text(encoding="utf-8")
    assert "Added" in page and "Bottleneck model, ratio masks (published)" in page and "Added (published)" not in page
    write_config(folder / "tiny.yaml", test=TINY["test"] | {"count": 3})
    assert refusal(folder, *given, root=copy).startswith(f"{published}: test_identity is ")


def test_unpacked_published_runs_are_not_made_again(published: Path, tmp_path: Path) -> None:
    write_config(tmp_path / "tiny.yaml")
    unpacked = ["audioslots", "results", "unpack", str(published), "--out", "results/tiny"]
    subprocess.run(unpacked, cwd=tmp_path, env=environment(), check=True, capture_output=True)
    assert dry_run(tmp_path, *CONFIG).jobs == {"report": 1, "all": 1}
    run_all(tmp_path, *CONFIG)
    page = (tmp_path / "results" / "tiny" / "index.html").read_text(encoding="utf-8")
    assert "Bottleneck model, ratio masks" in page and "(published)" not in page
