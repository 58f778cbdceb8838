"""Training on static mixtures: chosen by one key, resumed to the same bits, validated as every other run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import CPU, resolved

from audioslots.config.variant import Resolved
from audioslots.data.training.packing import Speech
from audioslots.data.training.static import StaticMixer
from audioslots.runtime.errors import InputError
from audioslots.training.batches import batches
from audioslots.training.trainer import Trainer


def static(packed: Path, **training: Any) -> Resolved:
    return resolved(packed, {"steps": 6, "batch": 2, "warmup": 1, "checkpoint_every": 3} | training)


def test_a_static_variant_trains_on_static_mixtures_and_is_never_validated_on_them(packed, tmp_path) -> None:
    fixed, dynamic = (Trainer(static(packed, mixing=kind), tmp_path, CPU) for kind in ("static", "dynamic"))
    assert isinstance(fixed.mixer, StaticMixer) and not isinstance(dynamic.mixer, StaticMixer)
    expected = StaticMixer(Speech.open(packed / "train-clean"), 2, 800, seed=1, size=2).batch(3, 2)
    torch.testing.assert_close(
        next(batches(fixed.mixer, range(3, 4), range(2))), torch.from_numpy(expected), atol=0, rtol=0
    )
    assert torch.equal(fixed.validation, dynamic.validation)


def test_a_static_run_that_is_resumed_equals_an_undisturbed_one(packed, tmp_path, monkeypatch) -> None:
    config = static(packed, mixing="static")
    Trainer(config, tmp_path / "whole", CPU).train()
    step = Trainer._step

    def falls(self: Trainer, sources: torch.Tensor) -> float:
        if self.progress.step == 4:
            raise RuntimeError
        return step(self, sources)

    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        patched.setattr(Trainer, "_step", falls)
        Trainer(config, tmp_path / "broken", CPU).train()
    Trainer(config, tmp_path / "broken", CPU).train()
    whole, broken = (tmp_path / name / "model.safetensors" for name in ("whole", "broken"))
    assert whole.read_bytes() == broken.read_bytes()


@pytest.mark.parametrize(
    "other", [{"speed": 0.1}, {"even_speakers": True}, {"single_speaker_fraction": 0.1, "loss": "snr"}]
)
def test_what_static_mixtures_cannot_have_is_refused(packed: Path, other: dict[str, Any]) -> None:
    with pytest.raises(
        InputError, match="tiny: training: mixing static fixes speed, speakers and who speaks; expected speed 0"
    ):
        static(packed, mixing="static", **other)
