"""Speech of any folder or table as a corpus: what is written, resumed and refused; then it is like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray

from audioslots.data.corpora.corpus import check, read_speech, speaker_sex, utterances
from audioslots.data.corpora.importing import bring
from audioslots.data.librimix.metadata import draw
from audioslots.data.training.packing import Speech, pack
from audioslots.runtime.errors import InputError
from audioslots.runtime.stage import Options, using

RATE = 16000


def tone(seconds: float, rate: int, hertz: float = 220.0, level: float = 0.1) -> NDArray[np.float64]:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Two speakers, four recordings: of several rates, channels, formats and depths."""
    folder = tmp_path / "speech"
    for name in ("Ann Lee", "bob"):
        (folder / name / "deep").mkdir(parents=True)
    soundfile.write(folder / "Ann Lee" / "a.wav", tone(3.5, 44100), 44100)
    soundfile.write(folder / "Ann Lee" / "deep" / "b.flac", np.stack([tone(4, 16000), tone(4, 16000)]).T, 16000)
    soundfile.write(folder / "bob" / "c.ogg", tone(3.2, 8000), 8000)
    soundfile.write(folder / "bob" / "loud.wav", tone(3, RATE, level=2.0), RATE, subtype="FLOAT")
    (folder / "bob" / "notes.txt").write_text("not speech")
    (folder / "bob" / "._c.ogg").write_text("a leftover of some system")
    return folder


