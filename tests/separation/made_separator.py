"""An untrained separator, and recordings for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from audioslots.config.variant import Resolved
from audioslots.separation.separate import Separator
from audioslots.separation.weights import build


def tiny(rate: int = 8000, slots: int = 2) -> Separator:
    """An untrained model of chunks of 0.1 s."""
    document: dict[str, Any] = {
        "name": "tiny",
        "benchmark": "made",
        "seed": 3,
        "rate": rate,
        "sources": 2,
        "train": "train",
        "validation": None,
        "held_out_speakers": 2,
        "data_identity": "made",
        "chunk_s": 0.1,
        "model": {
            **{"width": 16, "heads": 2, "mlp": 16, "output": "sigmoid", "spectrogram": {"window": 128, "hop": 64}},
            "encoder": {"kind": "frames", "layers": 1},
            "slots": {"count": slots, "layers": 1},
            "decoder": {"width": 16, "layers": 1},
        },
    }
    config = Resolved.model_validate(document)
    torch.manual_seed(0)
    return Separator(build(config).eval(), config)


def recording(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    random = np.random.default_rng(0)
    return 0.1 * random.standard_normal((round(seconds * rate), channels))
