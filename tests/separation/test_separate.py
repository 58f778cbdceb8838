"""Separating recordings in memory and as a stream: lengths and levels are kept, whatever the recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_separator import recording, tiny
from torch import Tensor, nn

import audioslots
from audioslots.config.study import merge
from audioslots.config.variant import Resolved, Separation
from audioslots.models.base import Estimates, level_of
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import write_json
from audioslots.separation.chunking import cut, hop_of
from audioslots.separation.presence import Presence
from audioslots.separation.separate import BATCH_S, Separator, chunks_at_once, consistent
from audioslots.separation.stitching import stitch
from audioslots.separation.weights import build, save_model


@pytest.mark.parametrize("samples", [1, 500, 800, 801, 12_345])
def test_estimates_are_as_long_as_the_recording(samples: int) -> None:
    mixture = 0.1 * torch.randn(samples)
    references = 0.1 * torch.randn(2, samples)
    blind, oracle = tiny().estimates(mixture, references)
    assert oracle is not None
    assert blind.shape == oracle.shape == (2, samples)
    assert torch.isfinite(blind).all() and torch.isfinite(oracle).all()
    assert tiny().estimates(mixture)[1] is None


def test_there_are_as_many_estimates_as_sources_however_many_slots() -> None:
    separator = tiny(slots=3)
    estimates = separator.by_stitching(np.ones(2000, np.float32), np.ones((2, 2000), np.float32))
    assert {name: waveforms.shape for name, waveforms in estimates.items()} == {"blind": (2, 2000), "oracle": (2, 2000)}


@pytest.mark.parametrize("samples", [1, 500, 12_345, 100_000])
def test_conv_tasnet_separates_a_recording_in_one_piece_and_a_longer_one_in_pieces(samples: int) -> None:
    sizes = {"filters": 8, "features": 8, "hidden": 8, "layers": 1, "stacks": 1}
    content = tiny().config.model_dump() | {"model": {"kind": "conv_tasnet", **sizes}, "training": {"loss": "snr"}}
    config = Resolved.model_validate(content)
    torch.manual_seed(0)
    model, mixture = build(config).eval(), 0.1 * torch.randn(samples)
    estimates, oracle = Separator(model, config).estimates(mixture, 0.1 * torch.randn(2, samples))
    assert oracle is not None and estimates.shape == oracle.shape == (2, samples)
    torch.testing.assert_close(estimates, model(mixture[None]).waveforms[0].detach(), atol=1e-6, rtol=1e-5)
    short = config.model_copy(update={"separation": config.separation.model_copy(update={"longest_s": 0.5})})
    assert Separator(model, short).estimates(mixture)[0].shape == (2, samples)


def test_estimates_do_not_depend_on_how_many_chunks_go_through_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = 0.1 * torch.randn(20_000)
    whole, _ = tiny().estimates(mixture)
    monkeypatch.setitem(BATCH_S, "cpu", 0.3)
    torch.testing.assert_close(tiny().estimates(mixture)[0], whole)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_more_slots_the_fewer_chunks_go_through_at_a_time(device: str) -> None:
    config = tiny().config
    at_once = {}
    for slots in (2, 4, 8):
        more = tiny(slots=slots).config
        at_once[slots] = chunks_at_once(more, config.chunk, device)
    assert at_once[2] == 2 * at_once[4] == 4 * at_once[8]
    assert chunks_at_once(config, 10**9, device) == 1


@pytest.mark.parametrize("kind", ["direct", "ratio", "misi"])
def test_the_reconstruction_is_the_configs_and_whole_recordings_are_made_of_it(kind: str) -> None:
    separator = tiny()
    how = separator.config.separation.model_copy(update={"reconstruction": kind})
    other = replace(separator, config=separator.config.model_copy(update={"separation": how}))
    mixture = torch.from_numpy(recording(0.55, 8000)[:, 0]).float()
    estimates, _ = other.estimates(mixture)
    adds_up = torch.allclose(estimates.sum(dim=0), mixture, atol=1e-4)
    assert adds_up == (kind == "ratio")  # masks that share the mixture out, chunk by chunk
    assert (other.identity == separator.identity) == (kind == "direct")
    streamed = torch.cat(list(other.stream(mixture.split(777))), dim=-1)
    torch.testing.assert_close(streamed, estimates, atol=1e-6, rtol=0)


def test_silence_is_separated_into_silence() -> None:
    blind, _ = tiny().estimates(torch.zeros(3000))
    assert torch.isfinite(blind).all() and blind.abs().max() < 1e-6


def test_saved_model_separates_alike(tmp_path: Path) -> None:
    separator = tiny()
    save_model(tmp_path / "model.safetensors", separator.model, separator.config)
    mixture = 0.1 * torch.randn(3000)
    for path in (tmp_path, tmp_path / "model.safetensors"):
        loaded = Separator.load(path)
        assert (loaded.name, loaded.seed, loaded.rate) == ("tiny", 3, 8000)
        assert torch.equal(loaded.estimates(mixture)[0], separator.estimates(mixture)[0])


def test_a_model_is_applied_as_a_variant_of_other_separation_and_of_no_other_training(tmp_path: Path) -> None:
    made = tiny()
    save_model(tmp_path / "model.safetensors", made.model, made.config)
    other = made.config.separation.model_copy(update={"overlap": 0.9, "reconstruction": "ratio"})
    asked = made.config.model_copy(update={"name": "other", "separation": other})
    write_json(tmp_path / "other.json", asked.document())
    applied = audioslots.load(tmp_path, config=tmp_path / "other.json")
    assert (applied.name, applied.config) == ("other", asked) and applied.identity != made.identity
    mixture = 0.1 * torch.randn(3000)
    expected = replace(made, config=asked).estimates(mixture)[0]
    assert torch.equal(applied.estimates(mixture)[0], expected)
    assert not torch.equal(made.estimates(mixture)[0], expected)
    write_json(tmp_path / "other.json", asked.model_copy(update={"seed": 9}).document())
    with pytest.raises(InputError, match=r"has identity .*; expected .*, of .*other\.json"):
        audioslots.load(tmp_path, config=tmp_path / "other.json")


def test_the_loudest_estimates_are_kept_where_slots_are_spare() -> None:
    separator, levels = tiny(slots=3), torch.tensor([0.2, 0.001, 0.1])
    estimates = levels[:, None].expand(3, 100)
    assert Presence(energies=estimates.square().sum(dim=-1)).outputs(2).tolist() == [0, 2]
    mixture = torch.from_numpy(recording(0.5, 8000)[:, 0]).float()
    every = replace(separator, config=separator.config.model_copy(update={"sources": 3})).estimates(mixture)[0]
    kept = separator.estimates(mixture)[0]
    assert kept.shape == (2, 4000)
    torch.testing.assert_close(kept, every[Presence(energies=every.square().sum(dim=-1)).outputs(2)], atol=0, rtol=0)


def tiny_conv_tasnet(longest_s: float) -> Separator:
    sizes = {"filters": 8, "features": 8, "hidden": 8, "layers": 1, "stacks": 1}
    content = tiny().config.model_dump() | {"model": {"kind": "conv_tasnet", **sizes}, "training": {"loss": "snr"}}
    config = Resolved.model_validate(content | {"separation": {"longest_s": longest_s}})
    torch.manual_seed(0)
    return Separator(build(config).eval(), config)


@pytest.mark.parametrize("separator", [tiny(), tiny(slots=3), tiny_conv_tasnet(0.5), tiny_conv_tasnet(10.0)])
@pytest.mark.parametrize("samples", [1, 799, 800, 801, 12_345])
def test_a_stream_gives_what_the_whole_gives_however_it_is_cut(separator: Separator, samples: int) -> None:
    """Loudness changes a lot, and there is a pause: neither may be known in advance."""
    mixture = torch.randn(samples, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.001, 0.3, samples)
    mixture[samples // 2 : samples * 2 // 3] = 0
    whole = torch.cat(list(separator.stream([mixture])), dim=-1)
    assert whole.shape == (separator.config.model.num_slots, samples)
    for size in (1, 77, 800, 5000)[samples > 800 :]:
        pieces = list(separator.stream(iter(mixture.split(size))))
        torch.testing.assert_close(torch.cat(pieces, dim=-1), whole, atol=1e-6, rtol=1e-5)
    blind, _ = separator.estimates(mixture, torch.stack([mixture, mixture]))
    kept = Presence(energies=whole.square().sum(dim=-1)).outputs(2)
    torch.testing.assert_close(blind, whole[kept], atol=1e-6, rtol=1e-5)


class Halves(nn.Module):
    """The lower and the upper half of the spectrum; which is slot 0 depends on the chunk, and overlaps are silent."""

    any_length, stft = False, None

    def __init__(self, overlap: int) -> None:
        super().__init__()
        self.unused, self.overlap = nn.Parameter(torch.zeros(1)), overlap

    def forward(self, mixture: Tensor, *_: Any) -> Estimates:
        spectra = torch.fft.rfft(mixture)
        low = torch.fft.irfft(spectra * (torch.arange(spectra.shape[-1]) < spectra.shape[-1] // 2), mixture.shape[-1])
        halves = torch.stack([low, mixture - low], dim=1)
        halves[..., : self.overlap] = halves[..., -self.overlap :] = 0
        named = torch.where((mixture.sum(dim=-1) > 0)[:, None, None], halves, halves.flip(1))
        return Estimates(named, level_of(mixture))


def test_a_stream_and_a_recording_in_memory_are_both_ordered_by_spectra() -> None:
    mixture = 0.1 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    crossings = {}
    for weight in (0.0, 1.0):
        separation = Separation(overlap=0.25, spectrum_weight=weight)
        separator = Separator(Halves(200).eval(), tiny().config.model_copy(update={"separation": separation}))
        streamed = torch.cat(list(separator.stream(mixture.split(777))), dim=-1)
        blind, _ = separator.estimates(mixture, torch.stack([mixture, mixture]))
        assert torch.equal(streamed, blind) and torch.equal(separator.estimates(mixture)[0], blind)
        power = torch.fft.rfft(blind).abs().square()
        upper = power[:, power.shape[-1] // 2 :].sum(dim=-1) / power.sum(dim=-1)  # share of each output's energy
        crossings[weight] = float(upper.sort().values[0])
    assert crossings[0.0] > 0.2 and crossings[1.0] < 0.05


def test_a_stream_is_separated_as_it_comes_and_no_more_of_it_is_kept_than_a_batch() -> None:
    separator, block = tiny(), 400
    asked = 0

    def endless() -> Iterator[Tensor]:
        nonlocal asked
        while True:
            asked += block
            yield 0.1 * torch.randn(block)

    said = 0
    for piece in separator.stream(endless()):
        said += piece.shape[-1]
        assert asked - said <= BATCH_S["cpu"] * separator.rate + 2 * block
        if said > 10 * BATCH_S["cpu"] * separator.rate:
            break


@pytest.mark.parametrize("context_s", [0.0, 0.05])
def test_a_sample_is_there_after_the_algorithmic_delay_and_does_not_depend_on_what_follows(context_s: float) -> None:
    config = Resolved.model_validate(merge(tiny().config.model_dump(), {"model": {"context_s": context_s}}))
    torch.manual_seed(0)
    separator = Separator(build(config).eval(), config)
    assert config.delay == config.chunk + config.context
    mixture, heard, said = 0.1 * torch.randn(4000), 0, 0

    def live() -> Iterator[Tensor]:
        nonlocal heard
        for block in mixture.split(10):
            assert said > heard - config.delay - 10  # so far all that was due has been said
            heard += len(block)
            yield block

    pieces = []
    for piece in separator.stream(live(), at_once=1):
        said += piece.shape[-1]
        pieces.append(piece)
    whole = torch.cat(pieces, dim=-1)
    torch.testing.assert_close(whole, torch.cat(list(separator.stream([mixture])), dim=-1), atol=1e-6, rtol=0)
    changed = torch.cat([mixture[:2000], torch.randn(2000)])
    other = torch.cat(list(separator.stream([changed], at_once=1)), dim=-1)
    assert torch.equal(other[:, : 2000 - config.delay], whole[:, : 2000 - config.delay])
    assert not torch.equal(other[:, :2000], whole[:, :2000])


def test_conv_tasnet_waits_for_all_that_it_normalises_over() -> None:
    config = Resolved.model_validate(
        tiny().config.model_dump() | {"model": {"kind": "conv_tasnet"}, "training": {"loss": "snr"}}
    )
    assert config.delay == 30 * config.rate


@pytest.mark.parametrize(("rate", "channels"), [(8000, None), (44_100, 2), (6000, 1), (192_000, None)])
def test_a_waveform_of_any_rate_is_separated_by_three_lines(tmp_path: Path, rate: int, channels: int | None) -> None:
    save_model(tmp_path / "model.safetensors", tiny().model, tiny().config)
    waveform = recording(0.3, rate, channels or 1)
    estimates = audioslots.load(tmp_path).separate(waveform if channels else waveform[:, 0], rate)
    assert estimates.shape == (2, len(waveform)) and estimates.dtype == np.float32
    summed = audioslots.load(tmp_path).separate(waveform, rate, mixture_consistency=True).sum(axis=0)
    np.testing.assert_allclose(summed, waveform.mean(axis=1), atol=1e-6)
    assert not np.allclose(estimates.sum(axis=0), summed, atol=1e-3)


@pytest.mark.parametrize("waveform", [np.zeros(0), np.zeros((0, 2)), np.zeros((2, 100)), np.zeros((9, 1, 1))])
def test_what_is_no_waveform_is_refused(waveform: np.ndarray) -> None:
    with pytest.raises(InputError, match="waveform: has shape"):
        tiny().separate(waveform, 8000)
    with pytest.raises(InputError, match="not finite"):
        tiny().separate(np.array([0.0, np.nan]), 8000)


def test_consistent_estimates_share_what_lacks_equally() -> None:
    estimates, mixture = np.array([[1.0, 2.0], [0.0, 0.0]], np.float32), np.array([4.0, -1.0], np.float32)
    np.testing.assert_array_equal(consistent(estimates, mixture), [[1.5, 2.5], [-0.5, -0.5]])


def test_identity_is_of_weights_and_stitching() -> None:
    separator = tiny()
    assert separator.identity == tiny().identity
    stitching = separator.config.separation.model_copy(update={"overlap": 0.75})
    others = [
        Separator(separator.model, separator.config.model_copy(update={"separation": stitching})),
        tiny(),
    ]
    with torch.no_grad():
        next(others[1].model.parameters()).add_(1e-3)
    assert separator.identity not in {other.identity for other in others}


@pytest.mark.parametrize("samples", [1, 500, 12_345])
def test_every_chunk_is_read_with_its_context_and_silence_lies_around_the_recording(samples: int) -> None:
    config = Resolved.model_validate(merge(tiny().config.model_dump(), {"model": {"context_s": 0.08}}))
    torch.manual_seed(0)
    separator = Separator(build(config).eval(), config)
    mixture = 0.1 * torch.randn(samples)
    estimates, _ = separator.estimates(mixture, 0.1 * torch.randn(2, samples))
    assert estimates.shape == (2, samples)
    chunk, context = config.chunk, config.context
    assert (chunk, context, config.crop) == (800, 640, 2080)
    hop = hop_of(chunk, config.separation.overlap)
    around = torch.nn.functional.pad(mixture, (context, context))
    with torch.no_grad():
        found = separator.model(cut(around, config.crop, hop))
    wanted = stitch(found.waveforms, hop, samples, None, found.slots, 0.5, 1.5)
    torch.testing.assert_close(estimates, wanted, atol=1e-6, rtol=1e-4)
    streamed = torch.cat(list(separator.stream(mixture.split(333))), dim=-1)
    torch.testing.assert_close(streamed, wanted, atol=1e-6, rtol=1e-4)
