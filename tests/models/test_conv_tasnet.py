"""Conv-TasNet: torchaudio's network at the mixture's level, for chunks of any length."""

from __future__ import annotations

import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from made_models import CHUNK, built, mixtures

from audioslots.config.variant import Variant
from audioslots.models.conv_tasnet import ConvTasNet

few = settings(max_examples=10, deadline=None, derandomize=True)


@few
@given(gain_db=st.floats(-40, 40), seed=st.integers(0, 1000))
def test_scaling_the_mixture_scales_the_estimates(gain_db: float, seed: int) -> None:
    model, batch, gain = built("conv_tasnet").double(), mixtures(seed=seed).double(), 10 ** (gain_db / 20)
    with torch.no_grad():
        expected, scaled = model(batch).waveforms * gain, model(batch * gain).waveforms
    torch.testing.assert_close(scaled, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


@few
@given(seed=st.integers(0, 1000))
def test_doubling_the_batch_leaves_each_items_output_unchanged(seed: int) -> None:
    model, batch = built("conv_tasnet").double(), mixtures(4, seed).double()
    with torch.no_grad():
        whole = model(batch).waveforms
        torch.testing.assert_close(model(batch[:2]).waveforms, whole[:2], atol=1e-12, rtol=0)
        torch.testing.assert_close(model(batch[3:]).waveforms, whole[3:], atol=1e-12, rtol=0)


@pytest.mark.parametrize("samples", [CHUNK, CHUNK + 1, 777])
def test_any_length_gives_one_estimate_a_slot_and_trains(samples: int) -> None:
    model, mixture = built("conv_tasnet", count=4), mixtures(samples=samples)
    estimates = model(mixture)
    assert estimates.waveforms.shape == (2, 4, samples)
    assert estimates.compressed is None and estimates.slots is None
    torch.testing.assert_close(estimates.level, mixture.square().mean(dim=-1, keepdim=True).sqrt())
    estimates.waveforms.square().sum().backward()
    silent = [key for key, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    # Only the skip connection of the last block is used.
    assert all("conv_layers.5.res_out" in key for key in silent)


def test_silence_gives_silence() -> None:
    assert built("conv_tasnet")(torch.zeros(1, CHUNK)).waveforms.abs().max() < 1e-6


def test_the_defaults_are_the_published_size() -> None:
    """Luo and Mesgarani 2019, table II: 5.1 million parameters; torchaudio's own defaults are that size too."""
    count = sum(weight.numel() for weight in ConvTasNet(Variant.model_validate({}), 4000).parameters())
    torchaudios = torchaudio.models.conv_tasnet_base()
    assert count == sum(weight.numel() for weight in torchaudios.parameters())
    assert count == pytest.approx(5.1e6, rel=0.03)
