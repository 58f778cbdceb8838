"""The short-time Fourier transform and its inverse."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class STFT(nn.Module):
    """Hann-windowed, centred STFT with reflected borders; ``inverse`` undoes it to rounding error.

    Args:
        window: window and transform length, samples.
        hop: samples.
    """

    hann: Tensor

    def __init__(self, window: int, hop: int) -> None:
        super().__init__()
        self.window, self.hop = window, hop
        self.register_buffer("hann", torch.hann_window(window), persistent=False)

    @property
    def bins(self) -> int:
        """Frequency bins F."""
        return self.window // 2 + 1

    def frames(self, samples: int) -> int:
        """Frames N of a waveform of so many samples."""
        return -(-samples // self.hop) + 1

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveforms (..., T) -> complex spectra (..., F, N)."""
        flat = waveform.reshape(-1, waveform.shape[-1])
        flat = F.pad(flat, (0, -flat.shape[-1] % self.hop))  # else windows fade out over the last samples
        spectra = torch.stft(flat, self.window, self.hop, window=self.hann, return_complex=True)
        return spectra.reshape(*waveform.shape[:-1], *spectra.shape[-2:])

    def inverse(self, spectra: Tensor, samples: int) -> Tensor:
        """Complex spectra (..., F, N) -> waveforms (..., ``samples``)."""
        flat = spectra.reshape(-1, *spectra.shape[-2:])
        waveform = torch.istft(flat, self.window, self.hop, window=self.hann, length=samples)
        return waveform.reshape(*spectra.shape[:-2], samples)
