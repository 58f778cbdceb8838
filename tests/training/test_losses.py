"""The losses: blind to the order of the sources, finite everywhere, and what a slot without a source costs."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from audioslots.config.study import merge
from audioslots.config.variant import Variant
from audioslots.losses import LOSSES, energy_db, si_sdr, snr
from audioslots.models.base import Estimates, compress, level_of
from audioslots.models.spectrogram import STFT
from audioslots.separation.reconstruction import ratio_masks
from audioslots.training.objective import Matched

SAMPLES, WINDOW, HOP = 512, 64, 16
few = settings(max_examples=12, deadline=None, derandomize=True)
seeds = st.integers(0, 2**31)
every_loss = pytest.mark.parametrize("kind", LOSSES)
losses_with_silence = pytest.mark.parametrize("kind", [kind for kind in LOSSES if LOSSES[kind].silence])


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def matched(kind: str, **training: Any) -> Matched:
    """A loss that pulls unmatched slots to silence, where its kind can."""
    unmatched = "silence" if LOSSES[kind].silence else "free"
    model = {"spectrogram": {"window": WINDOW, "hop": HOP}}
    document = {"model": model, "training": {"loss": kind, "unmatched": unmatched}}
    return Matched(Variant.model_validate(merge(document, {"training": training}))).double()


def estimates_of(waveforms: Tensor, level: Tensor) -> Estimates:
    """What a model would say if these (B, K, T) waveforms were its estimates."""
    compressed = compress(STFT(WINDOW, HOP).double()(waveforms / level[:, None]).abs(), 0.3)
    return Estimates(waveforms, level, compressed)


def scene(seed: int, sources: int = 2, slots: int = 2) -> tuple[Tensor, Estimates]:
    """References (B, S, T), and estimates of K slots: the references, then silence, all with noise."""
    references = 0.05 * noise(2, sources, SAMPLES, seed=seed)
    silence = torch.zeros(2, slots - sources, SAMPLES)
    waveforms = torch.cat([references, silence], dim=1) + 0.01 * noise(2, slots, SAMPLES, seed=seed + 1)
    return references, estimates_of(waveforms, level_of(references.sum(dim=1)))


def reordered(estimates: Estimates, order: list[int]) -> Estimates:
    return estimates_of(estimates.waveforms[:, order], estimates.level)


# --- what one estimate costs ---------------------------------------------------------------------------------------


@few
@given(seed=seeds, ratio_db=st.floats(-20, 20), offset=st.floats(-0.5, 0.5), level_db=st.floats(-20, 0))
def test_si_sdr_equals_torchmetrics(seed: int, ratio_db: float, offset: float, level_db: float) -> None:
    reference = 10 ** (level_db / 20) * noise(3, 800, seed=seed)
    distortion = 10 ** ((level_db - ratio_db) / 20) * noise(3, 800, seed=seed + 1)
    estimate = 0.3 * (reference + distortion) + offset * 10 ** (level_db / 20)
    expected = scale_invariant_signal_distortion_ratio(estimate, reference, zero_mean=True)
    torch.testing.assert_close(si_sdr(estimate, reference), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(si_sdr(estimate.float(), reference.float()), expected.float(), atol=2e-3, rtol=0)


def test_si_sdr_is_finite_with_finite_gradient_for_silence_and_for_a_perfect_estimate() -> None:
    speech, silence = noise(800), torch.zeros(800, dtype=torch.float64)
    for estimate, reference in ((silence, speech), (speech, silence), (silence, silence), (speech, speech)):
        estimate = estimate.clone().requires_grad_()
        value = si_sdr(estimate, reference)
        value.backward()
        assert torch.isfinite(value)
        assert estimate.grad is not None
        assert torch.isfinite(estimate.grad).all()
    assert si_sdr(speech, speech) > 60
    assert si_sdr(speech, silence) < -60


@few
@given(seed=seeds, ratio_db=st.floats(-20, 60))
def test_snr_is_the_signal_to_noise_ratio_that_levels_off_at_30_db(seed: int, ratio_db: float) -> None:
    reference, distortion = noise(800, seed=seed), noise(800, seed=seed + 1)
    distortion = distortion / distortion.norm() * reference.norm() * 10 ** (-ratio_db / 20)
    expected = -10 * torch.log10(torch.tensor(10 ** (-ratio_db / 10) + 1e-3, dtype=torch.float64))
    torch.testing.assert_close(snr(reference + distortion, reference), expected, atol=1e-6, rtol=0)
    assert snr(reference + distortion, reference) < 30
    assert snr(0.5 * reference, reference) < 6.1, "it does not forgive a wrong level, unlike SI-SDR"


def test_the_energy_of_silence_costs_nothing_and_counts_from_30_db_below_the_mixture() -> None:
    levels = torch.tensor([0.0, 10**-1.5, 1.0], dtype=torch.float64)[:, None].expand(-1, 8)  # -inf, -30 and 0 dB
    torch.testing.assert_close(energy_db(levels), torch.tensor([0.0, 3.0103, 30.0043]).double(), atol=1e-3, rtol=0)


# --- matched -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "unmatched"),
    [(kind, way) for kind in LOSSES for way in ("silence", "free") if LOSSES[kind].silence or way == "free"],
)
@pytest.mark.parametrize("slots", [2, 3, 5])
@few
@given(seed=seeds)
def test_the_loss_is_invariant_to_the_order_of_references_and_of_slots(
    kind: str, unmatched: str, slots: int, seed: int
) -> None:
    sources, loss = min(slots, 3), matched(kind, unmatched=unmatched)
    references, estimates = scene(seed, sources, slots)
    expected = loss(estimates, references)
    for order in permutations(range(sources)):
        torch.testing.assert_close(loss(estimates, references[:, list(order)]), expected, atol=1e-10, rtol=1e-10)
    shuffled = torch.randperm(slots, generator=torch.Generator().manual_seed(seed)).tolist()
    torch.testing.assert_close(loss(reordered(estimates, shuffled), references), expected, atol=1e-10, rtol=1e-10)


@every_loss
@few
@given(seed=seeds)
def test_in_fixed_order_slot_k_meets_source_k_whatever_suits(kind: str, seed: int) -> None:
    references, estimates = scene(seed)
    fixed, free = matched(kind, assignment="fixed"), matched(kind)
    assert fixed(estimates, references) == free(estimates, references), "the slots lie in the references' order"
    turned = fixed(estimates, references.flip(1))
    assert turned > fixed(estimates, references) + 0.01
    torch.testing.assert_close(turned, fixed(reordered(estimates, [1, 0]), references))


def brute_force(kind: str, estimates: Estimates, references: Tensor) -> Tensor:
    """Mean over slots of the least sum, each given to a source or silence; over sources if others are free."""
    targets, signals = references / estimates.level[:, None], estimates.waveforms / estimates.level[:, None]
    if LOSSES[kind].spectral:
        assert estimates.compressed is not None
        targets, signals = STFT(WINDOW, HOP).double()(targets).abs() ** 0.3, estimates.compressed
    sums, silence = [], LOSSES[kind].silence
    sources, slots = references.shape[1], signals.shape[1]
    for order in permutations(range(slots), sources):
        costs = [LOSSES[kind].cost(signals[:, slot], targets[:, source]) for source, slot in enumerate(order)]
        costs += [silence(signals[:, slot]) for slot in range(slots) if silence and slot not in order]
        sums.append(torch.stack(costs).sum(dim=0))
    return torch.stack(sums).min(dim=0).values.mean() / (slots if silence else sources)


@every_loss
@few
@given(seed=seeds, sizes=st.sampled_from([(2, 2), (2, 3), (2, 5), (3, 3), (3, 5), (4, 5)]), spread=st.floats(0, 0.3))
def test_the_loss_is_the_least_sum_over_every_assignment_of_slots_to_sources_and_to_silence(
    kind: str, seed: int, sizes: tuple[int, int], spread: float
) -> None:
    references, estimates = scene(seed, *sizes)
    waveforms = estimates.waveforms + spread * noise(2, sizes[1], 1, seed=seed + 2) * noise(2, *sizes[1:], SAMPLES)
    estimates = estimates_of(waveforms, estimates.level)
    expected = brute_force(kind, estimates, references)
    torch.testing.assert_close(matched(kind)(estimates, references), expected, atol=1e-3, rtol=1e-3)


def test_the_cost_of_silence_decides_which_slot_a_source_takes() -> None:
    """Slots of 1.5 and 0.9 times the source: 0.9 is nearer; but 1.5 is farther still from silence."""
    references, _ = scene(seed=2, sources=1)
    level = level_of(references[:, 0])
    target = STFT(WINDOW, HOP).double()(references / level[:, None]).abs() ** 0.3
    estimates = Estimates(references.expand(-1, 2, -1), level, torch.cat([1.5 * target, 0.9 * target], dim=1))
    energy = float(target.square().mean())
    assert float(matched("squared")(estimates, references)) == pytest.approx(energy * (0.5**2 + 0.9**2) / 2, rel=1e-4)
    free = matched("squared", unmatched="free")
    assert float(free(estimates, references)) == pytest.approx(energy * 0.1**2, rel=1e-3)


@every_loss
@pytest.mark.parametrize("slots", [2, 8])
def test_the_loss_of_two_sources_and_its_gradient_need_no_copy_to_the_host(kind: str, slots: int) -> None:
    """A tensor on PyTorch's meta device has no values: whatever copies it to the host, or waits for it, is an error."""
    references, estimates = scene(seed=1, slots=slots)
    waveforms = estimates.waveforms.to("meta").requires_grad_()
    assert estimates.compressed is not None
    compressed = estimates.compressed.to("meta").requires_grad_()
    loss = matched(kind).to("meta")
    loss(Estimates(waveforms, estimates.level.to("meta"), compressed), references.to("meta")).backward()
    assert waveforms.grad is not None or compressed.grad is not None


