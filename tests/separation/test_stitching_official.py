"""Blind order of chunks on real speech: true sources, shuffled in every chunk, come back in order."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import soundfile
import torch
from scipy.signal import resample_poly
from torch import Tensor

from audioslots.separation.chunking import cut, hop_of
from audioslots.separation.stitching import Stitcher

RATE = 8000


def official(shared: Path, count: int) -> list[Tensor]:
    """Sources (2, T) of the first official test mixtures, in LibriMix's min mode."""
    found = []
    for row in pd.read_csv(shared / "librimix" / "libri2mix_test-clean_sample.csv").head(count).to_dict("records"):
        sources = []
        for number in (1, 2):
            path = shared / "librispeech" / "LibriSpeech" / str(row[f"source_{number}_path"])
            speech, rate = soundfile.read(path, dtype="float32")
            sources.append(torch.from_numpy(resample_poly(speech * row[f"source_{number}_gain"], RATE, rate)))
        length = min(map(len, sources))
        found.append(torch.stack([source[:length].float() for source in sources]))
    return found


def borders(sources: Tensor, chunk: int, hop: int, seed: int) -> list[bool]:
    """For every border of two chunks, whether blind order goes on across it."""
    random = torch.Generator().manual_seed(seed)
    stitcher, named = Stitcher(hop), []
    for piece in cut(sources, chunk, hop):
        order = torch.randperm(len(sources), generator=random)
        stitcher.add(piece[order][None])
        named.append([int(order[slot]) for slot in stitcher.order])  # the source that each output got
    return [one == other for one, other in zip(named, named[1:], strict=False)]


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_shuffled_true_sources_come_back_in_order_at_99_of_100_borders(
    shared: Path, seconds: float, overlap: float
) -> None:
    chunk, right = round(seconds * RATE), []
    for seed, sources in enumerate(official(shared, 20)):
        right += borders(sources, chunk, hop_of(chunk, overlap), seed)
    assert len(right) > 20
    assert sum(right) >= 0.99 * len(right), f"{sum(right)} of {len(right)} borders"
