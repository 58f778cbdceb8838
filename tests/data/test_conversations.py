"""Conversations: lengths, turns and overlaps by the rules; the same table for a seed; rendered to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from typer.testing import CliRunner

from audioslots.cli import app
from audioslots.data.conversations import PAUSE_S, converse, overlap
from audioslots.data.corpus import read_speech
from audioslots.data.librimix import MAX_AMPLITUDE, RATE
from audioslots.data.metadata import read_metadata, turns_of, write_metadata
from audioslots.data.rendering import render
from audioslots.errors import InputError

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


def test_a_seed_is_a_table(made_corpus: Path, table: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(table, converse(made_corpus, "test-clean", 2, COUNT, SECONDS, seed=0))
    other = converse(made_corpus, "test-clean", 2, COUNT, SECONDS, seed=1)
    assert not table["source_1_path"].equals(other["source_1_path"])
    assert table["mixture_ID"].is_unique


def test_speakers_take_turns_do_not_overlap_themselves_and_stay_within_the_length(
    made_corpus: Path, table: pd.DataFrame
) -> None:
    for row in table.to_dict("records"):
        one, two = (spoken(made_corpus, row, source) for source in (1, 2))
        assert one[0][0] == 0 and len(one) - len(two) in (0, 1)
        for own in (one, two):
            pauses = [start - end for (_, end), (start, _) in zip(own, own[1:], strict=False)]
            assert all(pause >= PAUSE_S[0] * RATE - 1 for pause in pauses)
        assert max(end for own in (one, two) for _, end in own) <= SECONDS[1] * RATE
        speakers = [{path.split("/")[1] for path, _, _ in turns_of(row, f"source_{i}")} for i in (1, 2)]
        assert [len(names) for names in speakers] == [1, 1] and speakers[0] != speakers[1]


def test_overlap_is_the_share_of_samples_with_speech_in_which_both_speak(
    made_corpus: Path, table: pd.DataFrame
) -> None:
    assert table["overlap"].min() < 0.2 and table["overlap"].max() > 0.5
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


@pytest.mark.parametrize("wrong", [{"sources": 1}, {"count": 0}, {"seconds": (30.0, 20.0)}, {"seconds": (0.0, 20.0)}])
def test_arguments_out_of_range_are_refused(made_corpus: Path, wrong: dict) -> None:
    given = {"sources": 2, "count": 1, "seconds": SECONDS} | wrong
    with pytest.raises(InputError, match="expected 2 sources or more"):
        converse(made_corpus, "test-clean", seed=0, **given)


def test_by_the_command_line(made_corpus: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    arguments = ["mixtures", "converse", str(made_corpus / "test-clean"), str(tmp_path / "long.csv")]
    arguments += ["--count", str(COUNT), "--shortest", str(SECONDS[0]), "--longest", str(SECONDS[1])]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0 and f"{COUNT} conversations, overlaps" in done.output
    expected = table.assign(overlap=table["overlap"].astype(str))
    assert read_metadata(tmp_path / "long.csv")["source_2_start"].tolist() == expected["source_2_start"].tolist()
