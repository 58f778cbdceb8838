"""The workflow as people call it: it runs, stops, goes on, and repeats nothing."""

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
import yaml
from running import FINISHED, REPORT, ROOT, TINY, clone, command, environment, planned, snakemake, write_config

from audioslots.config.study import read_study
from audioslots.reporting.publish import publish

TWIN = "audioslots-direct"  # the model of audioslots, evaluated with another config
VARIANTS = ("audioslots", TWIN, "film")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny benchmark, ``tiny.yaml``, has been run from end to end."""
    folder = tmp_path_factory.mktemp("finished")
    run = snakemake(folder, "--configfile", str(write_config(folder / "tiny.yaml")))
    assert run.returncode == 0, run.stdout[-REPORT:]
    return folder


@pytest.mark.slow
def test_one_command_makes_everything_and_again_does_nothing(finished: Path) -> None:
    results = finished / "results" / "tiny"
    scores = pd.read_parquet(results / "scores.parquet")
    stft = "128-64"  # the scale's own: so is that of the ceilings
    ceilings = {f"oracle-ratio-1.5-{stft}", f"oracle-magnitude-{stft}"}
    assert set(scores["variant"]) == {"mixture", *ceilings, *VARIANTS}
    assert len(scores) == 2 * 2 * (3 + 3 * 2)  # mixtures, sources, and for the three variants two ways of stitching
    for variant in VARIANTS:
        run = results / "runs" / variant / "seed0"
        made, trained = {path.name for path in run.iterdir()}, {"system.json", "history.csv", "model.safetensors"}
        assert {"config.json", "scores.parquet", "evaluation.json"} <= made
        assert trained & made == (set() if variant == TWIN else trained)
        if variant != TWIN:
            assert json.loads((run / "system.json").read_text())["steps"] == 4
    assert "Tiny" in (results / "index.html").read_text(encoding="utf-8")
    assert not [path for path in finished.rglob("*") if ".tmp" in path.name or path.suffix == ".parts"]
    assert not list(results.rglob("estimates")), "they are there while they are scored"
    again = snakemake(finished, "--configfile", "tiny.yaml")
    assert again.returncode == 0 and FINISHED in again.stdout, again.stdout[-REPORT:]


@pytest.mark.slow
def test_dev_scores_the_models_that_are_there_and_leaves_the_report_alone(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    shutil.copytree(finished, folder)
    config = ("--configfile", "tiny.yaml")
    plan = planned(snakemake(folder, "--dry-run", *config, "--", "dev").stdout)
    once = dict.fromkeys(("sample", "render_dev_clean", "check_speakers", "evaluate_mixture", "dev"), 1)
    assert plan == once | {"separate": len(VARIANTS), "evaluate": len(VARIANTS)}
    run = snakemake(folder, *config, "--", "dev")
    assert run.returncode == 0, run.stdout[-REPORT:]
    results = folder / "results" / "tiny"
    table = pd.read_csv(results / "dev" / "scores.csv")
    assert set(table["variant"]) == set(VARIANTS) and set(table["stitching"]) == {"blind", "oracle"}
    test, dev = (pd.read_parquet(results / part / "mixture/seed0/scores.parquet") for part in ("runs", "dev"))
    assert not set(dev["speaker_id"]) & set(test["speaker_id"])
    assert not list(results.glob("dev/**/examples"))
    again = snakemake(folder, *config)
    assert again.returncode == 0 and FINISHED in again.stdout, again.stdout[-REPORT:]


@pytest.mark.slow
def test_scoring_that_failed_goes_on_with_the_estimates_that_are_there(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    shutil.copytree(finished, folder)
    runs = folder / "results" / "tiny" / "runs"
    scores, inputs = runs / "audioslots" / "seed0" / "scores.parquet", runs / "mixture" / "seed0" / "scores.parquet"
    known = pd.read_parquet(scores)
    arguments = ("--configfile", "tiny.yaml", "--", str(scores.relative_to(folder)))
    scores.unlink()
    scores.with_suffix(".stage.json").unlink()
    inputs.rename(tmp_path / "aside")
    inputs.write_bytes(b"damaged")
    assert snakemake(folder, *arguments).returncode != 0 and (scores.parent / "estimates").is_dir()
    inputs.unlink()
    (tmp_path / "aside").rename(inputs)
    assert planned(snakemake(folder, "--dry-run", *arguments).stdout) == {"evaluate": 1}
    run = snakemake(folder, *arguments)
    assert run.returncode == 0, run.stdout[-REPORT:]
    pd.testing.assert_frame_equal(pd.read_parquet(scores), known, check_exact=True)
    assert not (scores.parent / "estimates").exists()


@pytest.mark.slow
def test_white_space_in_a_rule_repeats_nothing(finished: Path, tmp_path: Path) -> None:
    copy = clone(tmp_path)
    for name in ("train", "evaluate", "mixtures"):
        rules = copy / "workflow" / "rules" / f"{name}.smk"
        changed = re.sub(
            r'"audioslots --wait --overwrite (\w+) ', r'"audioslots  --wait --overwrite  \1  ', rules.read_text()
        )
        assert changed != rules.read_text()
        rules.write_text(changed)
    run = snakemake(finished, "--dry-run", "--configfile", "tiny.yaml", root=copy)
    assert run.returncode == 0 and FINISHED in run.stdout, run.stdout[-REPORT:]


@pytest.mark.slow
def test_larger_test_set_is_drawn_and_scored_and_nothing_is_trained_or_packed_anew(
    finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    shutil.copytree(finished, folder)
    trained = {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}
    config = write_config(folder / "larger.yaml", test=TINY["test"] | {"count": 3})
    made = {"sample": 1, "render_test_clean": 1, "check_speakers": 1, "evaluate_mixture": 1}
    made |= {"separate": len(VARIANTS), "evaluate": len(VARIANTS)}
    plan = planned(snakemake(folder, "--dry-run", "--configfile", str(config)).stdout)
    assert plan == made | {"evaluate_oracle": 2, "describe": 1, "report": 1, "all": 1}
    run = snakemake(folder, "--configfile", str(config))
    assert run.returncode == 0, run.stdout[-REPORT:]
    assert pd.read_parquet(folder / "results/tiny/scores.parquet")["mixture_id"].nunique() == 3
    assert trained and trained == {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}


@pytest.mark.slow
def test_changed_variant_is_trained_anew_and_no_other(finished: Path, tmp_path: Path) -> None:
    copy, folder = clone(tmp_path / "clone"), tmp_path / "work"
    shutil.copytree(finished, folder)
    study = copy / "ablations" / "audioslots.yaml"
    content = yaml.safe_load(study.read_text())
    content["variants"]["film"].setdefault("training", {})["steps"] = 5
    study.write_text(yaml.safe_dump(content, sort_keys=False))

    plan = snakemake(folder, "--dry-run", "--configfile", "tiny.yaml", root=copy)
    own = {"resolve": 1, "train": 1, "separate": 1, "evaluate": 1}
    assert planned(plan.stdout) == own | {"describe": 1, "report": 1, "all": 1}, plan.stdout[-REPORT:]
    assert "variant=film," in plan.stdout and "variant=audioslots," not in plan.stdout

    run = snakemake(folder, "--configfile", "tiny.yaml", root=copy)
    assert run.returncode == 0, run.stdout[-REPORT:]
    steps = {
        variant: json.loads((folder / f"results/tiny/runs/{variant}/seed0/system.json").read_text())["steps"]
        for variant in VARIANTS
        if variant != TWIN
    }
    assert steps == {"audioslots": 4, "film": 5}


@pytest.mark.slow
def test_added_variant_runs_its_own_jobs_and_the_report(finished: Path, tmp_path: Path) -> None:
    copy = clone(tmp_path)
    study = copy / "ablations" / "audioslots.yaml"
    content = yaml.safe_load(study.read_text())
    content["variants"]["added"] = {"title": "Added", "slots": {"layers": 2}}
    study.write_text(yaml.safe_dump(content, sort_keys=False))
    plan = snakemake(finished, "--dry-run", "--configfile", "tiny.yaml", root=copy)
    own = {"resolve": 1, "train": 1, "separate": 1, "evaluate": 1}
    assert planned(plan.stdout) == own | {"describe": 1, "report": 1, "all": 1}, plan.stdout[-REPORT:]
    assert "variant=added" in plan.stdout and "variant=audioslots" not in plan.stdout


@pytest.mark.slow
def test_a_second_study_of_a_benchmark_makes_only_what_the_first_has_not(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    shutil.copytree(finished, folder)
    made = {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}
    without = [f"slots-{name}" for name in ("4", "8", "3-free", "4-free", "8-free")]
    two = {"studies": ["audioslots", "slots"], "lengths": 2, "without": without}
    config = ("--configfile", str(write_config(folder / "tiny.yaml", **two)))

    described = {"describe": 1, "report": 1, "all": 1}
    first = snakemake(folder, "--dry-run", *config, "--config", "studies=[audioslots]", "lengths=1")
    assert planned(first.stdout) == described, first.stdout[-REPORT:]
    second = ("--config", "studies=[slots]")
    plan = planned(snakemake(folder, "--dry-run", *config, *second).stdout)
    # The baseline at half its steps; the other variant at both lengths.
    assert plan == described | dict.fromkeys(("resolve", "train", "separate", "evaluate"), 3)
    run = snakemake(folder, *config, *second)
    assert run.returncode == 0, run.stdout[-REPORT:]
    assert {f"variant={name}," in run.stdout for name in ("audioslots-x0.5", "slots-3", "slots-3-x0.5")} == {True}

    results = folder / "results" / "tiny"
    assert [path.name for path in results.parent.iterdir()] == ["tiny"]
    scores = pd.read_parquet(results / "scores.parquet")
    rows = scores[~scores["variant"].str.match("mixture|oracle")].groupby("variant").size()
    assert dict(rows) == dict.fromkeys([*VARIANTS, "slots-3", "audioslots-x0.5", "slots-3-x0.5"], 2 * 2 * 2)
    assert not scores.duplicated(["variant", "seed", "mixture_id", "source", "stitching"]).any()
    steps = json.loads((results / "runs/audioslots-x0.5/seed0/system.json").read_text())["steps"]
    page = (results / "index.html").read_text(encoding="utf-8")
    titles = [read_study(study, ROOT / "ablations").question for study in two["studies"]]
    assert steps == 2 and all(title in page for title in titles)
    assert made and made == {path: path.stat().st_mtime_ns for path in made}
    rest = snakemake(folder, "--dry-run", *config)  # all of the file: the first study's other variant at half its steps
    own = dict.fromkeys(("resolve", "train", "separate", "evaluate"), 1)
    assert planned(rest.stdout) == own | {"report": 1, "all": 1}, rest.stdout[-REPORT:]
    assert "variant=film-x0.5," in rest.stdout


@pytest.mark.slow
def test_lost_scores_are_made_again_and_a_lost_model_where_it_is_needed(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    shutil.copytree(finished, folder)
    run = folder / "results" / "tiny" / "runs" / "film" / "seed0"
    scores, model = pd.read_parquet(run / "scores.parquet"), (run / "model.safetensors").read_bytes()

    def plan() -> dict[str, int]:
        return planned(snakemake(folder, "--dry-run", "--configfile", "tiny.yaml").stdout)

    (run / "model.safetensors").unlink()
    assert plan() == {}, "its scores are there"
    (run / "scores.parquet").unlink()
    assert plan() == {"train": 1, "separate": 1, "evaluate": 1, "report": 1, "all": 1}
    again = snakemake(folder, "--configfile", "tiny.yaml")
    assert again.returncode == 0, again.stdout[-REPORT:]
    pd.testing.assert_frame_equal(pd.read_parquet(run / "scores.parquet"), scores, check_exact=True)
    assert (run / "model.safetensors").read_bytes() == model
    assert plan() == {}


@pytest.fixture(scope="module")
def published(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of the tiny benchmark, published as if by code that is committed."""
    results = tmp_path_factory.mktemp("publish") / "tiny"
    shutil.copytree(finished / "results" / "tiny", results)
    for path in [*results.glob("runs/*/*/system.json"), *results.glob("runs/*/*/evaluation.json")]:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"commit": "0123456789ab"}))
    return publish(results, results.parent / "reference", "make run BENCHMARK=tiny")


