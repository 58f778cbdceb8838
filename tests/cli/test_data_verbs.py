"""The verbs of the data: bad input is one line and status 2, never half an output; good input works."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from calling import Call, files


def truncate(corpus: Path) -> Path:
    path = sorted(corpus.rglob("*.flac"))[3]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_from_corpus_to_mixtures_and_packed_speech(call: Call, made_corpus: Path, tmp_path: Path) -> None:
    assert "no problem found" in call.good("corpus", "check", made_corpus)
    printed = call.good("mixtures", "draw", made_corpus / "test-clean", "drawn.csv", "--count", 3, "--seed", 4)
    assert "mixtures: 3" in printed
    assert json.loads(Path("drawn.json").read_text())["mixtures"] == 3
    assert call.good("corpus", "check", made_corpus, "--against", "drawn.csv")
    arguments = ("mixtures", "render", "drawn.csv", "--librispeech", made_corpus, "--out", "mixtures", "--rate", 8000)
    folder = Path(call.good(*arguments).strip())
    assert folder == Path("mixtures/Libri2Mix/wav8k/min/test")
    assert [len(list((folder / name).glob("*.wav"))) for name in ("mix_clean", "s1", "s2")] == [3, 3, 3]
    assert call.good(*arguments).strip() == str(folder)  # finished: verified, left alone
    for _ in range(2):
        call.good("pack", made_corpus / "dev-clean", "packed", "--rate", 8000)
    assert files(tmp_path / "packed") == ["index.csv", "manifest.json", "speech.i16"]
    assert "none of its " in call.good("mixtures", "apart", folder, "--packed", "packed")
    call.good("pack", made_corpus / "test-clean", "packed-test", "--rate", 8000)
    assert "is trained on too (packed-test)" in call.refused("mixtures", "apart", folder, "--packed", "packed-test")


def test_official_rows_are_kept_where_their_sources_are(call: Call, made_corpus: Path, corpus: Path) -> None:
    call.good("mixtures", "draw", made_corpus / "test-clean", "drawn.csv", "--count", 6)
    missing = pd.read_csv("drawn.csv")["source_1_path"][0]
    (corpus / missing).unlink()
    call.good("mixtures", "select", "drawn.csv", "kept.csv", "--librispeech", corpus)
    kept = pd.read_csv("kept.csv")
    assert 0 < len(kept) < 6 and missing not in kept.to_numpy()
    shutil.rmtree(corpus / "test-clean")
    assert "no row has all its sources" in call.refused(
        *("mixtures", "select", "drawn.csv", "none.csv", "--librispeech", corpus)
    )
    assert not Path("none.csv").exists()


def test_negative_seed_is_refused(call: Call, made_corpus: Path) -> None:
    line = call.refused("mixtures", "draw", made_corpus / "test-clean", "out.csv", "--count", 2, "--seed", -1)
    assert "seed" in line
    assert files(Path()) == []


def test_truncated_speech_is_named_and_leaves_nothing_finished(call: Call, corpus: Path) -> None:
    call.good("mixtures", "draw", corpus / "test-clean", "drawn.csv", "--count", 6)
    damaged = truncate(corpus)
    assert damaged.name in call("corpus", "check", corpus).out
    assert "1 problems" in call.refused("corpus", "check", corpus)
    assert str(damaged) in call.refused("pack", corpus / "test-clean", "packed", "--rate", 8000)
    assert files(Path("packed")) == ["unfinished.csv", "unfinished.i16"]
    render = ("mixtures", "render", "drawn.csv", "--librispeech", corpus, "--out", "mixtures", "--rate", 8000)
    used = pd.read_csv("drawn.csv").filter(like="_path").to_numpy().ravel()
    assert damaged.relative_to(corpus).as_posix() in used
    for _ in range(2):  # what an interrupted run left is no excuse
        assert str(damaged) in call.refused(*render, "--mode", "max")
    assert "manifest.json" not in files(Path("mixtures"))
    assert not [name for name in files(Path("mixtures")) if ".tmp" in name]


def test_row_without_its_file_is_named_before_anything_is_rendered(call: Call, corpus: Path) -> None:
    call.good("mixtures", "draw", corpus / "test-clean", "drawn.csv", "--count", 3)
    missing = pd.read_csv("drawn.csv")["source_2_path"][1]
    (corpus / missing).unlink()
    line = call.refused("mixtures", "render", "drawn.csv", "--librispeech", corpus, "--out", "mixtures", "--rate", 8000)
    assert "row 2" in line and missing in line
    assert not Path("mixtures").exists()


@pytest.mark.parametrize("rate", [0, -8000, 11_025, 44_100])
def test_rate_that_is_neither_8000_nor_16000_is_refused(call: Call, made_corpus: Path, rate: int) -> None:
    assert str(rate) in call.refused("pack", made_corpus / "dev-clean", "packed", "--rate", rate)
    assert not Path("packed").exists()
    call.good("mixtures", "draw", made_corpus / "test-clean", "drawn.csv", "--count", 2)
    render = ("mixtures", "render", "drawn.csv", "--librispeech", made_corpus, "--out", "mixtures", "--rate", rate)
    assert str(rate) in call.refused(*render)
    assert not Path("mixtures").exists()
