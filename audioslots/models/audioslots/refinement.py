"""Refinement: further iterations of slots and decoder, which attend to the estimates before."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioslots.models.audioslots.config import Config
from audioslots.models.audioslots.model import AudioSlots, Encoded
from audioslots.models.base import Estimates, compress


class RefinedAudioSlots(AudioSlots):
    """AudioSlots in ``config.refinement_iterations`` iterations, of the same weights; no gradient goes between them."""

    def __init__(self, config: Config, samples: int, context: int = 0) -> None:
        super().__init__(config, samples, context)
        self.iterations = config.refinement_iterations
        grid = (self.encoder.grid[0], self.columns)
        self.reread = EstimateFeatures(self.stft.bins, grid, config.width, self.exponent)

    def forward(self, mixture: Tensor, chunks: int = 1, state: Tensor | None = None) -> Estimates:
        """As of ``AudioSlots``; ``earlier`` holds the estimates of the iterations before the last."""
        encoded = self.encode(mixture)
        slots = self.slots(encoded.tokens)  # (B, K, S)
        estimates = self.estimate(self.decoder(slots, self.crop_tokens(encoded.tokens)), slots, encoded)
        earlier: list[Estimates] = []
        for _ in range(1, self.iterations):
            earlier.append(estimates)
            assert estimates.spectra is not None
            slots, maps = self._iterate(encoded, self.reread(estimates.spectra.detach(), encoded.spectrum))
            estimates = self.estimate(maps, slots, encoded)
        return estimates._replace(earlier=tuple(earlier))

    def _iterate(self, encoded: Encoded, features: Tensor) -> tuple[Tensor, Tensor]:
        """Slots (B, K, S) and maps (B, K, C, F, N); slot k attends to tokens plus ``features`` (B, K, C', W)."""
        batch, count = features.shape[:2]
        grid = encoded.tokens.unflatten(1, self.encoder.grid)  # (B, F', N', W)
        features = features.unflatten(2, (-1, self.columns)).to(grid.dtype)  # (B, K, F', N'', W)
        after = grid.shape[2] - self.columns - self.columns_before  # the context was not decoded
        tokens = (grid[:, None] + F.pad(features, (0, 0, self.columns_before, after))).flatten(2, 3).flatten(0, 1)
        every_slot = self.slots(tokens).unflatten(0, (batch, count))  # (B, K, K, S), of the tokens for each slot
        slots = every_slot.diagonal(dim1=1, dim2=2).movedim(-1, 1)  # (B, K, S)
        maps = self.decoder(slots.flatten(0, 1)[:, None], self.crop_tokens(tokens)).squeeze(1)  # (B K, C, F, N)
        return slots, maps.unflatten(0, (batch, count))


class EstimateFeatures(nn.Module):
    """Features of a slot's estimate and of the residual of the mixture, on the grid of the mixture's tokens.

    The last layer starts at zero, so that the second iteration begins as the first.

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
        self.band = -(-bins // self.height)  # bins per token
        last = nn.Linear(width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(2 * self.band, width), nn.GELU(), last)

    def forward(self, spectra: Tensor, mixture: Tensor) -> Tensor:
        """Spectra of estimates (B, K, F, N) and of the mixture (B, F, N) -> (B, K, F' N', W)."""
        residual = mixture[:, None] - spectra
        images = compress(torch.stack([spectra.abs(), residual.abs()], dim=2), self.exponent)  # (B, K, 2, F, N)
        images = F.pad(images, (0, 0, 0, self.height * self.band - images.shape[-2]))
        images = F.adaptive_avg_pool1d(images.flatten(0, 3), self.length).unflatten(0, images.shape[:4])
        images = images.unflatten(3, (self.height, self.band))  # (B, K, 2, F', band, N')
        return self.layers(images.permute(0, 1, 3, 5, 2, 4).flatten(4)).flatten(2, 3)
