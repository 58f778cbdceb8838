"""A variant so small that a step takes milliseconds, and what two runs of it are compared by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from torch import Tensor

from audioslots.config.study import merge
from audioslots.config.variant import Resolved
from audioslots.runtime.errors import Interrupted
from audioslots.schema import checked
from audioslots.training import trainer

CPU = trainer.Machine("cpu")
CLOCK = ["seconds", "audio_seconds_per_second", "data_wait_share"]  # what differs between two runs of the same numbers


def resolved(data: Path, training: dict[str, Any] | None = None, model: Any = None, **values: Any) -> Resolved:
    """The variant on ``train-clean`` and ``dev-clean`` of a folder of packed speech, with a delta of its sections."""
    document = {
        "chunk_s": 0.1,
        "model": {
            **{"width": 16, "heads": 2, "mlp": 32, "output": "sigmoid"},
            "spectrogram": {"window": 128, "hop": 64},
            "encoder": {"kind": "frames", "layers": 1, "kernel": 3},
            "slots": {"count": 2, "layers": 1},
            "decoder": {"kind": "film", "layers": 1, "kernel": 3},
        },
        "training": {
            **{"loss": "si_sdr", "steps": 20, "batch": 4, "learning_rate": 1e-3, "warmup": 2},
            **{"validate_every": 5, "validation_mixtures": 4, "checkpoint_every": 100},
            **(training or {}),
        },
        **{"name": "tiny", "benchmark": "made", "seed": 1, "rate": 8000, "sources": 2},
        **{"train": str(data / "train-clean"), "validation": str(data / "dev-clean")},
        **{"held_out_speakers": 0, "data_identity": "made"},
    }
    return checked(Resolved, merge(document, {"model": model or {}, **values}), "tiny")


def history(out: Path) -> pd.DataFrame:
    """The part of history.csv that does not tell the time."""
    return pd.read_csv(out / "history.csv", dtype=str).drop(columns=CLOCK)


def stopped(step: int, config: Resolved, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train up to a step, and no further than a checkpoint."""
    whole = trainer.Trainer._step

    def stopping(run: trainer.Trainer, sources: Tensor) -> float:
        rate = whole(run, sources)
        if run.progress.step == step:
            run.save()
            raise Interrupted("stopped")
        return rate

    with monkeypatch.context() as patched:
        patched.setattr(trainer.Trainer, "_step", stopping)
        with pytest.raises(Interrupted):
            trainer.train(config, out, CPU)


def same(ours: Path, theirs: Path) -> None:
    """Weights and history are equal to the bit."""
    for name in ("model.safetensors",):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    pd.testing.assert_frame_equal(history(ours), history(theirs), check_exact=True)
