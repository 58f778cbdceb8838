"""Stitching gives true sources back, whatever the order of the slots in each chunk."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from audioslots.separation import stitching
from audioslots.separation.chunking import cut, hop_of
from audioslots.separation.stitching import BANDS, Stitcher, distinct, stitch, timbre

CHUNK = 400
HOP = 300


def made_sources(count: int, samples: int) -> Tensor:
    """Tones of different pitch and slowly changing level, none ever silent: (count, samples)."""
    time = torch.arange(samples) / 8000
    tones = [torch.sin(2 * torch.pi * pitch * time) for pitch in (210, 470, 1130, 1900)[:count]]
    levels = [0.5 + 0.3 * torch.sin(2 * torch.pi * (3 + number) * time) for number in range(count)]
    return torch.stack(tones) * torch.stack(levels)


def made_speakers(count: int, chunks: int) -> Tensor:
    """Noises of one long-term spectrum each, (count, T), silent where chunks overlap, of a new level in every chunk."""
    random, samples = torch.Generator().manual_seed(9), (chunks - 1) * HOP + CHUNK
    spectra = torch.fft.rfft(torch.randn(count, samples, generator=random))
    frequency = torch.linspace(0, 1, spectra.shape[-1])
    peaks = [1 + 4 * torch.exp(-(((frequency - (n + 0.5) / count) * 8).square())) for n in range(count)]
    speakers = torch.fft.irfft(spectra * torch.stack(peaks) * 0.01**frequency, samples)  # all share a tilt of 40 dB
    place = torch.arange(samples)
    levels = 10 ** (torch.rand(count, chunks + 1, generator=random) - 0.5)
    return speakers * levels[:, place // HOP] * (place % HOP >= CHUNK - HOP)


def shuffled(chunks: Tensor, seed: int) -> Tensor:
    """The slots of every chunk (C, K, T) in an order of its own, the first chunk's kept."""
    random = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(chunks.shape[1], generator=random) for _ in chunks]
    orders[0] = torch.arange(chunks.shape[1])
    return torch.stack([chunk[order] for chunk, order in zip(chunks, orders, strict=True)])


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("samples", [1, 399, 400, 401, 2345])
@pytest.mark.parametrize("blind", [True, False])
@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_true_sources_come_back_exactly(samples: int, overlap: float, blind: bool, weight: float) -> None:
    sources = made_sources(2, samples)
    hop = hop_of(CHUNK, overlap)
    for seed in range(4):
        chunks = shuffled(cut(sources, CHUNK, hop), seed)
        stitched = stitch(chunks, hop, samples, None if blind else sources, spectrum_weight=weight)
        torch.testing.assert_close(stitched, sources, atol=1e-5, rtol=0)


