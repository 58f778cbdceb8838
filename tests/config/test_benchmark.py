"""Benchmarks and studies: every file of the repository resolves; how deltas are merged; one line for what is wrong."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_benchmark import HELD_OUT, LONG, MADE, ROOT, made, write_study

from audioslots.baselines.oracles import open_baseline
from audioslots.config.benchmark import find_shared_models, members, read_benchmark, resolve, variants
from audioslots.config.summary import summary
from audioslots.config.untrained import BASELINES
from audioslots.data.corpora.speakers import draw_speakers
from audioslots.runtime.errors import InputError

CONFIGS = sorted((ROOT / "config").glob("*.yaml"))
STUDIES = sorted((ROOT / "ablations").glob("*.yaml"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two studies: ``first`` (plain, wide) and ``second``, which starts from ``first/wide``."""
    write_study(tmp_path, "first", {"plain": {}, "wide": {"model": {"width": 1024, "slots": {"layers": 3}}}})
    write_study(tmp_path, "second", {"wide": {}, "deep": {"model": {"slots": {"layers": 4}}}}, start="first/wide")
    return tmp_path


# --- the files of the repository -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_benchmark_resolves(path: Path) -> None:
    benchmark = read_benchmark(yaml.safe_load(path.read_text(encoding="utf-8")), path)
    assert benchmark.name == path.stem
    by_name = variants(benchmark)
    for name in by_name:
        config = resolve(benchmark, name, benchmark.seeds[0], by_name)
        assert config.name == name and config.title and config.rate == benchmark.rate
    assert "mixture" in benchmark.baselines, "the others reuse its scores"
    assert benchmark.dev is not None, "choices are not made on the test"
    json.dumps(summary(benchmark))


def test_every_study_is_run_by_a_benchmark_and_no_benchmark_is_a_study() -> None:
    studies = {name for path in CONFIGS for name in read_benchmark(path, check=False).studies}
    assert {path.stem for path in STUDIES} - studies == {"systems"}, "which needs another package"
    assert len(CONFIGS) <= 12, "a study on the same data is a study of the same benchmark"


def test_baselines_that_can_be_named_can_be_evaluated() -> None:
    assert [open_baseline(name, 8000).name for name in BASELINES] == list(BASELINES)


def test_the_mini_benchmark_has_40_test_speakers_half_of_them_women() -> None:
    corpus = read_benchmark(ROOT / "config" / "mini.yaml", check=False).corpus
    drawn = Counter((speaker.subset, speaker.sex) for speaker in draw_speakers(corpus.speakers, corpus.seed))
    assert drawn["test-clean", "F"] == drawn["test-clean", "M"] == 20
    assert drawn["dev-clean", "F"] == drawn["dev-clean", "M"] == 8
    training = drawn["train-clean", "F"] + drawn["train-clean", "M"]
    assert training >= 96 and corpus.hours * training / corpus.speakers >= 1.2


# --- resolving -----------------------------------------------------------------------------------------------------


def test_later_deltas_win_section_by_section_along_a_chain_of_studies(folder: Path) -> None:
    write_study(folder, "third", {"deepest": {"model": {"decoder": {"layers": 7}}}}, start="second/deep")
    scale = {"model": {"width": 64, "mlp": 32}}
    overrides = {"wide": {"model": {"width": 256}, "training": {"steps": 7}}}
    benchmark = made("first", "second", "third", folder=folder, variant=scale, overrides=overrides)
    values = {
        name: (v.model.width, v.model.slots.layers, v.model.decoder.layers, v.model.mlp, v.training.steps)
        for name, v in variants(benchmark).items()
    }
    assert values == {
        "plain": (64, 2, 5, 32, 300_000),
        "wide": (256, 3, 5, 32, 7),
        "deep": (1024, 4, 5, 32, 300_000),
        "deepest": (1024, 4, 7, 32, 300_000),
    }


def test_another_kind_drops_the_keys_that_it_lacks_in_every_delta(folder: Path) -> None:
    film = {"model": {"decoder": {"kind": "film", "kernel": 7}}}
    waveforms = {"model": {"kind": "conv_tasnet", "filters": 64}, "training": {"loss": "si_sdr"}}
    write_study(folder, "start", {"start": {"model": {"decoder": {"width": 16}}}})
    write_study(folder, "kinds", {"base": {}, "film": film, "waveforms": waveforms}, start="start/start")
    scale = {"model": {"width": 32, "encoder": {"kind": "frames", "kernel": 5}}}
    overrides = {"film": {"model": {"encoder": {"kind": "resnet", "blocks": [1]}}}}
    models = [v.model for v in variants(made("kinds", folder=folder, variant=scale, overrides=overrides)).values()]
    assert models[0].decoder.width == 16 and models[0].encoder.kernel == 5
    assert (models[1].decoder.kernel, models[1].encoder.blocks, models[1].width) == (7, (1,), 32)
    assert (models[2].kind, models[2].filters, models[2].layers) == ("conv_tasnet", 64, 8)


