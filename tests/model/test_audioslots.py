"""The whole model: symmetries, what it reads, and what is needed to load it again."""

from __future__ import annotations

import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from audioslots.config import Resolved, checked
from audioslots.errors import InputError
from audioslots.model.audioslots import AudioSlots, standardise
from audioslots.model.weights import load_model, save_model

PARTS = [("frames", "modulated"), ("frames", "broadcast"), ("resnet", "broadcast")]
OUTPUTS = ["magnitude", "mask"]
CHUNK = 512  # samples
few = settings(max_examples=10, deadline=None, derandomize=True)


def resolved(encoder: str = "frames", decoder: str = "modulated", output: str = "mask") -> Resolved:
    document = {
        "chunk_s": CHUNK / 8000,
        "spectrogram": {"window": 64, "hop": 32},
        "encoder": {"kind": encoder, "blocks": (1, 1), "width": 16, "layers": 1, "heads": 2, "mlp": 16, "kernel": 3},
        "slots": {"count": 3, "layers": 1},
        "decoder": {"kind": decoder, "width": 16, "layers": 2, "output": output},
        "name": "tiny",
        "benchmark": "made",
        "seed": 0,
        "rate": 8000,
        "sources": 2,
        "train": "packed",
        "validation": None,
        "held_out_speakers": 2,
        "data_identity": "made",
    }
    return checked(Resolved, document, "tiny")