# --- slots without a source ----------------------------------------------------------------------------------------


@losses_with_silence
def test_an_unmatched_slot_is_charged_for_its_energy(kind: str) -> None:
    references, estimates = scene(seed=3)
    losses = []
    for gain in (0.0, 0.3, 1.0):  # the extra slots echo the mixture ever louder
        echo = gain * references.sum(dim=1, keepdim=True).expand(-1, 2, -1)
        louder = estimates_of(torch.cat([estimates.waveforms, echo], dim=1), estimates.level)
        losses.append(float(matched(kind)(louder, references)))
    assert losses[0] < losses[1] < losses[2]


@losses_with_silence
@pytest.mark.parametrize("order", ["pit", "fixed"])
def test_the_gradient_reaches_every_slot_or_none_that_is_left_free(kind: str, order: str) -> None:
    references, estimates = scene(seed=4, slots=4)
    for unmatched, reached in (("silence", [True] * 4), ("free", [True, True, False, False])):
        waveforms = estimates.waveforms.clone().requires_grad_()
        matched(kind, unmatched=unmatched, assignment=order)(
            estimates_of(waveforms, estimates.level), references
        ).backward()
        assert waveforms.grad is not None
        assert torch.isfinite(waveforms.grad).all()
        assert [bool(waveforms.grad[:, slot].any()) for slot in range(4)] == reached, unmatched


