"""Mixtures of one, two or three speakers: drawn, selected, rendered, read and mixed on the fly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from made_benchmark import made

from audioslots.data.corpora.folder import verify
from audioslots.data.librimix.metadata import draw, draw_some, info, joined, read_metadata, select, singles, statistics
from audioslots.data.librimix.metadata import write_metadata as write
from audioslots.data.librimix.rendering import render
from audioslots.data.training.mixing import Mixer
from audioslots.data.training.packing import Speech, pack
from audioslots.runtime.errors import InputError
from audioslots.scoring.mixtures import read_mixtures


@pytest.fixture(scope="module")
def table(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two mixtures of one speaker, two of two, one of three."""
    path = tmp_path_factory.mktemp("several") / "libri3mix_test-clean.csv"
    write(draw_some(made_corpus, "test-clean", [1, 2, 3], 5, seed=4), path)
    return path


def test_as_many_of_each_number_are_drawn_as_can_be(table: Path, made_corpus: Path) -> None:
    rows = read_metadata(table)
    assert [sum(bool(row[f"source_{i}_path"]) for i in (1, 2, 3)) for row in rows.to_dict("records")] == [
        1,
        1,
        2,
        2,
        1 + 2,
    ]
    for part, count in ((rows[:2], 1), (rows[2:4], 2), (rows[4:], 3)):
        alone = draw(made_corpus, "test-clean", count, len(part), seed=4)
        pd.testing.assert_frame_equal(part[alone.columns].reset_index(drop=True), alone)
    assert draw_some(made_corpus, "test-clean", [2], 3, seed=4).equals(draw(made_corpus, "test-clean", 2, 3, seed=4))


def test_a_single_speaker_has_its_own_loudness(made_corpus: Path) -> None:
    found = statistics(draw(made_corpus, "test-clean", 1, 8, seed=0), made_corpus)
    assert (found["mixtures"], found["sources"], found["overlap_ratio"]) == (8, 1, 1.0)
    low, _, high = found["loudness_lufs"]  # type: ignore[misc]
    assert -33.1 <= low <= high <= -24.9


def test_statistics_and_speakers_are_of_the_sources_that_are_there(table: Path, made_corpus: Path) -> None:
    rows = read_metadata(table)
    found, people = statistics(rows, made_corpus), info(rows, made_corpus)
    assert found["mixtures"] == 5 and found["speakers"] <= 4
    assert sum(found["sexes"].values()) == 5 and {len(sex) for sex in found["sexes"]} == {1, 2, 3}  # type: ignore[attr-defined]
    assert people.loc[0, "speaker_2_ID"] == "" and people.loc[4, "speaker_3_ID"] != ""


def test_first_sources_of_a_table_are_its_single_speakers(made_corpus: Path, tmp_path: Path) -> None:
    pairs = draw(made_corpus, "test-clean", 2, 12, seed=0)
    alone = singles(pairs)
    assert alone["source_1_path"].is_unique and set(alone["source_1_path"]) == set(pairs["source_1_path"])
    both = joined([alone, pairs.assign(noise_path="tt/a.wav", noise_gain=1.0)])
    assert "noise_path" not in both and len(both) == len(alone) + 12
    write(both, tmp_path / "both.csv")
    assert len(select(read_metadata(tmp_path / "both.csv"), made_corpus)) == len(both)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_each_mixture_is_the_sum_of_its_sources_and_has_no_others(
    table: Path, made_corpus: Path, tmp_path: Path, mode: str
) -> None:
    folder = render(table, made_corpus, tmp_path, 8000, mode)
    verify(folder, 1)
    mixtures = read_mixtures(folder)
    assert [len(mixture.speakers) for mixture in mixtures] == [1, 1, 2, 2, 3]
    for item in mixtures:
        mixture, sources, _ = item.read()
        assert len(sources) == len(item.speakers) == len(item.sexes)
        assert np.abs(sources.sum(axis=0) - mixture).max() <= 3 * 2**-15
        third = folder / "s3" / f"{item.mixture_id}.wav"
        assert third.exists() == (len(item.speakers) == 3)
    tables = folder.parent / "metadata"
    snr = pd.read_csv(tables / "metrics_test_mix_clean.csv")
    assert snr.notna().sum(axis=1).tolist() == [2, 2, 3, 3, 4]
    listed = pd.read_csv(tables / "mixture_test_mix_clean.csv", dtype=str, keep_default_na=False)
    assert (listed["source_3_path"] == "").tolist() == [True, True, True, True, False]
    found = json.loads((folder / "manifest.json").read_text())
    assert found["folders"] == ["mix_clean", "s1", "s2", "s3"]
    first = sf.read(folder / "mix_clean" / f"{mixtures[0].mixture_id}.wav")[0]
    assert np.array_equal(first, sf.read(folder / "s1" / f"{mixtures[0].mixture_id}.wav")[0])


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("source_2_path", "", "row 5: source_3 follows none; expected the sources from the first on"),
        ("source_3_path", "", "row 5: source_3_path is '' and source_3_gain '[0-9.]+'; expected both or neither"),
        ("source_3_gain", "", "row 5: source_3_gain is ''; expected a finite number above 0"),
        ("source_1_path", "", "row 5: source_1_path is ''; expected subset/speaker"),
    ],
)
def test_a_row_lacks_its_last_sources_alone(table: Path, tmp_path: Path, column: str, value: str, words: str) -> None:
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    rows.loc[4, column] = value
    if column == "source_2_path":
        rows.loc[4, "source_2_gain"] = ""
    rows.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(InputError, match=words):
        read_metadata(tmp_path / "bad.csv")


def test_numbers_are_drawn_evenly_and_the_rest_is_silent(made_corpus: Path, tmp_path: Path) -> None:
    pack(made_corpus, "train-clean", tmp_path / "packed", 8000)
    speech = Speech.open(tmp_path / "packed")
    every = Mixer(speech, 3, 2000, seed=1)
    several = Mixer(speech, 3, 2000, seed=1, counts=(1, 2, 3))
    spoken = []
    for item in range(90):
        heard, whole = several.item(0, item), every.item(0, item)
        count = int((np.abs(heard).max(axis=1) > 0).sum())
        assert not heard[count:].any()
        scale = heard[:count] / np.where(whole[:count] == 0, 1, whole[:count])  # a mixture of fewer clips less
        assert np.allclose(heard[:count], whole[:count] * np.median(scale), atol=1e-6)
        spoken.append(count)
    assert all(18 <= spoken.count(count) <= 42 for count in (1, 2, 3))
    pairs = Mixer(speech, 3, 2000, seed=1, counts=(1, 2, 3), together=2)
    for item in range(0, 20, 2):
        both = [(np.abs(pairs.item(0, one)).max(axis=1) > 0).sum() for one in (item, item + 1)]
        assert both[0] == both[1], "chunks of the same utterances have as many speakers"


def test_a_benchmark_names_its_numbers() -> None:
    benchmark, fixed = (made("output", sources=sources) for sources in ([1, 2, 3], 3))
    assert (benchmark.sources, benchmark.counts) == (3, [1, 2, 3])
    assert fixed.folder_of("test-clean") != benchmark.folder_of("test-clean")
    for wrong in ([2], [3, 1], [1, 1], ["2", "3"], []):
        with pytest.raises(InputError, match="expected a number, or different numbers in order"):
            made("output", sources=wrong)
