"""Folders of mixtures that others have made: layouts of WSJ0-2mix, WHAM! and LibriMix, and names that say nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from made_systems import IDS, RATE, Leaky

from audioslots.runtime.errors import InputError
from audioslots.scoring.evaluate import SCORE_COLUMNS, evaluate, read_scores
from audioslots.scoring.mixtures import digests, read_mixtures


@pytest.fixture
def other(made_mixtures: Path, tmp_path: Path) -> Path:
    """The same audio as a folder of mix, s1 and s2, and no more."""
    folder = tmp_path / "2speakers" / "wav8k" / "min" / "tt"
    for name, into in {"mix_clean": "mix", "s1": "s1", "s2": "s2"}.items():
        shutil.copytree(made_mixtures / name, folder / into)
    return folder


def renamed(folder: Path, *names: str) -> Path:
    for part in ("mix", "s1", "s2"):
        for old, new in zip(sorted(IDS), names, strict=True):
            (folder / part / f"{old}.wav").rename(folder / part / f"{new}.wav")
    return folder


def test_scores_are_those_of_the_same_audio_with_metadata(made_mixtures: Path, other: Path, tmp_path: Path) -> None:
    found = []
    for name, folder in (("with", made_mixtures), ("without", other)):
        evaluate(Leaky(), folder, tmp_path / name / "scores.parquet", "mini")
        found.append(read_scores(tmp_path / name / "scores.parquet").sort_values(["mixture_id", "source", "stitching"]))
    columns = ["mixture_id", "source", "duration_s", *SCORE_COLUMNS]
    pd.testing.assert_frame_equal(*(rows[columns].reset_index(drop=True) for rows in found), check_exact=True)


@pytest.mark.parametrize(
    ("names", "speakers"),
    [
        (
            ("1089-134686-0000_121-127105-0031", "1089-134686-0001_121-127105-0032", "61-1-0_7-2-1"),
            [("1089", "121"), ("1089", "121"), ("61", "7")],
        ),
        (
            ("050a050a_0.1_442c020h_-0.1", "050a0502_1.4633_442c020n_-1.4633", "22ga010p_2_440c020w_-2"),
            [("050", "442"), ("050", "442"), ("22g", "440")],
        ),
    ],
)
def test_speakers_are_those_that_the_names_tell(
    other: Path, names: tuple[str, ...], speakers: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    found = {item.mixture_id: item.speakers for item in read_mixtures(renamed(other, *names))}
    assert found == dict(zip(names, speakers, strict=True))
    assert capsys.readouterr().err == ""


def test_where_names_tell_nothing_each_source_is_another_speakers_and_that_is_said(
    other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = read_mixtures(other)
    assert len({speaker for item in listed for speaker in item.speakers}) == 6
    assert [item.mixture_id for item in listed] == sorted(IDS)
    said = capsys.readouterr().err
    assert "the names of 3 of 3 mixtures tell no speakers" in said and said.count("\n") == 1


def test_other_audio_under_the_same_names_is_another_set(other: Path) -> None:
    before = digests(other)
    assert before == digests(other)
    soundfile.write(other / "s2" / f"{IDS[0]}.wav", np.zeros(6400), RATE)
    assert digests(other) != before


def without_sources(other: Path) -> str:
    shutil.rmtree(other / "s1")
    return "1 of the folders s1, s2, ...; expected the sources of the mixtures, two or more"


def without_mixtures(other: Path) -> str:
    for path in (other / "mix").iterdir():
        path.unlink()
    return "mix: no WAV files; expected mixtures"


def without_a_source(other: Path) -> str:
    (other / "s2" / f"{IDS[0]}.wav").unlink()
    return f"s2/{IDS[0]}.wav: no such file"


def of_another_rate(other: Path) -> str:
    soundfile.write(other / "s2" / f"{IDS[0]}.wav", np.zeros(6400), 16000)
    return f"s2/{IDS[0]}.wav: 6400 samples at 16000 Hz; expected the mixture's 6400 at 8000 Hz"


def not_finished(other: Path) -> str:
    (other / "record.jsonl").touch()
    return "the mixtures are not finished"


@pytest.mark.parametrize("harm", [without_sources, without_mixtures, without_a_source, of_another_rate, not_finished])
def test_what_is_no_folder_of_mixtures_ends_with_one_line(other: Path, tmp_path: Path, harm) -> None:
    expected = harm(other)
    with pytest.raises(InputError) as caught:
        evaluate(Leaky(), other, tmp_path / "scores.parquet", "mini")
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "scores.parquet").exists()
