"""The rules: they only call the command line, by commands and options that exist; every benchmark is planned."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from running import ROOT, dry_run, refusal, snakemake, write_config
from snakemake.cli import get_argument_parser

from audioslots.cli.app import app
from audioslots.config.benchmark import Benchmark, read_benchmark, resolve, variants
from audioslots.config.runs import list_runs

RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
TEXT = "".join(path.read_text(encoding="utf-8") for path in RULES)
LOCAL = {"all", *re.findall(r"^rule (\w+):\n(?: .*\n|\n(?= ))*? +localrule: True", TEXT, re.MULTILINE)}
LOCAL |= {copy for rule, copy in re.findall(r"^use rule (\w+) as (\w+)", TEXT, re.MULTILINE) if rule in LOCAL}
COMMAND = re.compile(r"(?:\$\(SNAKEMAKE\) \$\(ONLY\)|snakemake) ((?:\w+ )?--configfile [^`#\n]*)")
QUICK = ("smoke", "mini-noisy", "mini-conversations", "libri2mix-noisy")


def commands() -> Iterator[tuple[str, str]]:
    """(File, arguments) of every command with a configuration file that the Makefile and the documentation give."""
    pages = (
        "Makefile",
        "README.md",
        "CONTRIBUTING.md",
        *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
    )
    for name in pages:
        for line in COMMAND.findall((ROOT / name).read_text(encoding="utf-8")):
            line = re.sub(r"<benchmark>|\$\(BENCHMARK\)", "mini", line)
            yield name, re.sub(r" \[.*?\]|\$\(\w+\)", "", line)  # what may be given, and what make fills in


@pytest.mark.parametrize(("file", "command"), sorted(set(commands())))
def test_documented_commands_name_a_configuration_and_a_target(file: str, command: str) -> None:
    given = get_argument_parser().parse_args(shlex.split(command))
    assert [path.is_file() for path in given.configfile] == [True], f"{file}: {command}"
    assert set(given.targets) <= {"dev", "learning_rates"}, f"{file}: {command}"


def test_rules_only_call_the_command_line_and_printf() -> None:
    assert not re.findall(r"^ +(?:run|script|notebook|wrapper):|^ *(?:def|import|from) ", TEXT, re.MULTILINE)
    blocks = re.findall(r"^ +shell:\n((?: +\".*\n)+)", TEXT, re.MULTILINE)
    assert len(blocks) == TEXT.count(" shell:\n")
    for block in blocks:
        assert block.split()[0].lstrip('"') in ("audioslots", "printf"), block
        assert not re.search(r"&&|\|\||;|\$\(|`| \| ", block), block


def check_call(words: list[str]) -> None:
    """Raise where a command, an option or an argument is unknown, missing or of another type."""
    called: Any = typer.main.get_command(app)
    while hasattr(called, "commands"):
        called = called.commands[words.pop(0)]
    called.make_context(called.name, words)


def lay_inputs(read: Benchmark, folder: Path) -> None:
    """Empty files in place of the models of another benchmark that training starts from."""
    known = variants(read)
    for name, seed in list_runs(read, known, {}):
        if (init := known[name].init_from) and init.benchmark:
            model = folder / str(resolve(read, name, seed, known).init_model)
            model.parent.mkdir(parents=True, exist_ok=True)
            model.touch()


def option(name: str, calls: list[list[str]]) -> set[str]:
    return {call[call.index(name) + 1] for call in calls if name in call}


@pytest.mark.parametrize(
    ("name", "given"),
    [
        *(
            pytest.param(path.stem, {}, marks=[] if path.stem in QUICK else pytest.mark.slow, id=path.stem)
            for path in sorted((ROOT / "config").glob("*.yaml"))
        ),
        pytest.param("mini-noisy", {"task": "enh_single", "studies": ["audioslots", "noise"]}, id="one speaker"),
    ],
)
def test_a_benchmark_is_planned_on_test_and_on_dev(name: str, given: dict[str, Any], tmp_path: Path) -> None:
    config = ROOT / "config" / f"{name}.yaml"
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    given = given | {"seeds": [0], "lengths": 1}
    if read_benchmark(config).corpus.kind == "librispeech":
        for subset in ("dev-clean", "test-clean"):
            (tmp_path / "LibriSpeech" / subset).mkdir(parents=True)
            for sources in (2, 3):
                (tmp_path / f"libri{sources}mix_{subset}.csv").touch()
        given |= {"librispeech": "LibriSpeech", "librimix": "."}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        read = read_benchmark(content | given, config)
        sets = list(read.mixture_sets.values())
        official = sum(len(read.official(rows.subset)) > 0 for rows in sets if rows.rows == "official")
    lay_inputs(read, tmp_path)
    arguments = [f"{key}={str(value).replace(chr(39), '')}" for key, value in given.items()]
    plan = dry_run(tmp_path, "--configfile", str(config), "--config", *arguments, "--", "all", "dev")
    jobs, calls = plan.jobs, plan.calls

    # What an engine without this machine's folders and settings needs: no path of this machine, resources in the rules.
    for call in calls:
        assert not [word for word in call if word.startswith("/")], call
        check_call(list(call))
    shown = re.findall(r"^rule (\w+):\n((?: .*\n)+)", plan.output, re.MULTILINE)
    submitted = [(rule, asked) for rule, asked in shown if rule not in LOCAL]
    assert {"train", "separate", "evaluate", "pack", "report"} <= {rule for rule, _ in submitted}
    assert [rule for rule, asked in submitted if "mem_mb=" not in asked or "runtime=" not in asked] == []
    assert {rule for rule, asked in shown if re.search(r"\bgpu=[1-9]", asked)} == {"train", "separate"}

    # Both sets, test and dev, are made in the way that the benchmark says, and every run is scored on both.
    runs = {f"{variant}/seed{seed}" for variant, seed in list_runs(read, variants(read), {})}
    scored = option("--out", [call for call in calls if call[0] == "evaluate"])
    assert {path for path in scored if "/dev/" in path} == {
        f"results/{read.name}/dev/{run}/scores.parquet" for run in runs | {"mixture/seed0"}
    }
    assert jobs["separate"] == jobs["evaluate"] == 2 * len(runs)
    for rule, rows in (("sample", "drawn"), ("sample_conversations", "conversations"), ("select", "official")):
        assert jobs.get(rule, 0) == (official if rows == "official" else sum(one.rows == rows for one in sets))
    rendered = [jobs.get(f"render_{subset.replace('-', '_')}") for subset in read.mixture_sets]
    assert rendered == [1, 1]
    kind = {"sep_clean": "mix_clean", "sep_noisy": "mix_both", "enh_single": "mix_single"}[read.task]
    assert option("--types", calls) == {kind} and option("--mode", calls) == {read.mode}
    assert (jobs.get("pack_noise", 0), jobs.get("synthesize_noise", 0)) == (
        2 * bool(read.packed_noise),
        bool(read.noise),
    )
    assert jobs.get("synthesize", 0) == (read.corpus.kind == "synthesized")


def test_dev_mixtures_are_rendered_only_when_they_are_read(tmp_path: Path) -> None:
    config = ["--configfile", str(ROOT / "config" / "smoke.yaml")]
    plan = dry_run(tmp_path, *config)
    assert plan.jobs["all"] == 1 and "render_dev_clean" not in plan.jobs and "/dev/" not in plan.output
    assert [path.name for path in tmp_path.iterdir()] == [".snakemake"]
    graph = snakemake(tmp_path, "--rulegraph", "mermaid-js", *config)
    assert graph.returncode == 0 and "flowchart" in graph.stdout and "evaluate" in graph.stdout


def test_systems_of_other_packages_are_scored(tmp_path: Path) -> None:
    (tmp_path / "their estimates").mkdir()
    costly = {"estimates": "their estimates", "cost": {"parameters": 25.7e6, "delay_ms": 16}}
    config = write_config(tmp_path / "other.yaml", external={"sepformer": "their estimates", "costly": costly})
    plan = dry_run(tmp_path, "--configfile", str(config))
    assert plan.jobs["evaluate_external"] == 2
    calls = {call[call.index("--name") + 1]: call for call in plan.calls if "--name" in call}
    for name, call in calls.items():
        check_call(list(call))
        assert option("--estimates", [call]) == {"their estimates"}
        assert option("--out", [call]) == {f"results/tiny/runs/external-{name}/seed0/scores.parquet"}
    assert "--cost" not in calls["sepformer"]
    assert {word for word in calls["costly"] if "=" in word} == {"parameters=2.57e+07", "delay_ms=16"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rtae": 8000}, "rtae: unknown key; did you mean 'rate'?"),
        ({"external": {"other": "absent"}}, "external.other: absent: no such folder or file"),
        (
            {"test": {"subset": "test-clean", "rows": "official"}, "librimix": "absent"},
            "no libri2mix_test-clean.csv in",
        ),
    ],
)
def test_bad_config_ends_with_one_line_and_status_2(tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    assert says in refusal(tmp_path, "--dry-run", "--configfile", str(write_config(tmp_path / "tiny.yaml", **wrong)))
