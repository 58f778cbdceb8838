"""Ordering gives true sources back, whatever the order of the slots in each chunk."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import soundfile
import torch
import torch.nn.functional as F
from scipy.signal import resample_poly
from torch import Tensor

from audioslots.config.separation import Separation
from audioslots.separation.chunking import Chunk, chunk_hop, fade_window, overlap_add, split_chunks
from audioslots.separation.ordering import BANDS, BlindOrder, OracleOrder, Order, relative_spectra, timbre

CHUNK, OVERLAP, HOP = 400, 0.25, 300


def blind(**settings: float) -> BlindOrder:
    """Blind order by waveforms, and by the cues that have a weight."""
    return BlindOrder(Separation.model_validate({"embedding_weight": 0, "spectrum_weight": 0, **settings}))


def stitched(
    chunks: Tensor, order: Order, overlap: float = 0.5, samples: int | None = None, embeddings: Tensor | None = None
) -> Tensor:
    """Outputs (K, T) of chunks (C, K, chunk) and embeddings (C, K, W)."""
    hop = chunk_hop(chunks.shape[-1], overlap)
    rows = (Chunk(hop * n, chunk, None if embeddings is None else embeddings[n]) for n, chunk in enumerate(chunks))
    return torch.cat(list(overlap_add(rows, order, overlap)), dim=-1)[:, :samples]


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


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("samples", [1, 399, 400, 401, 2345])
@pytest.mark.parametrize("weight", [None, 0.0, 1.5])
@pytest.mark.parametrize("count", [2, 4])
def test_true_sources_come_back_exactly(samples: int, overlap: float, weight: float | None, count: int) -> None:
    sources = made_sources(count, samples)
    for seed in range(2):
        chunks = shuffled(split_chunks(sources, CHUNK, chunk_hop(CHUNK, overlap)), seed)
        order = OracleOrder(sources) if weight is None else blind(spectrum_weight=weight)
        torch.testing.assert_close(stitched(chunks, order, overlap, samples), sources, atol=1e-5, rtol=0)


def test_oracle_order_is_that_of_the_references_and_no_order_the_models() -> None:
    sources = made_sources(2, 2000)
    chunks = shuffled(split_chunks(sources, CHUNK, 200), 0).flip(1)  # the first chunk's slots are not in order either
    torch.testing.assert_close(stitched(chunks, OracleOrder(sources)), sources, atol=1e-5, rtol=0)
    torch.testing.assert_close(stitched(chunks, blind()), sources.flip(0), atol=1e-5, rtol=0)
    before = chunks[:-1, :, 200:]
    fade = fade_window(CHUNK)
    expected = (before * fade[200:] + chunks[1:, :, :200] * fade[:200]) / (
        fade[200:] + fade[:200]
    )  # between two starts
    outputs = stitched(chunks, Order())[:, 200:-200].unflatten(1, (-1, 200)).movedim(1, 0)
    torch.testing.assert_close(outputs, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("is_blind", [True, False])
def test_extra_slots_never_take_the_place_of_a_source(is_blind: bool) -> None:
    sources = made_sources(2, 2000)
    extra = 0.01 * torch.randn(1, 2000, generator=torch.Generator().manual_seed(0))
    chunks = shuffled(split_chunks(torch.cat([sources, extra]), CHUNK, 200), 1)
    outputs = stitched(chunks, blind() if is_blind else OracleOrder(sources))
    assert outputs.shape == (3, 2000)
    torch.testing.assert_close(outputs[:2], sources, atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_spectra_tell_the_order_where_overlaps_are_silent(count: int) -> None:
    speakers = made_speakers(count, 24)
    for seed in range(5):
        chunks = shuffled(split_chunks(speakers, CHUNK, HOP), seed)
        torch.testing.assert_close(stitched(chunks, blind(spectrum_weight=1.0), OVERLAP), speakers)
        assert not torch.allclose(stitched(chunks, blind(), OVERLAP), speakers), "waveforms do not tell the order"


def test_spectra_correct_an_order_that_waveforms_lost() -> None:
    """One chunk gives each speaker half of both: the chunks after it are named the other way round."""
    speakers = made_speakers(2, 24)
    chunks = split_chunks(speakers, CHUNK, HOP).clone()
    chunks[12] = chunks[12].mean(dim=0)
    chunks[13:] = chunks[13:].flip(1)
    outputs = stitched(chunks, blind(spectrum_weight=1.0), OVERLAP)
    torch.testing.assert_close(outputs[:, 13 * HOP + CHUNK :], speakers[:, 13 * HOP + CHUNK :])


@pytest.mark.parametrize("embedded", [True, False])
def test_the_models_order_of_the_slots_changes_nothing(embedded: bool) -> None:
    """To the bit."""
    chunks = split_chunks(made_speakers(3, 16), CHUNK, HOP)
    marks = torch.randn(16, 3, 8, generator=torch.Generator().manual_seed(1)) if embedded else None
    order = {"embedding_weight": 0.5, "spectrum_weight": 1.0}
    whole = stitched(chunks, blind(**order), OVERLAP, None, marks)
    for seed in range(3):
        mixed = None if marks is None else shuffled(marks, seed)
        assert torch.equal(stitched(shuffled(chunks, seed), blind(**order), OVERLAP, None, mixed), whole)


def test_spectra_are_told_apart_by_shape_not_by_level() -> None:
    speakers = made_speakers(3, 1)
    spectra = relative_spectra(speakers)
    torch.testing.assert_close(spectra.norm(dim=1), torch.ones(3))
    for gains in (torch.tensor([1e-3, 1e-3, 1e-3]), torch.tensor([0.5, 1.0, 2.0])):
        assert (F.cosine_similarity(spectra, relative_spectra(speakers * gains[:, None]), dim=1) > 0.95).all()
    for alike in (torch.zeros(3, CHUNK), speakers[:1].expand(3, -1), speakers[:, :1], speakers[:1]):
        assert relative_spectra(alike).norm() < 0.1, "silence, one spectrum for all, one sample, a single slot"


def test_a_quiet_slot_does_not_decide_the_order() -> None:
    """One speaker pauses, and the slot that is silent then has the other one's embedding."""
    sources, marks = made_sources(2, 20 * HOP + CHUNK), torch.eye(2).expand(21, -1, -1).clone()
    sources[1, 6 * HOP : 12 * HOP + CHUNK] *= 0.01
    marks[6:13] = torch.tensor([[0.7, 0.7], [1.0, 0.0]])
    chunks = split_chunks(sources, CHUNK, HOP)
    for quiet_db, is_restored in ((30.0, True), (0.0, False), (50.0, False)):
        outputs = stitched(chunks, blind(embedding_weight=4.0, quiet_db=quiet_db), OVERLAP, None, marks)
        assert torch.allclose(outputs, sources, atol=1e-5 if is_restored else 1e-2) == is_restored


