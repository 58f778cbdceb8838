"""Dual-path RNN (Luo et al. 2020) of speechbrain: an adapter to the contract of imported networks."""

from __future__ import annotations

import torch.nn.functional as F
from speechbrain.lobes.models.dual_path import Decoder, Dual_Path_Model, Encoder, SBRNNBlock
from torch import Tensor, nn


class DPRNN(nn.Module):
    """Learned filters, and a mask per source that LSTMs make within chunks of frames and across them.

    Args:
        sources: estimates per mixture, S.
        kernel: window of the learned filters, samples; the hop is half of it.
        filters: learned filters.
        hidden: units of each LSTM and direction.
        layers: dual-path blocks.
        chunk: frames per chunk.
    """

    def __init__(self, sources=2, kernel=16, filters=64, hidden=128, layers=6, chunk=100) -> None:
        super().__init__()
        within, across = (SBRNNBlock(filters, hidden, num_layers=1, bidirectional=True) for _ in range(2))
        self.encoder = Encoder(kernel, filters)
        self.masks = Dual_Path_Model(filters, filters, within, across, layers, norm="ln", K=chunk, num_spks=sources)
        self.decoder = Decoder(filters, 1, kernel, stride=kernel // 2, bias=False)

    def forward(self, mixture: Tensor) -> Tensor:
        """Mixtures (B, T) -> estimates (B, S, T)."""
        frames = self.encoder(mixture)  # (B, N, L)
        masked = (self.masks(frames) * frames).movedim(0, 1)  # (B, S, N, L)
        waveforms = self.decoder(masked.flatten(0, 1)).view(*masked.shape[:2], -1)  # (B, S, T'), T' <= T
        return F.pad(waveforms, (0, mixture.shape[-1] - waveforms.shape[-1]))
