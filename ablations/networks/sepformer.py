"""SepFormer (Subakan et al. 2021) of speechbrain: an adapter to the contract of imported networks."""

from __future__ import annotations

from speechbrain.lobes.models.dual_path import SepformerWrapper
from torch import Tensor


class SepFormer(SepformerWrapper):
    """SepFormer; arguments as of ``SepformerWrapper``."""

    def forward(self, mixture: Tensor) -> Tensor:
        """Mixtures (B, T) -> estimates (B, S, T)."""
        return super().forward(mixture).movedim(-1, 1)  # (B, T, S)
