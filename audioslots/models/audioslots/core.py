"""An AudioSlots between its STFTs, for export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from audioslots.models.base import Core, compress, standardise

if TYPE_CHECKING:
    from audioslots.models.audioslots.model import AudioSlots


class AudioSlotsCore(Core):
    """Magnitudes (B, F, N) of chunks with their context, at unit level -> what is made of the chunks' spectrum.

    ``masks`` (B, K, F, N) are multiplied with the complex spectrum (B, F, N) of the chunks without context; complex
    ones are (B, K, 2, F, N), real and imaginary parts. ``magnitudes`` (B, K, F, N) take its phase. ``embeddings``
    (B, K, S) are for blind order, ``presence`` (B, K) are logits.
    """

    def __init__(self, model: AudioSlots, presence: nn.Module | None = None) -> None:
        super().__init__()
        self.model, self.presence = model, presence
        self.input = "mixture_magnitudes"
        kind = "masks" if model.output.is_mask else "magnitudes"
        self.outputs = (kind, "embeddings", *(["presence"] if presence is not None else []))

    def example(self, waveforms: Tensor) -> Tensor:
        """As of ``Core``."""
        return self.model.stft(waveforms).abs()

    def forward(self, given: Tensor) -> tuple[Tensor, ...]:
        """As of the class."""
        model = self.model
        tokens = model.encoder(standardise(compress(given, model.exponent)))  # (B, F' N', W)
        slots = model.slots(tokens)  # (B, K, S)
        maps = model.decoder(slots, model.crop_tokens(tokens))  # (B, K, C, F, N)
        if model.output.channels > 1:
            decoded = maps
        else:
            decoded = model.output.decode(maps)
            decoded = decoded if model.output.is_mask else decoded ** (1 / model.exponent)
        return (decoded, slots, *(() if self.presence is None else (self.presence(slots).squeeze(-1),)))
