"""Fixtures of the data tests: a drawn table, and the same rendered without disturbance."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audioslots.data.librimix.metadata import draw, write_metadata
from audioslots.data.librimix.rendering import render


@pytest.fixture(scope="session")
def table(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("metadata") / "test.csv"
    write_metadata(draw(made_corpus, "test-clean", sources=2, count=10, seed=0), path)
    return path


@pytest.fixture(scope="session")
def rendered(table: Path, made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder rendered without disturbance at 8 kHz, ``min``."""
    out = tmp_path_factory.mktemp("rendered")
    assert render(table, made_corpus, out, 8000, "min") == out / "Libri2Mix/wav8k/min/test"
    return out


@pytest.fixture
def copy(made_corpus: Path, tmp_path: Path) -> Path:
    """A copy of the corpus that may be damaged."""
    return Path(shutil.copytree(made_corpus, tmp_path / "corpus"))
