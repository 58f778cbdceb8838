"""Reconstruction: ratio masks and MISI against their definitions, and on true magnitudes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from audioslots.config.separation import Separation
from audioslots.losses import si_sdr
from audioslots.models.base import Estimates, level_of
from audioslots.models.spectrogram import STFT
from audioslots.separation.reconstruction import misi, ratio_masks, reconstruct

SAMPLES, EXPONENT = 1000, 0.3
transform = STFT(64, 16).double()


def sources(count: int = 2, level: float = 1.0) -> Tensor:
    """Noises (B, S, T), each in a band of its own that overlaps with its neighbour's."""
    noise = torch.randn(3, count, SAMPLES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for k in range(count):
        noise[:, k] = (noise[:, k].roll(1, -1) * (-1) ** k + noise[:, k]) * (1 + k)
    return level * noise


def decoded(signals: Tensor) -> Estimates:
    """Estimates with the true magnitudes of ``signals``, and without waveforms."""
    level = level_of(signals.sum(dim=1))
    compressed = transform(signals / level[:, None]).abs() ** EXPONENT
    return Estimates(torch.full_like(signals, torch.nan), level, compressed)


def reconstructed(estimates: Estimates, mixture: Tensor, kind: str, **settings: float) -> Tensor:
    separation = Separation.model_validate({"reconstruction": kind, **settings})
    return reconstruct(estimates, mixture, transform, EXPONENT, separation)


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5, 4.0])
def test_ratio_masks_follow_their_definition(power: float) -> None:
    magnitudes = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    masks = ratio_masks(magnitudes, power).numpy()
    for b, k, f, n in np.ndindex(masks.shape):
        share = magnitudes[b, k, f, n] ** power / sum(magnitudes[b, j, f, n] ** power for j in range(3))
        assert masks[b, k, f, n] == pytest.approx(float(share), rel=1e-9)


def test_ratio_masks_of_quiet_bins_add_up_to_one_and_of_silence_are_zero() -> None:
    magnitudes = torch.tensor([[1e-6, 0.0], [3e-6, 0.0]])[:, None]  # (K, F, N): one quiet frame, one silent
    masks = ratio_masks(magnitudes, 4.0)[:, 0]
    assert masks[:, 0].sum() == pytest.approx(1.0) and masks[0, 0] == pytest.approx(1 / 82, rel=1e-4)
    assert masks[:, 1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("count", [2, 3])
def test_ratio_estimates_add_up_to_the_mixture(count: int) -> None:
    mixture = sources(count).sum(dim=1)
    waveforms = reconstructed(decoded(sources(count)), mixture, "ratio")
    torch.testing.assert_close(waveforms.sum(dim=1), mixture, atol=1e-8, rtol=0)


@pytest.mark.parametrize("kind", ["ratio", "misi"])
def test_estimates_follow_the_order_of_the_slots_and_the_level_of_the_mixture(kind: str) -> None:
    mixture = sources().sum(dim=1)
    waveforms = reconstructed(decoded(sources()), mixture, kind)
    swapped = reconstructed(decoded(sources().flip(1)), mixture, kind)
    torch.testing.assert_close(swapped, waveforms.flip(1), atol=1e-9, rtol=0)
    louder = reconstructed(decoded(sources(level=100)), 100 * mixture, kind)
    torch.testing.assert_close(louder, 100 * waveforms, atol=1e-3, rtol=1e-4)


def test_misi_follows_its_steps() -> None:
    """Against the algorithm as published, one iteration, written out with complex exponentials."""
    signals = sources()[0]
    mixture, magnitudes = signals.sum(dim=0), transform(signals).abs()
    phases = torch.angle(transform(mixture)).expand_as(magnitudes)
    for iterations in range(3):
        expected = transform.inverse(torch.polar(magnitudes, phases), SAMPLES)
        torch.testing.assert_close(misi(magnitudes, mixture, transform, iterations), expected, atol=1e-8, rtol=0)
        residual = mixture - expected.sum(dim=0)
        phases = torch.angle(transform(expected + residual / 2))


def test_more_iterations_of_misi_bring_true_magnitudes_nearer_to_the_sources() -> None:
    estimates, mixture = decoded(sources()), sources().sum(dim=1)
    first, second, third = (
        float(si_sdr(reconstructed(estimates, mixture, "misi", misi_iterations=n), sources()).mean())
        for n in (1, 3, 10)
    )
    assert first + 1 < second < third - 1


def test_a_model_of_waveforms_is_reconstructed_directly_or_not_at_all() -> None:
    mixture = sources().sum(dim=1)
    estimates = Estimates(sources(), level_of(mixture))
    assert reconstruct(estimates, mixture, None, 1.0, Separation()) is estimates.waveforms
    with pytest.raises(ValueError, match="without a spectrogram; expected direct"):
        reconstructed(estimates, mixture, "ratio")
