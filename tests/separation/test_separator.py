"""Separating recordings in memory and as a stream: lengths and levels are kept, whatever the recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_separator import conv_tasnet, noise, streamed, tiny
from torch import Tensor, nn

import audioslots
from audioslots.config.separation import Separation
from audioslots.models.audioslots.recurrence import RECURRENCES
from audioslots.models.base import Estimates, level_of
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import write_json
from audioslots.separation.chunking import Chunk, chunk_hop, overlap_add, split_chunks
from audioslots.separation.ordering import BlindOrder
from audioslots.separation.separator import BATCH_S, Separator
from audioslots.separation.weights import save_model


@pytest.mark.parametrize("slots", [2, 3])
@pytest.mark.parametrize("samples", [1, 500, 800, 801, 12_345])
def test_there_is_an_estimate_per_source_as_long_as_the_recording(samples: int, slots: int) -> None:
    mixture, sources = (0.1 * torch.randn(*shape, samples).numpy() for shape in ((), (2,)))
    estimates = tiny(slots).by_stitching(mixture, sources)
    assert {name: waveforms.shape for name, waveforms in estimates.items()} == dict.fromkeys(
        ("blind", "oracle"), (2, samples)
    )
    assert all(np.isfinite(waveforms).all() for waveforms in estimates.values())


@pytest.mark.parametrize("samples", [1, 500, 12_345, 100_000])
def test_a_model_of_any_length_separates_a_recording_as_one_chunk(samples: int) -> None:
    separator, mixture = conv_tasnet(), 0.1 * torch.randn(samples)
    expected = separator.model(mixture[None]).waveforms[0].detach()
    torch.testing.assert_close(streamed(separator, mixture), expected, atol=1e-6, rtol=1e-5)
    assert separator.config.delay == 30 * separator.rate
    assert streamed(conv_tasnet(longest_s=0.5), mixture).shape == (2, samples)


@pytest.mark.parametrize("kind", ["direct", "ratio", "misi"])
def test_the_reconstruction_is_the_configs(kind: str) -> None:
    separator, mixture = tiny(separation={"reconstruction": kind}), torch.from_numpy(noise(0.55)[:, 0])
    outputs = streamed(separator, mixture)
    assert torch.allclose(outputs.sum(dim=0), mixture, atol=1e-4) == (kind == "ratio")
    assert (separator.identity == tiny().identity) == (kind == "direct")
    torch.testing.assert_close(streamed(separator, mixture, 777), outputs, atol=1e-6, rtol=0)


def test_a_saved_model_separates_alike(tmp_path: Path) -> None:
    separator, waveform = tiny(), noise(0.4)
    save_model(tmp_path / "model.safetensors", separator.model, separator.config)
    for path in (tmp_path, tmp_path / "model.safetensors"):
        loaded = Separator.load(path)
        assert (loaded.name, loaded.seed, loaded.rate) == ("tiny", 3, 8000)
        assert np.array_equal(loaded.separate(waveform, 8000), separator.separate(waveform, 8000))


def test_a_model_is_applied_as_a_variant_of_other_separation_and_of_no_other_training(tmp_path: Path) -> None:
    made, waveform = tiny(), noise(0.4)
    save_model(tmp_path / "model.safetensors", made.model, made.config)
    other = tiny(name="other", separation={"overlap": 0.9, "reconstruction": "ratio"}).config
    write_json(tmp_path / "other.json", other.document())
    applied = audioslots.load(tmp_path, config=tmp_path / "other.json")
    assert (applied.name, applied.config) == ("other", other) and applied.identity != made.identity
    expected = replace(made, config=other).separate(waveform, 8000)
    assert np.array_equal(applied.separate(waveform, 8000), expected)
    assert not np.array_equal(made.separate(waveform, 8000), expected)
    write_json(tmp_path / "other.json", other.model_copy(update={"seed": 9}).document())
    with pytest.raises(InputError, match=r"has identity .*; expected .*, of .*other\.json"):
        audioslots.load(tmp_path, config=tmp_path / "other.json")


def test_the_loudest_outputs_are_the_estimates_where_slots_are_extra() -> None:
    waveform = noise(0.5)[:, 0]
    outputs = streamed(tiny(3), torch.from_numpy(waveform)).numpy()
    loudest = np.sort(np.square(outputs).sum(axis=1).argsort()[1:])
    assert np.array_equal(tiny(3).separate(waveform, 8000), outputs[loudest])


@pytest.mark.parametrize("separator", [tiny(), tiny(3), conv_tasnet(longest_s=0.5), conv_tasnet()])
@pytest.mark.parametrize("samples", [1, 799, 800, 801, 12_345])
def test_neither_blocks_nor_batches_change_the_outputs(separator: Separator, samples: int) -> None:
    """Loudness changes a lot, and there is a pause: neither may be known in advance."""
    mixture = torch.randn(samples, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.001, 0.3, samples)
    mixture[samples // 2 : samples * 2 // 3] = 0
    whole = streamed(separator, mixture)
    assert whole.shape == (separator.config.model.num_slots, samples)
    for size, at_once in (((1, 3), (77, None), (800, 1), (5000, 2)))[samples > 800 :]:
        torch.testing.assert_close(streamed(separator, mixture, size, at_once), whole, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", RECURRENCES)
def test_recurrence_goes_through_batches_and_not_from_one_recording_to_the_next(kind: str) -> None:
    training = {"chunks_per_assignment": 2, "adjacent": True, "adjacent_overlap": 0.5}
    separator, mixture = tiny(model={"recurrence": kind}, training=training), torch.from_numpy(noise(1.0)[:, 0])
    whole = streamed(separator, mixture)
    for at_once in (1, 3):
        torch.testing.assert_close(streamed(separator, mixture, 777, at_once), whole, atol=1e-6, rtol=0)
    assert torch.equal(streamed(separator, mixture), whole)


class Halves(nn.Module):
    """The lower and the upper half of the spectrum; which is slot 0 depends on the chunk, and overlaps are silent."""

    any_length, stft, exponent = False, None, 1.0

    def __init__(self, overlap: int) -> None:
        super().__init__()
        self.unused, self.overlap = nn.Parameter(torch.zeros(1)), overlap

    def forward(self, mixture: Tensor, chunks: int = 1, state: Tensor | None = None) -> Estimates:
        spectra = torch.fft.rfft(mixture)
        low = torch.fft.irfft(spectra * (torch.arange(spectra.shape[-1]) < spectra.shape[-1] // 2), mixture.shape[-1])
        halves = torch.stack([low, mixture - low], dim=1)
        halves[..., : self.overlap] = halves[..., -self.overlap :] = 0
        named = torch.where((mixture.sum(dim=-1) > 0)[:, None, None], halves, halves.flip(1))
        return Estimates(named, level_of(mixture))


def test_blind_oracle_and_no_order_are_of_the_same_chunks() -> None:
    mixture = 0.1 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    spectra = torch.fft.rfft(mixture)
    lower = torch.arange(len(spectra)) < len(spectra) // 2
    sources = torch.stack([torch.fft.irfft(spectra * half, len(mixture)) for half in (~lower, lower)])

    def misplaced(outputs: Tensor) -> float:
        """The smallest share of an output's energy that is in the upper half of the spectrum."""
        power = torch.fft.rfft(outputs).abs().square()
        return float((power[:, ~lower].sum(dim=-1) / power.sum(dim=-1)).min())

    for weight in (0.0, 1.0):
        config = tiny(separation={"overlap": 0.25, "spectrum_weight": weight}).config
        separator = Separator(Halves(200).eval(), config)  # type: ignore[arg-type]
        estimates = separator.by_stitching(mixture.numpy(), sources.numpy())
        blind, oracle = map(torch.from_numpy, estimates.values())
        assert torch.equal(streamed(separator, mixture, 777), blind)
        assert misplaced(blind) < 0.05 if weight else misplaced(blind) > 0.2
        assert misplaced(oracle) < 0.05 and oracle[0].square().sum() > 0
        assert float((oracle * sources).sum(dim=-1).min()) > 0.5 * float(sources.square().sum(dim=-1).min())
        unordered = torch.cat(list(separator.stream([mixture], strategy="none")), dim=-1)
        assert misplaced(unordered) > 0.2
        torch.testing.assert_close(unordered.sum(dim=0), blind.sum(dim=0), atol=1e-6, rtol=0)