def test_timbres_tell_the_order_where_one_speaker_pauses() -> None:
    """Two speakers take turns, and each turn begins in the slot that the other one had: waveforms follow that slot."""
    speakers = made_speakers(2, 60)
    place = torch.arange(speakers.shape[-1])
    both_speak = place < speakers.shape[-1] - 40 * HOP
    sources = torch.where(both_speak | (place // (10 * HOP) % 2 == torch.arange(2)[:, None]), speakers, 0.0)
    chunks = split_chunks(sources, CHUNK, HOP).clone()
    energies = chunks.square().sum(-1)  # a chunk of one speaker has them in slot 0
    chunks[swapped] = chunks[swapped := (energies[:, 0] < 1e-9) & (energies[:, 1] > 1e-9)].flip(1)

    def error(speaker_weight: float) -> float:
        outputs = stitched(chunks, blind(quiet_db=30.0, speaker_weight=speaker_weight), OVERLAP)
        return float((outputs - sources).square().sum() / sources.square().sum())

    assert error(4.0) < 0.05 < 0.15 < error(0.0)


def test_a_timbre_is_of_a_slot_by_itself_whatever_its_level() -> None:
    speakers = made_speakers(3, 1)
    timbres = timbre(speakers)
    torch.testing.assert_close(timbres.mean(dim=1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(timbre(speakers[1:2]), timbres[1:2])
    torch.testing.assert_close(timbre(speakers * torch.tensor([[1e-3], [1.0], [30.0]])), timbres, atol=1e-2, rtol=0)
    torch.testing.assert_close(timbre(torch.zeros(2, CHUNK)), torch.zeros(2, BANDS), atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_blind", [True, False])
def test_silence_keeps_the_last_order(is_blind: bool) -> None:
    """Where a pause cannot tell the slots apart, they stay as they were instead of falling back to 0, 1."""
    sources = made_sources(2, 2400)
    sources[:, 800:1600] = 0
    chunks = split_chunks(sources, CHUNK, 200).flip(1)  # every chunk calls them 1, 0
    noise = 1e-6 * torch.randn(chunks.shape, generator=torch.Generator().manual_seed(0))
    outputs = stitched(chunks + noise, blind(spectrum_weight=1.0) if is_blind else OracleOrder(sources))
    torch.testing.assert_close(outputs, sources.flip(0) if is_blind else sources, atol=1e-5, rtol=0)


@pytest.mark.parametrize("order", [blind(spectrum_weight=1.0), OracleOrder(torch.zeros(2, 1400)), Order()])
def test_silent_recording_stays_silent_and_finite(order: Order) -> None:
    outputs = stitched(torch.zeros(6, 2, CHUNK), order)
    assert outputs.shape == (2, 1400) and not outputs.any()


@pytest.mark.parametrize("level", [1e-4, 1e4])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_level_of_the_recording_does_not_change_the_order(level: float, weight: float) -> None:
    sources = made_sources(2, 2345)
    chunks = level * shuffled(split_chunks(sources, CHUNK, 200), 3)
    outputs = stitched(chunks, blind(spectrum_weight=weight), 0.5, 2345)
    torch.testing.assert_close(outputs / level, sources, atol=1e-5, rtol=0)


def test_what_an_order_remembers_does_not_grow() -> None:
    order, sizes = blind(embedding_weight=0.5, spectrum_weight=1.0), set()
    for chunk in shuffled(split_chunks(made_sources(2, 9000), CHUNK, 200), 5):
        order(Chunk(0, chunk, torch.ones(2, 8)), chunk[:, :200])
        sizes.add(sum(value.numel() for value in vars(order).values() if isinstance(value, Tensor)))
    assert len(sizes) == 1


def test_presence_is_the_mean_over_chunks_that_are_not_silent_in_the_order_of_the_outputs() -> None:
    sources = torch.randn(2, 400, generator=torch.Generator().manual_seed(0))
    order = blind()

    def chunks() -> Iterator[Chunk]:
        for number, slots in enumerate([[0, 1], [1, 0], [0, 1], [1, 0]]):
            start = 50 * number
            yield Chunk(start, sources[:, start : start + 100][slots], None, torch.tensor([4.0 + number, -4.0])[slots])
        yield Chunk(200, torch.zeros(2, 100), None, torch.tensor([-99.0, 99.0]))

    assert len(order.presence) == 0
    list(overlap_add(chunks(), order, 0.5))
    assert order.presence.tolist() == [5.5, -4.0]


def read_sources(row: dict[str, object], librispeech: Path) -> Tensor:
    """The sources (2, T) of a row of LibriMix's metadata in min mode, 8 kHz."""
    sources = []
    for number in (1, 2):
        speech, rate = soundfile.read(librispeech / str(row[f"source_{number}_path"]), dtype="float32")
        sources.append(resample_poly(speech * row[f"source_{number}_gain"], 8000, rate))
    length = min(map(len, sources))
    return torch.stack([torch.from_numpy(source[:length]).float() for source in sources])


def count_kept_borders(sources: Tensor, chunk: int, overlap: float, random: torch.Generator) -> tuple[int, int]:
    """Borders of chunks across which blind order, by waveforms only, keeps each source in its output; all borders."""
    order, hop = blind(), chunk_hop(chunk, overlap)
    outputs: list[list[int]] = []  # per chunk, the source that each output got

    def shuffle() -> Iterator[Chunk]:
        for number, waveforms in enumerate(split_chunks(sources, chunk, hop)):
            slots = torch.randperm(len(sources), generator=random)
            yield Chunk(number * hop, waveforms[slots])
            outputs.append(slots[order.permutation].tolist())

    for _ in overlap_add(shuffle(), order, overlap):
        pass
    return sum(one == other for one, other in pairwise(outputs)), len(outputs) - 1


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("chunk", [4000, 16_000])
def test_shuffled_real_speech_comes_back_in_order_at_99_of_100_borders(
    shared: Path, chunk: int, overlap: float
) -> None:
    kept = borders = 0
    rows = pd.read_csv(shared / "librimix" / "libri2mix_test-clean_sample.csv").head(20).to_dict("records")
    for seed, row in enumerate(rows):
        sources = read_sources(row, shared / "librispeech" / "LibriSpeech")
        counted = count_kept_borders(sources, chunk, overlap, torch.Generator().manual_seed(seed))
        kept, borders = kept + counted[0], borders + counted[1]
    assert borders > 20 and kept >= 0.99 * borders, f"{kept} of {borders} borders"
