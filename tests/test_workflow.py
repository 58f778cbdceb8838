"""The workflow as people call it: it plans, refuses, runs, stops, goes on, and repeats nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
import yaml

from audioslots.benchmark import read_benchmark, read_study, variants
from audioslots.cli import app

ROOT = Path(__file__).resolve().parents[1]
RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
TINY: dict[str, Any] = {
    "name": "tiny",
    "title": "Tiny",
    "rate": 8000,
    "seeds": [0],
    "corpus": {"kind": "synthesized", "speakers": 12, "hours": 0.03, "validation": "dev-clean"},
    "test": {"subset": "test-clean", "count": 2},
    "baselines": ["mixture"],
    "studies": ["audioslots"],
    "examples": 1,
    "device": "cpu",
    "variant": {
        "chunk_s": 0.25,
        "spectrogram": {"window": 128, "hop": 64},
        "encoder": {"kind": "frames", "width": 16, "layers": 1, "heads": 2, "mlp": 16},
        "slots": {"layers": 1},
        "decoder": {"kind": "modulated", "output": "sigmoid", "width": 16, "layers": 1},
        "training": {
            "loss": "si_sdr",
            "steps": 4,
            "batch": 2,
            "validate_every": 2,
            "validation_mixtures": 2,
            "checkpoint_every": 1,
        },
    },
}
STITCHED = ["audioslots", "stitching"]  # of the second no variant is trained
FINISHED = "Nothing to be done"
REPORT = 3000  # characters of a failed run to show: its end


def environment(clone: Path | None = None) -> dict[str, str]:
    """As after activating .venv; with ``clone``, the package of that copy instead of the installed one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    extra = {} if clone is None else {"PYTHONPATH": str(clone)}
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"} | extra


def command(folder: Path, *arguments: str, root: Path = ROOT) -> list[str]:
    where = ["--snakefile", str(root / "Snakefile"), "--directory", str(folder), "--cores", "2"]
    return [sys.executable, "-m", "snakemake", *where, *arguments]


