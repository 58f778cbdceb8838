"""Chunks cover every sample, and the cross-fade leaves none without weight."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audioslots.separation.chunking import batches, cut, fade, hop_of


@settings(deadline=None)  # a busy machine must not fail it
@given(samples=st.integers(1, 400), chunk=st.integers(1, 100), overlap=st.floats(0.25, 0.9))
def test_every_sample_is_in_a_chunk_at_its_place(samples: int, chunk: int, overlap: float) -> None:
    hop = hop_of(chunk, overlap)
    waveform = torch.arange(1.0, samples + 1)
    chunks = cut(waveform, chunk, hop)
    assert chunks.shape[1] == chunk
    seen = torch.zeros((len(chunks) - 1) * hop + chunk)
    for number, piece in enumerate(chunks):
        here = slice(number * hop, number * hop + chunk)
        seen[here] = torch.maximum(seen[here], piece)
    assert torch.equal(seen[:samples], waveform)
    assert not seen[samples:].any()
    assert (len(chunks) - 2) * hop + chunk < samples or len(chunks) == 1, "the last chunk holds nothing new"


@pytest.mark.parametrize("samples", [1, 9, 10, 11, 15, 16, 40, 41, 100])
@pytest.mark.parametrize(("hop", "count", "size"), [(5, 3, 7), (5, 1, 1), (8, 2, 100), (3, 4, 6)])
def test_batches_of_a_stream_hold_the_chunks_of_the_whole(samples: int, hop: int, count: int, size: int) -> None:
    waveform = torch.arange(1.0, samples + 1)
    found = list(batches(waveform.split(size), 10, hop, count))
    assert torch.equal(torch.cat(found), cut(waveform, 10, hop))
    assert max(map(len, found)) <= count


def test_leading_dimensions_follow_the_chunks() -> None:
    sources = torch.randn(3, 25)
    chunks = cut(sources, 10, 5)
    assert chunks.shape == (4, 3, 10)
    assert torch.equal(chunks[2], sources[:, 10:20])


def test_recording_no_longer_than_a_chunk_is_one_chunk() -> None:
    for samples in (1, 9, 10):
        chunks = cut(torch.ones(samples), 10, 5)
        assert chunks.shape == (1, 10)
        assert chunks.sum() == samples
    assert len(cut(torch.ones(11), 10, 5)) == 2


@pytest.mark.parametrize("chunk", [1, 2, 3, 257, 4000])
def test_fade_is_symmetric_and_never_zero(chunk: int) -> None:
    window = fade(chunk)
    assert window.shape == (chunk,)
    assert (window > 0).all()
    torch.testing.assert_close(window, window.flip(0))


@pytest.mark.parametrize(("overlap", "hop"), [(0.5, 4000), (0.75, 2000), (0.25, 6000), (0.9, 800)])
def test_hop_is_what_the_successor_does_not_see(overlap: float, hop: int) -> None:
    assert hop_of(8000, overlap) == hop


def test_hop_is_never_zero() -> None:
    assert hop_of(3, 0.9) == 1


@pytest.mark.parametrize("chunk", [1, 2, 4000, 40_000, 480_000])
def test_the_cross_fade_is_a_hann_window_that_never_reaches_zero(chunk: int) -> None:
    window = fade(chunk)
    assert window.dtype == torch.float32 and window.shape == (chunk,)
    assert window.min() > 0
    expected = torch.hann_window(chunk + 2, periodic=False, dtype=torch.float64)[1:-1].float()
    torch.testing.assert_close(window, expected, atol=1e-7, rtol=0)
