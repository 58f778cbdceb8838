"""TF-GridNet (Wang et al. 2023) of ESPnet: an adapter to the contract of imported networks."""

from __future__ import annotations

import torch
from espnet2.enh.separator.tfgridnetv3_separator import TFGridNetV3
from torch import Tensor, nn


class TFGridNet(nn.Module):
    """TF-GridNet; arguments as of ``TFGridNetV3``."""

    def __init__(self, **arguments) -> None:
        super().__init__()
        self.network = TFGridNetV3(None, **arguments)

    def forward(self, spectra: Tensor) -> Tensor:
        """Complex spectra of mixtures (B, F, N) -> complex spectra of estimates (B, S, F, N)."""
        frames = torch.full([len(spectra)], spectra.shape[-1])
        estimates, *_ = self.network(spectra.mT, frames)  # S of (B, N, F)
        return torch.stack(estimates, dim=1).mT
