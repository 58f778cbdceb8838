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
from running import FINISHED, REPORT, TINY, clone, command, environment, planned, snakemake, write_config

TWIN = "audioslots-direct"  # the model of audioslots, evaluated with another config
VARIANTS = ("audioslots", TWIN, "features")


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
    once = dict.fromkeys(("draw", "render_dev_clean", "apart", "evaluate_mixture", "dev"), 1)
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
        changed = re.sub(r'"audioslots --wait --fresh (\w+) ', r'"audioslots  --wait --fresh  \1  ', rules.read_text())
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
    made = {"draw": 1, "render_test_clean": 1, "apart": 1, "evaluate_mixture": 1}
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
    content["variants"]["features"].setdefault("training", {})["steps"] = 5
    study.write_text(yaml.safe_dump(content, sort_keys=False))

    plan = snakemake(folder, "--dry-run", "--configfile", "tiny.yaml", root=copy)
    own = {"resolve": 1, "train": 1, "separate": 1, "evaluate": 1}
    assert planned(plan.stdout) == own | {"report": 1, "all": 1}, plan.stdout[-REPORT:]
    assert "variant=features," in plan.stdout and "variant=audioslots," not in plan.stdout

    run = snakemake(folder, "--configfile", "tiny.yaml", root=copy)
    assert run.returncode == 0, run.stdout[-REPORT:]
    steps = {
        variant: json.loads((folder / f"results/tiny/runs/{variant}/seed0/system.json").read_text())["steps"]
        for variant in VARIANTS
        if variant != TWIN
    }
    assert steps == {"audioslots": 4, "features": 5}


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
