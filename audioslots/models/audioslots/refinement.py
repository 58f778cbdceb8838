"""Refinement: what a pass of slots and decoder adds to the mixture's features, for the next pass to read."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioslots.models.audioslots.outputs import compress


class Reread(nn.Module):
    """Features of one slot's estimate and of what it leaves of the mixture, on the grid of the mixture's tokens.

    The last layer starts at zero, so that the second pass begins as the first.

    Args:
        bins: frequency bins, F.
        grid: shape (F', N') of the tokens of the chunk.
        width: of a token, W.
        exponent: of the compression of magnitudes.
    """

    def __init__(self, bins: int, grid: tuple[int, int], width: int, exponent: float) -> None:
        super().__init__()
        self.height, self.length = grid
        self.exponent = exponent
        self.band = -(-bins // self.height)  # bins that a token stands for
        last = nn.Linear(width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(2 * self.band, width), nn.GELU(), last)

    def forward(self, spectra: Tensor, mixture: Tensor) -> Tensor:
        """Estimates' spectra (B, K, F, N) and the mixture's (B, F, N) -> (B, K, F' N', W)."""
        left = mixture[:, None] - spectra
        seen = compress(torch.stack([spectra.abs(), left.abs()], dim=2), self.exponent)  # (B, K, 2, F, N)
        seen = F.pad(seen, (0, 0, 0, self.height * self.band - seen.shape[-2]))
        seen = F.adaptive_avg_pool1d(seen.flatten(0, 3), self.length).unflatten(0, seen.shape[:4])
        seen = seen.unflatten(3, (self.height, self.band))  # (B, K, 2, F', band, N')
        return self.layers(seen.permute(0, 1, 3, 5, 2, 4).flatten(4)).flatten(2, 3)
