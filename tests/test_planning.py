"""What the workflow plans: data that benchmarks share, studies that are asked for, those of the clone that runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

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
    planned,
    refusal,
    write_config,
)

from audioslots.config.benchmark import read_benchmark, untrained, variants

DEMO = {"synthesize": 1, "sample": 1, "pack": 2, "render_test_clean": 1, "check_speakers": 1, "evaluate_mixture": 1}


def touch(*paths: Path) -> None:
    """Files that stand for what is there."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


def touch_data(folder: Path, config: Path) -> None:
    """Stand for data that are there: speech, packed speech, and the test set."""
    benchmark = read_benchmark(config, beside=[ROOT])
    made = [benchmark.corpus_root, *(benchmark.packed(subset) for subset in ("train-clean", "dev-clean"))]
    touch(*(folder / name / "manifest.json" for name in made))  # in the order of the jobs
    touch(folder / benchmark.metadata("test-clean"), folder / benchmark.mixtures("test-clean") / "manifest.json")


@pytest.mark.parametrize(
    ("second", "not_made"),
    [
        ({"test": TINY["test"] | {"count": 3}}, {"synthesize", "pack"}),
        ({"variant": {"chunk_s": 0.5}, "seeds": [3]}, {"synthesize", "pack", "sample", "render_test_clean"}),
    ],
    ids=["another test set", "another scale"],
)
def test_a_second_benchmark_shares_the_data_of_the_first(
    second: dict[str, Any], not_made: set[str], tmp_path: Path
) -> None:
    touch_data(tmp_path, write_config(tmp_path / "first.yaml"))
    plan = dry_run(tmp_path, "--configfile", str(write_config(tmp_path / "second.yaml", name="second", **second)))
    assert {"synthesize", "pack", "sample", "render_test_clean"} - plan.jobs.keys() == not_made
    assert plan.jobs["train"] == 2 and "results/second/index.html" in plan.output


def test_an_absent_model_of_another_benchmark_is_named_with_what_makes_it(tmp_path: Path) -> None:
    write_config(tmp_path / "source.yaml", name="source", studies=["slots", "audioslots"])
    start = {"film": {"init_from": {"benchmark": "source", "variant": "film"}}}
    config = ("--configfile", str(write_config(tmp_path / "target.yaml", name="target", overrides=start)))
    model = "results/source/runs/film/seed0/model.safetensors"
    asked = "make run BENCHMARK=source STUDIES=audioslots"
    assert refusal(tmp_path, *config) == f"target: variant film: {model}: no such file; run: {asked}"
    plan = dry_run(tmp_path, *config)
    assert asked in plan.output and plan.jobs["train"] == 1
    touch(tmp_path / model)
    plan = dry_run(tmp_path, *config)
    assert plan.jobs["train"] == 2 and plan.jobs["resolve"] == 3, "and nothing of the other benchmark"


def test_examples_to_listen_to_stay_those_that_were_chosen_first(tmp_path: Path) -> None:
    """Else all runs would be scored again when a study is run that has another baseline and stands before theirs."""
    config = write_config(tmp_path / "tiny.yaml")
    touch_data(tmp_path, config)
    benchmark = read_benchmark(config, beside=[ROOT])
    known = variants(benchmark)
    for name in ("mixture", *untrained(benchmark, known), *known):
        run = tmp_path / "results" / "tiny" / "runs" / name / "seed0"
        trained = ["config.json", "model.safetensors", "history.csv", "system.json"] if name in known else []
        touch(*(run / file for file in [*trained, "scores.parquet", "evaluation.json"]))
        request = {"request": {"examples": 1 if name == "audioslots" else ["a"]}}
        (run / "scores.stage.json").write_text(json.dumps(request))
    shorter = [f"audioslots-{name}" for name in ("1800", "1800-direct")]
    others = [f"audioslots-long-{name}" for name in ("direct", "misi", "power-1", "power-2")]
    both = {"studies": ["long", "audioslots"], "without": [*shorter, *others]}
    both |= {"overrides": {"audioslots-long": {"training": {"steps": 6}}}}
    plan = dry_run(tmp_path, "--configfile", str(write_config(config, **both)))
    (call,) = (call for call in plan.calls if call[0] == "evaluate")
    assert call[call.index("--chosen-by") + 1] == "results/tiny/runs/audioslots/seed0/scores.parquet"
    assert plan.jobs["train"] == 1