def test_oracle_order_is_that_of_the_references() -> None:
    sources = made_sources(2, 2000)
    chunks = shuffled(cut(sources, CHUNK, 200), 0).flip(1)  # the first chunk's slots are not in order either
    torch.testing.assert_close(stitch(chunks, 200, 2000, sources), sources, atol=1e-5, rtol=0)
    torch.testing.assert_close(stitch(chunks, 200, 2000), sources.flip(0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("blind", [True, False])
def test_spare_slots_never_take_the_place_of_a_source(blind: bool) -> None:
    sources = made_sources(2, 2000)
    spare = 0.01 * torch.randn(1, 2000, generator=torch.Generator().manual_seed(0))
    chunks = shuffled(cut(torch.cat([sources, spare]), CHUNK, 200), 1)
    stitched = stitch(chunks, 200, 2000, None if blind else sources)
    assert stitched.shape == (3, 2000)
    torch.testing.assert_close(stitched[:2], sources, atol=1e-5, rtol=0)


def test_four_sources_come_back_in_blind_order() -> None:
    sources = made_sources(4, 3000)
    torch.testing.assert_close(stitch(shuffled(cut(sources, CHUNK, 100), 2), 100, 3000), sources, atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_spectra_tell_the_order_where_overlaps_are_silent(count: int) -> None:
    speakers = made_speakers(count, 24)
    samples = speakers.shape[-1]
    for seed in range(5):
        chunks = shuffled(cut(speakers, CHUNK, HOP), seed)
        torch.testing.assert_close(stitch(chunks, HOP, samples, spectrum_weight=1.0), speakers)
        assert not torch.allclose(stitch(chunks, HOP, samples), speakers), "by waveforms alone nothing tells the order"


def test_spectra_correct_an_order_that_waveforms_lost() -> None:
    """One chunk gives each speaker half of both: the chunks after it are named the other way round."""
    speakers = made_speakers(2, 24)
    chunks = cut(speakers, CHUNK, HOP).clone()
    chunks[12] = chunks[12].mean(dim=0)
    chunks[13:] = chunks[13:].flip(1)
    found = stitch(chunks, HOP, speakers.shape[-1], spectrum_weight=1.0)
    torch.testing.assert_close(found[:, 13 * HOP + CHUNK :], speakers[:, 13 * HOP + CHUNK :])


def test_without_weight_spectra_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = shuffled(cut(made_speakers(3, 12), CHUNK, HOP), 0)
    before = stitch(chunks, HOP, 3000, None, torch.ones(12, 3, 8), 0.5)
    with_weight = stitch(chunks, HOP, 3000, None, torch.ones(12, 3, 8), 0.5, 1.0)
    random = torch.Generator().manual_seed(0)
    monkeypatch.setattr(stitching, "distinct", lambda chunk: torch.randn(3, stitching.BANDS, generator=random))
    assert torch.equal(stitch(chunks, HOP, 3000, None, torch.ones(12, 3, 8), 0.5, 0.0), before)
    assert not torch.equal(with_weight, before)


@pytest.mark.parametrize("embedded", [True, False])
def test_names_of_slots_and_pieces_of_a_recording_change_nothing(embedded: bool) -> None:
    """To the bit: the chunks' slots in any order, the chunks added at once or one by one."""
    chunks = cut(made_speakers(3, 16), CHUNK, HOP)
    marks = torch.randn(16, 3, 8, generator=torch.Generator().manual_seed(1)) if embedded else None
    whole = stitch(chunks, HOP, 16 * HOP + CHUNK - HOP, None, marks, 0.5, 1.0)
    for seed in range(3):
        mixed, names = shuffled(chunks, seed), None if marks is None else shuffled(marks, seed)
        stitcher = Stitcher(HOP, 0.5, 1.0)
        pieces = [stitcher.add(mixed[n : n + 1], None if names is None else names[n : n + 1]) for n in range(16)]
        assert torch.equal(torch.cat([*pieces, stitcher.rest()], dim=-1), whole)


def test_spectra_are_told_apart_by_shape_not_by_level() -> None:
    speakers = made_speakers(3, 1)
    found = distinct(speakers)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    for gains in (torch.tensor([1e-3, 1e-3, 1e-3]), torch.tensor([0.5, 1.0, 2.0])):
        assert (F.cosine_similarity(found, distinct(speakers * gains[:, None]), dim=1) > 0.95).all()
    for alike in (torch.zeros(3, CHUNK), speakers[:1].expand(3, -1), speakers[:, :1], speakers[:1]):
        assert distinct(alike).norm() < 0.1, "silence, one spectrum for all, a chunk of one sample, a single slot"


def test_a_quiet_slot_says_nothing_of_the_order() -> None:
    """One speaker pauses, and the slot that is silent then has the other one's embedding."""
    sources, marks = made_sources(2, 20 * HOP + CHUNK), torch.eye(2).expand(21, -1, -1).clone()
    sources[1, 6 * HOP : 12 * HOP + CHUNK] *= 0.01
    marks[6:13] = torch.tensor([[0.7, 0.7], [1.0, 0.0]])
    chunks = cut(sources, CHUNK, HOP)

    def stitched(quiet_db: float) -> Tensor:
        stitcher = Stitcher(HOP, 4.0, 0.0, quiet_db)
        return torch.cat([stitcher.add(chunks, marks), stitcher.rest()], dim=-1)[:, : sources.shape[-1]]

    torch.testing.assert_close(stitched(30.0), sources)
    for says_something in (0.0, 50.0):
        assert not torch.allclose(stitched(says_something), sources, atol=1e-2)


def test_voices_tell_the_order_where_one_speaker_pauses() -> None:
    """Two speakers take turns, and each turn begins in the slot that the other one had: waveforms follow that slot."""
    speakers = made_speakers(2, 60)
    turns = torch.arange(speakers.shape[-1]) // (10 * HOP) % 2
    heard = speakers.shape[-1] - 40 * HOP  # both speak at first
    sources = torch.where(
        (torch.arange(speakers.shape[-1]) < heard) | (turns == torch.arange(2)[:, None]), speakers, 0.0
    )
    chunks = cut(sources, CHUNK, HOP)
    alone = (chunks.square().sum(-1) < 1e-9).any(-1)
    chunks[alone] = torch.where(
        chunks[alone].square().sum(-1)[:, :1, None] > 1e-9, chunks[alone], chunks[alone].flip(1)
    )

    def lost(quiet_db: float, speaker_weight: float) -> float:
        stitcher = Stitcher(HOP, 0.0, 0.0, quiet_db, speaker_weight)
        found = torch.cat([stitcher.add(chunks), stitcher.rest()], dim=-1)[:, : sources.shape[-1]]
        return float((found - sources).square().sum() / sources.square().sum())

    assert lost(30.0, 4.0) < 0.05 < 0.15 < lost(30.0, 0.0)


def test_a_timbre_is_of_a_slot_by_itself_whatever_its_level() -> None:
    speakers = made_speakers(3, 1)
    found = timbre(speakers)
    torch.testing.assert_close(found.mean(dim=1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(timbre(speakers[1:2]), found[1:2])
    torch.testing.assert_close(timbre(speakers * torch.tensor([[1e-3], [1.0], [30.0]])), found, atol=1e-2, rtol=0)
    torch.testing.assert_close(timbre(torch.zeros(2, CHUNK)), torch.zeros(2, BANDS), atol=1e-5, rtol=0)


@pytest.mark.parametrize("blind", [True, False])
def test_silence_keeps_the_last_order(blind: bool) -> None:
    """Where a pause cannot tell the slots apart, they stay as they were instead of falling back to 0, 1."""
    sources = made_sources(2, 2400)
    sources[:, 800:1600] = 0
    chunks = cut(sources, CHUNK, 200).flip(1)  # every chunk calls them 1, 0
    noise = 1e-6 * torch.randn(chunks.shape, generator=torch.Generator().manual_seed(0))
    stitched = stitch(chunks + noise, 200, 2400, None if blind else sources, spectrum_weight=1.0)
    torch.testing.assert_close(stitched, sources.flip(0) if blind else sources, atol=1e-5, rtol=0)


@pytest.mark.parametrize("blind", [True, False])
def test_silent_recording_stays_silent_and_finite(blind: bool) -> None:
    silence = torch.zeros(6, 2, CHUNK)
    stitched = stitch(silence, 200, 1400, None if blind else torch.zeros(2, 1400), spectrum_weight=1.0)
    assert stitched.shape == (2, 1400) and not stitched.any()


def test_level_of_the_recording_does_not_change_the_order() -> None:
    sources = made_sources(2, 2345)
    chunks = shuffled(cut(sources, CHUNK, 200), 3)
    for level in (1e-4, 1e4):
        torch.testing.assert_close(stitch(level * chunks, 200, 2345) / level, sources, atol=1e-5, rtol=0)
        found = stitch(level * chunks, 200, 2345, spectrum_weight=1.0) / level
        torch.testing.assert_close(found, sources, atol=1e-5, rtol=0)


def test_chunks_that_disagree_are_faded_into_each_other() -> None:
    chunks = torch.stack([torch.full((1, CHUNK), 1.0), torch.full((1, CHUNK), 2.0)])
    stitched = stitch(chunks, 200, 600)[0]
    assert torch.equal(stitched[:200], torch.ones(200)) and torch.equal(stitched[400:], torch.full((200,), 2.0))
    assert (stitched[200:400].diff() > 0).all()


def test_what_a_stitcher_remembers_does_not_grow() -> None:
    chunks, stitcher = shuffled(cut(made_sources(2, 9000), CHUNK, 200), 5), Stitcher(200, 0.5, 1.0)
    sizes = set()
    for chunk in chunks:
        assert stitcher.add(chunk[None], torch.ones(1, 2, 8)).shape == (2, 200)
        sizes.add(sum(held.numel() for held in vars(stitcher).values() if isinstance(held, Tensor)))
    assert len(sizes) == 1
    assert stitcher.rest().shape == (2, 200)
