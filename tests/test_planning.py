"""What the workflow plans: data that benchmarks share, studies that are asked for, those of the clone that runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import FINISHED, REPORT, ROOT, TINY, clone, command, environment, planned, snakemake, write_config

from audioslots.config.benchmark import read_benchmark, read_for_counting, twins, untrained, variants

DEMO = {"synthesize": 1, "sample": 1, "pack": 2, "render_test_clean": 1, "check_speakers": 1, "evaluate_mixture": 1}


def add_variant(copy: Path, **delta: Any) -> None:
    """Add the variant ``added`` to a study of a copy of the repository."""
    study = copy / "ablations" / "audioslots.yaml"
    content = yaml.safe_load(study.read_text())
    content["variants"]["added"] = {"title": "Added", **delta}
    study.write_text(yaml.safe_dump(content, sort_keys=False))


# --- data that benchmarks share ------------------------------------------------------------------------------------


def touch_data(folder: Path, config: Path, mixtures: bool) -> None:
    """Stand for data that are there: speech, packed speech, and the test set where asked for."""
    benchmark = read_benchmark(config, beside=[ROOT])
    made = [f"{benchmark.corpus_root}/manifest.json"]
    made += [f"{benchmark.packed(subset)}/manifest.json" for subset in ("train-clean", "dev-clean")]
    if mixtures:
        made += [benchmark.metadata("test-clean"), f"{benchmark.mixtures('test-clean')}/manifest.json"]
    for path in (folder / name for name in made):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


@pytest.mark.parametrize(
    ("second", "not_made"),
    [
        ({"test": TINY["test"] | {"count": 3}}, {"synthesize", "pack"}),
        ({"variant": {"chunk_s": 0.5}, "seeds": [3]}, {"synthesize", "pack", "sample", "render_test_clean"}),
        ({"corpus": TINY["corpus"] | {"hours": 0.04}}, set()),
    ],
    ids=["another test set", "another scale", "another corpus"],
)
def test_a_second_benchmark_shares_the_data_of_the_first(
    second: dict[str, Any], not_made: set[str], tmp_path: Path
) -> None:
    touch_data(tmp_path, write_config(tmp_path / "first.yaml"), mixtures=True)
    config = write_config(tmp_path / "second.yaml", name="second", **second)
    run = snakemake(tmp_path, "--dry-run", "--configfile", str(config))
    assert run.returncode == 0, run.stdout[-REPORT:]
    jobs = planned(run.stdout)
    assert {"synthesize", "pack", "sample", "render_test_clean"} - jobs.keys() == not_made
    assert jobs["train"] == 2 and "results/second/index.html" in run.stdout


# --- models of other benchmarks ------------------------------------------------------------------------------------


def test_a_model_of_another_benchmark_that_is_absent_is_named_with_what_makes_it(tmp_path: Path) -> None:
    write_config(tmp_path / "source.yaml", name="source", studies=["slots", "audioslots"])
    start = {"film": {"init_from": {"benchmark": "source", "variant": "film"}}}
    config = write_config(tmp_path / "target.yaml", name="target", overrides=start)
    run = snakemake(tmp_path, "--configfile", str(config))
    lines = [line for line in run.stdout.splitlines() if not line.startswith("Using ")]  # which profile
    model = "results/source/runs/film/seed0/model.safetensors"
    asked = "make run BENCHMARK=source STUDIES=audioslots"
    assert (run.returncode, lines) == (2, [f"snakemake: target: variant film: {model}: no such file; run: {asked}"])
    dry = snakemake(tmp_path, "--dry-run", "--configfile", str(config))
    assert dry.returncode == 0 and asked in dry.stdout and planned(dry.stdout)["train"] == 1, dry.stdout[-REPORT:]
    (tmp_path / model).parent.mkdir(parents=True)
    (tmp_path / model).touch()
    jobs = planned(snakemake(tmp_path, "--dry-run", "--configfile", str(config)).stdout)
    assert jobs["train"] == 2 and jobs["resolve"] == 3, "and nothing of the other benchmark"


# --- which studies, at which lengths -------------------------------------------------------------------------------


def runs_of(name: str, **other: Any) -> tuple[int, int]:
    """Trainings and scored runs of variants that a benchmark of ``config`` asks for."""
    benchmark = read_for_counting(ROOT / "config" / f"{name}.yaml").model_copy(update=other)
    known = variants(benchmark)
    trained = [variant for variant in known if variant not in twins(known)]
    return sum(len(benchmark.seeds_of(one)) for one in trained), sum(len(benchmark.seeds_of(one)) for one in known)


def test_without_a_configfile_the_demo_is_planned_and_all_studies_where_asked_for(tmp_path: Path) -> None:
    jobs = planned(snakemake(tmp_path, "--dry-run").stdout)
    oracles = {"evaluate_oracle": 2, "describe": 1, "report": 1, "all": 1}
    assert jobs == DEMO | oracles | {"train": 6, "resolve": 9, "separate": 9, "evaluate": 9}
    run = snakemake(tmp_path, "--dry-run", "--config", "studies=all")
    assert run.returncode == 0, run.stdout[-REPORT:]
    whole, (trained, scored) = planned(run.stdout), runs_of("mini", lengths=1)
    assert trained > 100 and (whole["train"], whole["evaluate"]) == (trained, scored)
    assert {rule: whole[rule] for rule in DEMO} == DEMO, "on the same data"


def test_of_several_lengths_the_longest_or_all_are_planned(tmp_path: Path) -> None:
    config = ["--configfile", str(write_config(tmp_path / "tiny.yaml", lengths=3))]
    for given, trained in ((["--config", "lengths=1"], 2), ([], 6)):
        jobs = planned(snakemake(tmp_path, "--dry-run", *config, *given).stdout)
        assert (jobs["train"], jobs["separate"], jobs["evaluate"]) == (trained, trained + 1, trained + 1)


def test_the_papers_scale_is_planned_through_the_profile_from_a_fresh_clone(tmp_path: Path) -> None:
    copy = clone(tmp_path / "clone")
    asked = [sys.executable, "-m", "snakemake", "--profile", "slurm", "-n"]
    run = subprocess.run(asked, cwd=copy, env=environment(copy), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-REPORT:]
    jobs = planned(run.stdout + run.stderr)
    assert (jobs["train"], jobs["evaluate"], jobs["separate"], jobs["evaluate_oracle"]) == (87, 93, 93, 6)
    assert (jobs["download"], jobs["download_metadata"], jobs["pack"], jobs["all"]) == (3, 1, 2, 1)
    assert not (copy / "data").exists() and not (copy / "results").exists()


MAKE = {
    "demo": ("mini", {"studies": ["bottleneck"], "lengths": 1}),
    "ablations STUDY=loss": ("mini", {"studies": ["loss"]}),
    "librispeech STUDY=conv-tasnet": ("librispeech", {"studies": ["conv-tasnet"]}),
    "run BENCHMARK=mini-noisy": ("mini-noisy", {}),
    "smoke": ("smoke", {}),
}


@pytest.mark.skipif(
    not (ROOT / ".venv" / ".installed").exists(), reason="no .venv of `make`, whose Snakemake is called"
)
@pytest.mark.parametrize("target", MAKE)
def test_make_lists_the_jobs_of_a_target(target: str, tmp_path: Path) -> None:
    copy, (name, asked_for) = clone(tmp_path / "clone"), MAKE[target]
    shutil.copy(ROOT / "Makefile", copy)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    asked = ["make", "--assume-old=.venv/.installed", *target.split(), "DRY=1"]
    run = subprocess.run(
        asked, cwd=copy, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert run.returncode == 0, run.stdout[-REPORT:]
    jobs = planned(run.stdout)
    assert (jobs["train"], jobs["evaluate"]) == runs_of(name, **asked_for)
    assert not (copy / "data").exists() and not (copy / "results").exists() and "The page:" not in run.stdout


# --- clones and worktrees ------------------------------------------------------------------------------------------


@pytest.fixture
def second_clone(tmp_path: Path) -> Path:
    """A copy of the repository with a variant of its own and no package: the installed one is of another clone."""
    copy = clone(tmp_path / "second")
    shutil.rmtree(copy / "audioslots")
    add_variant(copy, model={"slots": {"layers": 2}})
    return copy


def test_a_second_clone_plans_its_own_studies_by_the_installed_package(second_clone: Path) -> None:
    script = Path(sys.executable).parent / "audioslots"
    asked = [script, "cost", "smoke.yaml"]
    run = subprocess.run(asked, cwd=second_clone / "config", env=environment(), capture_output=True, text=True)
    assert run.returncode == 0 and "Added" in run.stdout, run.stdout + run.stderr


def test_a_second_clone_runs_its_own_studies_and_rules(second_clone: Path, tmp_path: Path) -> None:
    def dry_run(folder: Path, *arguments: str, root: Path = second_clone) -> str:
        asked = command(folder, "--dry-run", *arguments, root=root)
        run = subprocess.run(asked, cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr[-REPORT:]
        return run.stdout + run.stderr

    (work := tmp_path / "work").mkdir()
    smoke = dry_run(work, "--configfile", str(second_clone / "config" / "smoke.yaml"))
    assert planned(smoke)["train"] == 6 and "variant=added" in smoke
    # A benchmark's file that lies elsewhere: the studies are those beside the Snakefile that is run.
    tiny = str(write_config(tmp_path / "tiny.yaml"))
    assert planned(dry_run(work, "--configfile", tiny))["train"] == 3
    assert planned(dry_run(work, "--configfile", tiny, root=ROOT))["train"] == 2


# --- what is done stays done ---------------------------------------------------------------------------------------


def touch_runs(folder: Path, config: Path, **choosing: Any) -> None:
    """Stand for a benchmark that has been run, but for its report: speech, mixtures, models and scores."""
    touch_data(folder, config, mixtures=True)
    benchmark = read_benchmark(config, beside=[ROOT])
    known = variants(benchmark)
    runs = folder / "results" / benchmark.name / "runs"
    for name in ("mixture", *untrained(benchmark, known), *known):
        run = runs / name / "seed0"
        run.mkdir(parents=True, exist_ok=True)
        for file in ("config.json", "model.safetensors", "history.csv", "system.json"):
            if name in known:
                (run / file).write_text("{}")
        for file in ("scores.parquet", "evaluation.json"):
            (run / file).write_text("{}")
        request = {"request": {"examples": choosing.get(name, ["a"])}}
        (run / "scores.stage.json").write_text(json.dumps(request))


def test_examples_to_listen_to_stay_those_that_were_chosen_first(tmp_path: Path) -> None:
    """Else all runs would be scored again when a study is run that has another baseline and stands before theirs."""
    config = write_config(tmp_path / "tiny.yaml")
    touch_runs(tmp_path, config, audioslots=1)
    overrides = {"audioslots-long": {"training": {"steps": 6}}}
    without = [f"audioslots-{name}" for name in ("1800", "1800-direct", *("long-direct", "long-misi"))]
    without += ["audioslots-long-power-1", "audioslots-long-power-2"]
    both = {"studies": ["long", "audioslots"], "overrides": overrides, "without": without}
    run = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--configfile", str(write_config(config, **both)))
    assert run.returncode == 0 and FINISHED not in run.stdout, run.stdout[-REPORT:]
    assert "--chosen-by results/tiny/runs/audioslots/seed0/scores.parquet" in run.stdout
    assert planned(run.stdout)["evaluate"] == planned(run.stdout)["train"] == 1
