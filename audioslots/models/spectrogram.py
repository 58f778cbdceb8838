"""The short-time Fourier transform and its inverse."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class STFT(nn.Module):
    """Hann-windowed, centred STFT with reflected borders; ``inverse`` undoes it to rounding error.

    Args:
        window: window and transform length, samples.
        hop: samples, at most half a window: then no sample lies where all windows are zero.
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
        flat = torch.view_as_real(spectra.reshape(-1, *spectra.shape[-2:])).transpose(1, 2)
        frames = torch.fft.irfft(torch.view_as_complex(flat), n=self.window) * self.hann  # (B, N, window)
        windows = self.hann.square().expand(1, *frames.shape[1:])
        middle = slice(self.window // 2, self.window // 2 + samples)
        waveform = self._overlapped(frames)[:, middle] / self._overlapped(windows)[:, middle]
        return waveform.reshape(*spectra.shape[:-2], samples)

    def _overlapped(self, frames: Tensor) -> Tensor:
        """Frames (B, N, window) added up at their places, (B, T).

        ``inverse`` equals ``torch.istft`` to the bit, gradients too, but for its look at the windows' sum: there the
        host would wait for the device.
        """
        length = self.window + self.hop * (frames.shape[1] - 1)
        return torch.ops.aten.unfold_backward(frames, [len(frames), length], 1, self.window, self.hop)
