"""The weights that come with the package: the card says what the published results say, and names what is shipped."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from audioslots.reporting.archive import Archive, keep
from made_results import scores

import audioslots
from audioslots.config.variant import Resolved, checked
from audioslots.reporting import card as card_module
from audioslots.reporting.card import ship
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import sha256
from audioslots.separation.weights import SHIPPED, build, load_model, save_model

ROOT = Path(__file__).parents[2]
TINY: dict[str, Any] = {
    "title": "Tiny, ratio masks",
    "chunk_s": 0.1,
    "model": {
        **{"width": 16, "heads": 2, "mlp": 32, "spectrogram": {"window": 128, "hop": 64}},
        "encoder": {"kind": "frames", "layers": 1},
        "slots": {"layers": 1},
        "decoder": {"kind": "film", "layers": 1},
    },
    **{
        "name": "tiny",
        "benchmark": "made",
        "seed": 1,
        "rate": 8000,
        "sources": 2,
        "train": "packed",
        "validation": None,
    },
    **{"held_out_speakers": 4, "data_identity": "made"},
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    config = checked(Resolved, TINY, "tiny")
    save_model(tmp_path / "run" / "model.safetensors", build(config), config)
    system = {"train_subset": "train-clean-100", "train_hours": 1.35, "train_speakers": 221, "steps": 11000}
    system |= {"wall_s": 700.0, "device": "a processor", "commit": "abc"}
    (tmp_path / "run" / "system.json").write_text(json.dumps(system))
    return tmp_path / "run"


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    folder = tmp_path / "reference" / "made"
    own = scores("tiny", 5.0)
    own.loc[own["seed"] == 2, "si_sdri_db"] += 2
    rows = pd.concat([scores("mixture", 0.0, (0,), ("none",)), own, scores("other", 9.0)], ignore_index=True)
    configs = {seed: checked(Resolved, TINY | {"seed": seed}, "tiny").document() for seed in (1, 2)}
    runs: dict[str, Any] = {"mixture": {"0": {}}, "other": {"1": {}, "2": {}}}
    runs["tiny"] = {str(seed): {"config.json": config} for seed, config in configs.items()}
    described = {"name": "made", "variants": list(runs), "test_description": "mixtures of two speakers"}
    keep(Archive(folder, described, runs, rows))
    return folder


def test_the_card_says_what_was_trained_and_what_it_scores(run: Path, reference: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights" / "tiny.safetensors"
    card = ship(run, reference, out)
    assert card == out.with_name("README.md")
    assert out.read_bytes() == (run / "model.safetensors").read_bytes()
    text = card.read_text(encoding="utf-8")
    for fact in (sha256(out), "Tiny, ratio masks", "1.4 h of 221 speakers", "11,000 steps, seed 1, 12 minutes", "abc"):
        assert fact in text
    assert f"`{load_model(run)[1].run_identity}`, of `{reference}`" in text and "mixtures of two speakers" in text
    table = dict(re.findall(r"^\| ([^|]+?) \| blind \| (-?[\d.]+) ", text, re.MULTILINE))
    rows = pd.read_parquet(reference / "scores.parquet").query("variant == 'tiny' and stitching == 'blind'")
    means = rows.groupby("seed")["si_sdri_db"].mean()
    assert float(table["These weights"]) == pytest.approx(means[1], abs=0.006)
    assert float(table["All published seeds"]) == pytest.approx(means.mean(), abs=0.006)
    assert "**" not in text and "≈" not in text, "one model is no contest"


def test_only_a_published_run_is_shipped(run: Path, reference: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights" / "tiny.safetensors"
    archive = Archive.read(reference)
    archive.runs["tiny"]["1"]["config.json"]["run_identity"] = "another"
    keep(archive)
    with pytest.raises(InputError, match=r"holds another; expected its identity, [0-9a-f]{16}"):
        ship(run, reference, out)
    del archive.runs["tiny"]
    keep(replace(archive, scores=archive.scores[archive.scores["variant"] != "tiny"]))
    with pytest.raises(InputError, match="holds None"):
        ship(run, reference, out)
    assert not out.exists()


def test_weights_that_are_too_large_are_not_shipped(
    run: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card_module, "LARGEST", 1000)
    with pytest.raises(InputError, match="expected 1000 at most"):
        ship(run, reference, tmp_path / "weights" / "tiny.safetensors")


# --- what is shipped -----------------------------------------------------------------------------------------------


def test_the_shipped_weights_are_those_of_their_card_and_of_a_published_run() -> None:
    text = (SHIPPED.with_name("README.md")).read_text(encoding="utf-8")
    assert SHIPPED.stat().st_size <= card_module.LARGEST
    assert f"SHA-256 `{sha256(SHIPPED)}`" in text
    _, config = load_model(SHIPPED)
    (identity, place) = re.findall(r"\| Identity \| `(\w+)`, of `([\w/.-]+)` \|", text)[0]
    published = Archive.read(ROOT / place)
    assert identity == config.run_identity == published.identity(config.name, config.seed)


def test_a_recording_is_separated_without_a_model_named(tmp_path: Path) -> None:
    waveform = 0.1 * np.random.default_rng(0).standard_normal(12000).astype(np.float32)
    soundfile.write(tmp_path / "talk.wav", waveform, 8000)
    verb = [
        sys.executable,
        "-m",
        "audioslots.cli",
        "separate",
        tmp_path / "talk.wav",
        "--out",
        tmp_path / "separated",
    ]
    done = subprocess.run(verb, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "separated").iterdir()) == ["talk_s1.wav", "talk_s2.wav"]
    assert audioslots.load().separate(waveform, 8000).shape == (2, 12000)