def test_a_variant_that_is_its_studys_baseline_is_not_trained_twice(folder: Path) -> None:
    two, three = ({"model": {"slots": {"layers": layers}}} for layers in (2, 3))
    write_study(folder, "axis", {"base": {}, "two": {"title": "Two", **two}, "three": three})

    def trained(**values: Any) -> tuple[list[str], str]:
        of_study, title = members(made("axis", folder=folder, **values), "axis")
        return list(of_study), title

    assert trained() == (["base", "three"], "Two")
    assert trained(variant=three) == (["base", "two"], "base")
    assert trained(overrides={"two": {"training": {"steps": 7}}})[0] == ["base", "two", "three"]


def test_variants_that_differ_only_in_separation_are_one_training_and_several_runs(folder: Path) -> None:
    axis = {"base": {}, "half": {"separation": {"overlap": 0.5}}, "more": {"separation": {"overlap": 0.75}}}
    write_study(folder, "axis", axis | {"deep": {"model": {"slots": {"layers": 3}}, "separation": {"overlap": 0.75}}})
    benchmark = made("axis", folder=folder)
    assert list(variants(benchmark)) == ["base", "more", "deep"] and find_shared_models(variants(benchmark)) == {
        "more": "base"
    }
    base, more, deep = (resolve(benchmark, name, 0) for name in ("base", "more", "deep"))
    assert base.identity == more.identity != deep.identity
    assert base.run_identity != more.run_identity


# --- what is wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deltas", "start", "says"),
    [
        ({"plain": {"chunk_s": 9}}, None, "other.yaml: variants.plain: differs from the 'plain' of another study"),
        ({"mixture": {}}, None, "other.yaml: variants.mixture: "),
        ({"oracle-psm": {}}, None, "other.yaml: variants.oracle-psm: "),
        ({"new": {}}, "first/wied", "other.yaml: from: no variant 'first/wied'; did you mean 'wide'?"),
        ({"new": {}}, "first", "other.yaml: from: no variant 'first'"),
        ({"new": {}}, "frist/wide", "no study 'frist'; did you mean 'first'?"),
        ({"new": {}}, "other/new", "other.yaml: from: 'other/new' is circular"),
        ({"new": {}}, "back/new", "is circular"),
        ({"new": {}}, "first/wide", "made: unknown variant 'nwe'; did you mean 'new'?"),
    ],
)
def test_names_that_clash_or_lead_nowhere_are_one_line(folder: Path, deltas: Any, start: str, says: str) -> None:
    write_study(folder, "other", deltas, start=start)
    write_study(folder, "back", {"new": {}}, start="other/new")
    with pytest.raises(InputError, match=re.escape(says)):
        resolve(made("first", "other", folder=folder), "nwe", 0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file: "),
        ("title: [", "not valid YAML"),
        ("title: T\nquestion: Q?\nbaseline: b\nvariants: {a: {}}", "baseline 'b' is not among the variants"),
        ("title: T\nquestion: Q?\nbaseline: a\nvariants: {}", "variants: "),
        ("title: T\nquestion: Q?\nbaseline: a\nvariants: {a: }", "variants.a: "),
        ("title: T\nquestion: Q?\nbaseline: a\nvarients: {a: {}}", "variants: "),
        ("title: T\nquestion: Q?\nbaseline: a\nvariants: {a: {model: {widht: 3}}}", "variants.a: model.widht: "),
        ("title: T\nquestion: Q?\nbaseline: a\nvariants: {a: {model: conv_tasnet}}", "such as {kind: conv_tasnet}"),
        ("title: T\nquestion: Q?\nbaseline: A b\nvariants: {A b: {}}", "'A b'"),
    ],
)
def test_bad_study_is_one_line_naming_the_file(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "bad.yaml").write_text(content)
    with pytest.raises(InputError) as error:
        variants(made("bad", folder=tmp_path))
    assert "bad.yaml: " in str(error.value) and says in str(error.value)