def test_a_loss_that_all_slots_escape_by_being_quieter_pulls_none_to_silence() -> None:
    references, estimates = scene(seed=3, slots=3)
    quieter = estimates_of(0.1 * estimates.waveforms, estimates.level)
    free = matched("si_sdr", unmatched="free")
    torch.testing.assert_close(free(quieter, references), free(estimates, references), atol=1e-2, rtol=1e-3)
    with pytest.raises(ValueError, match="loss si_sdr cannot train extra slots towards silence; .* or snr"):
        matched("si_sdr", unmatched="silence")(estimates, references)


@every_loss
def test_free_slots_cost_nothing(kind: str) -> None:
    references, estimates = scene(seed=5)
    expected = matched(kind)(estimates, references)
    more = estimates_of(torch.cat([estimates.waveforms, noise(2, 3, SAMPLES)], dim=1), estimates.level)
    torch.testing.assert_close(matched(kind, unmatched="free")(more, references), expected)


# --- what is compared ----------------------------------------------------------------------------------------------


@every_loss
def test_the_loss_does_not_depend_on_the_level_of_the_mixture(kind: str) -> None:
    references, estimates = scene(seed=7, slots=3)
    louder = Estimates(10 * estimates.waveforms, 10 * estimates.level, estimates.compressed)
    expected = matched(kind)(estimates, references)
    torch.testing.assert_close(matched(kind)(louder, 10 * references), expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("exponent", [0.3, 0.5, 1.0])
@pytest.mark.parametrize(("kind", "power"), [("squared", 2), ("absolute", 1)])
def test_magnitudes_are_compared_at_the_losss_own_exponent(kind: str, power: int, exponent: float) -> None:
    references, estimates = scene(seed=6)
    stft = STFT(WINDOW, HOP).double()
    scale = estimates.level[:, None]
    signals, targets = (stft(part / scale).abs() ** exponent for part in (estimates.waveforms, references))
    expected = (signals - targets).abs().pow(power).mean()
    torch.testing.assert_close(matched(kind, exponent=exponent)(estimates, references), expected, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(("kind", "ratio"), [("si_sdr", si_sdr), ("snr", snr)])
def test_waveforms_are_scored_by_the_negative_ratio(kind: str, ratio: Any) -> None:
    references, estimates = scene(seed=8)
    scale = estimates.level[:, None]
    expected = -ratio(estimates.waveforms / scale, references / scale).mean()
    torch.testing.assert_close(matched(kind)(estimates, references), expected)


def test_magnitudes_of_a_model_without_a_spectrogram_and_too_few_slots_are_refused() -> None:
    references, estimates = scene(seed=9)
    with pytest.raises(ValueError, match="loss squared of a model without a spectrogram; expected si_sdr or snr"):
        matched("squared")(estimates._replace(compressed=None), references)
    with pytest.raises(ValueError, match="2 slots for 3 sources"):
        matched("si_sdr")(estimates, noise(2, 3, SAMPLES))


def test_chunks_together_share_the_permutation_of_their_mean_cost() -> None:
    """Two chunks that prefer opposite orders: alone each is given its own, together both the better one."""
    references, estimates = scene(seed=5)
    waveforms = estimates.waveforms.clone()
    waveforms[1] = 1.5 * waveforms[1].flip(0)
    mixed = estimates_of(waveforms, estimates.level)
    variant = Variant.model_validate({"model": {"spectrogram": {"window": WINDOW, "hop": HOP}}})
    alone, together = Matched(variant).double(), Matched(variant, group=2).double()
    fixed = Matched(
        variant.model_copy(update={"training": variant.training.model_copy(update={"assignment": "fixed"})})
    )
    orders = [float(fixed.double()(reordered(mixed, order), references)) for order in ([0, 1], [1, 0])]
    torch.testing.assert_close(float(together(mixed, references)), min(orders))
    assert float(alone(mixed, references)) < min(orders) - 1e-3
    torch.testing.assert_close(together(estimates, references), alone(estimates, references))


def test_ratio_adds_what_the_slots_make_of_the_mixture_as_masks() -> None:
    """Against separation's own masks of power 1.5: the SNR of their spectra, at unit level of the mixture."""
    references, estimates = scene(seed=6)
    assert estimates.compressed is not None
    stft = STFT(WINDOW, HOP).double()
    masks = ratio_masks(estimates.compressed ** (1 / 0.3), 1.5)
    made = masks * stft(references.sum(dim=1) / estimates.level)[:, None]
    true = stft(references / estimates.level[:, None])
    energy, error = (spectra.abs().square().sum((-2, -1)) for spectra in (true, made - true))
    earned = 10 * (energy / (error + 1e-3 * energy)).log10()
    expected = matched("squared")(estimates, references) - 0.1 * earned.mean()
    torch.testing.assert_close(matched("squared", ratio=0.1)(estimates, references), expected)
    for order in ([0, 1], [1, 0]):
        torch.testing.assert_close(matched("squared", ratio=0.1)(reordered(estimates, order), references), expected)


def test_ratio_shares_out_a_mixture_with_its_noise() -> None:
    references, estimates = scene(seed=8)
    noisy = torch.cat([references, 0.05 * noise(2, 1, SAMPLES, seed=9)], dim=1)
    document = {"model": {"spectrogram": {"window": WINDOW, "hop": HOP}}, "training": {"ratio": 0.1}}
    loss = Matched(Variant.model_validate(document), has_noise=True).double()
    quiet = Matched(Variant.model_validate(document), has_noise=False).double()
    assert loss(estimates, noisy) > quiet(estimates, references) + 0.01
    silent = torch.cat([references, torch.zeros(2, 1, SAMPLES, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(loss(estimates, silent), quiet(estimates, references))