def built(*kinds: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return AudioSlots(resolved(*kinds), CHUNK).eval()


def mixtures(count: int = 2, seed: int = 0) -> Tensor:
    """Noise at a level of speech."""
    return 0.05 * torch.randn(count, CHUNK, generator=torch.Generator().manual_seed(seed))


every_kind = pytest.mark.parametrize(
    ("encoder", "decoder", "output"), [(*parts, output) for parts in PARTS for output in OUTPUTS]
)


@every_kind
def test_every_combination_of_parts_gives_the_promised_shapes_and_trains(encoder, decoder, output) -> None:
    model = built(encoder, decoder, output)
    estimates = model(mixtures())
    bins, frames = 33, 17
    assert estimates.compressed.shape == estimates.spectra.shape == (2, 3, bins, frames)
    assert estimates.spectra.is_complex()
    assert (estimates.compressed >= 0).all()
    assert estimates.slots.shape == (2, 3, 16)
    waveforms = model.waveforms(estimates)
    assert waveforms.shape == (2, 3, CHUNK)
    waveforms.square().sum().backward()
    silent = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    # Attention cannot move its keys' bias: softmax does not see a constant. All else has to learn.
    assert [name for name in silent if not name.endswith("keys_values.bias")] == []


@every_kind
def test_permuting_the_slot_queries_permutes_the_outputs(encoder, decoder, output) -> None:
    model = built(encoder, decoder, output).double()
    mixture = mixtures().double()
    before, queries = model(mixture), model.slots.queries.detach().clone()
    for order in permutations(range(3)):
        with torch.no_grad():
            model.slots.queries.copy_(queries[list(order)])
        after = model(mixture)
        for name in ("compressed", "spectra", "slots"):
            expected = getattr(before, name)[:, list(order)]
            torch.testing.assert_close(getattr(after, name), expected, atol=1e-11, rtol=0)


@every_kind
def test_doubling_the_batch_leaves_each_items_output_unchanged(encoder, decoder, output) -> None:
    model, batch = built(encoder, decoder, output), mixtures(4)
    whole = model.waveforms(model(batch))
    torch.testing.assert_close(model.waveforms(model(batch[:2])), whole[:2], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(model.waveforms(model(batch[3:])), whole[3:], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("output", OUTPUTS)
@few
@given(gain_db=st.floats(-40, 40), seed=st.integers(0, 1000))
def test_scaling_the_mixture_scales_the_estimates(output: str, gain_db: float, seed: int) -> None:
    model, batch, gain = (
        built("frames", "modulated", output).double(),
        mixtures(seed=seed).double(),
        10 ** (gain_db / 20),
    )
    with torch.no_grad():
        expected, scaled = model.waveforms(model(batch)) * gain, model.waveforms(model(batch * gain))
    # Level is a mean square with a tiny floor under it: -40 dB below speech the floor is 2e-5 of it.
    torch.testing.assert_close(scaled, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


class Rotated(nn.Module):
    """A spectrogram whose phases are turned at random, its magnitudes kept."""

    def __init__(self, stft: nn.Module) -> None:
        super().__init__()
        self.stft = stft

    def forward(self, waveform: Tensor) -> Tensor:
        spectra = self.stft(waveform)
        turn = 6.28 * torch.rand(spectra.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        return torch.polar(spectra.abs(), spectra.angle() + turn)


@every_kind
def test_the_model_reads_the_magnitude_of_the_mixture_and_nothing_else(encoder, decoder, output) -> None:
    model, batch = built(encoder, decoder, output).double(), mixtures().double()
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


def test_masks_stay_within_the_mixture_and_magnitudes_borrow_its_phase() -> None:
    batch = mixtures().double()
    for output in OUTPUTS:
        model = built("frames", "modulated", output).double()
        estimates = model(batch)
        spectrum = model.stft(batch / estimates.level)[:, None]
        ratio = estimates.spectra / spectrum
        torch.testing.assert_close(ratio.imag, torch.zeros_like(ratio.imag), atol=1e-6, rtol=0)
        assert (ratio.real > 0).all()
        assert output == "magnitude" or (ratio.real < 1).all()
        torch.testing.assert_close(estimates.compressed, estimates.spectra.abs() ** 0.3, atol=1e-4, rtol=0)


@pytest.mark.parametrize("output", OUTPUTS)
def test_silence_gives_silence_and_finite_gradients(output: str) -> None:
    model = built("frames", "modulated", output)
    waveforms = model.waveforms(model(torch.zeros(1, CHUNK)))
    assert waveforms.abs().max() < 1e-6
    waveforms.square().sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize("samples", [CHUNK - 1, CHUNK + 1, 2 * CHUNK])
def test_a_chunk_of_the_wrong_length_is_refused(samples: int) -> None:
    with pytest.raises(ValueError, match=rf"{samples} samples.*{CHUNK}"):
        built()(torch.zeros(1, samples))


def test_a_decoder_that_needs_frames_is_refused_without_them() -> None:
    with pytest.raises(InputError, match="modulated.*frames"):
        resolved(encoder="resnet", decoder="modulated")


@every_kind
def test_whatever_is_not_saved_is_the_same_in_every_model(encoder, decoder, output) -> None:
    first, second = built(encoder, decoder, output, seed=1), built(encoder, decoder, output, seed=2)
    saved = first.state_dict()
    unsaved = {name: buffer for name, buffer in first.named_buffers() if name not in saved}
    assert unsaved
    for name, buffer in second.named_buffers():
        assert name in saved or torch.equal(buffer, unsaved[name]), name
    batch = mixtures()
    assert not torch.equal(first(batch).spectra, second(batch).spectra)
    second.load_state_dict(saved)
    assert torch.equal(first(batch).spectra, second(batch).spectra)


FRESH = """
import sys
import numpy as np
import torch
from audioslots.model.weights import load_model
threads, file, mixture, out = sys.argv[1:]
torch.set_num_threads(int(threads))
torch.manual_seed(12345)
model, config = load_model(file)
with torch.no_grad():
    np.save(out, model.waveforms(model(torch.from_numpy(np.load(mixture)))).numpy())
"""


def test_a_saved_model_gives_the_same_output_to_the_bit_in_a_fresh_process(tmp_path: Path) -> None:
    batch = mixtures()
    np.save(tmp_path / "mixture.npy", batch.numpy())
    model = built("resnet", "broadcast", "magnitude")
    save_model(tmp_path / "model.safetensors", model, resolved("resnet", "broadcast", "magnitude"))
    with torch.no_grad():
        expected = model.waveforms(model(batch)).numpy()
    files = [str(tmp_path / name) for name in ("model.safetensors", "mixture.npy", "output.npy")]
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", FRESH, str(torch.get_num_threads()), *files]
    subprocess.run(command, cwd=root, check=True)
    assert np.load(tmp_path / "output.npy").tobytes() == expected.tobytes()


def test_a_model_is_loaded_from_its_folder_with_its_config(tmp_path: Path) -> None:
    config = resolved()
    save_model(tmp_path / "model.safetensors", built(), config)
    model, read = load_model(tmp_path)
    assert read == config
    assert not model.training


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    with pytest.raises(InputError, match=r"model\.safetensors: no such file"):
        load_model(tmp_path)
    save_model(file, built(), resolved())
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no weights at all"):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"model\.safetensors: cannot be read"):
            load_model(file)