def test_a_stream_is_separated_as_it_comes_and_no_more_of_it_is_kept_than_a_batch() -> None:
    separator, block = tiny(), 400
    most, read, done = BATCH_S["cpu"] * separator.rate, 0, 0

    def endless() -> Iterator[Tensor]:
        nonlocal read
        while True:
            read += block
            yield 0.1 * torch.randn(block)

    for piece in separator.stream(endless()):
        done += piece.shape[-1]
        assert read - done <= most + 2 * block
        if done > 10 * most:
            break


@pytest.mark.parametrize("context_s", [0.0, 0.05])
def test_a_sample_is_there_after_the_algorithmic_delay_and_does_not_depend_on_what_follows(context_s: float) -> None:
    separator = tiny(model={"context_s": context_s})
    delay = separator.config.delay
    assert delay == separator.config.chunk + separator.config.context
    mixture, read, done = 0.1 * torch.randn(4000), 0, 0

    def live() -> Iterator[Tensor]:
        nonlocal read
        for block in mixture.split(10):
            assert done > read - delay - 10, "a sample is late"
            read += len(block)
            yield block

    for piece in separator.stream(live(), at_once=1):
        done += piece.shape[-1]
    whole = streamed(separator, mixture, at_once=1)
    changed = streamed(separator, torch.cat([mixture[:2000], torch.randn(2000)]), at_once=1)
    assert torch.equal(changed[:, : 2000 - delay], whole[:, : 2000 - delay])
    assert not torch.equal(changed[:, :2000], whole[:, :2000])


