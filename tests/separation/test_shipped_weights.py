"""The weights that come with the package separate as they did: SI-SDR of synthesized mixtures, recorded.

Recorded with commit 22fe27e; the commit that added this test gave the same estimates to the bit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

import audioslots
from audioslots.data.corpora.speakers import draw_speakers
from audioslots.data.corpora.synthesis import read_aloud
from audioslots.losses import si_sdr

TOLERANCE_DB = 0.01
OTHER = {"overlap": 0.5, "reconstruction": "misi", "embedding_weight": 4.0, "quiet_db": 30.0, "speaker_weight": 4.0}


def synthesize(first: int, second: int) -> np.ndarray:
    """Two voices at the same level, (2, T) at 8 kHz."""
    speakers = [speaker for speaker in draw_speakers(20, 7) if speaker.subset == "test-clean"]
    sources = []
    for number, seed in ((first, 1), (second, 2)):
        speech = np.concatenate([samples for _, samples in read_aloud(speakers[number], 7.0, seed)])
        sources.append(resample_poly(speech / 2**15, 1, 2))
    length = min(map(len, sources))
    cut = np.stack([source[:length] for source in sources])
    return (0.05 * cut / cut.std(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    ("voices", "settings", "blind_db", "oracle_db"),
    [
        ((0, 1), {}, (14.336, 14.281), (14.336, 14.281)),
        ((0, 2), {}, (-0.726, -3.792), (0.505, 0.242)),  # blind order confuses the two
        ((1, 2), {}, (9.186, 9.346), (9.186, 9.346)),
        ((0, 2), OTHER, (-3.430, -2.150), (-0.256, -2.160)),
    ],
)
def test_si_sdr_is_as_recorded(
    voices: tuple[int, int], settings: dict[str, Any], blind_db: list[float], oracle_db: list[float]
) -> None:
    separator, sources = audioslots.load(), synthesize(*voices)
    separation = separator.config.separation.model_copy(update=settings)
    separator = replace(separator, config=separator.config.model_copy(update={"separation": separation}))
    estimates = separator.by_stitching(sources.sum(axis=0), sources)
    for order, recorded in (("blind", blind_db), ("oracle", oracle_db)):
        both = [
            si_sdr(torch.from_numpy(estimates[order][pair]), torch.from_numpy(sources)) for pair in ([0, 1], [1, 0])
        ]
        assert max(both, key=torch.sum).tolist() == pytest.approx(recorded, abs=TOLERANCE_DB)