NOISY: dict[str, Any] = {"task": "sep_noisy", "noise": {"hours": 0.5}}
OFFICIAL = {"subset": "train-clean", "rows": "official"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (None, "the file: "),
        ({"rtae": 8000}, "rtae: unknown key; did you mean 'rate'?"),
        ({"corpus": MADE["corpus"] | {"speekers": 20}}, "corpus.speekers: unknown key; did you mean 'speakers'?"),
        ({"variant": {"model": {"widht": 16}}}, "variant: model.widht: unknown key; did you mean 'width'?"),
        ({"variant": {"context_s": 0.5}}, "variant: context_s: unknown key; did you mean 'model.context_s'?"),
        ({"variant": {"model": {"decoder": {"kind": "broadcats"}}}}, "variant: model.decoder.kind: no such kind"),
        ({"seeds": [1, 1]}, "seeds: [1, 1] repeat"),
        ({"studies": ["outptu"]}, "did you mean 'output'?"),
        ({"overrides": {"slots-33": {}}}, "overrides.slots-33: no such variant; did you mean 'slots-3'?"),
        ({"overrides": {"slots-3": {"model": {"slots": {"cuont": 3}}}}}, "overrides.slots-3: model.slots.cuont: "),
        ({"without": ["fimil"]}, "without.fimil: no such variant; did you mean 'film'?"),
        ({"without": ["audioslots"]}, "without: audioslots is a study's baseline"),
        ({"baselines": ["oracle-imb"]}, "baselines.0: "),
        ({"external": {"theirs": "absent"}}, "external.theirs: absent: no such folder or file"),
        ({"corpus": {"kind": "synthesized"}}, "corpus: give either validation (a subset) or held_out_speakers"),
        ({"corpus": MADE["corpus"] | {"hours": float("inf")}}, "corpus.hours: "),
        ({"dev": {"subset": "train-clean"}}, "dev.subset train-clean has no validation speakers"),
        ({"corpus": HELD_OUT, "dev": OFFICIAL}, "dev.rows official"),
        ({"dev": {"subset": "dev-clean"}, "test": {"subset": "dev-clean"}}, "dev.subset dev-clean is the test's too"),
        ({"test": LONG}, "mode min cuts the end of conversations"),
        ({"test": {"subset": "test-clean", "length_s": [30, 120]}}, "test: rows drawn have no length_s"),
        ({"test": LONG | {"length_s": [9, 3]}, "mode": "max"}, "test: conversations need length_s"),
        ({"corpus": MADE["corpus"] | {"kind": "librispeech"}}, "librispeech is not given, and train-clean is no"),
        ({"noise": {"hours": 1}}, "noise or wham of task sep_clean"),
        ({"task": "sep_noisy"}, "task sep_noisy: give either noise"),
        (NOISY | {"sources": [1, 2]}, "of several numbers of sources or conversations"),
        (NOISY | {"mode": "max", "test": LONG}, "of several numbers of sources or conversations"),
        ({"more_seeds": {"film": [1]}}, "more_seeds.film: [0, 1, 1] repeat"),
        ({"more_seeds": {"fimil": [4]}}, "more_seeds.fimil: no such variant; did you mean 'film'?"),
        ({"lengths": 0}, "lengths: "),
        ({"learning_rates": {"factors": [1], "chosen": "rates.csv"}}, "learning_rates.factors: "),
        ({"learning_rates": {"factors": [1, 2], "chosen": "../rates.csv"}}, "learning_rates.chosen: "),
        ({"sources": 3}, "model: 2 slots (or outputs) for 3 sources"),
        ({"variant": {"training": {"loss": "si_sdr"}}}, "training.loss si_sdr does not train extra slots"),
    ],
)
def test_bad_benchmark_is_one_line_naming_file_and_key(tmp_path: Path, wrong: Any, says: str) -> None:
    content = wrong and MADE | {"studies": ["audioslots", "slots"]} | wrong
    (tmp_path / "made.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError) as error:
        read_benchmark(tmp_path / "made.yaml", beside=[ROOT])
    assert says in str(error.value)
    assert "made" in str(error.value) or "studies" in wrong


def test_overrides_of_studies_that_are_not_run_this_time_are_no_error() -> None:
    overrides = {"slots-3": {"training": {"accumulate": 2}}}
    read = read_benchmark(MADE | {"studies": ["audioslots"], "overrides": overrides}, beside=[ROOT])
    assert "slots-3" not in variants(read)