def snakemake(folder: Path, *arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in ``folder``; its output and its errors come out together, in ``stdout``."""
    return subprocess.run(
        command(folder, *arguments, root=root),
        cwd=folder,
        env=environment(None if root == ROOT else root),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def planned(output: str) -> dict[str, int]:
    """Rule -> number of jobs, from Snakemake's table."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE) if rule != "total"}


def write_config(path: Path, **other: Any) -> Path:
    path.write_text(yaml.safe_dump(TINY | other))
    return path


def clone(to: Path) -> Path:
    """A copy of the repository, as far as the workflow needs it, to be changed at will."""
    for name in ("workflow", "profiles", "ablations", "audioslots"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", to)
    return to


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny benchmark, ``tiny.yaml``, has been run from end to end."""
    folder = tmp_path_factory.mktemp("finished")
    run = snakemake(folder, "--configfile", str(write_config(folder / "tiny.yaml")))
    assert run.returncode == 0, run.stdout[-REPORT:]
    return folder


# --- the rules -----------------------------------------------------------------------------------------------------


def shell_blocks(text: str) -> Iterator[str]:
    """The text of every shell directive, and of the constants that hold commands."""
    yield from re.findall(r"^ +shell:\n((?:^ +.*\n)+?)(?=^\S|^$|\Z|^ {0,4}\S)", text, re.MULTILINE)
    yield from re.findall(r"^[A-Z]+ = \(\n((?: +f?\".*\n)+)\)", text, re.MULTILINE)


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_rules_only_call_the_command_line_and_printf(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^ +(run|script|notebook|wrapper):", text, re.MULTILINE) == []
    assert re.findall(r"^ *(?:def|import|from) ", text, re.MULTILINE) == [], "no logic in rules"
    blocks = list(shell_blocks(text))
    assert len(re.findall(r"^ +shell:", text, re.MULTILINE)) <= len(blocks)
    for block in blocks:
        first = block.split()[0].lstrip("f").lstrip('"').split()[0]
        assert first in ("audioslots", "printf", "{EVALUATE}"), block
        assert not re.search(r"&&|\|\||;|\$\(|`| \| ", block), block


def test_rules_call_verbs_and_options_that_exist(tmp_path: Path) -> None:
    config = str(write_config(tmp_path / "tiny.yaml", dev={"subset": "dev-clean", "count": 2}, studies=STITCHED))
    run = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--configfile", config)
    calls = set(
        re.findall(r"\baudioslots --wait ((?:corpus|mixtures|pack|train|adopt|evaluate|report) .*)", run.stdout)
    )
    verbs = set()
    for call in calls:
        words = shlex.split(re.split(r" 2?> ", call)[0])
        verb: Any = typer.main.get_command(app)
        while hasattr(verb, "commands"):
            verbs.add(words[0])
            verb = verb.commands[words.pop(0)]
        verb.make_context(verb.name, words)  # raises where an option or argument is unknown, missing or of another type
    expected = {"corpus", "synthesize", "mixtures", "draw", "render", "pack", "train", "adopt", "evaluate", "report"}
    assert verbs == expected
    adopted = len(read_study("stitching").variants) - 2  # one is the baseline, one the baseline under another name
    assert (
        planned(run.stdout)["adopt"] == adopted
        and planned(run.stdout)["evaluate"] == planned(run.stdout)["train"] + adopted
    )


# --- planning ------------------------------------------------------------------------------------------------------


def test_smoke_plans_every_rule(tmp_path: Path) -> None:
    config = ROOT / "config" / "smoke.yaml"
    run = snakemake(tmp_path, "--dry-run", "--configfile", str(config))
    assert run.returncode == 0, run.stdout
    benchmark = read_benchmark(config)
    runs = len(variants(benchmark)) * len(benchmark.seeds)
    oracles = sum(name.startswith("oracle") for name in benchmark.baselines)
    once = ("synthesize", "render_dev_clean", "render_test_clean", "describe", "evaluate_mixture", "report", "all")
    several = {"draw": 2, "pack": 2, "resolve": runs, "train": runs, "evaluate": runs, "evaluate_oracle": oracles}
    assert planned(run.stdout) == dict.fromkeys(once, 1) | several
    assert [path.name for path in tmp_path.iterdir()] == [".snakemake"]


@pytest.mark.parametrize("config", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_benchmark_is_planned_and_drawn_as_a_graph(config: Path, tmp_path: Path) -> None:
    for subset in ("dev-clean", "test-clean"):
        (tmp_path / "LibriSpeech" / subset).mkdir(parents=True)
        (tmp_path / f"libri2mix_{subset}.csv").touch()
    speech = ["--config", "librispeech=LibriSpeech", "librimix=."] if "kind: librispeech" in config.read_text() else []
    plan = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--configfile", str(config), *speech)
    assert plan.returncode == 0, plan.stdout[-REPORT:]
    assert planned(plan.stdout)["train"] >= 2
    # What an engine without this machine's folders and settings needs: no path of this machine, resources in the rules.
    for command in re.findall(r"^ +(audioslots .*)$", plan.stdout, re.MULTILINE):
        assert not re.search(r"[\s=]/", command), command
    local = {
        "all",
        *re.findall(r"^rule (\w+):\n(?: .*\n|\n(?= ))*? +localrule: True", "".join(map(Path.read_text, RULES)), re.M),
    }
    shown = re.findall(r"^rule (\w+):\n((?: .*\n)+)", plan.stdout, re.MULTILINE)
    submitted = [(rule, asked) for rule, asked in shown if rule not in local]
    assert {"train", "evaluate", "pack", "report"} <= {rule for rule, _ in submitted}
    assert [rule for rule, asked in submitted if "mem_mb=" not in asked or "runtime=" not in asked] == []
    graph = snakemake(tmp_path, "--rulegraph", "mermaid-js", "--configfile", str(config), *speech)
    assert graph.returncode == 0 and "flowchart" in graph.stdout and "evaluate" in graph.stdout


def test_rules_pass_snakemakes_own_checks(tmp_path: Path) -> None:
    """Among them: every rule names an image or an environment, and has a log."""
    run = snakemake(tmp_path, "--lint", "--configfile", str(ROOT / "config" / "smoke.yaml"))
    assert run.returncode == 0, run.stdout[-REPORT:]
    check = [sys.executable, "-m", "snakefmt", "--check", str(ROOT / "Snakefile"), str(ROOT / "workflow")]
    formatted = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert formatted.returncode == 0, formatted.stderr


def test_official_rows_are_selected_and_no_speech_is_synthesized(made_corpus: Path, tmp_path: Path) -> None:
    csv = tmp_path / "LibriMix" / "libri2mix_test-clean.csv"
    csv.parent.mkdir()
    csv.touch()
    config = ["--configfile", str(ROOT / "config" / "librispeech.yaml"), "--config", f"librispeech={made_corpus}"]
    run = snakemake(tmp_path, "--dry-run", *config, f"librimix={csv.parent}")
    assert run.returncode == 0, run.stdout
    jobs = planned(run.stdout)
    assert jobs["select"] == jobs["pack"] == jobs["render_test_clean"] == 1
    assert not {"synthesize", "draw"} & jobs.keys()


def test_workflow_is_planned_from_any_folder_without_a_config_file(tmp_path: Path) -> None:
    run = snakemake(tmp_path, "--dry-run")
    assert run.returncode == 0, run.stdout
    assert "results/mini/index.html" in run.stdout


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rtae": 8000}, "rtae: unknown key; did you mean 'rate'?"),
        ({"variant": {"trainnig": {"steps": 3}}}, "trainnig: unknown key; did you mean 'training'?"),
        ({"studies": ["outptu"]}, "no study 'outptu'; did you mean 'output'?"),
        ({"corpus": {"kind": "librispeech", "validation": "dev-clean"}}, "librispeech is not given"),
        (
            {"test": {"subset": "test-clean", "rows": "official"}, "librimix": "absent"},
            "librimix: no libri2mix_test-clean.csv in absent",
        ),
    ],
)
def test_bad_config_ends_with_one_line_and_status_2(tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    run = snakemake(tmp_path, "--dry-run", "--configfile", str(write_config(tmp_path / "tiny.yaml", **wrong)))
    assert run.returncode == 2
    lines = [line for line in run.stdout.splitlines() if not line.startswith("Using ")]  # which profile
    assert len(lines) == 1 and lines[0].startswith("snakemake: "), run.stdout
    assert says in lines[0]


# --- running -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_command_makes_everything_and_again_does_nothing(finished: Path) -> None:
    results = finished / "results" / "tiny"
    scores = pd.read_parquet(results / "scores.parquet")
    assert set(scores["variant"]) == {"mixture", "audioslots", "audioslots-paper"}
    assert len(scores) == 2 * 2 * (1 + 2 * 2)  # mixtures, sources, and for the two variants two ways of stitching
    for variant in ("audioslots", "audioslots-paper"):
        run = results / "runs" / variant / "seed0"
        made = {"config.json", "system.json", "history.csv", "model.safetensors", "scores.parquet", "evaluation.json"}
        assert made <= {path.name for path in run.iterdir()}
        assert json.loads((run / "system.json").read_text())["steps"] == 4
    assert "Tiny" in (results / "index.html").read_text(encoding="utf-8")
    assert not [path for path in finished.rglob("*") if ".tmp" in path.name]
    again = snakemake(finished, "--configfile", "tiny.yaml")
    assert again.returncode == 0 and FINISHED in again.stdout, again.stdout[-REPORT:]


@pytest.mark.slow
def test_white_space_in_a_rule_repeats_nothing(finished: Path, tmp_path: Path) -> None:
    copy = clone(tmp_path)
    for name in ("train", "evaluate", "mixtures"):
        rules = copy / "workflow" / "rules" / f"{name}.smk"
        changed = re.sub(r'"audioslots --wait (\w+) ', r'"audioslots  --wait  \1  ', rules.read_text())
        assert changed != rules.read_text()
        rules.write_text(changed)
    run = snakemake(finished, "--dry-run", "--configfile", "tiny.yaml", root=copy)
    assert run.returncode == 0 and FINISHED in run.stdout, run.stdout[-REPORT:]


@pytest.mark.slow
def test_changed_variant_is_trained_anew_and_no_other(finished: Path, tmp_path: Path) -> None:
    copy, folder = clone(tmp_path / "clone"), tmp_path / "work"
    shutil.copytree(finished, folder)
    study = copy / "ablations" / "audioslots.yaml"
    content = yaml.safe_load(study.read_text())
    content["variants"]["audioslots-paper"].setdefault("training", {})["steps"] = 5
    study.write_text(yaml.safe_dump(content, sort_keys=False))

    plan = snakemake(folder, "--dry-run", "--configfile", "tiny.yaml", root=copy)
    assert planned(plan.stdout) == {"resolve": 1, "train": 1, "evaluate": 1, "report": 1, "all": 1}, plan.stdout[
        -REPORT:
    ]
    assert "variant=audioslots-paper" in plan.stdout and "variant=audioslots," not in plan.stdout

    run = snakemake(folder, "--configfile", "tiny.yaml", root=copy)
    assert run.returncode == 0, run.stdout[-REPORT:]
    steps = {
        variant: json.loads((folder / f"results/tiny/runs/{variant}/seed0/system.json").read_text())["steps"]
        for variant in ("audioslots", "audioslots-paper")
    }
    assert steps == {"audioslots": 4, "audioslots-paper": 5}


@pytest.mark.slow
def test_added_variant_runs_its_own_jobs_and_the_report(finished: Path, tmp_path: Path) -> None:
    copy = clone(tmp_path)
    study = copy / "ablations" / "audioslots.yaml"
    content = yaml.safe_load(study.read_text())
    content["variants"]["added"] = {"title": "Added", "slots": {"layers": 2}}
    study.write_text(yaml.safe_dump(content, sort_keys=False))
    plan = snakemake(finished, "--dry-run", "--configfile", "tiny.yaml", root=copy)
    own = {"resolve": 1, "train": 1, "evaluate": 1}
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
