"""The whole model: symmetries, and what it reads."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_models import CHUNK, built, kinds, mixtures, resolved
from torch import Tensor, nn

from audioslots.losses import LOSSES
from audioslots.models.audioslots.outputs import OUTPUTS
from audioslots.models.base import center_crop, standardise
from audioslots.models.spectrogram import STFT
from audioslots.training.objective import Matched

few = settings(max_examples=5, deadline=None, derandomize=True)
# Every pair of an encoder and a decoder; and every pair of a slot module and an output, with the cheap ones.
PARTS = [{"encoder": {"kind": e}, "decoder": {"kind": d}} for e, d in product(kinds("encoder"), kinds("decoder"))]
ENDS = [{"slots": {"kind": s}, "output": output} for s, output in product(kinds("slots"), OUTPUTS)]


def name(chosen: dict[str, Any]) -> str:
    return "-".join(value if isinstance(value, str) else value["kind"] for value in chosen.values())


every_combination = pytest.mark.parametrize("chosen", PARTS + ENDS, ids=name)


@every_combination
def test_every_combination_of_parts_has_the_promised_shapes_and_trains_in_32_and_16_bits(chosen: dict) -> None:
    model, sources = built(chosen), torch.stack([mixtures(2, 0), mixtures(2, 1)], dim=1)
    mixture = sources.sum(dim=1)
    estimates = model(mixture)
    assert estimates.waveforms.shape == (2, 3, CHUNK) and model.num_slots == 3 and not model.any_length
    assert estimates.compressed.shape == estimates.spectra.shape == (2, 3, 33, 17) and (estimates.compressed >= 0).all()
    assert estimates.slots.shape == (2, 3, 16)
    torch.testing.assert_close(estimates.level, mixture.square().mean(dim=-1, keepdim=True).sqrt())
    estimates.waveforms.square().sum().backward()
    unused = [key for key, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    # Attention cannot move its keys' bias: softmax does not see a constant. All else has to learn.
    assert [key for key in unused if not key.endswith("keys_values.bias")] == []
    for loss in [name for name, loss in LOSSES.items() if loss.silence]:
        values = []
        for half in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                estimates = model(mixture)
                assert estimates.waveforms.dtype == estimates.compressed.dtype == torch.float32
                values.append(Matched(resolved(chosen, training={"loss": loss}))(estimates, sources))
        assert values[1].item() == pytest.approx(values[0].item(), rel=0.05, abs=0.5 if loss == "snr" else 0.02)


@pytest.mark.parametrize("chosen", ENDS, ids=name)
@few
@given(count=st.integers(2, 6), seed=st.integers(0, 1000), data=st.data())
def test_permuting_the_slot_queries_permutes_the_outputs(chosen: dict, count: int, seed: int, data: Any) -> None:
    order = data.draw(st.permutations(range(count)))
    chosen = chosen | {"slots": chosen["slots"] | {"count": count}}
    model, mixture = built(chosen, seed).double(), mixtures(seed=seed).double()
    with torch.no_grad():
        before = model(mixture)
        model.slots.queries.copy_(model.slots.queries[order].clone())
        after = model(mixture)
    for field in ("waveforms", "compressed", "slots"):
        torch.testing.assert_close(getattr(after, field), getattr(before, field)[:, order], atol=1e-12, rtol=0)
        assert not torch.allclose(getattr(before, field)[:, 0], getattr(before, field)[:, 1], atol=1e-6)


@every_combination
@few
@given(seed=st.integers(0, 1000), gain_db=st.floats(-40, 40))
def test_items_of_a_batch_are_independent_and_the_level_scales(chosen: dict, seed: int, gain_db: float) -> None:
    model, batch, gain = built(chosen).double(), mixtures(4, seed).double(), 10 ** (gain_db / 20)
    with torch.no_grad():
        whole, last, scaled = model(batch), model(batch[3:]), model(batch * gain)
    for field in ("waveforms", "compressed", "slots", "level"):
        torch.testing.assert_close(getattr(last, field), getattr(whole, field)[3:], atol=1e-12, rtol=0)
    # Level is a root mean square with a tiny floor under it: 40 dB below speech the floor is 2e-5 of it.
    expected = whole.waveforms * gain
    torch.testing.assert_close(scaled.waveforms, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


class Rotated(nn.Module):
    """A spectrogram with random phases, its magnitudes kept."""

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
def test_the_model_reads_the_magnitude_of_the_mixture_and_nothing_else(chosen: dict) -> None:
    model, batch = built(chosen).double(), mixtures().double()
    before, inputs = model(batch), []
    model.encoder.register_forward_pre_hook(lambda module, given: inputs.append(given))
    stft = model.stft
    model.stft = Rotated(stft)
    after = model(batch)
    torch.testing.assert_close(after.compressed, before.compressed, atol=1e-9, rtol=0)
    torch.testing.assert_close(after.slots, before.slots, atol=1e-9, rtol=0)
    level = batch.square().mean(dim=-1, keepdim=True).sqrt()
    ((spectrogram,),) = inputs
    torch.testing.assert_close(spectrogram, standardise(stft(batch / level).abs() ** 0.3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("output", OUTPUTS)
def test_silence_gives_silence_and_finite_gradients(output: str) -> None:
    model = built({"output": output})
    estimates = model(torch.zeros(1, CHUNK))
    assert estimates.waveforms.abs().max() < 1e-6
    (estimates.waveforms.square().sum() + estimates.compressed.sum()).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize("encoder", kinds("encoder"))
@pytest.mark.parametrize("decoder", ["frames", "film"])
def test_context_is_read_and_the_chunk_in_its_middle_is_decoded(encoder: str, decoder: str) -> None:
    model = built({"encoder": {"kind": encoder}, "decoder": {"kind": decoder}, "context_s": 4 * 32 / 8000})
    crop = mixtures(samples=CHUNK + 8 * 32)
    estimates = model(crop)
    assert estimates.waveforms.shape == (2, 3, CHUNK) and estimates.compressed.shape == (2, 3, 33, 17)
    assert center_crop(crop, CHUNK).shape == (2, CHUNK)
    changed = crop.clone()
    changed[:, :100] *= 2
    assert not torch.allclose(model(changed).slots, estimates.slots), "what lies before the chunk is read"
    for samples in (CHUNK, CHUNK + 8 * 32 - 1):
        with pytest.raises(ValueError, match="expected a chunk, with its context"):
            model(crop[:, :samples])