# --- what is asked for ---------------------------------------------------------------------------------------------


def test_without_a_configfile_the_demo_is_planned_and_all_studies_where_asked_for(tmp_path: Path) -> None:
    demo = dry_run(tmp_path).jobs
    oracles = {"evaluate_oracle": 2, "describe": 1, "report": 1, "all": 1}
    assert demo == DEMO | oracles | {"train": 6, "resolve": 9, "separate": 9, "evaluate": 9}
    whole = dry_run(tmp_path, "--config", "studies=all", "seeds=[0]").jobs
    assert whole["evaluate"] > whole["train"] > 40
    assert {rule: whole[rule] for rule in DEMO} == DEMO, "on the same data"


def test_the_papers_scale_is_planned_through_the_profile_from_a_fresh_clone(tmp_path: Path) -> None:
    copy = clone(tmp_path / "clone")
    asked = [sys.executable, "-m", "snakemake", "--profile", "slurm", "-n"]
    run = subprocess.run(asked, cwd=copy, env=environment(copy), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-REPORT:]
    jobs = planned(run.stdout + run.stderr)
    assert (jobs["train"], jobs["evaluate"], jobs["separate"], jobs["evaluate_oracle"]) == (84, 90, 90, 6)
    assert (jobs["download"], jobs["download_metadata"], jobs["pack"], sum(jobs.values())) == (3, 1, 2, 373)
    assert not (copy / "data").exists() and not (copy / "results").exists()


@pytest.mark.parametrize(
    ("target", "given"),
    [
        ("demo", ["config/mini.yaml --config studies=[bottleneck] lengths=1"]),
        ("ablations STUDY=loss", ["config/mini.yaml --config studies=[loss]"]),
        (
            "librispeech STUDIES=a,b LIBRISPEECH=speech",
            [
                "config/mini.yaml --config studies=[adaptation-source] lengths=1",
                "config/librispeech.yaml --config studies=[a,b] librispeech=speech",
            ],
        ),
        (
            "run BENCHMARK=mini-noisy PUBLISHED=1",
            ["config/mini-noisy.yaml --config published=results/reference/mini-noisy"],
        ),
        ("smoke", ["config/smoke.yaml"]),
    ],
)
def test_make_calls_snakemake_with_what_is_given(target: str, given: list[str], tmp_path: Path) -> None:
    """Of a stand-in for Snakemake, which prints how it is called."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    touch(tmp_path / ".venv" / ".installed", stand_in := tmp_path / ".venv" / "bin" / "snakemake")
    stand_in.write_text('#!/bin/sh\necho "$@"\n')
    stand_in.chmod(0o755)
    asked = ["make", "--assume-old=.venv/.installed", *target.split(), "CORES=3", "DRY=1"]
    made = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    run = subprocess.run(asked, cwd=tmp_path, env=made, capture_output=True, text=True, check=True)
    always = "--cores 3 --quiet rules reason host --dry-run --configfile "
    assert run.stdout.splitlines() == [always + line for line in given]


# --- clones and worktrees ------------------------------------------------------------------------------------------


def test_a_second_clone_runs_its_own_studies_by_the_installed_package(tmp_path: Path) -> None:
    second = clone(tmp_path / "second")
    shutil.rmtree(second / "audioslots")
    change_variant(second, "added", model={"slots": {"layers": 2}})
    asked = [Path(sys.executable).parent / "audioslots", "cost", "smoke.yaml"]
    run = subprocess.run(asked, cwd=second / "config", env=environment(), capture_output=True, text=True)
    assert run.returncode == 0 and "Added" in run.stdout, run.stdout + run.stderr

    def trained(config: Path) -> int:
        asked = command(tmp_path, "--dry-run", "--configfile", str(config), root=second)
        run = subprocess.run(asked, cwd=tmp_path, env=environment(), capture_output=True, text=True)
        return planned(run.stdout + run.stderr)["train"]

    assert trained(second / "config" / "smoke.yaml") == 6
    # A benchmark's file that lies elsewhere: the studies are those beside the Snakefile that is run.
    assert trained(write_config(tmp_path / "tiny.yaml")) == 3
