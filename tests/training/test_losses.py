"""The losses: blind to the order of the sources, finite everywhere, and silence for slots without a source."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from audioslots.config import Variant
from audioslots.model.audioslots import AudioSlots, Estimates
from audioslots.training.losses import LOSSES, si_sdr

SAMPLES = 512
few = settings(max_examples=12, deadline=None, derandomize=True)
seeds = st.integers(0, 2**31)
every_loss = pytest.mark.parametrize("name", sorted(LOSSES))


@pytest.fixture(scope="module")
def model() -> AudioSlots:
    document = {
        "spectrogram": {"window": 64, "hop": 16},
        "encoder": {"kind": "frames", "width": 8, "layers": 0, "heads": 1, "mlp": 8},
        "slots": {"count": 2, "layers": 1},
        "decoder": {"kind": "modulated", "layers": 1},
    }
    return AudioSlots(Variant.model_validate(document), SAMPLES)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def estimates_of(model: AudioSlots, waveforms: Tensor, level: Tensor) -> Estimates:
    """What the model would say if these (B, K, T) waveforms were its estimates."""
    spectra = model.stft(waveforms / level[:, None])
    return Estimates(model.compress(spectra.abs()), spectra, torch.zeros(*waveforms.shape[:2], 1), level)


def scene(seed: int, sources: int = 2, slots: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """References (B, S, T), noisy estimates (B, K, T) and the mixture's level (B, 1)."""
    references = 0.05 * noise(2, sources, SAMPLES, seed=seed)
    level = references.sum(dim=1).square().mean(dim=-1, keepdim=True).sqrt()
    estimates = torch.cat([references, torch.zeros(2, slots - sources, SAMPLES)], dim=1)
    return references, estimates + 0.01 * noise(2, slots, SAMPLES, seed=seed + 1), level


@few
@given(seed=seeds, ratio_db=st.floats(-20, 20), offset=st.floats(-0.5, 0.5), level_db=st.floats(-20, 0))
def test_si_sdr_equals_torchmetrics(seed: int, ratio_db: float, offset: float, level_db: float) -> None:
    reference = 10 ** (level_db / 20) * noise(3, 800, seed=seed)
    distortion = 10 ** ((level_db - ratio_db) / 20) * noise(3, 800, seed=seed + 1)
    estimate = 0.3 * (reference + distortion) + offset * 10 ** (level_db / 20)
    expected = scale_invariant_signal_distortion_ratio(estimate.double(), reference.double(), zero_mean=True)
    torch.testing.assert_close(si_sdr(estimate.double(), reference.double()), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(si_sdr(estimate, reference), expected.float(), atol=2e-3, rtol=0)


def test_si_sdr_is_finite_with_finite_gradient_for_silence_and_for_a_perfect_estimate() -> None:
    speech, silence = noise(800), torch.zeros(800)
    for estimate, reference in ((silence, speech), (speech, silence), (silence, silence), (speech, speech)):
        estimate = estimate.clone().requires_grad_()
        value = si_sdr(estimate, reference)
        value.backward()
        assert torch.isfinite(value)
        assert estimate.grad is not None
        assert torch.isfinite(estimate.grad).all()
    assert si_sdr(speech, speech) > 60
    assert si_sdr(speech, silence) < -60


@every_loss
@pytest.mark.parametrize("slots", [3, 5])
@few
@given(seed=seeds)
def test_the_loss_is_invariant_to_the_order_of_references_and_of_slots(model, name: str, slots: int, seed: int) -> None:
    references, waveforms, level = scene(seed, sources=3, slots=slots)
    expected = LOSSES[name](model, estimates_of(model, waveforms, level), references)
    for order in permutations(range(3)):
        loss = LOSSES[name](model, estimates_of(model, waveforms, level), references[:, list(order)])
        torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    shuffled = waveforms[:, torch.randperm(slots, generator=torch.Generator().manual_seed(seed))]
    loss = LOSSES[name](model, estimates_of(model, shuffled, level), references)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)


def test_the_magnitude_loss_is_the_mean_squared_error_of_the_better_order(model: AudioSlots) -> None:
    references, waveforms, level = scene(seed=5)
    estimates = estimates_of(model, waveforms, level)
    targets = model.stft(references / level[:, None]).abs() ** 0.3
    errors = [(estimates.compressed - targets[:, order]).square().mean(dim=(1, 2, 3)) for order in ([0, 1], [1, 0])]
    expected = torch.stack(errors).min(dim=0).values.mean()
    torch.testing.assert_close(LOSSES["magnitude"](model, estimates, references), expected, atol=1e-5, rtol=1e-3)


def test_the_si_sdr_loss_is_the_negative_mean_over_the_better_order(model: AudioSlots) -> None:
    references, waveforms, level = scene(seed=6)
    scores = [si_sdr(waveforms[:, order], references).mean(dim=1) for order in ([0, 1], [1, 0])]
    expected = -torch.stack(scores).max(dim=0).values.mean()
    loss = LOSSES["si_sdr"](model, estimates_of(model, waveforms, level), references)
    torch.testing.assert_close(loss, expected, atol=1e-3, rtol=0)


@every_loss
def test_an_unmatched_slot_is_matched_to_silence(model: AudioSlots, name: str) -> None:
    references, waveforms, level = scene(seed=3, slots=4)
    losses = []
    for gain in (0.0, 0.3, 1.0):  # the extra slots echo the mixture ever louder
        echo = gain * references.sum(dim=1, keepdim=True).expand(-1, 2, -1)
        estimates = estimates_of(model, torch.cat([waveforms[:, :2], echo], dim=1), level)
        losses.append(float(LOSSES[name](model, estimates, references)))
    assert losses[0] < losses[1] < losses[2]


@every_loss
def test_the_gradient_reaches_every_slot_and_is_finite(model: AudioSlots, name: str) -> None:
    references, waveforms, level = scene(seed=4, slots=3)
    waveforms.requires_grad_()
    LOSSES[name](model, estimates_of(model, waveforms, level), references).backward()
    assert waveforms.grad is not None
    assert torch.isfinite(waveforms.grad).all()
    assert (waveforms.grad.abs().amax(dim=-1) > 0).all()


@every_loss
def test_the_loss_does_not_depend_on_the_level_of_the_mixture(model: AudioSlots, name: str) -> None:
    references, waveforms, level = scene(seed=7, slots=3)
    loss = LOSSES[name](model, estimates_of(model, waveforms, level), references)
    louder = LOSSES[name](model, estimates_of(model, 10 * waveforms, 10 * level), 10 * references)
    torch.testing.assert_close(louder, loss, atol=1e-4, rtol=1e-4)
