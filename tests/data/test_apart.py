"""No speaker of test or dev mixtures is trained on: a check of its own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from audioslots.data.librimix.speakers import speakers_apart
from audioslots.data.training.packing import Speech, pack
from audioslots.runtime.errors import InputError


@pytest.fixture(scope="module")
def packed(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "train-clean"
    pack(made_corpus, "train-clean", folder, 8000)
    return folder


def mixtures(folder: Path, *speakers: str) -> Path:
    """A rendered folder, as far as the check reads it: one mixture of each speaker and one of another corpus."""
    (folder / "metadata").mkdir(parents=True)
    ids = {"mixture_ID": list(speakers), "speaker_1_ID": list(speakers), "speaker_2_ID": "9999"}
    pd.DataFrame(ids).to_csv(folder / "metadata" / "info_test.csv", index=False)
    return folder / "test"


def test_speakers_of_its_own_are_counted(packed: Path, tmp_path: Path) -> None:
    assert speakers_apart(mixtures(tmp_path, "8888"), packed) == (len(Speech.open(packed).speakers), 2)


def test_a_speaker_that_is_trained_on_is_named(packed: Path, tmp_path: Path) -> None:
    speaker = Speech.open(packed).speakers[1]
    with pytest.raises(InputError, match=f"test: speaker {speaker} is trained on too .*expected other speakers"):
        speakers_apart(mixtures(tmp_path, "8888", speaker), packed)


def test_speakers_that_training_holds_out_may_be_in_the_mixtures_and_no_others(packed: Path, tmp_path: Path) -> None:
    trained, out = Speech.open(packed).hold_out(2)
    assert speakers_apart(mixtures(tmp_path / "out", *out.speakers), packed, 2) == (len(trained.speakers), 3)
    with pytest.raises(InputError, match="is trained on too"):
        speakers_apart(mixtures(tmp_path / "in", trained.speakers[0]), packed, 2)


def test_mixtures_that_are_not_rendered_are_refused(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"info_test\.csv: no such file; expected it from"):
        speakers_apart(tmp_path / "test", packed)
