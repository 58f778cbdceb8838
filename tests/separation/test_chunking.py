"""Chunks cover every sample, and the cross-fade leaves none without weight."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audioslots.separation.chunking import Chunk, chunk_hop, fade_window, overlap_add, split_chunks, stream_chunks
from audioslots.separation.ordering import Order


@settings(deadline=None)  # a busy machine must not fail it
@given(samples=st.integers(1, 400), chunk=st.integers(1, 100), overlap=st.floats(0.25, 0.9))
def test_every_sample_is_in_a_chunk_at_its_place_and_overlap_add_restores_it(
    samples: int, chunk: int, overlap: float
) -> None:
    hop = chunk_hop(chunk, overlap)
    waveform = torch.arange(1.0, samples + 1)
    chunks = split_chunks(waveform, chunk, hop)
    assert chunks.shape[1] == chunk
    assert (len(chunks) - 2) * hop + chunk < samples or len(chunks) == 1, "the last chunk holds nothing new"
    pieces = list(overlap_add((Chunk(0, one[None]) for one in chunks), Order(), overlap))
    assert all(piece.shape == (1, hop) for piece in pieces[:-1])
    restored = torch.cat(pieces, dim=-1)[0]
    torch.testing.assert_close(restored[:samples], waveform)
    assert not restored[samples:].any()


@pytest.mark.parametrize("samples", [1, 9, 10, 11, 15, 16, 40, 41, 100])
@pytest.mark.parametrize(("hop", "batch", "size"), [(5, 3, 7), (5, 1, 1), (8, 2, 100), (3, 4, 6)])
def test_batches_of_a_stream_hold_the_chunks_of_the_whole(samples: int, hop: int, batch: int, size: int) -> None:
    waveform = torch.arange(1.0, samples + 1)
    batches = list(stream_chunks(waveform.split(size), 10, hop, batch))
    assert torch.equal(torch.cat(batches), split_chunks(waveform, 10, hop))
    assert max(map(len, batches)) <= batch


@pytest.mark.parametrize("chunk", [1, 2, 3, 257, 40_000, 480_000])
def test_the_cross_fade_is_a_hann_window_that_never_reaches_zero(chunk: int) -> None:
    window = fade_window(chunk)
    assert window.dtype == torch.float32 and window.shape == (chunk,) and window.min() > 0
    expected = torch.hann_window(chunk + 2, periodic=False, dtype=torch.float64)[1:-1].float()
    torch.testing.assert_close(window, expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize(
    ("chunk", "overlap", "hop"), [(8000, 0.5, 4000), (8000, 0.25, 6000), (8000, 0.9, 800), (3, 0.9, 1)]
)
def test_hop_is_the_share_that_the_successor_does_not_cover(chunk: int, overlap: float, hop: int) -> None:
    assert chunk_hop(chunk, overlap) == hop


def test_chunks_that_disagree_are_faded_into_each_other() -> None:
    chunks = [Chunk(0, torch.full((1, 400), 1.0)), Chunk(200, torch.full((1, 400), 2.0))]
    outputs = torch.cat(list(overlap_add(chunks, Order(), 0.5)), dim=-1)[0]
    assert torch.equal(outputs[:200], torch.ones(200)) and torch.equal(outputs[400:], torch.full((200,), 2.0))
    assert (outputs[200:400].diff() > 0).all()
