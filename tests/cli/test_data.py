"""Commands that make data: bad input is one line and status 2, never half an output; good input works."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
from calling import Call, files

RENDER = ("mixtures", "render", "drawn.csv", "--out", "mixtures", "--librispeech")


def sample(call: Call, corpus: Path, count: int) -> pd.DataFrame:
    """Rows of ``drawn.csv``, which is written."""
    call.good("mixtures", "sample", corpus / "test-clean", "drawn.csv", "--count", count)
    return pd.read_csv("drawn.csv")


def test_from_corpus_to_mixtures_and_packed_speech(call: Call, made_corpus: Path, tmp_path: Path) -> None:
    assert "no problem found" in call.good("corpus", "check", made_corpus)
    sample(call, made_corpus, 3)
    assert json.loads(Path("drawn.json").read_text())["mixtures"] == 3
    assert call.good("corpus", "check", made_corpus, "--against", "drawn.csv")
    folder = Path(call.good(*RENDER, made_corpus, "--rate", 8000).strip())
    assert folder == Path("mixtures/Libri2Mix/wav8k/min/test")
    assert [len(list((folder / name).glob("*.wav"))) for name in ("mix_clean", "s1", "s2")] == [3, 3, 3]
    assert call.good(*RENDER, made_corpus, "--rate", 8000).strip() == str(folder), "finished: verified, left alone"
    for subset in ("dev-clean", "test-clean"):
        call.good("corpus", "pack", made_corpus / subset, f"packed/{subset}", "--rate", 8000)
        assert files(tmp_path / "packed" / subset) == ["index.csv", "manifest.json", "speech.i16"]
    check = ("mixtures", "check-speakers", folder, "--packed")
    assert "none of its " in call.good(*check, "packed/dev-clean")
    assert "is trained on too (packed/test-clean)" in call.refused(*check, "packed/test-clean")


def test_official_rows_are_selected_where_their_sources_are(call: Call, corpus: Path) -> None:
    missing = sample(call, corpus, 6)["source_1_path"][0]
    select = ("mixtures", "select", "drawn.csv", "kept.csv", "--librispeech", corpus)
    (corpus / missing).unlink()
    call.good(*select)
    kept = pd.read_csv("kept.csv")
    assert 0 < len(kept) < 6 and missing not in kept.to_numpy()
    shutil.rmtree(corpus / "test-clean")
    Path("kept.csv").unlink()
    assert "no row has all its sources" in call.refused(*select) and not Path("kept.csv").exists()
