"""Any network of waveforms or of complex spectra, as a model of this package."""

from __future__ import annotations

from torch import Tensor, nn

from audioslots.models.base import Core, Estimates, ModelConfig, SeparationModel, compress, level_of


class NetworkModel(SeparationModel):
    """A network ``(B, T) -> (B, S, T)``; where the config has a spectrogram, complex ``(B, F, N) -> (B, S, F, N)``.

    As in ``AudioSlots``, mixtures are scaled to unit root mean square, and the estimates back.

    Args:
        config: number of estimates, spectrogram.
        samples: chunk, samples.
        network: the network.
    """

    def __init__(self, config: ModelConfig, samples: int, network: nn.Module) -> None:
        super().__init__(config, samples)
        self.network = network

    def core(self) -> Core | None:
        """As of ``SeparationModel``; complex spectra cannot be exported."""
        return NetworkCore(self.network) if self.stft is None else None

    def forward(self, mixture: Tensor, chunks: int = 1, state: Tensor | None = None) -> Estimates:
        """Mixtures (B, T) -> estimates of S sources; chunks are separated independently."""
        level = level_of(mixture)
        unit = mixture / level
        if self.stft is None:
            return Estimates(self.network(unit) * level[:, None], level)
        spectra = self.network(self.stft(unit))  # (B, F, N) -> (B, S, F, N)
        waveforms = self.stft.inverse(spectra, mixture.shape[-1])  # (B, S, T)
        return Estimates(waveforms * level[:, None], level, compress(spectra.abs(), self.exponent), spectra)


class NetworkCore(Core):
    """A network of waveforms: ``mixture`` (B, T) at unit level -> ``waveforms`` (B, S, T)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.input, self.outputs = "mixture", ("waveforms",)

    def example(self, waveforms: Tensor) -> Tensor:
        """As of ``Core``."""
        return waveforms

    def forward(self, given: Tensor) -> tuple[Tensor, ...]:
        """As of the class."""
        return (self.network(given),)
