"""Tokens of frames, unfolded from the slot alone."""

from __future__ import annotations

from torch import Tensor, nn

from audioslots.config import variant as config
from audioslots.models.audioslots.decoders.frames import FrameLayers
from audioslots.models.audioslots.parts import Shape
from audioslots.models.transformer import sinusoids


class Decoder(nn.Module):
    """A linear layer unfolds the slot to a token for every frame; Transformer layers follow, as in ``frames``.

    The slot is the only way from the mixture to the output, as in ``frames``. That decoder gives every frame the same
    projection of the slot, and leaves it to the layers what belongs where; here each frame has a projection of its own.
    """

    def __init__(self, variant: config.Variant, shape: Shape) -> None:
        super().__init__()
        width = variant.encoder.width
        self.register_buffer("times", sinusoids(shape.frames, width), persistent=False)
        self.slot = nn.Linear(variant.slot_width, shape.frames * width)
        self.frames = FrameLayers(variant, shape)

    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Slots (B, K, W) -> (B, K, C, F, N); the tokens are not looked at."""
        return self.frames(self.slot(slots).unflatten(-1, self.times.shape) + self.times)
