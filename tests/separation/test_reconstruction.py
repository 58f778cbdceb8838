"""Reconstruction: ratio masks and MISI against their definitions, and on true magnitudes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from audioslots.config.variant import Separation
from audioslots.losses import si_sdr
from audioslots.models.base import Estimates, level_of
from audioslots.models.spectrogram import STFT
from audioslots.separation.reconstruction import misi, ratio_masks, reconstruct

WINDOW, HOP, SAMPLES, EXPONENT = 64, 16, 1000, 0.3
transform = STFT(WINDOW, HOP).double()


def sources(count: int = 2, batch: int = 3) -> Tensor:
    """Noises (B, S, T), each in a band of its own that overlaps with its neighbour's."""
    noise = torch.randn(batch, count, SAMPLES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for k in range(count):
        noise[:, k] = (noise[:, k].roll(1, -1) * (-1) ** k + noise[:, k]) * (1 + k)
    return noise


def decoded(signals: Tensor, waveforms: Tensor | None = None) -> tuple[Estimates, Tensor]:
    """What a model would say that decodes the true magnitudes of ``signals``, and the mixture."""
    mixture = signals.sum(dim=1)
    level = level_of(mixture)
    compressed = transform(signals / level[:, None]).abs() ** EXPONENT
    return Estimates(torch.zeros_like(signals) if waveforms is None else waveforms, level, compressed), mixture


def settings(reconstruction: str, **values: float) -> Separation:
    return Separation.model_validate({"reconstruction": reconstruction, **values})


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5, 4.0])
def test_ratio_masks_follow_their_definition(power: float) -> None:
    magnitudes = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    masks = ratio_masks(magnitudes, power).numpy()
    for b, k, f, n in np.ndindex(masks.shape):
        share = magnitudes[b, k, f, n] ** power / sum(magnitudes[b, j, f, n] ** power for j in range(3))
        assert masks[b, k, f, n] == pytest.approx(float(share), rel=1e-9)


def test_ratio_masks_of_quiet_points_add_up_to_one_and_of_silence_are_zero() -> None:
    magnitudes = torch.tensor([[1e-6, 0.0], [3e-6, 0.0]])[:, None]  # (K, F, N): one quiet frame, one silent
    masks = ratio_masks(magnitudes, 4.0)[:, 0]
    assert masks[:, 0].sum() == pytest.approx(1.0) and masks[0, 0] == pytest.approx(1 / 82, rel=1e-4)
    assert masks[:, 1].tolist() == [0.0, 0.0]


def test_direct_leaves_the_models_waveforms_as_they_are() -> None:
    estimates, mixture = decoded(sources())
    assert reconstruct(estimates, mixture, transform, EXPONENT, settings("direct")) is estimates.waveforms


@pytest.mark.parametrize("count", [2, 3])
def test_ratio_estimates_add_up_to_the_mixture_and_depend_on_nothing_but_decoded_magnitudes(count: int) -> None:
    estimates, mixture = decoded(sources(count))
    found = reconstruct(estimates, mixture, transform, EXPONENT, settings("ratio"))
    torch.testing.assert_close(found.sum(dim=1), mixture, atol=1e-8, rtol=0)
    other, _ = decoded(sources(count), torch.full_like(sources(count), torch.nan))
    torch.testing.assert_close(reconstruct(other, mixture, transform, EXPONENT, settings("ratio")), found)


@pytest.mark.parametrize("kind", ["ratio", "misi"])
def test_estimates_follow_the_order_of_the_slots_and_the_level_of_the_mixture(kind: str) -> None:
    estimates, mixture = decoded(sources())
    found = reconstruct(estimates, mixture, transform, EXPONENT, settings(kind))
    assert estimates.compressed is not None
    swapped = estimates._replace(compressed=estimates.compressed.flip(1))
    torch.testing.assert_close(
        reconstruct(swapped, mixture, transform, EXPONENT, settings(kind)), found.flip(1), atol=1e-9, rtol=0
    )
    louder, loud_mixture = decoded(100 * sources())
    torch.testing.assert_close(
        reconstruct(louder, loud_mixture, transform, EXPONENT, settings(kind)), 100 * found, atol=1e-3, rtol=1e-4
    )


def test_misi_follows_its_steps() -> None:
    """Against the algorithm as published, one iteration, written out with complex exponentials."""
    signals = sources()[0]
    mixture, magnitudes = signals.sum(dim=0), transform(signals).abs()
    phases = torch.angle(transform(mixture)).expand_as(magnitudes)
    for iterations in range(3):
        expected = transform.inverse(torch.polar(magnitudes, phases), SAMPLES)
        torch.testing.assert_close(misi(magnitudes, mixture, transform, iterations), expected, atol=1e-8, rtol=0)
        lacking = mixture - expected.sum(dim=0)
        phases = torch.angle(transform(expected + lacking / 2))


def test_more_iterations_of_misi_bring_true_magnitudes_nearer_to_the_sources() -> None:
    signals = sources()
    estimates, mixture = decoded(signals)
    reached = [
        float(si_sdr(reconstruct(estimates, mixture, transform, EXPONENT, how), signals).mean())
        for how in (settings("misi", misi_iterations=n) for n in (1, 3, 10))
    ]
    assert reached[0] + 1 < reached[1] < reached[2] - 1


def test_a_model_without_a_spectrogram_is_reconstructed_directly_or_not_at_all() -> None:
    estimates = Estimates(sources(), level_of(sources().sum(dim=1)))
    mixture = sources().sum(dim=1)
    assert reconstruct(estimates, mixture, transform, EXPONENT, settings("direct")) is estimates.waveforms
    with pytest.raises(ValueError, match="without a spectrogram; expected direct"):
        reconstruct(estimates, mixture, transform, EXPONENT, settings("ratio"))
