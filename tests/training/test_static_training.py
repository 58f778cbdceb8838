"""Training on static mixtures: chosen by one key, resumed to the same bits, validated as every other run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from audioslots.config.variant import Resolved, checked
from audioslots.data.training.packing import Speech
from audioslots.data.training.static import StaticMixer
from audioslots.runtime.errors import InputError
from audioslots.training.batches import batches
from audioslots.training.trainer import Trainer

CONFIG = {
    "chunk_s": 0.1,
    "spectrogram": {"window": 128, "hop": 64},
    "encoder": {"kind": "frames", "width": 16, "layers": 1, "heads": 2, "mlp": 32},
    "slots": {"layers": 1},
    "decoder": {"width": 16, "layers": 1},
    "name": "tiny",
    "benchmark": "made",
    "seed": 1,
    "rate": 8000,
    "sources": 2,
    "held_out_speakers": 0,
    "data_identity": "made",
}


def resolved(packed: Path, **training: Any) -> Resolved:
    places = {"train": str(packed / "train-clean"), "validation": str(packed / "dev-clean")}
    settings = {"steps": 6, "batch": 2, "warmup": 1, "validation_mixtures": 2, "checkpoint_every": 3} | training
    return checked(Resolved, CONFIG | places | {"training": settings}, "tiny")


def test_a_static_variant_trains_on_static_mixtures_and_is_never_validated_on_them(packed, tmp_path) -> None:
    static, dynamic = (Trainer(resolved(packed, mixing=kind), tmp_path, "cpu") for kind in ("static", "dynamic"))
    assert isinstance(static.mixer, StaticMixer) and not isinstance(dynamic.mixer, StaticMixer)
    expected = StaticMixer(Speech.open(packed / "train-clean"), 2, 800, seed=1, size=2).batch(3, 2)
    torch.testing.assert_close(
        next(batches(static.mixer, range(3, 4), range(2))), torch.from_numpy(expected), atol=0, rtol=0
    )
    assert torch.equal(static.validation, dynamic.validation)


def test_a_static_run_that_is_resumed_equals_an_undisturbed_one(packed, tmp_path, monkeypatch) -> None:
    config = resolved(packed, mixing="static")
    Trainer(config, tmp_path / "whole", "cpu").train()
    step = Trainer._step

    def falls(self: Trainer, sources: torch.Tensor) -> float:
        if self.progress.step == 4:
            raise RuntimeError
        return step(self, sources)

    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        patched.setattr(Trainer, "_step", falls)
        Trainer(config, tmp_path / "broken", "cpu").train()
    Trainer(config, tmp_path / "broken", "cpu").train()
    whole, broken = (tmp_path / name / "model.safetensors" for name in ("whole", "broken"))
    assert whole.read_bytes() == broken.read_bytes()


@pytest.mark.parametrize(
    "other", [{"speed": 0.1}, {"even_speakers": True}, {"single_speaker_fraction": 0.1, "loss": "snr"}]
)
def test_what_static_mixtures_cannot_have_is_refused(packed: Path, other: dict[str, Any]) -> None:
    with pytest.raises(
        InputError, match="tiny: training: mixing static fixes speed, speakers and who speaks; expected speed 0"
    ):
        resolved(packed, mixing="static", **other)
