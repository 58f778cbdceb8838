"""The weights that come with the package: the card says what the published results say, and names its file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import audioslots
from audioslots.config.variant import Resolved, checked
from audioslots.reporting import card as card_module
from audioslots.reporting.card import release_weights
from audioslots.reporting.results import Results, Run, join_scores
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import sha256
from audioslots.separation.weights import SHIPPED, build, load_model, save_model
from tests.reporting.made_results import make_scores, write_json

ROOT = Path(__file__).parents[2]
TINY: dict[str, Any] = {
    **{"name": "tiny", "title": "Tiny, ratio masks", "benchmark": "made", "seed": 1, "rate": 8000, "chunk_s": 0.1},
    **{"sources": 2, "train": "packed", "validation": None, "held_out_speakers": 4, "data_identity": "made"},
    "model": {
        **{"width": 16, "heads": 2, "mlp": 32, "spectrogram": {"window": 128, "hop": 64}},
        "encoder": {"kind": "frames", "layers": 1},
        "slots": {"layers": 1},
        "decoder": {"kind": "film", "layers": 1},
    },
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    config = checked(Resolved, TINY, "tiny")
    save_model(tmp_path / "run" / "model.safetensors", build(config), config)
    system = {"train_subset": "train-clean-100", "train_hours": 1.35, "train_speakers": 221, "steps": 11000}
    write_json(tmp_path / "run" / "system.json", system | {"wall_s": 700.0, "device": "a processor", "commit": "abc"})
    return tmp_path / "run"


def publish(folder: Path, seeds: tuple[int, ...] = (1, 2)) -> Path:
    """Write published results of the mixture, of some seeds of the run's variant, and of another one."""
    runs = [Run(folder, "mixture", 0, {}, make_scores("mixture", 0.0, (0,), ("none",)))]
    runs += [Run(folder, "other", seed, {}, make_scores("other", 9.0, (seed,))) for seed in (1, 2)]
    for seed in seeds:
        files = {"config.json": checked(Resolved, TINY | {"seed": seed}, "tiny").document()}
        runs.append(Run(folder, "tiny", seed, files, make_scores("tiny", 3.0 + 2 * seed, (seed,))))
    described = {
        "name": "made",
        "variants": ["mixture", "other", "tiny"],
        "test_description": "mixtures of two speakers",
    }
    Results(folder, described, runs).write_published()
    return folder


def test_the_card_says_what_was_trained_and_its_scores(run: Path, tmp_path: Path) -> None:
    reference, out = publish(tmp_path / "reference" / "made"), tmp_path / "weights" / "tiny.safetensors"
    card = release_weights(run, reference, out)
    assert card == out.with_name("README.md")
    assert out.read_bytes() == (run / "model.safetensors").read_bytes()
    text = card.read_text(encoding="utf-8")
    for fact in (sha256(out), "Tiny, ratio masks", "1.4 h of 221 speakers", "11,000 steps, seed 1, 12 minutes", "abc"):
        assert fact in text
    assert f"`{load_model(run)[1].run_identity}`, of `{reference}`" in text and "mixtures of two speakers" in text
    table = dict(re.findall(r"^\| ([^|]+?) \| blind \| (-?[\d.]+) ", text, re.MULTILINE))
    rows = join_scores(Results.read_published(reference).runs).query("variant == 'tiny' and stitching == 'blind'")
    means = rows.groupby("seed")["si_sdri_db"].mean()
    assert float(table["These weights"]) == pytest.approx(means[1], abs=0.006)
    assert float(table["All published seeds"]) == pytest.approx(means.mean(), abs=0.006)
    assert "**" not in text and "≈" not in text, "one model has no competitor"


@pytest.mark.parametrize(
    ("seeds", "largest", "message"),
    [
        ((2,), 10_000_000, "holds None; expected its identity, [0-9a-f]{16}"),
        ((1, 2), 1000, "expected 1000 at most"),
    ],
)
def test_unpublished_and_large_weights_are_not_shipped(run, tmp_path, monkeypatch, seeds, largest, message) -> None:
    monkeypatch.setattr(card_module, "LARGEST", largest)
    out = tmp_path / "weights" / "tiny.safetensors"
    with pytest.raises(InputError, match=message):
        release_weights(run, publish(tmp_path / "reference", seeds), out)
    assert not out.exists()


# --- the shipped weights -------------------------------------------------------------------------------------------


def test_the_shipped_weights_are_those_of_their_card_and_of_a_published_run() -> None:
    text = SHIPPED.with_name("README.md").read_text(encoding="utf-8")
    assert SHIPPED.stat().st_size <= card_module.LARGEST
    assert f"SHA-256 `{sha256(SHIPPED)}`" in text
    _, config = load_model(SHIPPED)
    ((identity, place),) = re.findall(r"\| Identity \| `(\w+)`, of `([\w/.-]+)` \|", text)
    runs = {(run.variant, run.seed): run for run in Results.read_published(ROOT / place).runs}
    assert identity == config.run_identity == runs[config.name, config.seed].identity


def test_a_recording_is_separated_without_a_model_named(tmp_path: Path) -> None:
    waveform = 0.1 * np.random.default_rng(0).standard_normal(12000).astype(np.float32)
    soundfile.write(tmp_path / "talk.wav", waveform, 8000)
    command = [sys.executable, "-m", "audioslots.cli", "separate", tmp_path / "talk.wav", "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["talk_s1.wav", "talk_s2.wav"]
    assert audioslots.load().separate(waveform, 8000).shape == (2, 12000)
