"""Which studies and lengths of a benchmark are run, and where studies and bases are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from made_benchmark import MADE, ROOT, made, write_benchmark, write_study

from audioslots.config.benchmark import read_benchmark, resolve, variants
from audioslots.config.runs import list_runs
from audioslots.config.study import FOLDER
from audioslots.config.summary import summary
from audioslots.runtime.errors import InputError

DEEP: dict[str, Any] = {"plain": {}, "deep": {"model": {"slots": {"layers": 3}}}}
WIDE: dict[str, Any] = {"plain": {}, "wide": {"model": {"width": 64}}}


# --- where studies are found ---------------------------------------------------------------------------------------


def test_studies_are_those_beside_the_snakefile_or_in_the_nearest_folder_above_the_benchmarks_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # whose studies, and those of the package, are not the file's
    path, snakefile = write_benchmark(tmp_path / "inner" / "config" / "own.yaml"), tmp_path / "clone"
    snakefile.mkdir()
    with pytest.raises(InputError, match=rf"ablations: no such folder in {snakefile} or {path.parent} or above"):
        read_benchmark(path, beside=[snakefile])
    for folder, beside in ((tmp_path, []), (tmp_path / "inner", [snakefile]), (snakefile, [snakefile])):
        write_study(folder / FOLDER, "first", {f"of-{folder.name}": {}})
        read = read_benchmark(path, beside=beside)
        assert list(variants(read)) == [f"of-{folder.name}"] and read.place.ablations == folder / FOLDER
    monkeypatch.chdir(path.parent)
    assert list(variants(read_benchmark(Path("own.yaml")))) == ["of-inner"]


# --- base ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def based(tmp_path: Path) -> Path:
    """``own`` of the base ``middle``, of the base ``far/bottom``, of the base ``deepest`` beside that."""
    write_study(tmp_path / FOLDER, "first", DEEP)
    config = tmp_path / "config"
    write_benchmark(config / "far" / "deepest.yaml", variant={"training": {"steps": 7, "batch": 8}})
    bases: dict[str, dict[str, Any]] = {
        "far/bottom": {"base": "deepest.yaml", "variant": {"training": {"batch": 4}}},
        "middle": {"base": "far/bottom.yaml", "variant": {"model": {"width": 64}}},
        "own": {"base": "middle.yaml", "name": "own", "title": "Own"},
    }
    for name, content in bases.items():
        (config / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return config / "own.yaml"


def test_a_base_is_found_beside_the_file_that_names_it(based: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = read_benchmark(yaml.safe_load(based.read_text()), based)
    monkeypatch.chdir(based.parent)
    for read in (inside, read_benchmark(based), read_benchmark(Path("own.yaml"))):
        assert (read.name, read.title, read.studies) == ("own", "Own", MADE["studies"])
        scale = variants(read)["plain"]
        assert (scale.training.steps, scale.training.batch, scale.model.width) == (7, 4, 64)


def test_a_base_that_is_absent_or_leads_back_is_one_line(based: Path) -> None:
    deepest = based.parent / "far" / "deepest.yaml"
    deepest.write_text(yaml.safe_dump({"base": "../own.yaml"}))
    with pytest.raises(InputError, match="base is circular"):
        read_benchmark(based)
    deepest.unlink()
    with pytest.raises(InputError, match=r"config/far/deepest\.yaml: no such file"):
        read_benchmark(based)


# --- which studies -------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A benchmark of two studies and three lengths, beside a third study that it does not name."""
    folder = tmp_path / FOLDER
    write_study(folder, "first", DEEP)
    write_study(folder, "short", WIDE, lengths=1)
    write_study(folder, "other", {"narrow": {"model": {"width": 32}}})
    return write_benchmark(
        tmp_path / "own.yaml", studies=["first", "short"], lengths=3, variant={"training": {"steps": 8}}
    )


def asked(path: Path, **values: Any) -> dict[str, Any]:
    """The content of a file with what the command line changed."""
    return yaml.safe_load(path.read_text()) | values


