"""Conv-TasNet: a convolutional network of waveforms, the baseline of the field."""

from __future__ import annotations

from typing import Literal

import torchaudio
from torch import Tensor

from audioslots.models.base import ModelConfig
from audioslots.models.network import NetworkModel
from audioslots.schema import hyper


class Config(ModelConfig):
    """Sizes of Conv-TasNet; ``paper`` is Luo and Mesgarani 2019, whose letters stand in brackets."""

    kind: Literal["conv_tasnet"] = "conv_tasnet"
    outputs: int = hyper(2, "estimates per mixture, at least as many as sources", ge=1)
    kernel: int = hyper(16, "window of the learned filters, samples (L)", paper=16, ge=2, multiple_of=2)
    filters: int = hyper(512, "learned filters (N)", paper=512, ge=1)
    features: int = hyper(128, "channels between blocks (B)", paper=128, ge=1)
    hidden: int = hyper(512, "channels in a block (H)", paper=512, ge=1)
    layers: int = hyper(8, "blocks per stack, each of twice the dilation (X)", paper=8, ge=1)
    stacks: int = hyper(3, "stacks (R)", paper=3, ge=1)

    @property
    def num_slots(self) -> int:  # noqa: D102
        return self.outputs

    @property
    def any_length(self) -> bool:  # noqa: D102
        return True


class ConvTasNet(torchaudio.models.ConvTasNet):
    """Conv-TasNet (Luo and Mesgarani 2019), as torchaudio has it."""

    def forward(self, mixture: Tensor) -> Tensor:
        """Mixtures (B, T) -> estimates (B, S, T)."""
        return super().forward(mixture[:, None])


def build(config: Config, samples: int, rate: int) -> NetworkModel:
    """The model of a config, with random weights; it separates mixtures of any length."""
    network = ConvTasNet(
        num_sources=config.outputs,
        enc_kernel_size=config.kernel,
        enc_num_feats=config.filters,
        msk_kernel_size=3,
        msk_num_feats=config.features,
        msk_num_hidden_feats=config.hidden,
        msk_num_layers=config.layers,
        msk_num_stacks=config.stacks,
    )
    return NetworkModel(config, samples, network)
