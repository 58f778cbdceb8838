"""Benchmarks and studies: every file in the repository resolves, and every variant trains one step."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_benchmark import HELD_OUT, LONG, MADE, ROOT, made, write_study

from audioslots.baselines.oracles import baseline
from audioslots.config.benchmark import members, read_benchmark, resolve, twins, variants
from audioslots.config.study import read_study
from audioslots.config.summary import summary
from audioslots.config.untrained import BASELINES
from audioslots.data.corpora.speakers import draw_speakers
from audioslots.runtime.errors import InputError

CONFIGS = sorted((ROOT / "config").glob("*.yaml"))
STUDIES = sorted((ROOT / "ablations").glob("*.yaml"))


def document(path: Path) -> dict[str, Any]:
    """A benchmark file as Snakemake would hand it over."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two studies: ``first`` (plain, wide) and ``second``, which starts from ``first/wide``."""
    write_study(tmp_path, "first", {"plain": {}, "wide": {"encoder": {"width": 1024}, "slots": {"layers": 3}}})
    write_study(tmp_path, "second", {"wide": {}, "deep": {"slots": {"layers": 4}}}, start="first/wide")
    return tmp_path


# --- the files of the repository -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_benchmark_resolves(path: Path) -> None:
    benchmark = read_benchmark(document(path), path)
    assert benchmark.name == path.stem
    for name in variants(benchmark):
        config = resolve(benchmark, name, benchmark.seeds[0])
        assert config.name == name and config.title and config.rate == benchmark.rate
    assert "mixture" in benchmark.baselines, "the others reuse its scores"
    assert benchmark.dev is not None, "choices are not made on the test"
    json.dumps(summary(benchmark))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_reads_and_is_run_by_a_benchmark(path: Path) -> None:
    assert read_study(path.stem, path.parent).question.endswith("?")
    assert path.stem in {name for config in CONFIGS for name in read_benchmark(config, check=False).studies}


def test_a_benchmark_is_data_and_a_scale_and_is_not_split_into_parts_by_study() -> None:
    names = [path.stem for path in CONFIGS]
    assert len(names) <= 12, "a study on the same data is a study of the same benchmark"
    assert not [name for name in names if "ablations" in name]


def keys(content: Any, inside: str = "") -> set[str]:
    """All keys of a YAML document, each with those that it lies in."""
    if isinstance(content, list):
        return {key for one in content for key in keys(one, inside)}
    if not isinstance(content, dict):
        return set()
    here = {f"{inside}{key}": value for key, value in content.items()}
    return set(here) | {below for key, value in here.items() for below in keys(value, f"{key}.")}


