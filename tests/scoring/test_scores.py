"""The table of scores, also of earlier versions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from audioslots.runtime.errors import InputError
from audioslots.runtime.files import sha256
from audioslots.scoring.metrics import LATER
from audioslots.scoring.scores import COLUMNS, read_scores
from tests.reporting.made_results import make_scores as made_scores

PUBLISHED = sorted((Path(__file__).resolve().parents[2] / "results" / "reference").glob("*/scores.parquet"))


def test_columns_that_an_earlier_version_lacks_are_missing(tmp_path):
    scores = made_scores("audioslots", 5.0)
    scores.drop(columns=list(LATER), errors="ignore").to_parquet(tmp_path / "scores.parquet", index=False)
    read = read_scores(tmp_path / "scores.parquet")
    assert {"assignment_accuracy", "outputs"} < set(LATER) and list(read.columns) == list(COLUMNS)
    assert read[list(LATER)].isna().all(axis=None)
    scores.drop(columns="pesq").to_parquet(tmp_path / "scores.parquet", index=False)
    with pytest.raises(InputError, match="no column pesq; expected the columns benchmark, variant"):
        read_scores(tmp_path / "scores.parquet")


def test_the_assignment_accuracy_had_another_name(tmp_path):
    scores = made_scores("audioslots", 5.0).assign(assignment_accuracy_from_0_s=0.5)
    scores.loc[0, "failure"] = "pesq: undefined; assignment_accuracy: estimate is silent"
    old = scores.rename(columns=lambda name: name.replace("assignment_accuracy", "own_output"))
    old["failure"] = old["failure"].str.replace("assignment_accuracy", "own_output")
    old.to_parquet(tmp_path / "scores.parquet", index=False)
    read = read_scores(tmp_path / "scores.parquet")
    pd.testing.assert_frame_equal(read[list(scores.columns)], scores, check_exact=True)


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.parent.name)
def test_published_scores_are_read_and_stay_as_they_are(path):
    before = sha256(path)
    read = read_scores(path)
    assert set(read.columns) == set(COLUMNS) and read["assignment_accuracy"].notna().any()
    assert not read["failure"].str.contains("own_output").any() and sha256(path) == before


@pytest.mark.parametrize(("content", "message"), [(None, "no such file"), (b"PAR", "not readable")])
def test_a_file_that_is_no_table_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "scores.parquet").write_bytes(content)
    with pytest.raises(InputError, match=rf"scores\.parquet: {message}"):
        read_scores(tmp_path / "scores.parquet")
