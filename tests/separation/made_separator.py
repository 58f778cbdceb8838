"""Untrained separators, and recordings for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from audioslots.config.study import merge
from audioslots.config.variant import Resolved
from audioslots.separation.separator import Separator
from audioslots.separation.weights import build

CONV_TASNET = {"kind": "conv_tasnet", "filters": 8, "features": 8, "hidden": 8, "layers": 1, "stacks": 1}
COUNTING: dict[str, Any] = {"counts": [1, 2, 3], "sources": 3, "training": {"loss": "snr"}}


def tiny(slots: int = 2, **delta: Any) -> Separator:
    """A model of chunks of 0.1 s at 8 kHz; ``delta`` changes its config."""
    document: dict[str, Any] = {
        **{"name": "tiny", "benchmark": "made", "seed": 3, "rate": 8000, "sources": 2, "train": "train"},
        **{"validation": None, "held_out_speakers": 2, "data_identity": "made", "chunk_s": 0.1},
        "model": {
            **{"width": 16, "heads": 2, "mlp": 16, "output": "sigmoid", "spectrogram": {"window": 128, "hop": 64}},
            "encoder": {"kind": "frames", "layers": 1},
            "slots": {"count": slots, "layers": 1},
            "decoder": {"width": 16, "layers": 1},
        },
    }
    if "kind" in delta.get("model", {}):
        document["model"] = {}
    config = Resolved.model_validate(merge(document, delta))
    torch.manual_seed(0)
    return Separator(build(config).eval(), config)


def conv_tasnet(**separation: Any) -> Separator:
    return tiny(model=CONV_TASNET, training={"loss": "snr"}, separation=separation)


def noise(seconds: float, rate: int = 8000, channels: int = 1) -> np.ndarray:
    """(T, channels)."""
    return 0.1 * np.random.default_rng(0).standard_normal((round(seconds * rate), channels)).astype(np.float32)


def streamed(separator: Separator, mixture: Tensor, size: int | None = None, at_once: int | None = None) -> Tensor:
    """Outputs (K, T) of a mixture (T,) that comes in blocks of ``size``."""
    return torch.cat(list(separator.stream(mixture.split(size or len(mixture)), at_once)), dim=-1)
