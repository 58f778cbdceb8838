"""Another sample rate: lengths, pitch and level are kept, and a stream gives what the whole gives."""

from __future__ import annotations

import numpy as np
import pytest

from audioslots.separation.resampling import resample, resample_blocks


@pytest.mark.parametrize("rates", [(44_100, 8000), (8000, 44_100), (192_000, 16_000), (8000, 11_025), (8000, 8000)])
@pytest.mark.parametrize("size", [1, 100, 4096])
def test_a_stream_is_resampled_as_the_whole_is(rates: tuple[int, int], size: int) -> None:
    frames = np.random.default_rng(0).standard_normal((3000, 2)).astype(np.float32)
    length = round(3000 * rates[1] / rates[0])
    whole = resample(frames, *rates, length)
    assert whole.shape == (length, 2)
    blocks = [frames[start : start + size] for start in range(0, 3000, size)]
    stream = list(resample_blocks(iter(blocks), *rates, length))
    np.testing.assert_allclose(np.concatenate(stream), whole, atol=1e-6)


@pytest.mark.parametrize("rates", [(44_100, 8000), (8000, 48_000), (16_000, 8000)])
def test_a_tone_keeps_its_pitch_level_and_place(rates: tuple[int, int]) -> None:
    time, other = (np.arange(rate) / rate for rate in rates)
    tone = np.sin(2 * np.pi * 440 * time)[:, None].astype(np.float32)
    expected = np.sin(2 * np.pi * 440 * other)
    inside = slice(len(other) // 10, -len(other) // 10)
    np.testing.assert_allclose(resample(tone, *rates, rates[1])[inside, 0], expected[inside], atol=1e-3)


def test_a_length_that_does_not_divide_is_cut_or_filled() -> None:
    frames = np.ones((10, 1), np.float32)
    assert resample(frames, 8000, 8000, 7).shape == (7, 1)
    assert resample(frames, 8000, 8000, 12)[10:].tolist() == [[0.0], [0.0]]
    assert resample(frames, 192_000, 8000, 1).shape == (1, 1)
