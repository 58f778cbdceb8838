"""What a model says of a batch of chunks."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

TINY = 1e-8


class Estimates(NamedTuple):
    """Estimates of a batch of chunks; K slots in no particular order.

    Attributes:
        waveforms: (B, K, T), at the mixture's level.
        level: (B, 1) the mixture's root mean square; losses are computed on waveforms divided by it.
        compressed: (B, K, F, N) magnitudes of the waveforms divided by ``level``, to the power of the model's exponent;
            None of a model without a spectrogram.
        slots: (B, K, W) source embeddings; None of a model without.
    """

    waveforms: Tensor
    level: Tensor
    compressed: Tensor | None = None
    slots: Tensor | None = None


def level_of(mixture: Tensor) -> Tensor:
    """Root mean square of mixtures (B, T) -> (B, 1), never zero."""
    return mixture.square().mean(dim=-1, keepdim=True).sqrt() + TINY
