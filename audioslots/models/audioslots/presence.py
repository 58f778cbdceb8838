"""A head that says of each slot whether it holds a source."""

from __future__ import annotations

from torch import Tensor, nn

from audioslots.models.audioslots.config import Config
from audioslots.models.audioslots.core import AudioSlotsCore
from audioslots.models.base import Core, Estimates, SeparationModel


class PresenceHead(SeparationModel):
    """A linear layer on the slots of an AudioSlots; its logits are trained by ``training.presence_weight``."""

    def __init__(self, config: Config, model: SeparationModel) -> None:
        super().__init__(config, model.samples)
        self.model = model
        self.head = nn.Linear(config.slot_size, 1)

    def core(self) -> Core | None:
        """As of ``SeparationModel``."""
        core = self.model.core()
        return AudioSlotsCore(core.model, self.head) if isinstance(core, AudioSlotsCore) else None

    def forward(self, mixture: Tensor, chunks: int = 1, state: Tensor | None = None) -> Estimates:
        """As of the model, with logits (B, K)."""
        estimates = self.model(mixture, chunks, state)
        return estimates._replace(presence=self.head(estimates.slots).squeeze(-1))
