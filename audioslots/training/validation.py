"""Validation: what is measured on single chunks of held-out speakers while a model is trained."""

from __future__ import annotations

from torch import Tensor

from audioslots.config.variant import Resolved
from audioslots.losses import si_sdr
from audioslots.models.base import SeparationModel, center_crop
from audioslots.separation.reconstruction import reconstruct
from audioslots.training.matching import match
from audioslots.training.objective import Matched, occupancy

VALIDATED = ("validation_loss", "validation_si_sdri_db", "validation_ratio_si_sdri_db", "occupied_slots")
"""Columns of history.csv: the loss; the SI-SDRi (dB) of the model's own waveforms, and of its magnitudes as ratio masks
where it has a spectrogram; the occupied slots."""


def validate(model: SeparationModel, loss: Matched, sources: Tensor, variant: Resolved) -> dict[str, Tensor]:
    """The columns of ``VALIDATED`` on sources (B, S, T), then the noise of a task with it: means over the batch, ()."""
    estimates = model(sources.sum(dim=1), variant.training.adjacent_chunks)
    sources = center_crop(sources, estimates.waveforms.shape[-1])
    mixture = sources.sum(dim=1)
    speech, slots = sources[:, : variant.sources], variant.model.num_speech_slots
    means = {
        "validation_loss": loss(estimates, sources),
        "validation_si_sdri_db": improvement(estimates.waveforms[:, :slots], speech, mixture).mean(),
        "occupied_slots": occupancy(estimates.waveforms, mixture).mean(),
    }
    if model.stft is not None:
        settings = variant.separation.model_copy(update={"reconstruction": "ratio"})
        waveforms = reconstruct(estimates, mixture, model.stft, model.exponent, settings)
        means["validation_ratio_si_sdri_db"] = improvement(waveforms[:, :slots], speech, mixture).mean()
    return means


def improvement(waveforms: Tensor, sources: Tensor, mixture: Tensor | None = None) -> Tensor:
    """SI-SDR improvement, dB, of slots (B, K, T) over the mixture (B, T) of the sources (B, S, T), S <= K: (B, S).

    Slots are matched to sources for the highest SI-SDR. A mixture that is not given is the sum of the sources.
    """
    mixture = sources.sum(dim=1) if mixture is None else mixture
    ratios = si_sdr(waveforms[:, None], sources[:, :, None])  # (B, S, K)
    matched = ratios.gather(2, match(-ratios)[..., None]).squeeze(-1)
    return matched - si_sdr(mixture[:, None], sources)
