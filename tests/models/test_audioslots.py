"""The whole model: symmetries, and what it reads."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_models import CHUNK, built, mixtures, resolved
from torch import Tensor, nn

from audioslots.config.architecture import kinds
from audioslots.models.audioslots.model import AudioSlots, standardise
from audioslots.models.audioslots.outputs import OUTPUTS
from audioslots.models.spectrogram import STFT
from audioslots.runtime.errors import InputError

few = settings(max_examples=10, deadline=None, derandomize=True)
# Every pair of an encoder and a decoder; and every pair of a slot module and an output, with the cheap ones.
PARTS: list[dict[str, Any]] = [
    {"encoder": encoder, "decoder": decoder} for encoder, decoder in product(kinds("encoders"), kinds("decoders"))
]
ENDS: list[dict[str, Any]] = [
    {"slots": module, "output": output} for module, output in product(kinds("slots"), OUTPUTS)
]


def name(chosen: dict[str, Any]) -> str:
    return "-".join(chosen.values())


every_combination = pytest.mark.parametrize("chosen", PARTS + ENDS, ids=name)


@every_combination
def test_every_combination_of_parts_gives_the_promised_shapes_and_trains(chosen: dict[str, Any]) -> None:
    model, mixture = built(**chosen), mixtures()
    estimates = model(mixture)
    assert estimates.waveforms.shape == (2, 3, CHUNK)
    assert estimates.compressed.shape == (2, 3, 33, 17)
    assert (estimates.compressed >= 0).all()
    assert estimates.slots.shape == (2, 3, 16)
    torch.testing.assert_close(estimates.level, mixture.square().mean(dim=-1, keepdim=True).sqrt())
    estimates.waveforms.square().sum().backward()
    silent = [key for key, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    # Attention cannot move its keys' bias: softmax does not see a constant. All else has to learn.
    assert [key for key in silent if not key.endswith("keys_values.bias")] == []


@pytest.mark.parametrize("chosen", ENDS, ids=name)
@few
@given(count=st.integers(2, 6), seed=st.integers(0, 1000), data=st.data())
def test_permuting_the_slot_queries_permutes_the_outputs(
    chosen: dict[str, Any], count: int, seed: int, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(count)))
    model, mixture = built(count=count, seed=seed, **chosen).double(), mixtures(seed=seed).double()
    with torch.no_grad():
        before = model(mixture)
        model.slots.queries.copy_(model.slots.queries[order].clone())
        after = model(mixture)
    for field in ("waveforms", "compressed", "slots"):
        torch.testing.assert_close(getattr(after, field), getattr(before, field)[:, order], atol=1e-12, rtol=0)
        assert not torch.allclose(getattr(before, field)[:, 0], getattr(before, field)[:, 1], atol=1e-6)


@pytest.mark.parametrize("output", OUTPUTS)
@few
@given(seed=st.integers(0, 1000))
def test_a_slots_estimate_depends_on_the_other_slots_in_softmax_masks_alone(output: str, seed: int) -> None:
    model, mixture, generator = built(output=output).double(), mixtures().double(), torch.Generator().manual_seed(seed)
    given_slots = torch.randn(2, 3, 16, generator=generator, dtype=torch.float64)
    others = given_slots.clone()
    others[:, 1:] = torch.randn(2, 2, 16, generator=generator, dtype=torch.float64)

    def estimated(slots: Tensor) -> Tensor:
        model.slots.forward = lambda tokens: slots
        with torch.no_grad():
            return model(mixture).waveforms[:, 0]

    moved = (estimated(others) - estimated(given_slots)).abs().max()
    assert moved > 1e-6 if output == "softmax" else moved < 1e-12


@every_combination
@few
@given(seed=st.integers(0, 1000))
def test_doubling_the_batch_leaves_each_items_output_unchanged(chosen: dict[str, Any], seed: int) -> None:
    model, batch = built(**chosen).double(), mixtures(4, seed).double()
    with torch.no_grad():
        whole, first, last = model(batch), model(batch[:2]), model(batch[3:])
    for field in ("waveforms", "compressed", "slots", "level"):
        expected = getattr(whole, field)
        torch.testing.assert_close(getattr(first, field), expected[:2], atol=1e-12, rtol=0)
        torch.testing.assert_close(getattr(last, field), expected[3:], atol=1e-12, rtol=0)


@pytest.mark.parametrize("output", OUTPUTS)
@few
@given(gain_db=st.floats(-40, 40), seed=st.integers(0, 1000))
def test_scaling_the_mixture_scales_the_estimates(output: str, gain_db: float, seed: int) -> None:
    model, batch, gain = built(output=output).double(), mixtures(seed=seed).double(), 10 ** (gain_db / 20)
    with torch.no_grad():
        expected, scaled = model(batch).waveforms * gain, model(batch * gain).waveforms
    # Level is a root mean square with a tiny floor under it: -40 dB below speech the floor is 2e-5 of it.
    torch.testing.assert_close(scaled, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


class Rotated(nn.Module):
    """A spectrogram whose phases are turned at random, its magnitudes kept."""

    def __init__(self, stft: STFT) -> None:
        super().__init__()
        self.stft = stft

    def forward(self, waveform: Tensor) -> Tensor:
        spectra = self.stft(waveform)
        turn = 6.28 * torch.rand(spectra.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        return torch.polar(spectra.abs(), spectra.angle() + turn)

    def inverse(self, spectra: Tensor, samples: int) -> Tensor:
        return self.stft.inverse(spectra, samples)


@pytest.mark.parametrize("chosen", ENDS, ids=name)
def test_the_model_reads_the_magnitude_of_the_mixture_and_nothing_else(chosen: dict[str, Any]) -> None:
    model, batch = built(**chosen).double(), mixtures().double()
    before, heard = model(batch), []
    model.encoder.register_forward_pre_hook(lambda module, inputs: heard.append(inputs))
    stft = model.stft
    model.stft = Rotated(stft)
    after = model(batch)
    torch.testing.assert_close(after.compressed, before.compressed, atol=1e-9, rtol=0)
    torch.testing.assert_close(after.slots, before.slots, atol=1e-9, rtol=0)
    level = batch.square().mean(dim=-1, keepdim=True).sqrt()
    expected = standardise(stft(batch / level).abs() ** 0.3)
    ((spectrogram,),) = heard
    torch.testing.assert_close(spectrogram, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("output", OUTPUTS)
def test_silence_gives_silence_and_finite_gradients(output: str) -> None:
    model = built(output=output)
    estimates = model(torch.zeros(1, CHUNK))
    assert estimates.waveforms.abs().max() < 1e-6
    (estimates.waveforms.square().sum() + estimates.compressed.sum()).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize("samples", [CHUNK - 1, CHUNK + 1, 2 * CHUNK])
def test_a_chunk_of_the_wrong_length_is_refused(samples: int) -> None:
    with pytest.raises(ValueError, match=rf"{samples} samples.*{CHUNK}"):
        built()(torch.zeros(1, samples))


@pytest.mark.parametrize("part", ["encoder", "slots", "decoder"])
def test_an_unknown_kind_is_refused_with_the_known_ones(part: str) -> None:
    folder = part if part == "slots" else f"{part}s"
    misspelt: dict[str, Any] = {part: "brodcast"}
    with pytest.raises(InputError, match=rf"{part}.kind: no such kind; .*expected one of {', '.join(kinds(folder))}"):
        resolved(**misspelt)


@pytest.mark.parametrize("encoder", kinds("encoders"))
@pytest.mark.parametrize("decoder", ["frames", "film"])
def test_context_is_read_and_the_chunk_in_its_middle_is_decoded(encoder: str, decoder: str) -> None:
    variant = resolved(encoder=encoder, decoder=decoder)
    torch.manual_seed(0)
    model = AudioSlots(variant, CHUNK, context=4 * variant.spectrogram.hop).eval()
    crop = 0.1 * torch.randn(2, CHUNK + 8 * variant.spectrogram.hop)
    found = model(crop)
    assert found.waveforms.shape == (2, 3, CHUNK) and found.compressed.shape == (2, 3, 33, 17)
    changed = crop.clone()
    changed[:, :100] *= 2
    assert not torch.allclose(model(changed).slots, found.slots), "what lies before the chunk is read"
    scaled = model(2 * crop)
    torch.testing.assert_close(scaled.waveforms, 2 * found.waveforms, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="expected a chunk, with its context"):
        model(crop[:, :-1])
