"""Weights that a training starts from: named by variant and benchmark, those of the run of the same seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_benchmark import ROOT, write_benchmark, write_study

from audioslots.config.benchmark import members, read_benchmark, resolve, variants
from audioslots.config.runs import find_absent_models, list_runs
from audioslots.config.study import FOLDER
from audioslots.layout import MODEL, results_of, run_folder
from audioslots.runtime.errors import InputError

AFTER: dict[str, Any] = {"model": {"slots": {"layers": 3}}, "training": {"steps": 0}}  # the weights as they are


def write(folder: Path, **init_from: str) -> Path:
    """Two benchmarks: ``source`` trains ``first``; ``target`` trains ``after``, which starts from what is given."""
    write_study(folder / FOLDER, "sources", {"first": {}, "direct": {"separation": {"overlap": 0.75}}})
    write_study(folder / FOLDER, "targets", {"plain": {}, "after": AFTER | {"init_from": init_from}})
    write_benchmark(folder / "config" / "source.yaml", studies=["sources"])
    return write_benchmark(folder / "config" / "target.yaml", studies=["targets"])


def test_within_a_benchmark_it_is_the_model_of_the_same_seed(tmp_path: Path) -> None:
    benchmark = read_benchmark(write(tmp_path / "a", variant="plain"))
    for seed in benchmark.seeds:
        config = resolve(benchmark, "after", seed)
        assert config.init_model == (run_folder(results_of("target"), "plain", seed) / MODEL).as_posix()
        assert config.init_identity == resolve(benchmark, "plain", seed).identity
    plain = resolve(benchmark, "plain", 0)
    assert plain.init_model is None and plain.init_identity is None
    by_name = resolve(read_benchmark(write(tmp_path / "b", benchmark="target", variant="plain")), "after", 1)
    assert by_name.init_model == config.init_model and by_name.identity == config.identity


def test_across_benchmarks_it_is_the_model_of_the_file_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, benchmark="source", variant="first")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    source = read_benchmark(path.with_name("source.yaml"))
    config = resolve(read_benchmark(path), "after", 1)
    assert config.init_model == "results/source/runs/first/seed1/model.safetensors"
    assert config.init_identity == resolve(source, "first", 1).identity
    write_benchmark(path.with_name("source.yaml"), studies=["sources"], variant={"training": {"steps": 9}})
    assert resolve(read_benchmark(path), "after", 1).init_identity != config.init_identity, "the file was read again"
    by_other_separation = read_benchmark(write(tmp_path, benchmark="source", variant="direct"))
    assert resolve(by_other_separation, "after", 1).init_model == config.init_model, "of the same weights"


def test_a_model_of_a_study_that_is_not_asked_for_is_found(tmp_path: Path) -> None:
    write(tmp_path, variant="first")
    path = write_benchmark(tmp_path / "config" / "target.yaml", studies=["sources", "targets"], lengths=2)
    asked = {"base": "target.yaml", "name": "target", "studies": ["targets"], "lengths": 1}
    targets = read_benchmark(asked, path, beside=[tmp_path])
    assert "first" not in variants(targets)
    assert resolve(targets, "after", 0) == resolve(read_benchmark(path), "after", 0)


def test_a_chain_of_trainings_counts_to_its_first_link(tmp_path: Path) -> None:
    def identity(steps: int) -> str:
        chain = {"plain": {"training": {"steps": steps}}, "second": AFTER | {"init_from": {"variant": "plain"}}}
        write_study(tmp_path / FOLDER, "targets", chain | {"third": AFTER | {"init_from": {"variant": "second"}}})
        path = write_benchmark(tmp_path / "target.yaml", studies=["targets"])
        return resolve(read_benchmark(path), "third", 0).identity

    assert identity(3) == identity(3) != identity(4)


# --- what is wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("init_from", "says"),
    [
        ({"variant": "plian"}, "unknown variant 'plian'; did you mean 'plain'?"),
        ({"variant": "after"}, "target/after: init_from: 'after' is circular"),
        ({"benchmark": "source", "variant": "frist"}, "source: unknown variant 'frist'; did you mean 'first'?"),
        ({"benchmark": "sauce", "variant": "first"}, "config/sauce.yaml: no such file"),
        ({"benchmark": "sauce/../source", "variant": "first"}, "init_from.benchmark: "),
        ({"benchmark": "source"}, "init_from.variant: "),
        ({"variant": "plain", "sead": "3"}, "init_from.sead: unknown key"),
    ],
)
def test_a_run_that_does_not_exist_is_one_line(tmp_path: Path, init_from: dict[str, str], says: str) -> None:
    path = write(tmp_path, **init_from)
    with pytest.raises(InputError) as error:
        read_benchmark(path)
    assert says in str(error.value)


def test_a_cycle_through_several_variants_or_benchmarks_is_one_line(tmp_path: Path) -> None:
    cycle = {name: AFTER | {"init_from": {"variant": other}} for name, other in (("hen", "egg"), ("egg", "hen"))}
    write_study(tmp_path / FOLDER, "targets", {"plain": {}, **cycle})
    with pytest.raises(InputError, match=r"init_from: '(hen|egg)' is circular"):
        read_benchmark(write_benchmark(tmp_path / "target.yaml", studies=["targets"]))

    for name, other in (("hens", "eggs"), ("eggs", "hens")):
        there = {"benchmark": other, "variant": other}
        write_study(tmp_path / FOLDER, name, {"plain": {}, name: AFTER | {"init_from": there}})
        write_benchmark(tmp_path / f"{name}.yaml", studies=[name])
    with pytest.raises(InputError, match="init_from: 'hens' is circular"):
        read_benchmark(tmp_path / "hens.yaml")


def test_a_seed_that_the_other_benchmark_lacks_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, benchmark="source", variant="first")
    write_benchmark(path, studies=["targets"], seeds=[7])
    with pytest.raises(InputError, match=r"target/after: init_from: source has no seed 7; expected one of \[0, 1\]"):
        read_benchmark(path)
    write_benchmark(path.with_name("source.yaml"), studies=["sources"], more_seeds={"first": [7]})
    assert resolve(read_benchmark(path), "after", 7).init_model == "results/source/runs/first/seed7/model.safetensors"


def test_a_model_that_is_not_there_is_one_line_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    benchmark = read_benchmark(write(tmp_path, benchmark="source", variant="first"))
    runs = list_runs(benchmark, variants(benchmark), {})
    models = [Path(f"results/source/runs/first/seed{seed}/model.safetensors") for seed in (0, 1)]
    lines = [
        f"target: variant after: {model}: no such file; run: make run BENCHMARK=source STUDIES=sources"
        for model in models
    ]
    assert find_absent_models(benchmark, runs)["after"] in lines
    for model, absent in zip(models, ({"after": lines[1]}, {}), strict=True):
        model.parent.mkdir(parents=True)
        model.touch()
        assert find_absent_models(benchmark, runs) == absent
    assert find_absent_models(benchmark, [("plain", 0)]) == {}, "only what is to be made counts"
    within = read_benchmark(write(tmp_path / "within", variant="plain"))
    assert find_absent_models(within, list_runs(within, variants(within), {})) == {}, "the workflow trains it"


@pytest.mark.parametrize(
    ("name", "study", "command"),
    [
        ("librispeech", "adaptation", "make run BENCHMARK=mini STUDIES=adaptation-source"),
        ("librispeech-conversations", "conversations", "make run BENCHMARK=librispeech STUDIES=longer-chunks"),
    ],
)
def test_the_repositorys_benchmarks_name_the_command_that_makes_what_they_start_from(
    name: str, study: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    benchmark = read_benchmark(ROOT / "config" / f"{name}.yaml")
    from_others = [key for key, v in variants(benchmark).items() if v.init_from and v.init_from.benchmark]
    assert from_others and set(from_others) <= set(members(benchmark, study)[0])
    absent = find_absent_models(benchmark, [(key, benchmark.seeds[0]) for key in variants(benchmark)])
    assert list(absent) == from_others
    assert all(line.endswith(f": no such file; run: {command}") for line in absent.values())
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\nrun: " in makefile and "BENCHMARK" in makefile and "STUDIES" in makefile
