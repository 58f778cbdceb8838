"""The data of a benchmark: where they lie, and what makes them others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_benchmark import HELD_OUT, LONG, MADE, ROOT, made

from audioslots.config.benchmark import Benchmark, read_benchmark, resolve, variants
from audioslots.config.summary import summary
from audioslots.runtime.errors import InputError

# Keys of a corpus that say which of its subsets are used for what, and what it is called.
TRAINED_ON = {"train", "validation", "held_out_speakers", "name"}


def test_data_lie_elsewhere_for_every_other_content_and_for_no_other_reason() -> None:
    def places(**other: Any) -> dict[str, str]:
        benchmark = made("output", **other)
        return {
            "corpus": benchmark.corpus_root,
            "packed": benchmark.packed("train-clean"),
            "metadata": benchmark.metadata("test-clean"),
            "mixtures": benchmark.mixtures("test-clean"),
        }

    def moved(**other: Any) -> set[str]:
        return {name for name, place in places(**other).items() if place != places()[name]}

    assert moved(corpus=MADE["corpus"] | {"hours": 2}) == {"corpus", "packed", "metadata", "mixtures"}
    assert moved(test={"subset": "test-clean", "count": 9}) == {"metadata", "mixtures"}
    assert moved(test={"subset": "test-clean", "seed": 1}) == {"metadata", "mixtures"}
    assert moved(sources=3) == {"metadata", "mixtures"}
    assert moved(rate=16000) == {"packed", "mixtures"} and moved(mode="max") == {"mixtures"}
    for same in ({"seeds": [7]}, {"title": "Other"}, {"studies": ["chunk"]}, {"examples": 0}, {"device": "cpu"}):
        assert moved(**same) == set()
    assert moved(dev={"subset": "dev-clean"}) == set()


def test_another_test_or_dev_set_trains_nothing_again_and_another_corpus_does() -> None:
    def identity(**other: Any) -> str:
        benchmark = made("output", **other)
        return resolve(benchmark, next(iter(variants(benchmark))), 0).identity

    for same in ({"test": {"subset": "test-clean", "count": 9}}, {"dev": {"subset": "dev-clean"}}, {"mode": "max"}):
        assert identity(**same) == identity()
    for other in ({"corpus": HELD_OUT}, {"corpus": MADE["corpus"] | {"hours": 2}}, {"rate": 16000}):
        assert identity(**other) != identity()


def test_conversations_of_other_lengths_are_another_test_set_and_drawn_ones_lie_where_they_did() -> None:
    long, longer = (made("output", mode="max", test=LONG | {"length_s": [30, end]}) for end in (120, 121))
    assert long.mixtures("test-clean") != longer.mixtures("test-clean")
    expected = "synthesized speech, 3 conversations of 2 speakers of test-clean, 30 to 120 s, 8 kHz, max, clean"
    assert summary(long)["test_description"] == expected
    as_written = made("output", mode="max", test=LONG | {"seed": 0})
    assert as_written.mixtures("test-clean") == long.mixtures("test-clean"), "a default that is written out"


def test_benchmarks_of_the_same_corpus_share_speech_and_no_other_do() -> None:
    benchmarks = {path.stem: read_benchmark(path, check=False) for path in sorted((ROOT / "config").glob("*.yaml"))}
    by_corpus: dict[str, list[Benchmark]] = {}
    for benchmark in benchmarks.values():
        by_corpus.setdefault(json.dumps(benchmark.corpus.model_dump(exclude=TRAINED_ON), sort_keys=True), []).append(
            benchmark
        )
    assert max(map(len, by_corpus.values())) >= 4, "mini and what is made of its speech"
    for same in by_corpus.values():
        assert len({benchmark.data for benchmark in same}) == 1
        assert len({benchmark.corpus_root for benchmark in same}) == 1
        for rate in {benchmark.rate for benchmark in same}:
            packed = {one.packed(one.corpus.train) for one in same if one.rate == rate}
            assert len(packed) == len({one.corpus.train for one in same if one.rate == rate})
        sets = {(one.test, one.sources, tuple(one.counts), one.task, one.rate, one.mode): one for one in same}
        assert len({one.mixtures(one.test.subset) for one in sets.values()}) == len(sets), "other test sets lie apart"
    assert len({same[0].data for same in by_corpus.values()}) == len(by_corpus)
    mini = benchmarks["mini"]
    for part in ("mini-noisy", "mini-counting", "mini-conversations"):
        other = benchmarks[part]
        assert (other.data, other.corpus_root) == (mini.data, mini.corpus_root)
        assert other.packed("train-clean") == mini.packed("train-clean")
        assert other.mixtures("test-clean") != mini.mixtures("test-clean")
        assert other.test_identity != mini.test_identity
    assert len({benchmark.test_identity for benchmark in benchmarks.values()}) == len(benchmarks)


def test_a_benchmarks_name_decides_no_folder_of_data() -> None:
    def places(benchmark: Benchmark) -> list[str]:
        sets = [benchmark.folder_of("test-clean"), benchmark.metadata("test-clean"), benchmark.mixtures("test-clean")]
        return [benchmark.data, benchmark.corpus_root, benchmark.packed("train-clean"), *sets]

    assert places(made("output")) == places(made("slots", name="other", title="Other"))


def test_a_corpus_is_called_by_its_name_and_is_the_same_without_it() -> None:
    named, plain = (made("output", corpus=MADE["corpus"] | name) for name in ({"name": "vctk"}, {}))
    said = summary(named)
    assert said["test_description"].startswith("vctk, 100 drawn") and said["corpus"] == "vctk"
    assert said["train_description"] == "vctk, train-clean"
    assert summary(plain)["train_description"] == "synthesized speech, train-clean"
    speech = {"corpus": {"kind": "librispeech", "train": "train-clean-100", "validation": "dev-clean"}}
    assert summary(made("output", **speech))["train_description"] == "LibriSpeech, train-clean-100"
    for key in ("data_identity", "test_identity", "data", "corpus_root"):
        assert getattr(named, key) == getattr(plain, key), key
    assert named.mixtures("test-clean") == plain.mixtures("test-clean")
    assert resolve(named, "output-sigmoid", 0) == resolve(plain, "output-sigmoid", 0)


NOISY: dict[str, Any] = {"task": "sep_noisy", "noise": {"hours": 0.5}}


def test_noise_makes_other_mixtures_and_other_training_of_the_same_speech() -> None:
    clean, noisy = made("output"), made("output", **NOISY)
    single = made("output", **NOISY | {"task": "enh_single"})
    recorded = made("output", task="sep_noisy", wham="wham_noise")
    assert clean.packed("train-clean") == noisy.packed("train-clean") and clean.packed_noise is None
    assert len({one.mixtures("test-clean") for one in (clean, noisy, single, recorded)}) == 4
    assert len({one.packed_noise for one in (clean, noisy, recorded)}) == 3
    assert len({one.data_identity for one in (clean, noisy, recorded)}) == 3
    assert (clean.targets, noisy.targets, single.targets) == (2, 2, 1)
    assert noisy.drawn_noise("test-clean") == [noisy.noise_root, "tt"] and clean.drawn_noise("test-clean") == []
    assert recorded.drawn_noise("test-clean") == ["wham_noise", "tt"] and recorded.noise_files == []
    own = made("output", task="sep_noisy", wham="w", test={"subset": "test-clean", "rows": "official"})
    assert own.drawn_noise("test-clean") == [], "official rows name their noise"
    dev = made("output", **NOISY, dev={"subset": "dev-clean"})
    assert dev.drawn_noise("dev-clean") == [dev.noise_root, "cv"]
    config = resolve(single, next(iter(variants(single))), 0)
    assert (config.task, config.sources, config.noise) == ("enh_single", 1, single.packed_noise)
    assert config.content["task"] == "enh_single"
    assert noisy.babbles == {"tr": "train-clean", "cv": "dev-clean", "tt": "test-clean"}
    told = [summary(one)["test_description"] for one in (noisy, single)]
    assert told[0].endswith("100 drawn Libri2Mix mixtures of test-clean, with noise, 8 kHz, min")
    assert "the first speakers alone of 100 drawn" in told[1]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"noise": {"hours": 1}}, "noise or wham of task sep_clean, which has none; expected sep_noisy or enh_single"),
        ({"wham": "w"}, "noise or wham of task sep_clean"),
        ({"task": "sep_noisy"}, "task sep_noisy: give either noise .synthesized. or wham .a folder.; expected one"),
        (NOISY | {"wham": "w"}, "expected one"),
        (NOISY | {"sources": [1, 2], "task": "sep_noisy"}, "of several numbers of sources or conversations"),
        (NOISY | {"mode": "max", "test": LONG}, "of several numbers of sources or conversations; expected sep_clean"),
        ({"task": "noisy"}, "task: Input should be 'sep_clean', 'sep_noisy' or 'enh_single'"),
        (NOISY | {"noise": {"hours": 0}}, "noise.hours"),
    ],
)
def test_what_does_not_go_with_a_task_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        made("output", **values)


def test_mixtures_of_the_training_subset_are_of_held_out_speakers_alone() -> None:
    benchmark = made("output", corpus=HELD_OUT, dev={"subset": "train-clean"})
    assert (benchmark.held_out("train-clean"), benchmark.held_out("test-clean")) == (4, 0)


def test_official_metadata_is_found_in_a_clone_a_folder_or_as_the_file(tmp_path: Path) -> None:
    name = "libri2mix_test-clean.csv"
    clone = tmp_path / "LibriMix"
    inside = clone / "metadata" / "Libri2Mix" / name
    inside.parent.mkdir(parents=True)
    inside.touch()
    shutil.copy(inside, tmp_path / name)
    speech = {"librispeech": str(tmp_path / "LibriSpeech"), "corpus": MADE["corpus"] | {"kind": "librispeech"}}
    with pytest.raises(InputError, match="librispeech: .*LibriSpeech: no such folder; expected LibriSpeech's subsets"):
        made("output", **speech).official("test-clean")
    (tmp_path / "LibriSpeech").mkdir()
    assert made("output", **speech).official("test-clean") == [inside]  # near LibriSpeech
    for home, found in ((clone, inside), (inside.parent, inside), (inside, inside), (tmp_path, tmp_path / name)):
        assert made("output", **speech, librimix=str(home)).official("test-clean") == [found]
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
    made_here = made("output")
    assert (made_here.archives, made_here.speech("dev-clean")) == ({}, [f"{made_here.corpus_root}/manifest.json"])
