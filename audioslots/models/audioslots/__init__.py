"""AudioSlots: mixture spectrogram in, an unordered set of source spectrograms out."""

from __future__ import annotations

from audioslots.models.audioslots.config import Config
from audioslots.models.audioslots.model import AudioSlots
from audioslots.models.audioslots.presence import PresenceHead
from audioslots.models.audioslots.recurrence import RecurrentAudioSlots
from audioslots.models.audioslots.recursion import RecursiveAudioSlots
from audioslots.models.audioslots.refinement import RefinedAudioSlots
from audioslots.models.base import SeparationModel

__all__ = ["AudioSlots", "Config", "build"]


def build(config: Config, samples: int, rate: int) -> SeparationModel:
    """The model of a config, with random weights.

    Args:
        config: parts and sizes.
        samples: chunk, samples; the model separates chunks of this length only.
        rate: Hz.
    """
    context = config.context_samples(rate)
    kind: type[AudioSlots] = AudioSlots
    if config.recurrence != "none":
        kind = RecurrentAudioSlots
    elif config.refinement_iterations > 1:
        kind = RefinedAudioSlots
    elif config.recursive:
        kind = RecursiveAudioSlots
    model = kind(config, samples, context)
    return PresenceHead(config, model) if config.presence else model
