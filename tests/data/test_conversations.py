"""Conversations: lengths, turns and overlaps by the rules; the same table for a seed; rendered to the bit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from audioslots.data.corpora.corpus import check, read_speech
from audioslots.data.librimix.conversations import converse, overlap
from audioslots.data.librimix.layout import MAX_AMPLITUDE, RATE
from audioslots.data.librimix.metadata import read_metadata, turns_of, write_metadata
from audioslots.data.librimix.rendering import render
from audioslots.runtime.errors import InputError

SECONDS = (10.0, 20.0)
COUNT = 12


@pytest.fixture(scope="module")
def table(made_corpus: Path) -> pd.DataFrame:
    return converse(made_corpus, "test-clean", 2, COUNT, SECONDS, seed=0)


@pytest.fixture(scope="module")
def csv(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    write_metadata(table, path := tmp_path_factory.mktemp("conversations") / "long.csv")
    return path


def spoken(corpus: Path, row: dict, source: int) -> list[tuple[int, int]]:
    """First sample and the one after the last, of each turn."""
    turns = turns_of(row, f"source_{source}")
    return [(start, start + soundfile.info(corpus / path).frames) for path, start, _ in turns]


def seconds(corpus: Path, row: dict) -> float:
    return max(end for source in (1, 2) for _, end in spoken(corpus, row, source)) / RATE


def test_a_seed_is_a_table(made_corpus: Path, table: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(table, converse(made_corpus, "test-clean", 2, COUNT, SECONDS, seed=0))
    other = converse(made_corpus, "test-clean", 2, COUNT, SECONDS, seed=1)
    assert not table["source_1_path"].equals(other["source_1_path"])
    assert table["mixture_ID"].is_unique


def test_a_corpus_is_checked_against_every_turn(made_corpus: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    write_metadata(table, path := tmp_path / "long.csv")
    assert check(made_corpus, against=path) == []
    absent = "test-clean/7/7/7-7-0000.flac"
    path.write_text(path.read_text().replace(table["source_1_path"][0].split(";")[1], absent))
    assert check(made_corpus, against=path) == [f"{made_corpus / absent}: missing; expected by {path}"]


def test_speakers_are_two_take_turns_and_do_not_overlap_themselves(made_corpus: Path, table: pd.DataFrame) -> None:
    for row in table.to_dict("records"):
        one, two = (spoken(made_corpus, row, source) for source in (1, 2))
        assert one[0][0] == 0 and len(one) + len(two) > 2
        for own in (one, two):
            assert all(start >= end for (_, end), (start, _) in zip(own, own[1:], strict=False))
        speakers = [{path.split("/")[1] for path, _, _ in turns_of(row, f"source_{i}")} for i in (1, 2)]
        assert [len(names) for names in speakers] == [1, 1] and speakers[0] != speakers[1]


def test_lengths_and_overlaps_cover_what_is_asked_for(made_corpus: Path) -> None:
    drawn = converse(made_corpus, "test-clean", 2, 40, (30.0, 120.0), seed=0)
    lengths = np.array([seconds(made_corpus, row) for row in drawn.to_dict("records")])
    assert 30 <= lengths.min() < 45 and 105 < lengths.max() <= 120
    assert 0 <= drawn["overlap"].min() < 0.05 and 0.9 < drawn["overlap"].max() <= 1
    assert (np.histogram(drawn["overlap"], bins=4, range=(0, 1))[0] >= 3).all()


def test_official_utterances_make_conversations_of_30_to_120_s(shared: Path) -> None:
    speech = shared / "librispeech" / "LibriSpeech"
    for row in converse(speech, "test-clean", 2, 5, (30.0, 120.0), seed=0).to_dict("records"):
        assert 30 <= seconds(speech, row) <= 120


def test_overlap_is_the_share_of_samples_with_speech_in_which_both_speak(
    made_corpus: Path, table: pd.DataFrame
) -> None:
    for row in table.to_dict("records"):
        active = np.zeros((2, int(SECONDS[1] * RATE)), bool)
        for source in (0, 1):
            for start, end in spoken(made_corpus, row, source + 1):
                active[source, start:end] = True
        assert row["overlap"] == pytest.approx(active.all(axis=0).sum() / active.any(axis=0).sum(), abs=1e-3)


def test_overlap_of_known_turns() -> None:
    assert overlap([[("a", 0, 10)], [("b", 10, 10)]]) == 0
    assert overlap([[("a", 0, 10)], [("b", 5, 10)]]) == pytest.approx(5 / 15)
    assert overlap([[("a", 0, 10)], [("b", 0, 10)]]) == 1


@pytest.mark.parametrize("rate", [16_000, 8_000])
def test_a_rendered_source_is_its_turns_at_their_places(
    made_corpus: Path, table: pd.DataFrame, csv: Path, tmp_path: Path, rate: int
) -> None:
    folder = render(csv, made_corpus, tmp_path / "out", rate, "max")
    for row in table.to_dict("records"):
        name = f"{row['mixture_ID']}.wav"
        sources = [soundfile.read(folder / f"s{i}" / name, dtype="int16")[0].astype(int) for i in (1, 2)]
        mixture = soundfile.read(folder / "mix_clean" / name, dtype="int16")[0].astype(int)
        assert np.abs(mixture - sum(sources)).max() <= 2  # each is rounded for itself
        if rate == RATE:  # resampling may pass the peak by a little
            assert np.abs(mixture).max() <= round(MAX_AMPLITUDE * 2**15) + 2
            for i, source in enumerate(sources, start=1):
                expected = np.zeros(len(source), np.float32)
                for path, start, gain in turns_of(row, f"source_{i}"):
                    speech = read_speech(made_corpus / path) * gain
                    expected[start : start + len(speech)] += speech
                assert np.abs(source - expected * 2**15).max() <= 1


def test_a_table_is_the_same_after_reading_and_writing(csv: Path, tmp_path: Path) -> None:
    write_metadata(read_metadata(csv), tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == csv.read_bytes()


def test_rendering_again_gives_the_same_bytes(csv: Path, made_corpus: Path, tmp_path: Path) -> None:
    one, two = (
        render(csv, made_corpus, tmp_path / name, 8000, "max", jobs=jobs) for name, jobs in (("a", 1), ("b", 2))
    )
    files = sorted(path.relative_to(one) for path in one.rglob("*.wav"))
    assert len(files) == 3 * COUNT
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("source_1_start", "0", "paths, 1 starts"),
        ("source_2_start", "-5", "expected whole numbers of samples"),
        ("source_1_gain", "loud", "source_1_gain"),
        ("source_2_path", "/etc/passwd;b", "expected subset/speaker/chapter/utterance"),
    ],
)
def test_bad_turns_are_one_line_with_file_and_row(
    table: pd.DataFrame, tmp_path: Path, column: str, value: str, words: str
) -> None:
    damaged = table.astype(str)
    turns = len(damaged.loc[2, column].split(";"))
    assert turns > 1
    damaged.loc[2, column] = value if value in ("0",) or "passwd" in value else ";".join([value] * turns)
    write_metadata(damaged, tmp_path / "bad.csv")
    with pytest.raises(InputError, match=rf"bad\.csv: row 3: .*{words}"):
        read_metadata(tmp_path / "bad.csv")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"sources": 1}, "expected 2 sources or more"),
        ({"count": 0}, "expected 2 sources or more"),
        ({"seconds": (30.0, 20.0)}, "lengths above 0 in order"),
        ({"seconds": (0.0, 20.0)}, "lengths above 0 in order"),
        ({"seconds": (30.0, math.inf)}, "lengths above 0 in order"),
        ({"seconds": (math.nan, 20.0)}, "lengths above 0 in order"),
        (
            {"seconds": (2.0, 2.5)},
            r"test-clean: utterances of \d+ and \d+ do not fit 2 to 2.5 s; expected lengths further",
        ),
        ({"sources": 5}, "4 speakers with utterances of 3 s or more; expected at least 5"),
    ],
)
def test_what_cannot_be_drawn_is_refused(made_corpus: Path, wrong: dict, words: str) -> None:
    given = {"sources": 2, "count": 1, "seconds": SECONDS} | wrong
    with pytest.raises(InputError, match=words):
        converse(made_corpus, "test-clean", seed=0, **given)