@pytest.mark.slow
def test_published_runs_are_taken_and_only_a_new_variant_is_made(
    finished: Path, published: Path, tmp_path: Path
) -> None:
    copy, folder = clone(tmp_path / "clone"), tmp_path / "work"
    study = copy / "ablations" / "audioslots.yaml"
    content = yaml.safe_load(study.read_text())
    content["variants"]["added"] = {"title": "Added", "slots": {"layers": 2}}
    study.write_text(yaml.safe_dump(content, sort_keys=False))
    folder.mkdir()
    config = ("--configfile", str(write_config(folder / "tiny.yaml")), "--config", f"published={published}")
    data = {"synthesize": 1, "pack": 2, "sample": 1, "render_test_clean": 1, "check_speakers": 1}
    own = dict.fromkeys(("resolve", "train", "separate", "evaluate", "evaluate_mixture", "evaluate_oracle"), 1)
    own |= {"describe": 1, "report": 1, "all": 1}
    plan = snakemake(folder, "--dry-run", *config, root=copy)
    assert planned(plan.stdout) == data | own and "variant=audioslots" not in plan.stdout, plan.stdout[-REPORT:]

    shutil.copytree(finished / "data", folder / "data")
    run = snakemake(folder, *config, root=copy)
    assert run.returncode == 0, run.stdout[-REPORT:]
    results = folder / "results" / "tiny"
    assert {path.name for path in (results / "runs").iterdir()} == {"added", "mixture", "oracle-magnitude-128-64"}
    assert {*VARIANTS, "added"} <= set(pd.read_parquet(results / "scores.parquet")["variant"])
    page = (results / "index.html").read_text(encoding="utf-8")
    assert "Added" in page and "Bottleneck model, ratio masks (published)" in page and "Added (published)" not in page
    again = snakemake(folder, *config, root=copy)
    assert again.returncode == 0 and FINISHED in again.stdout, again.stdout[-REPORT:]

    other = ("--configfile", str(write_config(folder / "tiny.yaml", test=TINY["test"] | {"count": 3})), *config[2:])
    refused = snakemake(folder, *other, root=copy)
    lines = [line for line in refused.stdout.splitlines() if not line.startswith("Using ")]  # which profile
    assert refused.returncode == 2 and len(lines) == 1, refused.stdout
    assert lines[0].startswith(f"snakemake: {published}: test_identity is ")