@pytest.mark.parametrize(("rate", "channels"), [(8000, None), (44_100, 2), (6000, 1), (192_000, None)])
def test_a_waveform_of_any_rate_is_separated(rate: int, channels: int | None) -> None:
    waveform = noise(0.3, rate, channels or 1)
    estimates = tiny().separate(waveform if channels else waveform[:, 0], rate)
    assert estimates.shape == (2, len(waveform)) and estimates.dtype == np.float32
    total = tiny().separate(waveform, rate, mixture_consistency=True).sum(axis=0)
    np.testing.assert_allclose(total, waveform.mean(axis=1), atol=1e-6)
    assert not np.allclose(estimates.sum(axis=0), total, atol=1e-3)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [(np.zeros(shape), "waveform: has shape") for shape in ((0,), (0, 2), (2, 100), (9, 1, 1))]
    + [(np.array([0.0, np.nan]), "not finite")],
)
def test_what_is_no_waveform_is_an_error(waveform: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny().separate(waveform, 8000)


def test_identity_is_of_weights_and_separation() -> None:
    changed = tiny()
    with torch.no_grad():
        next(changed.model.parameters()).add_(1e-3)
    assert tiny().identity == tiny().identity
    assert tiny().identity not in {changed.identity, tiny(separation={"overlap": 0.75}).identity}


@pytest.mark.parametrize("samples", [1, 500, 12_345])
def test_every_chunk_is_read_with_its_context_and_silence_lies_around_the_recording(samples: int) -> None:
    """Against the same, chunk by chunk, from the whole recording."""
    separator = tiny(model={"context_s": 0.08})
    config, mixture = separator.config, 0.1 * torch.randn(samples)
    assert (config.chunk, config.context, config.crop) == (800, 640, 2080)
    hop = chunk_hop(800, 0.5)
    crops = split_chunks(nn.functional.pad(mixture, (640, 640)), 2080, hop)
    with torch.no_grad():
        estimates = separator.model(crops)
    assert estimates.slots is not None
    chunks = map(Chunk, range(0, hop * len(crops), hop), estimates.waveforms, estimates.slots)
    expected = torch.cat(list(overlap_add(chunks, BlindOrder(Separation()), 0.5)), dim=-1)[:, :samples]
    torch.testing.assert_close(streamed(separator, mixture, 333), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("separator", [tiny(), conv_tasnet()], ids=["chunks", "whole"])
def test_estimates_that_are_not_finite_are_refused(separator: Separator) -> None:
    with torch.no_grad():
        next(weight for weight in separator.model.parameters() if weight.dim() > 1).view(-1)[0] = torch.nan
    mixture = noise(0.5)
    for separate in (
        lambda: separator.separate(mixture, 8000),
        lambda: separator.by_stitching(mixture[:, 0], np.stack([mixture[:, 0]] * 2)),
        lambda: streamed(separator, torch.from_numpy(mixture[:, 0])),
    ):
        with pytest.raises(InputError, match="estimates: not finite numbers"):
            separate()


@pytest.mark.parametrize(("kind", "zero"), [(np.int16, 0), (np.int32, 0), (np.uint8, 128)])
def test_integers_are_scaled_by_their_full_range(kind: type, zero: int) -> None:
    separator, waveform = tiny(), np.clip(noise(0.4)[:, 0], -0.9, 0.9)
    integers = (np.round(waveform * 2.0 ** (8 * np.dtype(kind).itemsize - 1)) + zero).astype(kind)
    expected = separator.separate(waveform, 8000)
    error = separator.separate(integers, 8000) - expected
    assert np.abs(error).max() < (0.05 if kind is np.uint8 else 1e-3) * np.abs(expected).max()


@pytest.mark.parametrize("rate", [0, -8000, None, "8000", float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate: object) -> None:
    with pytest.raises(InputError, match="rate: .* expected a number of samples per second above 0"):
        tiny().separate(noise(0.1), rate)  # type: ignore[arg-type]


def test_tensors_with_gradients_and_of_16_bits_are_read() -> None:
    separator, waveform = tiny(), torch.from_numpy(noise(0.2)[:, 0])
    expected = separator.separate(waveform.numpy(), 8000)
    np.testing.assert_array_equal(separator.separate(waveform.clone().requires_grad_(), 8000), expected)
    assert separator.separate(waveform.bfloat16(), 8000).shape == expected.shape