def test_every_recording_is_an_utterance_at_16_khz_in_librispeechs_layout(speech: Path, tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    assert bring(speech, root, "mine") == 2
    assert check(root) == []
    table = utterances(root, "mine")
    assert table["path"].tolist() == [f"mine/{who}/0/{who}-0-{n:04d}.flac" for who in (1, 2) for n in (0, 1)]
    np.testing.assert_allclose(table["frames"] / RATE, [3.5, 4.0, 3.2, 3.0], atol=1e-3)
    assert speaker_sex(root) == {"1": "", "2": ""}
    assert [line.split("|")[4].strip() for line in (root / "SPEAKERS.TXT").read_text().splitlines()[2:]] == [
        *("Ann Lee", "bob")
    ]
    first, second, _, loud = (read_speech(root / path) for path in table["path"])
    middle = slice(1000, -1000)
    np.testing.assert_allclose(first[middle], tone(3.5, RATE)[middle], atol=2e-4)
    np.testing.assert_allclose(second, tone(4, RATE), atol=2e-4)
    np.testing.assert_allclose(loud, tone(3, RATE, level=1.0), atol=2e-4)


def test_a_table_tells_speakers_and_sexes_and_numbers_are_the_same_in_every_subset(
    speech: Path, tmp_path: Path
) -> None:
    rows = [("Ann Lee/a.wav", "bob", "M"), ("bob/c.ogg", "zoe", "F"), ("Ann Lee/deep/b.flac", "ann", "")]
    pd.DataFrame(rows, columns=["path", "speaker", "sex"]).to_csv(speech / "mine.csv", index=False)
    root = tmp_path / "corpus"
    assert bring(speech, root, "one") == 2
    assert bring(speech / "mine.csv", root, "two") == 3
    lines = [line.split("|") for line in (root / "SPEAKERS.TXT").read_text().splitlines()[2:]]
    known = [(line[0].strip(), line[1].strip(), line[2].strip(), line[4].strip()) for line in lines]
    assert known == [
        *(("1", "U", "one", "Ann Lee"), ("2", "U", "one", "bob")),
        *(("3", "U", "two", "ann"), ("2", "M", "two", "bob"), ("4", "F", "two", "zoe")),
    ]
    assert set(utterances(root, "two")["speaker_id"]) == {"2", "3", "4"}


def test_the_corpus_is_packed_and_mixed_like_any_other(speech: Path, tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    bring(speech, root, "mine", jobs=2)
    pack(root, "mine", tmp_path / "packed", 8000)
    assert len(Speech.open(tmp_path / "packed").speakers) == 2
    assert len(draw(root, "mine", 2, 1, seed=0)) == 1


def test_an_interrupted_call_goes_on_and_a_finished_one_does_nothing(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, root = tmp_path / "whole", tmp_path / "corpus"
    bring(speech, whole, "mine")
    (speech / "bob" / "c.ogg").rename(speech / "kept")
    (speech / "bob" / "c.ogg").write_bytes((speech / "kept").read_bytes()[:-20])
    with monkeypatch.context() as patched:
        from audioslots.data.corpora import importing

        convert, calls = importing._convert, []

        def interrupted(job: tuple[Path, Path]) -> None:
            if len(calls) == 2:
                raise KeyboardInterrupt
            calls.append(job)
            convert(job)

        (speech / "kept").replace(speech / "bob" / "c.ogg")
        patched.setattr(importing, "_convert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bring(speech, root, "mine")
    kept = {path: path.stat().st_mtime_ns for path in root.rglob("*.flac")}
    assert len(kept) == 2
    bring(speech, root, "mine")
    assert all(path.stat().st_mtime_ns == at for path, at in kept.items())
    made = {path.relative_to(root): path.read_bytes() for path in root.rglob("*.flac")}
    assert made == {path.relative_to(whole): path.read_bytes() for path in whole.rglob("*.flac")}
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.flac")}
    bring(speech, root, "mine")
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*.flac")}


def test_other_speech_under_the_same_name_is_refused_and_made_anew_where_asked(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "corpus"
    bring(speech, root, "mine")
    (speech / "bob" / "loud.wav").unlink()
    with pytest.raises(InputError, match="recordings is"):
        bring(speech, root, "mine")
    assert len(list(root.rglob("*.flac"))) == 4
    with using(Options(overwrite=True)):
        bring(speech, root, "mine")
        assert len(list(root.rglob("*.flac"))) == 3


def a_loose_file(speech: Path) -> Path:
    soundfile.write(speech / "loose.wav", tone(3, RATE), RATE)
    return speech


def no_speech(speech: Path) -> Path:
    (speech.parent / "empty" / "ann").mkdir(parents=True)
    return speech.parent / "empty"


def nothing(speech: Path) -> Path:
    return speech.parent / "absent"


def damaged(speech: Path) -> Path:
    (speech / "bob" / "c.ogg").write_text("hello")
    return speech


def not_finite(speech: Path) -> Path:
    soundfile.write(speech / "bob" / "c.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    return speech


def table_of(text: str) -> Callable[[Path], Path]:
    def written(speech: Path) -> Path:
        (speech / "mine.csv").write_text(text)
        return speech / "mine.csv"

    return written


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (a_loose_file, "loose.wav: belongs to no speaker; expected one folder per speaker"),
        (no_speech, "empty: no speech; expected a folder of recordings for every speaker"),
        (nothing, "absent: no such folder or file"),
        (damaged, "c.ogg: cannot be decoded"),
        (not_finite, "c.wav: is empty, or holds samples that are not finite"),
        (table_of("path,who\na.wav,ann\n"), "mine.csv: no column speaker; expected path, speaker"),
        (table_of("path,speaker,sex\na.wav,ann,x\n"), "speaker 'ann', sex 'x'; expected a name, and F, M or nothing"),
        (table_of("path,speaker\nbob/c.ogg,ann\nbob/c.ogg,bob\n"), "names a file twice"),
        (table_of("path,speaker\nabsent.wav,ann\n"), "absent.wav: no such file"),
    ],
)
def test_what_is_no_speech_ends_with_one_line(
    speech: Path, tmp_path: Path, harm: Callable[[Path], Path], expected: str
) -> None:
    with pytest.raises(InputError) as caught:
        bring(harm(speech), tmp_path / "corpus", "mine")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_a_table_of_speakers_of_another_origin_is_left_alone(speech: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "SPEAKERS.TXT").write_text("ann | F | mine\n")
    with pytest.raises(InputError, match="of another origin"):
        bring(speech, tmp_path / "corpus", "mine")
    assert (tmp_path / "corpus" / "SPEAKERS.TXT").read_text() == "ann | F | mine\n"
