"""Every benchmark of ``config/`` is planned, its test and its dev mixtures apart, with what a cluster must be told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from running import REPORT, ROOT, planned, snakemake

from audioslots.config.benchmark import Benchmark, read_benchmark, resolve, runs_to_make, variants

RULES = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow" / "rules").glob("*.smk"))
LOCAL = {"all", *re.findall(r"^rule (\w+):\n(?: .*\n|\n(?= ))*? +localrule: True", RULES, re.MULTILINE)}


def make_initial_models(read: Benchmark, folder: Path) -> None:
    """Empty files in place of the models of another benchmark that training starts from."""
    known = variants(read)
    for name, seed in runs_to_make(read, known, {}):
        if (init := known[name].init_from) and init.benchmark:
            model = folder / str(resolve(read, name, seed, known).init_model)
            model.parent.mkdir(parents=True, exist_ok=True)
            model.touch()


def make_speech(folder: Path) -> dict[str, str]:
    """Empty folders and files in place of LibriSpeech and LibriMix's rows; what is given for them."""
    for subset in ("dev-clean", "test-clean"):
        (folder / "LibriSpeech" / subset).mkdir(parents=True)
        for sources in (2, 3):
            (folder / f"libri{sources}mix_{subset}.csv").touch()
    return {"librispeech": "LibriSpeech", "librimix": "."}


@pytest.mark.parametrize("config", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_benchmark_is_planned_on_test_and_on_dev(config: Path, tmp_path: Path) -> None:
    given = make_speech(tmp_path)
    read = read_benchmark(config)
    if read.corpus.kind == "librispeech":
        read = read_benchmark(yaml.safe_load(config.read_text(encoding="utf-8")) | given, config)
    else:
        given = {}
    speech = ["--config", *(f"{key}={value}" for key, value in given.items())] if given else []
    make_initial_models(read, tmp_path)
    arguments = ("--dry-run", "--printshellcmds", "--configfile", str(config), *speech)
    assert read.dev is not None

    plan = snakemake(tmp_path, *arguments)
    assert plan.returncode == 0, plan.stdout[-REPORT:]
    assert planned(plan.stdout)["train"] >= 2
    # What an engine without this machine's folders and settings needs: no path of this machine, resources in the rules.
    for command in re.findall(r"audioslots --wait .*", plan.stdout):
        assert not re.search(r"[\s=]/", command), command
    shown = re.findall(r"^rule (\w+):\n((?: .*\n)+)", plan.stdout, re.MULTILINE)
    submitted = [(rule, asked) for rule, asked in shown if rule not in LOCAL]
    assert {"train", "separate", "evaluate", "pack", "report"} <= {rule for rule, _ in submitted}
    assert [rule for rule, asked in submitted if "mem_mb=" not in asked or "runtime=" not in asked] == []
    assert {rule for rule, asked in shown if re.search(r"\bgpu=[1-9]", asked)} == {"train", "separate"}
    assert "/dev/" not in plan.stdout and read.mixtures(read.dev.subset) not in plan.stdout, "rendered only when read"

    # Dev scores every variant on the speakers that validate, where no report looks.
    dev = snakemake(tmp_path, *arguments, "--", "dev")
    assert dev.returncode == 0, dev.stdout[-REPORT:]
    scored = re.findall(r"audioslots --wait --overwrite evaluate .* --out (\S+).* --examples 0 ", dev.stdout)
    runs = {f"{name}/seed{seed}" for name, seed in runs_to_make(read, variants(read), {})} | {"mixture/seed0"}
    assert set(scored) == {f"results/{read.name}/dev/{run}/scores.parquet" for run in runs}
    assert read.mixtures(read.dev.subset) in dev.stdout
    drawn = re.findall(rf"mixtures sample \S*{read.dev.subset} .* --held-out (\d+) ", dev.stdout)
    assert drawn == ([str(read.corpus.held_out_speakers)] if read.dev.rows == "drawn" else [])


@pytest.mark.parametrize("name", ["mini-noisy", "libri2mix-noisy"])
def test_the_benchmarks_with_noise_are_planned_for_one_speaker_too(name: str, tmp_path: Path) -> None:
    speech = make_speech(tmp_path) if name.startswith("libri2mix") else {}
    given = ["task=enh_single", "studies=[audioslots, noise]", *(f"{key}={value}" for key, value in speech.items())]
    config = ROOT / "config" / f"{name}.yaml"
    plan = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--configfile", str(config), "--config", *given)
    assert plan.returncode == 0, plan.stdout[-REPORT:]
    assert "--types mix_single" in plan.stdout
