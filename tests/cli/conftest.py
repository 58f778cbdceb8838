"""What the commands work on: a corpus, packed speech, mixtures, a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from calling import CONFIG, Call

from audioslots.config.variant import Resolved
from audioslots.data.librimix.metadata import draw, write_metadata
from audioslots.data.librimix.rendering import render
from audioslots.data.training.packing import pack
from audioslots.separation.weights import build, save_model


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    monkeypatch.chdir(tmp_path)
    return Call(monkeypatch)


@pytest.fixture
def corpus(made_corpus: Path, tmp_path: Path) -> Path:
    """A copy of the made corpus' test subset, to be damaged."""
    shutil.copytree(made_corpus / "test-clean", tmp_path / "corpus" / "test-clean")
    shutil.copy(made_corpus / "SPEAKERS.TXT", tmp_path / "corpus")
    return tmp_path / "corpus"


@pytest.fixture(scope="session")
def packed(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed training and validation speech."""
    folder = tmp_path_factory.mktemp("packed")
    for subset in ("train-clean", "dev-clean"):
        pack(made_corpus, subset, folder / subset, 8000)
    return folder


@pytest.fixture
def config(packed: Path, call: Call) -> Path:
    """A resolved variant in the working folder, next to its packed speech."""
    Path("packed").symlink_to(packed)
    Path("config.json").write_text(json.dumps(CONFIG))
    return Path("config.json")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with an untrained model."""
    config = Resolved.model_validate(CONFIG)
    torch.manual_seed(0)
    run = tmp_path_factory.mktemp("run")
    save_model(run / "model.safetensors", build(config), config)
    return run


@pytest.fixture(scope="session")
def rendered(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished folder of two mixtures, as ``evaluate`` wants it."""
    folder = tmp_path_factory.mktemp("rendered")
    write_metadata(draw(made_corpus, "test-clean", 2, 2, 0), folder / "metadata.csv")
    return render(folder / "metadata.csv", made_corpus, folder, 8000, "min")
