"""Losses: matched to the sources without regard to order, unmatched slots matched to silence."""

from __future__ import annotations

import torch
from torch import Tensor

from audioslots.model.audioslots import AudioSlots, Estimates
from audioslots.training.matching import match, unmatched

TINY = 1e-8
SILENCE_WEIGHT = 10.0  # dB charged to an unmatched slot that holds the whole mixture's energy (SI-SDR loss)


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio, dB (Le Roux et al. 2019), both made zero-mean first.

    Args:
        estimate: (..., T).
        reference: (..., T), broadcast against the estimate.

    Returns:
        (...) dB, finite whatever comes in: a silent estimate gives 0, a silent reference a large negative number.
    """
    estimate = estimate - estimate.mean(dim=-1, keepdim=True)
    reference = reference - reference.mean(dim=-1, keepdim=True)
    scale = (estimate * reference).sum(dim=-1, keepdim=True) / (reference.square().sum(dim=-1, keepdim=True) + TINY)
    target = scale * reference
    noise = estimate - target
    return 10 * torch.log10((target.square().sum(dim=-1) + TINY) / (noise.square().sum(dim=-1) + TINY))


def magnitude_loss(model: AudioSlots, estimates: Estimates, sources: Tensor) -> Tensor:
    """Mean squared error of compressed magnitudes over all slots; the paper's kind of loss.

    Args:
        model: for its spectrogram.
        estimates: of a batch, K slots.
        sources: (B, S, T) references, S <= K.

    Returns:
        Scalar.

    Raises:
        ValueError: fewer slots than sources.
    """
    if estimates.compressed.shape[1] < sources.shape[1]:
        raise ValueError(f"{estimates.compressed.shape[1]} slots for {sources.shape[1]} sources; expected as many")
    references = model.compress(model.stft(sources / estimates.level[:, None]).abs())  # (B, S, F, N)
    slots = estimates.compressed.shape[1]
    silence = references.new_zeros(len(references), slots - references.shape[1], *references.shape[2:])
    references = torch.cat([references, silence], dim=1)  # (B, K, F, N)
    # |a - b|^2 = |a|^2 - 2ab + |b|^2 needs no (B, K, K, F, N) tensor
    a, b = references.flatten(2), estimates.compressed.flatten(2)
    cost = a.square().sum(-1)[:, :, None] - 2 * a @ b.transpose(1, 2) + b.square().sum(-1)[:, None]
    order = match(cost)[..., None].expand(-1, -1, b.shape[-1])
    return (b.gather(1, order) - a).square().mean()


def si_sdr_loss(model: AudioSlots, estimates: Estimates, sources: Tensor) -> Tensor:
    """Negative SI-SDR of the matched waveforms, dB; an unmatched slot pays for its share of the mixture's energy.

    Args and return value as ``magnitude_loss``.
    """
    waveforms = model.waveforms(estimates) / estimates.level[:, None]  # (B, K, T)
    sources = sources / estimates.level[:, None]
    ratios = si_sdr(waveforms[:, None], sources[:, :, None])  # (B, S, K)
    matched = match(-ratios)
    loss = -ratios.gather(2, matched[..., None]).mean()
    slots = waveforms.shape[1]
    if slots > sources.shape[1]:
        energy = waveforms.square().mean(dim=-1)  # relative to the mixture's, which is 1
        loss = loss + SILENCE_WEIGHT * energy[unmatched(matched, slots)].mean()
    return loss


LOSSES = {"magnitude": magnitude_loss, "si_sdr": si_sdr_loss}
