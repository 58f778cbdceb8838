"""Speech on disk: what is read, what is listed, and what is said about files that are not as they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioslots.data.corpora.corpus import check, read_speech, speaker_sex, utterances
from audioslots.runtime.errors import InputError

NAMES = ["dev-clean/12/3/12-3-0000.flac", "test-clean/7/1/7-1-0000.flac", "test-clean/7/1/7-1-0001.flac"]


def write(path: Path, seconds: float = 0.5, rate: int = 16000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(len(path.name)).uniform(-0.5, 0.5, (round(seconds * rate), channels))
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


def truncate(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        write(tmp_path / name)
    (tmp_path / "SPEAKERS.TXT").write_text(
        "; comment | with a bar\n;ID  |SEX| SUBSET           |MINUTES| NAME\n"
        "7    | F | test-clean       |  8.02 | A name | with a bar\n12   | M | dev-clean        |  8.10 | B\n"
    )
    return tmp_path


def test_speech_is_float32_and_the_start_alone_can_be_read(root):
    whole = read_speech(root / NAMES[0])
    assert whole.dtype == np.float32 and whole.shape == (8000,)
    np.testing.assert_array_equal(read_speech(root / NAMES[0], frames=1000), whole[:1000])
    np.testing.assert_array_equal(read_speech(root / NAMES[0], frames=10**6), whole)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: path, "no such file"),
        (lambda path: write(path, rate=8000), "8000 Hz; expected 16000 Hz"),
        (lambda path: write(path, channels=2), "2 channels; expected mono"),
        (lambda path: soundfile.write(path, np.zeros(0), 16000, format="WAV"), "empty .* expected speech"),
        (lambda path: path.write_bytes(b"no audio"), "cannot be decoded"),
        (lambda path: path.write_bytes(b""), "cannot be decoded"),
        (lambda path: truncate(write(path, seconds=3)), "expected"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, make, problem):
    path = tmp_path / "speech.flac"
    make(path)
    with pytest.raises(InputError, match=problem) as caught:
        read_speech(path)
    assert str(caught.value).startswith(f"{path}: ") and "expected" in str(caught.value)


def test_the_table_of_speakers_gives_their_sex(root):
    assert speaker_sex(root) == {"7": "F", "12": "M"}


def test_a_missing_or_broken_table_of_speakers_is_named(root):
    (root / "SPEAKERS.TXT").write_text("7 | X | test-clean | 1.0 | A\n")
    with pytest.raises(InputError, match=r"SPEAKERS.TXT: line 1 .* expected ID"):
        speaker_sex(root)
    (root / "SPEAKERS.TXT").unlink()
    with pytest.raises(InputError, match=r"SPEAKERS.TXT: no such file"):
        speaker_sex(root)


def test_utterances_are_listed_by_path_without_files_being_written(root):
    write(root / "test-clean/7/1/.7-1-0002.0badcafe.tmp.flac")
    table = utterances(root)
    assert list(table["path"]) == NAMES
    assert list(table.columns) == ["path", "speaker_id", "sex", "subset", "frames"]
    assert table.iloc[0].to_dict() == {
        "path": NAMES[0], "speaker_id": "12", "sex": "M", "subset": "dev-clean", "frames": 8000
    }  # fmt: skip
    assert list(utterances(root, "test-clean")["path"]) == NAMES[1:]


def test_a_missing_folder_is_named_with_the_layout_expected(root, tmp_path_factory):
    with pytest.raises(InputError, match=r"train-clean: no such folder; expected .*<speaker>/<chapter>/\*\.flac"):
        utterances(root, "train-clean")
    with pytest.raises(InputError, match=r"absent: no such folder"):
        utterances(root / "absent")
    with pytest.raises(InputError, match=r"no speech inside"):
        utterances(tmp_path_factory.mktemp("empty"))


def test_a_speaker_without_a_line_is_named(root):
    write(root / "dev-clean/99/1/99-1-0000.flac")
    with pytest.raises(InputError, match=r"SPEAKERS.TXT: speaker 99 is missing"):
        utterances(root)


def test_a_sound_corpus_passes_the_check(root):
    assert check(root) == []


def test_check_lists_every_problem_once(root):
    write(root / NAMES[0], rate=8000)
    truncate(write(root / NAMES[1], seconds=3))
    write(root / "dev-clean/99/1/99-1-0000.flac", channels=2)
    metadata = root / "mixtures.csv"
    metadata.write_text(
        "mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain\n"
        f"a,{NAMES[2]},1.0,test-clean/8/1/8-1-0000.flac,1.0\nb,{NAMES[1]},1.0,test-clean/8/1/8-1-0000.flac,1.0\n"
    )
    problems = check(root, against=metadata)
    assert len(problems) == 5
    for part in ("8000 Hz", NAMES[1], "2 channels", "speaker 99", "8-1-0000.flac: missing"):
        assert sum(part in problem for problem in problems) == 1, (part, problems)


def test_check_compares_lengths_with_librimix_table_of_librispeech(root):
    table = root / "test-clean.csv"
    rows = [(NAMES[1], 8000), (NAMES[2], 8001), ("test-clean/8/1/8-1-0000.flac", 8000)]
    lines = [f"7,F,test-clean,{length},{path}" for path, length in rows]
    table.write_text("speaker_ID,sex,subset,length,origin_path\n" + "\n".join(lines) + "\n")
    assert check(root, against=table) == [
        f"{root / NAMES[2]}: has 8000 samples; expected 8001, by {table}",
        f"{root / rows[2][0]}: missing; expected by {table}",
    ]
    table.write_text("speaker_ID,sex,subset,length,origin_path\n7,F,test-clean,long,a\n")
    with pytest.raises(InputError, match=r"test-clean.csv: length: .* expected numbers of samples"):
        check(root, against=table)


def test_check_refuses_a_file_that_is_no_metadata(root):
    with pytest.raises(InputError, match=r"absent.csv: no such file"):
        check(root, against=root / "absent.csv")
    (root / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"other.csv: has no column source_1_path"):
        check(root, against=root / "other.csv")


def test_librispeech_itself_is_read(shared):
    root = shared / "librispeech" / "LibriSpeech"
    sexes = speaker_sex(root)
    assert len(sexes) == 2484 and set(sexes.values()) == {"F", "M"}
    table = utterances(root, "test-clean")
    assert len(table) == 400 and table["speaker_id"].nunique() == 40
    first = table.iloc[0]
    assert len(read_speech(root / first["path"])) == first["frames"]


def test_librispeech_itself_is_as_long_as_librimix_says(shared):
    table = shared / "librimix" / "metadata" / "LibriSpeech" / "test-clean.csv"
    problems = check(shared / "librispeech" / "LibriSpeech", table)
    assert len(problems) == 2229 - 400
    assert all("missing; expected by" in problem for problem in problems)
