"""Outputs: from a decoder's maps (B, K, C, F, N) to the spectra of the estimates."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from audioslots.models.base import TINY, compress


class Output(NamedTuple):
    """A kind of output.

    Attributes:
        channels: maps per slot, C.
        decode: maps -> masks on the mixture's spectrum, or compressed magnitudes, (B, K, F, N).
        is_mask: whether they are masks; magnitudes take the mixture's phase.
    """

    channels: int
    decode: Callable[[Tensor], Tensor]
    is_mask: bool = True

    def read(self, maps: Tensor, spectrum: Tensor, exponent: float) -> tuple[Tensor, Tensor]:
        """Compressed magnitudes and complex spectra of the estimates, (B, K, F, N) each.

        Args:
            maps: of the decoder.
            spectrum: (B, F, N) complex, of the mixture.
            exponent: of the compressed magnitudes.
        """
        decoded = self.decode(maps)
        if self.is_mask:
            spectra = decoded * spectrum[:, None]
            return compress(spectra.abs(), exponent), spectra
        phase = spectrum / (spectrum.abs() + TINY)
        return decoded, decoded ** (1 / exponent) * phase[:, None]


OUTPUTS = {
    "magnitude": Output(1, lambda maps: F.softplus(maps[:, :, 0]), is_mask=False),  # the paper's
    "sigmoid": Output(1, lambda maps: maps[:, :, 0].sigmoid()),
    "softmax": Output(1, lambda maps: maps[:, :, 0].softmax(dim=1)),  # masks sum to one over the slots
    "complex": Output(2, lambda maps: torch.complex(maps[:, :, 0], maps[:, :, 1])),  # Williamson 2016
}
