"""Metadata tables: what is read, refused, drawn and selected."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pyloudnorm
import pytest

from audioslots.data.corpora.corpus import read_speech
from audioslots.data.librimix import metadata as module
from audioslots.data.librimix.metadata import (
    draw,
    info,
    read_metadata,
    select,
    source_count,
    statistics,
    write_metadata,
)
from audioslots.runtime.errors import InputError

GOOD = {
    "mixture_ID": ["a_b", "c_d", "e_f"],
    "source_1_path": ["test/1/1/a.flac", "test/1/1/c.flac", "test/1/1/e.flac"],
    "source_1_gain": ["0.7875413348848695", "1", "2e-1"],
    "source_2_path": ["test/2/1/b.flac", "test/2/1/d.flac", "test/2/1/f.flac"],
    "source_2_gain": ["0.5", "0.6", "0.7"],
}


def written(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "test.csv"
    pd.DataFrame({**GOOD, **changes}).to_csv(path, index=False)
    return path


def changed(column: str, row: int, value: str) -> dict[str, object]:
    noise = {"noise_path": ["tt/a.wav"] * 3, "noise_gain": ["1"] * 3} if column.startswith("noise") else {}
    values = list((GOOD | noise)[column])
    values[row - 1] = value
    return noise | {column: values}


@pytest.fixture(scope="module")
def drawn(made_corpus: Path) -> pd.DataFrame:
    return draw(made_corpus, "test-clean", sources=2, count=14, seed=3)


def test_gains_survive_writing_and_reading_to_the_last_bit(tmp_path: Path) -> None:
    gains = np.random.default_rng(0).uniform(0.1, 2, 3)
    table = read_metadata(written(tmp_path)).assign(source_2_gain=gains)
    assert table["source_1_gain"].tolist() == [float(text) for text in GOOD["source_1_gain"]]
    write_metadata(table, tmp_path / "again.csv")
    pd.testing.assert_frame_equal(read_metadata(tmp_path / "again.csv"), table, check_exact=True)


def test_an_id_that_looks_like_a_number_or_a_missing_value_stays_text(tmp_path: Path) -> None:
    table = read_metadata(written(tmp_path, mixture_ID=["007", "NA", "1e5"]))
    assert table["mixture_ID"].tolist() == ["007", "NA", "1e5"]


@pytest.mark.parametrize(
    ("column", "row", "value"),
    [
        ("source_1_gain", 2, "nan"),
        ("source_2_gain", 3, "-0.5"),
        ("source_2_gain", 1, "inf"),
        ("source_1_gain", 1, "0"),
        ("source_1_gain", 1, ""),
        ("source_1_gain", 1, "loud"),
        ("source_1_path", 2, "../test/1/1/a.flac"),
        ("source_1_path", 2, "test/1/../../../a.flac"),
        ("source_2_path", 2, "/test/1/1/a.flac"),
        ("source_2_path", 2, "test\\1\\1\\a.flac"),
        ("source_2_path", 3, ""),
        ("source_2_path", 3, "a.flac"),
        ("mixture_ID", 3, "a_b"),
        ("mixture_ID", 1, "../a_b"),
        ("mixture_ID", 1, "x/y"),
        ("mixture_ID", 2, ".."),
        ("mixture_ID", 2, ".hidden"),
        ("mixture_ID", 2, ""),
        ("mixture_ID", 3, "\u00e9" * 101),
        ("noise_path", 2, "../tt/a.wav"),
        ("noise_path", 1, "/tt/a.wav"),
        ("noise_path", 3, ""),
        ("noise_gain", 2, "nan"),
        ("noise_gain", 1, "-1"),
    ],
)
def test_a_bad_cell_is_refused_by_file_row_and_column(tmp_path: Path, column: str, row: int, value: str) -> None:
    path = written(tmp_path, **changed(column, row, value))
    with pytest.raises(InputError) as caught:
        read_metadata(path)
    assert str(caught.value).startswith(f"{path}: row {row}: {column} ")
    assert "; expected " in str(caught.value)


@pytest.mark.parametrize("column", list(GOOD))
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    path = tmp_path / "test.csv"
    pd.DataFrame(GOOD).drop(columns=column).to_csv(path, index=False)
    with pytest.raises(InputError, match=f"column {column} is missing"):
        read_metadata(path)


def test_the_columns_say_how_many_sources_and_none_may_be_left_out(tmp_path: Path) -> None:
    third = {"source_3_path": [f"test/3/1/{i}.flac" for i in range(3)]}
    with pytest.raises(InputError, match="column source_3_gain is missing"):
        read_metadata(written(tmp_path, **third))
    assert source_count(read_metadata(written(tmp_path, **third, source_3_gain=["1"] * 3))) == 3
    with pytest.raises(InputError, match="column noise_gain is missing"):
        read_metadata(written(tmp_path, noise_path=["tt/a.wav"] * 3))


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"mixture_ID\n", ",".join(GOOD).encode() + b"\n"])
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "test.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="test.csv: .*; expected"):
        read_metadata(path)


def test_drawn_mixtures_follow_libri_mix_rules(drawn: pd.DataFrame, made_corpus: Path) -> None:
    people = info(drawn, made_corpus)
    assert (people["speaker_1_ID"] != people["speaker_2_ID"]).all()
    pairs = {frozenset(pair) for pair in zip(drawn["source_1_path"], drawn["source_2_path"], strict=True)}
    assert len(pairs) == len(drawn) == 14
    stems = [Path(path).stem for path in drawn["source_1_path"]], [Path(path).stem for path in drawn["source_2_path"]]
    assert drawn["mixture_ID"].tolist() == [f"{one}_{two}" for one, two in zip(*stems, strict=True)]
    used = Counter(chain(drawn["source_1_path"], drawn["source_2_path"]))
    assert set(used.values()) <= {1, 2}, "two passes over the 16 utterances: none is used three times"
    meter = pyloudnorm.Meter(16_000)
    for row in drawn.to_dict("records"):
        sources = [row[f"source_{i}_gain"] * read_speech(made_corpus / row[f"source_{i}_path"]) for i in (1, 2)]
        mixture = sum(np.pad(source, (0, 80_000 - len(source))) for source in sources)
        assert np.abs(mixture).max() <= 0.9 + 1e-4
        for source in sources:
            assert -33.01 <= meter.integrated_loudness(source) <= -24.99


def test_the_same_seed_draws_the_same_table_whatever_the_order_of_files(
    drawn: pd.DataFrame, made_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = module.utterances
    monkeypatch.setattr(module, "utterances", lambda *a: listed(*a).sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(draw(made_corpus, "test-clean", 2, 14, 3), drawn, check_exact=True)
    assert draw(made_corpus, "test-clean", 2, 14, 4)["mixture_ID"].tolist() != drawn["mixture_ID"].tolist()


def test_a_training_subset_uses_each_utterance_once(made_corpus: Path) -> None:
    table = draw(made_corpus, "train-clean", sources=3, count=7, seed=0)
    used = pd.concat([table[f"source_{i}_path"] for i in (1, 2, 3)])
    assert used.is_unique
    with pytest.raises(InputError, match="train-clean: its 24 utterances give .* mixtures of 3 sources; expected 9"):
        draw(made_corpus, "train-clean", sources=3, count=9, seed=0)


def test_loud_sources_and_sums_are_held_at_a_peak_of_0_9(
    made_corpus: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "LOUDNESS_LUFS", (-8.0, -2.0))
    table = draw(made_corpus, "dev-clean", sources=2, count=4, seed=0)
    for row in table.to_dict("records"):
        one, two = (row[f"source_{i}_gain"] * read_speech(made_corpus / row[f"source_{i}_path"]) for i in (1, 2))
        length = max(len(one), len(two))
        mixture = np.pad(one, (0, length - len(one))) + np.pad(two, (0, length - len(two)))
        assert np.abs(mixture).max() == pytest.approx(0.9, abs=1e-4)
    assert statistics(table, made_corpus)["clipped"] == 4


def test_impossible_draws_are_refused(made_corpus: Path) -> None:
    with pytest.raises(InputError, match="4 speakers with utterances of 3 s or more; expected at least 5"):
        draw(made_corpus, "test-clean", sources=5, count=1, seed=0)
    with pytest.raises(InputError, match="its 16 utterances give 96 mixtures of 2 sources; expected 97"):
        draw(made_corpus, "test-clean", sources=2, count=97, seed=0)
    for sources, count in ((0, 1), (2, 0)):
        with pytest.raises(InputError, match="expected 1 source or more, 1 mixture or more"):
            draw(made_corpus, "test-clean", sources=sources, count=count, seed=0)


def test_statistics_count_what_the_table_holds(drawn: pd.DataFrame, made_corpus: Path) -> None:
    found = statistics(drawn, made_corpus)
    people = info(drawn, made_corpus)
    both = Counter("".join(sorted(pair)) for pair in people[["speaker_1_sex", "speaker_2_sex"]].to_numpy())
    assert found["sexes"] == dict(both)
    assert (found["mixtures"], found["speakers"], found["sources"]) == (14, 4, 2)
    assert found["pairs"] == len({frozenset(pair) for pair in people[["speaker_1_ID", "speaker_2_ID"]].to_numpy()}) <= 6
    assert found["utterances"] == len({*drawn["source_1_path"], *drawn["source_2_path"]})
    shortest = clipped = 0
    for row in drawn.to_dict("records"):
        one, two = (row[f"source_{i}_gain"] * read_speech(made_corpus / row[f"source_{i}_path"]) for i in (1, 2))
        overlap = min(len(one), len(two))
        shortest += overlap
        tail = (one if len(one) > len(two) else two)[overlap:]
        clipped += np.abs(np.concatenate((one[:overlap] + two[:overlap], tail))).max() > 0.8995
    assert found["hours_min"] == pytest.approx(shortest / 16_000 / 3600, abs=5e-4)
    assert found["clipped"] == clipped
    assert -33.1 <= found["loudness_lufs"][0] <= found["loudness_lufs"][2] <= -24.9
    assert 0.6 <= found["overlap_ratio"] <= 1


def test_select_keeps_the_rows_whose_every_source_is_on_disk(drawn: pd.DataFrame, made_corpus: Path) -> None:
    half = drawn.copy()
    half.loc[[0, 5], "source_2_path"] = "test-clean/1/1/absent.flac"
    assert select(half, made_corpus)["mixture_ID"].tolist() == drawn["mixture_ID"].drop([0, 5]).tolist()


def test_official_rows_selected_on_the_partial_corpus_are_the_sample(shared: Path) -> None:
    official = read_metadata(shared / "librimix/metadata/Libri2Mix/libri2mix_test-clean.csv")
    sample = read_metadata(shared / "librimix/libri2mix_test-clean_sample.csv")
    assert (len(official), len(sample)) == (3000, 258)
    pd.testing.assert_frame_equal(select(official, shared / "librispeech/LibriSpeech"), sample, check_exact=True)


def test_info_equals_the_official_table(shared: Path) -> None:
    official = pd.read_csv(shared / "librimix/metadata/Libri2Mix/libri2mix_test-clean_info.csv")
    metadata = read_metadata(shared / "librimix/metadata/Libri2Mix/libri2mix_test-clean.csv")
    found = info(metadata, shared / "librispeech/LibriSpeech")
    found = found.assign(**{f"speaker_{i}_ID": found[f"speaker_{i}_ID"].astype(float) for i in (1, 2)})
    assert found.to_numpy().tolist() == official.to_numpy().tolist()
    assert found.columns.tolist() == official.columns.tolist()