@pytest.mark.parametrize(
    ("studies", "expected"),
    [
        ("all", ["first", "short"]),
        ("short", ["short"]),
        (["short"], ["short"]),
        (["short", "other"], ["short", "other"]),
    ],
)
def test_all_studies_of_the_file_one_or_several_or_others_can_be_asked_for(
    path: Path, studies: Any, expected: list[str]
) -> None:
    read = read_benchmark(asked(path, studies=studies), path)
    assert read.studies == expected
    assert read.whole.studies == ["first", "short", *[name for name in expected if name == "other"]]
    described = [study["name"] for study in summary(read)["studies"]]
    assert described == read.whole.studies, "one folder of results holds them all, and describes them all"


def test_a_name_means_one_variant_in_a_benchmark_also_in_studies_that_are_not_asked_for(path: Path) -> None:
    write_study(path.parent / FOLDER, "other", {"deep": {"model": {"slots": {"layers": 9}}}})
    with pytest.raises(InputError, match=r"variants.deep: differs from the 'deep' of another study"):
        read_benchmark(asked(path, studies="other"), path)


def test_a_variant_that_is_not_asked_for_need_not_fit_what_the_command_line_changed(path: Path) -> None:
    write_study(path.parent / FOLDER, "other", {"three": {"model": {"slots": {"count": 3}}}})
    path.write_text(yaml.safe_dump(asked(path, studies=["first", "other"])))
    without_silence = {"variant": {"training": {"loss": "si_sdr"}}}  # which serves no third slot
    read = read_benchmark(asked(path, studies="first", lengths=1, **without_silence), path)
    identities = summary(read)["identities"]
    assert {"plain", "deep"} <= set(identities) and "three" not in identities
    with pytest.raises(InputError, match="si_sdr does not train extra slots towards silence"):
        read_benchmark(asked(path, studies="all", **without_silence), path)


# --- training lengths ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lengths", "of_wide"), [(1, []), (2, ["wide-x0.5"]), (6, ["wide-x0.25", "wide-x0.5"])])
def test_a_studys_lengths_lower_the_benchmarks_and_never_raise_them(
    path: Path, lengths: int, of_wide: list[str]
) -> None:
    write_study(path.parent / FOLDER, "short", WIDE, lengths=lengths)
    shorter = ["plain-x0.25", "plain-x0.5", "deep-x0.25", "deep-x0.5"]
    resolved = variants(read_benchmark(path))
    assert list(resolved) == ["plain", "deep", "wide", *shorter, *of_wide], "of plain, the most of its studies"
    assert resolved["plain-x0.25"].training.steps == 2


def test_asked_for_less_runs_are_the_same_and_the_whole_keeps_the_lengths_of_the_file(path: Path) -> None:
    everything = read_benchmark(path)
    assert list(variants(read_benchmark(asked(path, studies="short"), path))) == ["plain", "wide"]
    read = read_benchmark(asked(path, lengths=1), path)
    assert list(variants(read)) == ["plain", "deep", "wide"]
    assert (read.lengths, read.whole.lengths) == (1, 3)
    assert variants(read.whole) == variants(everything)
    assert summary(read) == summary(everything)
    for name, variant in variants(read).items():
        assert variant == variants(everything)[name]
        assert resolve(read, name, 0).identity == resolve(everything, name, 0).identity


# --- seeds ---------------------------------------------------------------------------------------------------------


def test_more_seeds_are_of_that_variant_only(path: Path) -> None:
    read = read_benchmark(asked(path, more_seeds={"deep": [5, 7]}), path)
    seeds = {name: [0, 1, 5, 7] if name == "deep" else [0, 1] for name in variants(read)}
    assert list_runs(read, variants(read), {}) == [(name, seed) for name in seeds for seed in seeds[name]]
    identities = {n: {str(seed): resolve(read, n, seed).run_identity for seed in seeds[n]} for n in seeds}
    assert summary(read)["identities"] == identities and len(set(identities["deep"].values())) == 4


def test_runs_that_are_published_are_not_made_again() -> None:
    benchmark = made("audioslots", more_seeds={"film": [2]})
    published = {"film": {0, 2}, "audioslots": {0, 1}, "of-no-study": {0}}
    runs = list_runs(benchmark, variants(benchmark), published)
    assert runs == [("audioslots-direct", 0), ("audioslots-direct", 1), ("film", 1)]
