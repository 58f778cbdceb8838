"""What a model says of a batch of chunks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

TINY = 1e-8


class Estimates(NamedTuple):
    """Estimates of a batch of chunks; K slots in no particular order.

    Attributes:
        waveforms: (B, K, T), at the mixture's level.
        level: (B, 1) the mixture's root mean square; losses are computed on waveforms divided by it.
        compressed: (B, K, F, N) magnitudes of the waveforms divided by ``level``, to the power of the model's exponent;
            None of a model without a spectrogram.
        slots: (B, K, W) source embeddings; None of a model without.
        voices: (B, K, V) whose the slots are, made of them; None of a model that is not trained to say it.
        existence: (B, K) whether the slots hold a source, as a logit; None of a model that is not trained to say it.
        state: what the slots of the next chunks are to be carried on from; None of a model that does not.
        earlier: of the passes before the last, of a model that refines its estimates.
        left: of a model that takes sources in turn, what each turn but the last has left, to be the sum of those after.
    """

    waveforms: Tensor
    level: Tensor
    compressed: Tensor | None = None
    slots: Tensor | None = None
    voices: Tensor | None = None
    existence: Tensor | None = None
    state: Tensor | None = None
    earlier: tuple[Estimates, ...] = ()
    left: Estimates | None = None


def bottleneck(model: nn.Module, samples: int) -> dict[str, int]:
    """How many numbers a slot holds, and how many there are in what it stands for; nothing of a model without slots.

    Args:
        model: mixtures (B, T) -> ``Estimates``.
        samples: that the model reads for one chunk, T.

    Returns:
        ``numbers_a_slot``: W; ``numbers_a_source``: F x N, a source's spectrogram of one chunk.
    """
    with torch.no_grad():
        estimates = model(torch.zeros(1, samples, device=next(model.parameters()).device))
    if estimates.slots is None or estimates.compressed is None:
        return {}
    bins, frames = estimates.compressed.shape[-2:]
    return {"numbers_a_slot": estimates.slots.shape[-1], "numbers_a_source": bins * frames}


def covered(waveform: Tensor, samples: int) -> Tensor:
    """The middle (..., ``samples``) of what was read (..., T): a chunk without its context."""
    return waveform.narrow(-1, (waveform.shape[-1] - samples) // 2, samples)


def level_of(mixture: Tensor) -> Tensor:
    """Root mean square of mixtures (B, T) -> (B, 1), never zero."""
    return mixture.square().mean(dim=-1, keepdim=True).sqrt() + TINY
