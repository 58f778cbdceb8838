"""Validation: what is measured on single chunks of held-out speakers while a model is trained."""

from __future__ import annotations

from torch import Tensor, nn

from audioslots.config.variant import Resolved
from audioslots.losses import si_sdr
from audioslots.models.audioslots.model import AudioSlots
from audioslots.models.estimates import covered
from audioslots.models.reconstruction import reconstruct
from audioslots.training.matching import match
from audioslots.training.objective import Matched, occupancy

VALIDATED = ("validation_loss", "validation_si_sdri_db", "validation_ratio_si_sdri_db", "occupied_slots")
"""Columns of history.csv: the loss; the SI-SDRi (dB) of the model's own waveforms, and of its magnitudes as ratio masks
where it has a spectrogram; the occupied slots."""


def validated(model: nn.Module, loss: Matched, sources: Tensor, variant: Resolved) -> dict[str, Tensor]:
    """The columns of ``VALIDATED`` on sources (B, S, T), then the noise of a task with it: means over the batch, ()."""
    estimates = model(sources.sum(dim=1), *sequences(variant, variant.training.sequence))
    sources = covered(sources, estimates.waveforms.shape[-1])
    mixture = sources.sum(dim=1)
    speech, slots, ratio = sources[:, : variant.sources], variant.slots.speech, None
    if isinstance(model, AudioSlots):
        how = variant.separation.model_copy(update={"reconstruction": "ratio"})
        waveforms = reconstruct(estimates, mixture, model.stft, model.exponent, how)
        ratio = improvement(waveforms[:, :slots], speech, mixture).mean()
    values = (
        loss(estimates, sources),
        improvement(estimates.waveforms[:, :slots], speech, mixture).mean(),
        ratio,
        occupancy(estimates.waveforms, mixture).mean(),
    )
    return {key: value for key, value in zip(VALIDATED, values, strict=True) if value is not None}


def sequences(variant: Resolved, chunks: int) -> tuple[int, ...]:
    """What a model with slots is told beside a batch: the chunks, side by side, that it carries them through."""
    return () if variant.model == "conv_tasnet" else (chunks,)


def improvement(waveforms: Tensor, sources: Tensor, mixture: Tensor | None = None) -> Tensor:
    """SI-SDR improvement, dB, of slots (B, K, T) over the mixture (B, T) of the sources (B, S, T), S <= K: (B, S).

    Each source is given the slot that suits it best. A mixture that is not given is the sum of the sources.
    """
    mixture = sources.sum(dim=1) if mixture is None else mixture
    ratios = si_sdr(waveforms[:, None], sources[:, :, None])  # (B, S, K)
    matched = ratios.gather(2, match(-ratios)[..., None]).squeeze(-1)
    return matched - si_sdr(mixture[:, None], sources)
