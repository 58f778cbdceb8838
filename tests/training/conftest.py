"""Fixtures of the training tests: packed speech."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioslots.data.training.packing import pack


@pytest.fixture(scope="session")
def packed(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train-clean`` and ``dev-clean`` packed at 8 kHz."""
    folder = tmp_path_factory.mktemp("packed")
    for subset in ("train-clean", "dev-clean"):
        pack(made_corpus, subset, folder / subset, 8000)
    return folder