@pytest.mark.slow
def test_unpacked_published_runs_are_not_made_again(published: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "tiny.yaml")
    unpacked = ["audioslots", "results", "unpack", str(published), "--out", "results/tiny"]
    subprocess.run(unpacked, cwd=tmp_path, env=environment(), check=True, capture_output=True)
    plan = snakemake(tmp_path, "--dry-run", "--configfile", str(config))
    assert planned(plan.stdout) == {"report": 1, "all": 1}, plan.stdout[-REPORT:]
    run = snakemake(tmp_path, "--configfile", str(config))
    assert run.returncode == 0, run.stdout[-REPORT:]
    page = (tmp_path / "results" / "tiny" / "index.html").read_text(encoding="utf-8")
    assert "Bottleneck model, ratio masks" in page and "(published)" not in page


@pytest.mark.slow
def test_snakemakes_own_report_is_made(finished: Path) -> None:
    run = snakemake(finished, "--configfile", "tiny.yaml", "--report", "report.zip")
    assert run.returncode == 0, run.stdout[-REPORT:]
    assert zipfile.is_zipfile(finished / "report.zip")


@pytest.mark.slow
def test_interrupted_training_goes_on_by_the_same_command(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    shutil.copytree(finished, folder)
    training = TINY["variant"]["training"] | {"steps": 400, "checkpoint_every": 5, "validate_every": 400}
    config = write_config(folder / "tiny.yaml", seeds=[7], variant=TINY["variant"] | {"training": training})
    run = folder / "results" / "tiny" / "runs" / "audioslots" / "seed7"
    target = str((run / "model.safetensors").relative_to(folder))
    arguments = [target, "--configfile", str(config)]

    # A session of its own, so that the signal reaches all of its processes, as Ctrl-C does, and none of the tests'.
    with subprocess.Popen(
        command(folder, *arguments),
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        while not (run / "checkpoint.pt").exists():
            with pytest.raises(subprocess.TimeoutExpired):  # it must not end before
                process.wait(0.05)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) != 0
    stopped = re.search(r"stopped after step (\d+) of 400", (run / "train.log").read_text())
    assert stopped and not (run / "model.safetensors").exists()

    again = snakemake(folder, *arguments)
    assert again.returncode == 0, again.stdout[-REPORT:]
    assert (run / "model.safetensors").exists()
    assert pd.read_csv(run / "history.csv")["step"].tolist()[-1] == 400
    assert FINISHED in snakemake(folder, "--dry-run", *arguments).stdout


@pytest.mark.slow
def test_corpus_that_was_moved_is_still_good(made_corpus: Path, tmp_path: Path) -> None:
    for place in ("here", "there"):
        shutil.copytree(made_corpus, tmp_path / place)
    corpus = {"kind": "librispeech", "validation": "dev-clean"}
    config = str(write_config(tmp_path / "tiny.yaml", corpus=corpus))
    for place in ("here", "there"):
        arguments = ["--until", "render_test_clean", "--configfile", config, "--config", f"librispeech={place}"]
        run = snakemake(tmp_path, *arguments)
        assert run.returncode == 0, run.stdout[-REPORT:]
        shutil.rmtree(tmp_path / place)
