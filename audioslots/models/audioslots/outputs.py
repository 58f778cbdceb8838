"""Outputs: what a decoder's maps mean, and so which spectra they are.

An output is a number of maps a slot, C, and a function of maps (B, K, C, F, N), the mixture's complex spectrum
(B, F, N) and the exponent of compression; it returns the estimates' compressed magnitudes and complex spectra,
(B, K, F, N) each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = 1e-8


class Output(NamedTuple):
    """A kind of output: maps a slot, and the function that reads them."""

    channels: int
    read: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def compress(magnitudes: Tensor, exponent: float) -> Tensor:
    """Magnitudes to the power of ``exponent``, with a gradient that stays finite at zero."""
    return (magnitudes + TINY) ** exponent


def magnitude(maps: Tensor, spectrum: Tensor, exponent: float) -> tuple[Tensor, Tensor]:
    """Compressed magnitudes themselves, with the mixture's phase: the paper's output."""
    compressed = F.softplus(maps[:, :, 0])
    phase = spectrum / (spectrum.abs() + TINY)
    return compressed, compressed ** (1 / exponent) * phase[:, None]


def sigmoid_mask(maps: Tensor, spectrum: Tensor, exponent: float) -> tuple[Tensor, Tensor]:
    """A mask in 0..1 on the mixture, each slot's on its own."""
    return _masked(maps[:, :, 0].sigmoid(), spectrum, exponent)


def softmax_mask(maps: Tensor, spectrum: Tensor, exponent: float) -> tuple[Tensor, Tensor]:
    """Masks that share the mixture out among the slots: the one output where a slot depends on the others."""
    return _masked(maps[:, :, 0].softmax(dim=1), spectrum, exponent)


def complex_mask(maps: Tensor, spectrum: Tensor, exponent: float) -> tuple[Tensor, Tensor]:
    """A complex mask on the mixture, its real and imaginary part unbounded: phase is decoded too (Williamson 2016)."""
    return _masked(torch.complex(maps[:, :, 0], maps[:, :, 1]), spectrum, exponent)


def _masked(masks: Tensor, spectrum: Tensor, exponent: float) -> tuple[Tensor, Tensor]:
    spectra = masks * spectrum[:, None]
    return compress(spectra.abs(), exponent), spectra


OUTPUTS = {
    "magnitude": Output(1, magnitude),
    "sigmoid": Output(1, sigmoid_mask),
    "softmax": Output(1, softmax_mask),
    "complex": Output(2, complex_mask),
}
