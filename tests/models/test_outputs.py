"""What a decoder's maps mean: magnitudes or masks, and whose phase."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from audioslots.models.audioslots.outputs import OUTPUTS
from audioslots.models.base import compress

few = settings(max_examples=15, deadline=None, derandomize=True)
seeds = st.integers(0, 2**31)
every_output = pytest.mark.parametrize("kind", OUTPUTS)
EXPONENT = 0.3


def drawn(kind: str, seed: int = 0, slots: int = 3) -> tuple[Tensor, Tensor]:
    """Maps (B, K, C, F, N) and the complex spectrum of a mixture (B, F, N)."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, slots, OUTPUTS[kind].channels, 5, 4, generator=generator, dtype=torch.float64)
    return maps, torch.randn(2, 5, 4, generator=generator, dtype=torch.complex128)


@every_output
@few
@given(seed=seeds)
def test_compressed_magnitudes_are_those_of_the_spectra(kind: str, seed: int) -> None:
    maps, spectrum = drawn(kind, seed)
    compressed, spectra = OUTPUTS[kind].read(maps, spectrum, EXPONENT)
    assert compressed.shape == spectra.shape == (2, 3, 5, 4)
    torch.testing.assert_close(compressed, spectra.abs() ** EXPONENT, atol=1e-4, rtol=1e-4)


@few
@given(seed=seeds)
def test_all_but_the_complex_mask_borrow_the_phase_of_the_mixture(seed: int) -> None:
    for kind in OUTPUTS:
        maps, spectrum = drawn(kind, seed)
        ratio = OUTPUTS[kind].read(maps, spectrum, EXPONENT)[1] / spectrum[:, None]
        turned = ratio.angle().abs().max()
        assert turned > 0.1 if kind == "complex" else turned < 1e-9


@few
@given(seed=seeds)
def test_masks_take_a_share_of_the_mixture(seed: int) -> None:
    for kind in ("sigmoid", "softmax"):
        maps, spectrum = drawn(kind, seed)
        masks = (OUTPUTS[kind].read(maps, spectrum, EXPONENT)[1] / spectrum[:, None]).real
        assert ((masks > 0) & (masks < 1)).all()


@few
@given(seed=seeds, slots=st.integers(2, 6))
def test_softmax_masks_share_the_whole_mixture_out(seed: int, slots: int) -> None:
    maps, spectrum = drawn("softmax", seed, slots)
    torch.testing.assert_close(OUTPUTS["softmax"].read(maps, spectrum, EXPONENT)[1].sum(dim=1), spectrum)


@few
@given(seed=seeds)
def test_a_complex_mask_can_give_any_spectrum(seed: int) -> None:
    wanted, spectrum = drawn("complex", seed)[1], drawn("complex", seed + 1)[1]
    mask = wanted / spectrum
    maps = torch.stack([mask.real, mask.imag], dim=1)[:, None]
    torch.testing.assert_close(OUTPUTS["complex"].read(maps, spectrum, EXPONENT)[1][:, 0], wanted)


@every_output
@few
@given(seed=seeds)
def test_only_a_softmax_slot_depends_on_the_other_slots(kind: str, seed: int) -> None:
    maps, spectrum = drawn(kind, seed)
    others = maps.clone()
    others[:, 1:] = drawn(kind, seed + 1)[0][:, 1:]
    before, after = (OUTPUTS[kind].read(drawn_maps, spectrum, EXPONENT) for drawn_maps in (maps, others))
    for ours, theirs in zip(before, after, strict=True):
        assert torch.equal(ours[:, 0], theirs[:, 0]) == (kind != "softmax")


@every_output
def test_the_gradient_is_finite_where_the_mixture_is_silent(kind: str) -> None:
    maps, spectrum = drawn(kind)
    maps.requires_grad_()
    compressed, spectra = OUTPUTS[kind].read(maps, torch.zeros_like(spectrum), EXPONENT)
    assert spectra.abs().max() < 1e-6
    (compressed.sum() + spectra.abs().square().sum()).backward()
    assert maps.grad is not None
    assert torch.isfinite(maps.grad).all()


def test_compression_is_a_power_with_a_finite_gradient_at_zero() -> None:
    magnitudes = torch.tensor([0.0, 1e-3, 1.0, 9.0], dtype=torch.float64, requires_grad=True)
    compressed = compress(magnitudes, 0.5)
    torch.testing.assert_close(compressed, magnitudes**0.5, atol=2e-4, rtol=0)
    compressed.sum().backward()
    assert magnitudes.grad is not None
    assert torch.isfinite(magnitudes.grad).all()