@pytest.mark.parametrize("path", [*CONFIGS, *STUDIES], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_file_names_a_run_by_its_path(path: Path) -> None:
    """Weights that a training starts from are named by variant and benchmark, ``init_from``."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"results/.*runs", text)
    assert [key for key in keys(yaml.safe_load(text)) if re.search(r"(^|\.)start$", key) and "slots." not in key] == []


def test_baselines_that_can_be_named_can_be_evaluated() -> None:
    assert [baseline(name, 8000).name for name in BASELINES] == list(BASELINES)


@pytest.mark.parametrize("name", [path.stem for path in CONFIGS if path.stem.startswith("mini")])
def test_mini_benchmarks_have_40_test_speakers_half_of_them_women(name: str) -> None:
    corpus = read_benchmark(ROOT / "config" / f"{name}.yaml").corpus
    drawn = Counter((speaker.subset, speaker.sex) for speaker in draw_speakers(corpus.speakers, corpus.seed))
    assert drawn["test-clean", "F"] == drawn["test-clean", "M"] == 20
    assert drawn["dev-clean", "F"] == drawn["dev-clean", "M"] == 8
    training = drawn["train-clean", "F"] + drawn["train-clean", "M"]
    assert training >= 96 and corpus.hours * training / corpus.speakers >= 1.2


def test_another_version_of_synthesized_speech_is_other_data(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmarks = [read_benchmark(ROOT / "config" / f"{name}.yaml") for name in ("mini", "librispeech")]
    before = [(benchmark.data_identity, benchmark.data) for benchmark in benchmarks]
    monkeypatch.setattr("audioslots.config.data.SYNTHESIS", 0)
    after = [(benchmark.data_identity, benchmark.data) for benchmark in benchmarks]
    assert before[0][0] != after[0][0] and before[0][1] != after[0][1]
    assert before[1] == after[1], "LibriSpeech is what it is"


# --- resolving -----------------------------------------------------------------------------------------------------


def test_later_deltas_win_section_by_section(folder: Path) -> None:
    benchmark = made("first", "second", folder=folder, variant={"encoder": {"width": 64, "mlp": 32}})
    found = variants(benchmark)
    assert list(found) == ["plain", "wide", "deep"]
    assert [found[name].encoder.width for name in found] == [64, 1024, 1024]
    assert [found[name].slots.layers for name in found] == [2, 3, 4]
    assert {found[name].encoder.mlp for name in found} == {32}


def test_from_follows_a_chain_of_studies(folder: Path) -> None:
    write_study(folder, "third", {"deepest": {"decoder": {"layers": 7}}}, start="second/deep")
    deepest = variants(made("third", folder=folder))["deepest"]
    assert (deepest.encoder.width, deepest.slots.layers, deepest.decoder.layers) == (1024, 4, 7)


def test_the_benchmarks_own_delta_of_a_variant_wins(folder: Path) -> None:
    overrides = {"wide": {"encoder": {"width": 256}, "training": {"steps": 7}}}
    found = variants(made("first", "second", folder=folder, overrides=overrides))
    assert (found["wide"].encoder.width, found["wide"].training.steps, found["wide"].slots.layers) == (256, 7, 3)
    assert found["plain"].training.steps == found["deep"].training.steps == 300_000


def test_a_variant_that_is_its_studys_baseline_is_not_trained_twice(folder: Path) -> None:
    axis = {"base": {}, "two": {"title": "Two", "slots": {"layers": 2}}, "three": {"slots": {"layers": 3}}}
    write_study(folder, "axis", axis)
    found, title = members(made("axis", folder=folder), "axis")
    assert (list(found), title) == (["base", "three"], "Two")
    found, title = members(made("axis", folder=folder, variant={"slots": {"layers": 3}}), "axis")
    assert (list(found), title) == (["base", "two"], "base")
    found, _ = members(made("axis", folder=folder, overrides={"two": {"training": {"steps": 7}}}), "axis")
    assert set(found) == {"base", "two", "three"}


def test_variants_that_differ_in_stitching_alone_are_one_training_and_several_runs(folder: Path) -> None:
    axis = {"base": {}, "half": {"separation": {"overlap": 0.5}}, "more": {"separation": {"overlap": 0.75}}}
    write_study(folder, "axis", axis | {"deep": {"slots": {"layers": 3}, "separation": {"overlap": 0.75}}})
    assert set(members(made("axis", folder=folder), "axis")[0]) == {"base", "more", "deep"}
    benchmark = made("axis", folder=folder)
    known = variants(benchmark)
    assert twins(known) == {"more": "base"}
    runs = [resolve(benchmark, name, 0, known) for name in ("base", "more", "deep")]
    assert runs[0].identity == runs[1].identity != runs[2].identity


def test_same_name_for_the_same_variant_is_one_run(folder: Path) -> None:
    assert list(variants(made("first", "second", folder=folder))).count("wide") == 1


def test_same_name_for_two_variants_is_refused(folder: Path) -> None:
    write_study(folder, "other", {"plain": {"slots": {"layers": 9}}})
    with pytest.raises(InputError, match=r"ablations/other.yaml: variants.plain: .*one name for one variant"):
        variants(made("first", "other", folder=folder))


@pytest.mark.parametrize("name", ["mixture", "oracle-psm"])
def test_variant_cannot_take_the_name_of_a_baseline(folder: Path, name: str) -> None:
    write_study(folder, "other", {name: {}})
    with pytest.raises(InputError, match=rf"other.yaml.*{name}"):
        variants(made("other", folder=folder))


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ("first/wied", r"other.yaml: from: no variant 'first/wied'; did you mean 'wide'\?"),
        ("first", r"other.yaml: from: no variant 'first'"),
        ("frist/wide", r"no study 'frist'; did you mean 'first'\?"),
        ("other/plainest", r"other.yaml: from: "),
    ],
)
def test_from_that_leads_nowhere_is_one_line(folder: Path, start: str, says: str) -> None:
    write_study(folder, "other", {"plainest": {}}, start=start)
    with pytest.raises(InputError, match=says):
        variants(made("other", folder=folder))


def test_studies_that_start_from_each_other_are_refused(folder: Path) -> None:
    write_study(folder, "hen", {"one": {}}, start="egg/two")
    write_study(folder, "egg", {"two": {}}, start="hen/one")
    with pytest.raises(InputError, match=r"(hen|egg).yaml: from: "):
        variants(made("hen", folder=folder))


def test_unknown_study_and_variant_are_named_with_the_nearest(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no study 'frist'; did you mean 'first'\?"):
        variants(made("frist", folder=folder))
    with pytest.raises(InputError, match=r"made: unknown variant 'wied'; did you mean 'wide'\?"):
        resolve(made("first", folder=folder), "wied", 0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "dictionary"),
        ("title: [", "not valid YAML"),
        ("title: T\nquestion: Q?\nbaseline: b\nvariants: {a: {}}", "baseline 'b' is not among the variants"),
        ("title: T\nquestion: Q?\nbaseline: a\nvariants: {}", "variants"),
        ("title: T\nquestion: Q?\nbaseline: a\nvariants: {a: }", "variants.a"),
        ("title: T\nquestion: Q?\nbaseline: a\nvarients: {a: {}}", "variants"),
        ("title: T\nquestion: Q?\nbaseline: a\nvariants: {a: {encoder: {widht: 3}}}", "variants.a: encoder.widht"),
        ("title: T\nquestion: Q?\nbaseline: a\nvariants: {a: {encoder: small}}", "variants.a: encoder: "),
        ("title: T\nquestion: Q?\nbaseline: A b\nvariants: {A b: {}}", "'A b'"),
    ],
)
def test_bad_study_is_one_line_naming_the_file(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "bad.yaml").write_text(content)
    with pytest.raises(InputError) as error:
        variants(made("bad", folder=tmp_path))
    assert "bad.yaml: " in str(error.value) and says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rtae": 8000}, "rtae: unknown key; did you mean 'rate'?"),
        ({"corpus": MADE["corpus"] | {"speekers": 20}}, "corpus.speekers: unknown key; did you mean 'speakers'?"),
        ({"test": {"subset": "test-clean", "cuont": 3}}, "test.cuont: unknown key; did you mean 'count'?"),
        ({"dev": {"subset": "dev-clean", "cuont": 3}}, "dev.cuont: unknown key; did you mean 'count'?"),
        ({"variant": {"encoder": {"widht": 16}}}, "variant.encoder.widht: unknown key; did you mean 'width'?"),
        ({"variant": {"training": {"steps": -1}}}, "variant.training.steps: "),
        ({"rate": 44100}, "rate: "),
        ({"seeds": []}, "seeds: "),
        ({"seeds": [1, 1]}, "seeds: [1, 1] repeat; expected each once"),
        ({"studies": ["outptu"]}, "did you mean 'output'?"),
        ({"overrides": {"slots-33": {}}}, "overrides.slots-33: no such variant; did you mean 'slots-3'?"),
        (
            {"overrides": {"slots-3": {"slots": {"cuont": 3}}}},
            "overrides.slots-3: slots.cuont: unknown key; did you mean 'count'?",
        ),
        ({"variant": {"decoder": {"kind": "broadcats"}}}, "did you mean 'broadcast'? expected one of broadcast, "),
        ({"baselines": ["oracle-imb"]}, "baselines.0: "),
        ({"corpus": {"kind": "synthesized"}}, "corpus: give either validation (a subset) or held_out_speakers"),
        ({"corpus": MADE["corpus"] | {"hours": float("inf")}}, "corpus.hours: "),
        ({"dev": {"subset": "train-clean"}}, "dev.subset train-clean does not validate; expected dev-clean"),
        (
            {"corpus": HELD_OUT, "dev": {"subset": "dev-clean"}},
            "dev.subset dev-clean does not validate; expected train-clean",
        ),
        (
            {"corpus": HELD_OUT, "dev": {"subset": "train-clean", "rows": "official"}},
            "dev.rows official are of all speakers; expected drawn, of those held out",
        ),
        (
            {"dev": {"subset": "dev-clean"}, "test": {"subset": "dev-clean"}},
            "dev.subset dev-clean is the test's too; expected another",
        ),
        ({"test": LONG}, "mode min cuts the end of conversations; expected max"),
        (
            {"test": {"subset": "test-clean", "length_s": [30, 120]}},
            "test: rows drawn have no length_s; expected it of",
        ),
        (
            {"test": LONG | {"length_s": None}, "mode": "max"},
            "test: conversations are of no length_s; expected the short",
        ),
        (
            {"test": LONG | {"length_s": [9, 3]}, "mode": "max"},
            "test: conversations are of no length_s; expected the s",
        ),
        ({"test": LONG | {"length_s": [9]}, "mode": "max"}, "test.length_s.1: "),
        ({"corpus": MADE["corpus"] | {"kind": "librispeech"}}, "librispeech is not given, and train-clean is no"),
        ({"sources": 3}, "slots.count 2 is fewer than the sources"),
        (
            {"variant": {"training": {"loss": "si_sdr"}}},
            "training.loss si_sdr pulls no slot beyond the sources to silence; expected squared or absolute or snr",
        ),
    ],
)
def test_bad_benchmark_is_one_line_naming_file_and_key(tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    (tmp_path / "made.yaml").write_text(yaml.safe_dump(MADE | {"studies": ["slots"]} | wrong))
    with pytest.raises(InputError) as error:
        read_benchmark(tmp_path / "made.yaml", beside=[ROOT])
    assert says in str(error.value)
    assert "made" in str(error.value) or "studies" in wrong
    assert "\n" not in str(error.value)


def test_benchmark_file_that_is_absent_or_empty_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent.yaml: no such file"):
        read_benchmark(tmp_path / "absent.yaml")
    (tmp_path / "empty.yaml").touch()
    with pytest.raises(InputError, match=r"empty.yaml: .*dictionary"):
        read_benchmark(tmp_path / "empty.yaml", beside=[ROOT])


def test_overrides_of_studies_that_are_not_run_this_time_are_no_error() -> None:
    read = read_benchmark(
        MADE | {"studies": ["audioslots"], "overrides": {"slots-3": {"training": {"accumulate": 2}}}}, beside=[ROOT]
    )
    assert "slots-3" not in variants(read)
