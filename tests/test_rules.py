"""The rules: they only call the command line, pass Snakemake's own checks, and plan what is asked or refuse it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from made_benchmark import LONG
from running import REPORT, ROOT, TINY, planned, snakemake, write_config
from snakemake.cli import get_argument_parser

from audioslots.cli.app import app
from audioslots.config.benchmark import read_benchmark, twins, untrained, variants
from audioslots.config.study import read_study

RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
DOCS = list((ROOT / "docs").glob("*.md"))
STITCHED = ["audioslots", "stitching"]  # of the second no variant is trained


# --- the rules -----------------------------------------------------------------------------------------------------


def shell_blocks(text: str) -> Iterator[str]:
    """The text of every shell directive, and of the constants that hold commands."""
    yield from re.findall(r"^ +shell:\n((?:^ +.*\n)+?)(?=^\S|^$|\Z|^ {0,4}\S)", text, re.MULTILINE)
    yield from re.findall(r"^[A-Z]+ = \(\n((?: +f?\".*\n)+)\)", text, re.MULTILINE)


COMMAND = re.compile(r"(?:\$\(SNAKEMAKE\) \$\(ONLY\)|snakemake) ((?:\w+ )?--configfile [^`#\n]*)")


def commands() -> Iterator[tuple[str, str]]:
    """(File, arguments) of every command with a configuration file that the Makefile and the documentation give."""
    pages = ("Makefile", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", *sorted(f"docs/{p.name}" for p in DOCS))
    for name in pages:
        for line in COMMAND.findall((ROOT / name).read_text(encoding="utf-8")):
            line = re.sub(r"<benchmark>|\$\(BENCHMARK\)", "mini", line)
            yield name, re.sub(r" \[.*?\]|\$\(\w+\)", "", line)  # what may be given, and what make fills in


@pytest.mark.parametrize(("file", "command"), sorted(set(commands())))
def test_commands_name_one_configuration_and_no_target_is_taken_for_another(file: str, command: str) -> None:
    given = get_argument_parser().parse_args(shlex.split(command))
    assert [path.is_file() for path in given.configfile] == [True], f"{file}: {command}"
    assert set(given.targets) <= {"dev", "learning_rates"}, f"{file}: {command}"


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_rules_only_call_the_command_line_and_printf(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^ +(run|script|notebook|wrapper):", text, re.MULTILINE) == []
    assert re.findall(r"^ *(?:def|import|from) ", text, re.MULTILINE) == [], "no logic in rules"
    blocks = list(shell_blocks(text))
    assert len(re.findall(r"^ +shell:", text, re.MULTILINE)) <= len(blocks)
    for block in blocks:
        first = block.split()[0].lstrip("f").lstrip('"').split()[0]
        assert first in ("audioslots", "printf"), block
        assert not re.search(r"&&|\|\||;|\$\(|`| \| ", block), block


def test_the_makefile_runs_the_workflow_by_such_commands() -> None:
    assert len([command for file, command in commands() if file == "Makefile"]) >= 5


def test_rules_call_verbs_and_options_that_exist(tmp_path: Path) -> None:
    config = str(write_config(tmp_path / "tiny.yaml", studies=STITCHED))
    run = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--configfile", config, "--", "all", "dev")
    verb = "corpus|mixtures|train|separate-set|evaluate|rank|report"
    calls = set(re.findall(rf"\baudioslots --wait --overwrite ((?:{verb}) .*)", run.stdout))
    verbs = set()
    for call in calls:
        words = shlex.split(re.split(r" 2?> ", call)[0])
        verb: Any = typer.main.get_command(app)
        while hasattr(verb, "commands"):
            verbs.add(words[0])
            verb = verb.commands[words.pop(0)]
        verb.make_context(verb.name, words)  # raises where an option or argument is unknown, missing or of another type
    data = {"corpus", "synthesize", "mixtures", "sample", "render", "check-speakers", "pack"}
    assert verbs == data | {"train", "separate-set", "evaluate", "rank", "report"}
    # Of stitching one variant is the baseline, one the baseline under another name. Direct magnitudes are no training.
    twins = len(read_study("stitching", ROOT / "ablations").variants) - 2 + 1
    jobs = planned(run.stdout)
    assert jobs["separate"] == jobs["evaluate"] == 2 * (jobs["train"] + twins), "on test and on dev"


# --- planning ------------------------------------------------------------------------------------------------------


def test_smoke_plans_every_rule(tmp_path: Path) -> None:
    config = ROOT / "config" / "smoke.yaml"
    run = snakemake(tmp_path, "--dry-run", "--configfile", str(config))
    assert run.returncode == 0, run.stdout
    benchmark = read_benchmark(config)
    known = variants(benchmark)
    runs, untrained_runs = (len(names) * len(benchmark.seeds) for names in (known, twins(known)))
    oracles = sum(name.startswith("oracle") for name in untrained(benchmark, known))
    once = (
        "synthesize",
        "sample",
        "render_test_clean",
        "check_speakers",
        "describe",
        "evaluate_mixture",
        "report",
        "all",
    )
    several = {"pack": 2, "resolve": runs, "train": runs - untrained_runs}
    several |= {"separate": runs, "evaluate": runs, "evaluate_oracle": oracles}
    assert planned(run.stdout) == dict.fromkeys(once, 1) | several
    assert [path.name for path in tmp_path.iterdir()] == [".snakemake"]
    graph = snakemake(tmp_path, "--rulegraph", "mermaid-js", "--configfile", str(config))
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
    run = snakemake(tmp_path, "--dry-run", *config, f"librimix={csv.parent}", "studies=[bottleneck]")
    assert run.returncode == 0, run.stdout
    jobs = planned(run.stdout)
    assert jobs["select"] == jobs["pack"] == jobs["render_test_clean"] == 1
    assert not {"synthesize", "sample"} & jobs.keys()


@pytest.mark.parametrize("kind", ["synthesized", "librispeech"])
def test_conversations_are_drawn_and_rendered_whole(kind: str, made_corpus: Path, tmp_path: Path) -> None:
    own = {
        "corpus": TINY["corpus"] | {"kind": kind},
        "librispeech": None if kind == "synthesized" else str(made_corpus),
    }
    path = write_config(tmp_path / "long.yaml", **own, mode="max", test=LONG, dev=LONG | {"subset": "dev-clean"})
    run = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--configfile", str(path), "--", "all", "dev")
    jobs = planned(run.stdout)
    assert (jobs["sample_conversations"], jobs["render_test_clean"], jobs["render_dev_clean"]) == (2, 1, 1), run.stdout[
        -REPORT:
    ]
    assert "sample" not in jobs and ("synthesize" in jobs) == (kind == "synthesized")
    calls = re.findall(r"audioslots --wait --overwrite (mixtures sample-conversations .*) > ", run.stdout)
    assert len(calls) == 2 and all("--count 3 --shortest 30.0 --longest 120.0 --seed 0" in call for call in calls)
    for call in calls:
        verb: Any = typer.main.get_command(app).commands["mixtures"].commands["sample-conversations"]  # type: ignore[attr-defined]
        verb.make_context(verb.name, shlex.split(call)[2:])
    assert re.search(
        rf"mixtures render {read_benchmark(path, beside=[ROOT]).metadata('test-clean')} .* --mode max ", run.stdout
    )


@pytest.mark.parametrize("task", ["sep_noisy", "enh_single"])
@pytest.mark.parametrize("wham", [False, True])
def test_noise_is_made_or_taken_and_mixed_into_all_mixtures(task: str, wham: bool, tmp_path: Path) -> None:
    own = {"wham": str(tmp_path / "their noise")} if wham else {"noise": {"hours": 0.1}}
    path = write_config(tmp_path / "noisy.yaml", **own, task=task)
    run = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--configfile", str(path), "--", "all", "dev")
    assert run.returncode == 0, run.stdout[-REPORT:]
    jobs, benchmark = planned(run.stdout), read_benchmark(path, beside=[ROOT])
    assert (jobs["sample"], jobs["pack_noise"], jobs.get("synthesize_noise", 0)) == (2, 2, 0 if wham else 1)
    drawn = re.findall(r"audioslots --wait --overwrite mixtures sample .* (--noise .*) > ", run.stdout)
    assert sorted(shlex.split(line)[1:] for line in drawn) == sorted(
        [benchmark.noise_root, "--part", part] for part in ("cv", "tt")
    )
    rendered = [shlex.split(line) for line in re.findall(r"mixtures render (.*) > ", run.stdout)]
    kind = {"sep_noisy": "mix_both", "enh_single": "mix_single"}[task]
    assert [line[line.index("--types") + 1] for line in rendered] == [kind] * 2
    assert [line[line.index("--wham") + 1] for line in rendered] == [benchmark.noise_root] * 2
    clean = snakemake(tmp_path, "--dry-run", "--configfile", str(write_config(tmp_path / "clean.yaml")))
    assert not {"synthesize_noise", "pack_noise"} & planned(clean.stdout).keys()


def test_systems_of_other_packages_are_scored_and_each_has_a_study(tmp_path: Path) -> None:
    (tmp_path / "their estimates").mkdir()
    other = {"estimates": "their estimates", "cost": {"parameters": 25.7e6, "delay_ms": 16}}
    config = write_config(tmp_path / "other.yaml", external={"sepformer": "their estimates", "costly": other})
    run = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--configfile", str(config))
    assert run.returncode == 0, run.stdout[-REPORT:]
    assert planned(run.stdout)["evaluate_external"] == 2
    calls = re.findall(r"audioslots --wait --overwrite (evaluate .* --name .*) > ", run.stdout)
    (call,) = (call for call in calls if "--name sepformer" in call)
    (costly,) = (other for other in calls if other != call)
    assert " --cost parameters=2.57e+07 " in costly and " --cost delay_ms=16 " in costly and "--cost" not in call
    verb: Any = typer.main.get_command(app).commands["evaluate"]  # type: ignore[attr-defined]
    given = verb.make_context(verb.name, shlex.split(call)[1:]).params
    assert (given["estimates"], given["name"], not given["cost"]) == (Path("their estimates"), "sepformer", True)
    assert given["out"] == Path("results/tiny/runs/external-sepformer/seed0/scores.parquet")
    (tmp_path / "their estimates").rmdir()
    run = snakemake(tmp_path, "--dry-run", "--configfile", str(config))
    assert run.returncode == 2
    assert "external.costly: their estimates: no such folder or file; expected its estimates" in run.stdout


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
        (
            {"corpus": {"kind": "librispeech", "validation": "dev-clean"}},
            "librispeech is not given, and train-clean is",
        ),
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
