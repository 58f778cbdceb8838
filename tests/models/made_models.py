"""Tiny models of every kind, and mixtures for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from audioslots.config.study import merge
from audioslots.config.variant import Resolved, checked
from audioslots.separation.weights import build

CHUNK = 512  # samples
TINY: dict[str, Any] = {
    "chunk_s": CHUNK / 8000,
    "spectrogram": {"window": 64, "hop": 32},
    "encoder": {"kind": "frames", "blocks": [1, 1], "width": 16, "layers": 1, "heads": 2, "mlp": 16, "kernel": 3},
    "slots": {"count": 3, "layers": 1, "iterations": 2},
    "decoder": {"kind": "film", "width": 16, "layers": 2, "output": "sigmoid"},
    "conv_tasnet": {"kernel": 16, "filters": 16, "features": 8, "hidden": 16, "layers": 3, "stacks": 2},
    "training": {"loss": "snr"},
    "name": "tiny",
    "benchmark": "made",
    "seed": 0,
    "rate": 8000,
    "sources": 2,
    "train": "packed",
    "validation": None,
    "held_out_speakers": 2,
    "data_identity": "made",
}


def resolved(model: str = "audioslots", count: int = 3, **kinds: Any) -> Resolved:
    """A tiny variant; ``kinds`` are of ``encoder``, ``slots`` and ``decoder``, and ``output``."""
    output = {"output": kinds.pop("output")} if "output" in kinds else {}
    delta: dict[str, Any] = {section: {"kind": kind} for section, kind in kinds.items()}
    delta = merge(delta, {"model": model, "slots": {"count": count}, "decoder": output})
    return checked(Resolved, merge(TINY, delta), "tiny")


def built(model: str = "audioslots", count: int = 3, seed: int = 0, **kinds: Any) -> Any:
    """That variant's model, its weights drawn from ``seed``."""
    torch.manual_seed(seed)
    return build(resolved(model, count, **kinds)).eval()


def mixtures(count: int = 2, seed: int = 0, samples: int = CHUNK) -> Tensor:
    """Noise at a level of speech, (B, T)."""
    return 0.05 * torch.randn(count, samples, generator=torch.Generator().manual_seed(seed))
