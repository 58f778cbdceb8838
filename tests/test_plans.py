"""Every benchmark of ``config/`` is planned, its test and its dev mixtures apart, with what a cluster must be told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from running import REPORT, ROOT, planned, snakemake

from audioslots.benchmark import Benchmark, read_benchmark, variants

RULES = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow" / "rules").glob("*.smk"))
LOCAL = {"all", *re.findall(r"^rule (\w+):\n(?: .*\n|\n(?= ))*? +localrule: True", RULES, re.MULTILINE)}


def weights_to_start_from(read: Benchmark, folder: Path) -> None:
    """Empty files in place of the models of another benchmark that training starts from."""
    for path in {variant.start_at(seed) for variant in variants(read).values() for seed in read.seeds} - {None}:
        assert path is not None
        (folder / path).parent.mkdir(parents=True)
        (folder / path).touch()


@pytest.mark.parametrize("config", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_benchmark_is_planned_on_test_and_on_dev(config: Path, tmp_path: Path) -> None:
    for subset in ("dev-clean", "test-clean"):
        (tmp_path / "LibriSpeech" / subset).mkdir(parents=True)
        (tmp_path / f"libri2mix_{subset}.csv").touch()
    given = {"librispeech": "LibriSpeech", "librimix": "."} if "kind: librispeech" in config.read_text() else {}
    speech = ["--config", *(f"{key}={value}" for key, value in given.items())] if given else []
    read = read_benchmark(yaml.safe_load(config.read_text(encoding="utf-8")) | given)
    weights_to_start_from(read, tmp_path)
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
    scored = re.findall(r"audioslots --wait --fresh evaluate .* --out (\S+).* --examples 0 ", dev.stdout)
    runs = {f"{name}/seed{seed}" for name in variants(read) for seed in read.seeds} | {"mixture/seed0"}
    assert set(scored) == {f"results/{read.name}/dev/{run}/scores.parquet" for run in runs}
    assert read.mixtures(read.dev.subset) in dev.stdout
    drawn = re.findall(rf"mixtures draw \S*{read.dev.subset} .* --held-out (\d+) ", dev.stdout)
    assert drawn == ([str(read.corpus.held_out_speakers)] if read.dev.rows == "drawn" else [])


@pytest.mark.parametrize("name", ["mini-ablations-noise", "libri2mix-noisy"])
def test_the_benchmarks_with_noise_are_planned_for_one_speaker_too(name: str, tmp_path: Path) -> None:
    (tmp_path / "LibriSpeech").mkdir()
    for subset in ("dev-clean", "test-clean"):
        (tmp_path / f"libri2mix_{subset}.csv").touch()
    given = ["task=enh_single", "studies=[audioslots, noise]", "librispeech=LibriSpeech", "librimix=."]
    config = ROOT / "config" / f"{name}.yaml"
    given = given if name.startswith("libri2mix") else given[:2]
    plan = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--configfile", str(config), "--config", *given)
    assert plan.returncode == 0, plan.stdout[-REPORT:]
    assert "--types mix_single" in plan.stdout
