"""What the constructor of every part is given beside its own config."""

from __future__ import annotations

from typing import NamedTuple


class Sizes(NamedTuple):
    """Sizes that encoder, slots and decoder have in common.

    Attributes:
        width: features of a token, W.
        heads: of attention.
        mlp: hidden units of a Transformer layer's MLP.
        slot_size: numbers in a slot, W times its query tokens.
        bins: frequency bins, F.
        frames: N; with the context in the encoder, without it in the decoder.
        channels: maps per slot, C.
        grid: shape (F', N') of the tokens over frequency and time, as the decoder sees them.
    """

    width: int
    heads: int
    mlp: int
    slot_size: int
    bins: int
    frames: int
    channels: int
    grid: tuple[int, int] = (0, 0)
