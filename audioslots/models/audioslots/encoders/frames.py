"""Tokens of whole frames."""

from __future__ import annotations

from torch import Tensor, nn

from audioslots.config import architecture
from audioslots.models.transformer import Layer, sinusoids


class Encoder(nn.Module):
    """Each frame of the spectrogram is one token, in order of time; then Transformer layers. Cheap on a CPU."""

    def __init__(self, settings: architecture.Encoder, bins: int, frames: int) -> None:
        super().__init__()
        width = settings.width
        self.grid = (1, frames)
        self.embed = nn.Linear(bins, width)
        self.register_buffer("positions", sinusoids(frames, width), persistent=False)
        self.layers = nn.ModuleList(
            [Layer(width, settings.heads, settings.mlp, kernel=settings.kernel) for _ in range(settings.layers)]
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, compressed: Tensor) -> Tensor:
        """Compressed magnitudes (B, F, N) -> tokens (B, N, W)."""
        tokens = self.embed(compressed.transpose(1, 2)) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens)
