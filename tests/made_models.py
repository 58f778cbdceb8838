"""Tiny models of every kind, and mixtures for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from audioslots.config.study import merge
from audioslots.config.variant import Resolved
from audioslots.schema import KINDS, checked
from audioslots.separation.weights import build

CHUNK = 512  # samples
TINY: dict[str, Any] = {
    "chunk_s": CHUNK / 8000,
    "model": {
        **{"width": 16, "heads": 2, "mlp": 16, "output": "sigmoid"},
        "spectrogram": {"window": 64, "hop": 32},
        "encoder": {"kind": "frames", "layers": 1, "kernel": 3},
        "slots": {"count": 3, "layers": 1},
        "decoder": {"kind": "film", "layers": 2, "kernel": 3},
    },
    "training": {"loss": "snr"},
    **{"name": "tiny", "benchmark": "made", "seed": 0, "rate": 8000, "sources": 2, "train": "packed"},
    **{"validation": None, "held_out_speakers": 2, "data_identity": "made"},
}
SMALL = {  # what the default sizes of a kind are replaced by
    "conv_tasnet": {"kernel": 16, "filters": 16, "features": 8, "hidden": 16, "layers": 3, "stacks": 2, "outputs": 3},
    "resnet": {"blocks": [1, 1]},
    "broadcast": {"width": 16},
    "broadcast_cnn": {"width": 16, "layers": 3},
}


def kinds(key: str) -> list[str]:
    """The kinds of ``encoder``, ``slots`` or ``decoder``."""
    return sorted(KINDS[key].configs)


def resolved(model: dict[str, Any] | None = None, **values: Any) -> Resolved:
    """A tiny variant with a delta of its section ``model`` and of others; parts of another kind get small sizes."""
    delta = dict(model or {})
    for key in ("encoder", "slots", "decoder"):
        if key in delta:
            delta[key] = SMALL.get(delta[key].get("kind", ""), {}) | delta[key]
    delta = SMALL.get(delta.get("kind", ""), {}) | delta
    return checked(Resolved, merge(TINY, {"model": delta, **values}), "tiny")


def built(model: dict[str, Any] | None = None, seed: int = 0, **values: Any) -> Any:
    """That variant's model, its weights drawn from ``seed``."""
    torch.manual_seed(seed)
    return build(resolved(model, **values)).eval()


def mixtures(count: int = 2, seed: int = 0, samples: int = CHUNK) -> Tensor:
    """Noise at a level of speech, (B, T)."""
    return 0.05 * torch.randn(count, samples, generator=torch.Generator().manual_seed(seed))
