"""Conv-TasNet, the field's first system that beat the masks of the mixture's phase, in the same trainer."""

from __future__ import annotations

import torchaudio
from torch import Tensor, nn

from audioslots.config import variant as config
from audioslots.models.estimates import Estimates, level_of


class ConvTasNet(nn.Module):
    """Conv-TasNet (Luo and Mesgarani 2019) as torchaudio has it, one estimate a slot.

    It has no spectrogram, no slots and no fixed length. As in ``AudioSlots`` the mixture is scaled to unit root mean
    square on its way in, and the estimates back on their way out.

    Args:
        variant: ``conv_tasnet`` for the sizes, ``slots.count`` for the number of estimates.
        samples: of a training chunk; separation may be given any length.
    """

    def __init__(self, variant: config.Variant, samples: int) -> None:
        super().__init__()
        self.samples = samples
        sizes = variant.conv_tasnet
        self.network = torchaudio.models.ConvTasNet(
            num_sources=variant.slots.count,
            enc_kernel_size=sizes.kernel,
            enc_num_feats=sizes.filters,
            msk_kernel_size=3,
            msk_num_feats=sizes.features,
            msk_num_hidden_feats=sizes.hidden,
            msk_num_layers=sizes.layers,
            msk_num_stacks=sizes.stacks,
        )

    def forward(self, mixture: Tensor) -> Estimates:
        """Mixtures (B, T) of any length -> estimates of K sources each."""
        level = level_of(mixture)
        waveforms = self.network((mixture / level)[:, None])  # (B, K, T)
        return Estimates(waveforms * level[:, None], level)
