"""The data of a benchmark: where they lie, and what makes them others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_benchmark import HELD_OUT, LONG, MADE, ROOT, made

from audioslots.config.benchmark import Benchmark, read_benchmark, resolve
from audioslots.config.summary import summary
from audioslots.runtime.errors import InputError

# Keys of a corpus that say which of its subsets are used for what, and what it is called.
TRAINED_ON = {"train", "validation", "held_out_speakers", "name"}
NOISY: dict[str, Any] = {"task": "sep_noisy", "noise": {"hours": 0.5}}


PLACES: dict[str, Callable[[Benchmark], str]] = {
    "corpus": lambda benchmark: benchmark.corpus_root,
    "packed": lambda benchmark: benchmark.packed("train-clean"),
    "metadata": lambda benchmark: benchmark.metadata("test-clean"),
    "mixtures": lambda benchmark: benchmark.mixtures("test-clean"),
    "training": lambda benchmark: resolve(benchmark, "output-sigmoid", 0).identity,
}


@pytest.mark.parametrize(
    ("values", "others"),
    [
        ({"corpus": MADE["corpus"] | {"hours": 2}}, {"corpus", "packed", "metadata", "mixtures", "training"}),
        ({"corpus": HELD_OUT}, {"training"}),
        ({"test": {"subset": "test-clean", "count": 9}}, {"metadata", "mixtures"}),
        ({"test": {"subset": "test-clean", "seed": 1}}, {"metadata", "mixtures"}),
        ({"rate": 16000}, {"packed", "mixtures", "training"}),
        ({"mode": "max"}, {"mixtures"}),
        ({"dev": {"subset": "dev-clean"}}, set()),
        ({"name": "other", "title": "Other", "seeds": [7], "examples": 0, "device": "cpu"}, set()),
        ({"corpus": MADE["corpus"] | {"name": "vctk"}}, set()),
    ],
)
def test_data_lie_elsewhere_and_train_again_only_for_other_content(values: dict[str, Any], others: set[str]) -> None:
    before, after = made("output"), made("output", **values)
    assert {name for name, place in PLACES.items() if place(before) != place(after)} == others


def test_another_version_of_synthesized_speech_is_other_data(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmarks = [read_benchmark(ROOT / "config" / f"{name}.yaml", check=False) for name in ("mini", "librispeech")]
    before = [(benchmark.data_identity, benchmark.data) for benchmark in benchmarks]
    monkeypatch.setattr("audioslots.config.data.SYNTHESIS", 0)
    after = [(benchmark.data_identity, benchmark.data) for benchmark in benchmarks]
    assert before[0][0] != after[0][0] and before[0][1] != after[0][1]
    assert before[1] == after[1], "LibriSpeech is what it is"


def test_conversations_of_other_lengths_are_another_test_set_and_a_written_default_changes_nothing() -> None:
    tests = [LONG, LONG | {"length_s": [30, 121]}, LONG | {"seed": 0}]
    long, longer, as_written = (made("output", mode="max", test=test) for test in tests)
    assert as_written.mixtures("test-clean") == long.mixtures("test-clean") != longer.mixtures("test-clean")
    assert "3 conversations of 2 speakers of test-clean, 30 to 120 s" in summary(long)["test_description"]


def test_benchmarks_of_the_same_corpus_share_speech_and_no_other_do() -> None:
    benchmarks = {path.stem: read_benchmark(path, check=False) for path in sorted((ROOT / "config").glob("*.yaml"))}
    by_corpus: dict[str, list[Benchmark]] = {}
    for benchmark in benchmarks.values():
        corpus = json.dumps(benchmark.corpus.model_dump(exclude=TRAINED_ON), sort_keys=True)
        by_corpus.setdefault(corpus, []).append(benchmark)
    assert max(map(len, by_corpus.values())) >= 4, "mini and what is made of its speech"
    assert len({group[0].data for group in by_corpus.values()}) == len(by_corpus)
    for group in by_corpus.values():
        assert len({(benchmark.data, benchmark.corpus_root) for benchmark in group}) == 1
        packed = {
            (benchmark.rate, benchmark.corpus.train, benchmark.packed(benchmark.corpus.train)) for benchmark in group
        }
        assert len(packed) == len({(rate, train) for rate, train, _ in packed}) == len({place for *_, place in packed})
        sets = {(b.test, b.sources, tuple(b.counts), b.task, b.rate, b.mode): b.mixtures(b.test.subset) for b in group}
        assert len(set(sets.values())) == len(sets), "other test sets lie apart"
    assert len({benchmark.test_identity for benchmark in benchmarks.values()}) == len(benchmarks)


def test_a_corpus_is_called_by_its_name_and_the_set_is_described() -> None:
    described = summary(made("output", corpus=MADE["corpus"] | {"name": "vctk"}))
    assert described["test_description"].startswith("vctk, 100 drawn")
    assert described["train_description"] == "vctk, train-clean"
    assert summary(made("output"))["train_description"] == "synthesized speech, train-clean"
    speech = {"corpus": {"kind": "librispeech", "train": "train-clean-100", "validation": "dev-clean"}}
    assert summary(made("output", **speech))["train_description"] == "LibriSpeech, train-clean-100"


def test_noise_makes_other_mixtures_and_other_training_of_the_same_speech() -> None:
    clean, noisy = made("output"), made("output", **NOISY)
    single = made("output", **NOISY | {"task": "enh_single"})
    recorded = made("output", task="sep_noisy", wham="wham_noise")
    assert clean.packed("train-clean") == noisy.packed("train-clean") and clean.packed_noise is None
    assert len({benchmark.mixtures("test-clean") for benchmark in (clean, noisy, single, recorded)}) == 4
    assert len({benchmark.packed_noise for benchmark in (clean, noisy, recorded)}) == 3
    assert len({benchmark.data_identity for benchmark in (clean, noisy, recorded)}) == 3
    assert (clean.targets, noisy.targets, single.targets) == (2, 2, 1)
    assert noisy.drawn_noise("test-clean") == [noisy.noise_root, "tt"] and clean.drawn_noise("test-clean") == []
    assert recorded.drawn_noise("test-clean") == ["wham_noise", "tt"] and recorded.noise_files == []
    official = made("output", task="sep_noisy", wham="w", test={"subset": "test-clean", "rows": "official"})
    assert official.drawn_noise("test-clean") == [], "official rows name their noise"
    dev = made("output", **NOISY, dev={"subset": "dev-clean"})
    assert dev.drawn_noise("dev-clean") == [dev.noise_root, "cv"]
    config = resolve(single, "output-sigmoid", 0)
    assert (config.task, config.sources, config.noise) == ("enh_single", 1, single.packed_noise)
    assert config.content["task"] == "enh_single"
    assert noisy.babbles == {"tr": "train-clean", "cv": "dev-clean", "tt": "test-clean"}
    assert "with noise" in summary(noisy)["test_description"]
    assert "first speakers" in summary(single)["test_description"]


def test_mixtures_of_the_training_subset_are_of_held_out_speakers() -> None:
    benchmark = made("output", corpus=HELD_OUT, dev={"subset": "train-clean"})
    assert (benchmark.held_out("train-clean"), benchmark.held_out("test-clean")) == (4, 0)


def test_official_metadata_are_found_in_a_clone_a_folder_or_as_the_file(tmp_path: Path) -> None:
    name = "libri2mix_test-clean.csv"
    clone = tmp_path / "LibriMix"
    inside = clone / "metadata" / "Libri2Mix" / name
    inside.parent.mkdir(parents=True)
    inside.touch()
    shutil.copy(inside, tmp_path / name)
    speech = {"librispeech": str(tmp_path / "LibriSpeech"), "corpus": MADE["corpus"] | {"kind": "librispeech"}}
    with pytest.raises(InputError, match="librispeech: .*LibriSpeech: no such folder"):
        made("output", **speech).official("test-clean")
    (tmp_path / "LibriSpeech").mkdir()
    assert made("output", **speech).official("test-clean") == [inside]  # near LibriSpeech
    for home, file in ((clone, inside), (inside.parent, inside), (inside, inside), (tmp_path, tmp_path / name)):
        assert made("output", **speech, librimix=str(home)).official("test-clean") == [file]
    with pytest.raises(InputError, match=rf"librimix: no {name} in .*absent; expected a clone"):
        made("output", **speech, librimix=str(tmp_path / "absent")).official("test-clean")


def test_what_is_not_given_is_downloaded_to_one_place_for_all_benchmarks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    corpus = {"kind": "librispeech", "train": "train-clean-360", "validation": "dev-clean"}
    nothing = made("output", corpus=corpus)
    assert [f"{size:.1f}" for size in nothing.archives.values()] == ["23.0", "0.3", "0.3"]
    assert nothing.corpus_root == "data/LibriSpeech"
    assert nothing.speech("dev-clean") == ["data/LibriSpeech/dev-clean.done"]
    assert nothing.subsets == ["train-clean-360", "dev-clean", "test-clean"]
    rows = Path("data/LibriMix/metadata/Libri2Mix/libri2mix_test-clean.csv")
    assert nothing.official("test-clean") == [rows]
    (tmp_path / "speech" / "LibriSpeech").mkdir(parents=True)
    given = made("output", corpus=corpus, librispeech="speech/LibriSpeech")
    assert (given.archives, given.speech("dev-clean"), given.corpus_root) == ({}, [], "speech/LibriSpeech")
    assert given.official("test-clean") == [rows]  # none is near
    synthesized = made("output")
    assert synthesized.speech("dev-clean") == [f"{synthesized.corpus_root}/manifest.json"] and not synthesized.archives
