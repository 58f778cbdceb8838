"""The mixtures that are kept to be heard: chosen by a rule from the scores of one system, and written as WAV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from audioslots.runtime.files import written_aside
from audioslots.scoring.mixtures import Waveforms

MEDIAN, LOST, SHARE = "the median", "loses most to the blind order", "{:.3g} % of the way from the worst to the best"


def chosen(scores: pd.DataFrame, count: int) -> dict[str, str]:
    """Mixture id -> why it is heard: typical ones and the ends, in the order of how much they tell.

    By the SI-SDRi of a mixture, the mean over its sources: the median; the mixture that loses most to the blind order
    of chunks, if one does; 5 % and 95 % of the way from the worst to the best; then 25 %, 75 %, and so on.

    Args:
        scores: rows of one system and seed; rows without an SI-SDRi are left out.
        count: mixtures at most.
    """
    by_mixture = scores.pivot_table("si_sdri_db", "mixture_id", "stitching", sort=True)
    own = by_mixture[min(by_mixture.columns)].dropna() if len(by_mixture) else pd.Series(dtype=float)  # blind, or none
    ranked = own.sort_values(kind="stable").index
    found: dict[str, str] = {}
    if len(ranked) and count:
        found[ranked[(len(ranked) - 1) // 2]] = MEDIAN
    if {"blind", "oracle"} <= set(by_mixture.columns) and len(found) < count:
        lost = (by_mixture["oracle"] - by_mixture["blind"]).dropna().sort_values(ascending=False, kind="stable")
        if len(lost) and lost.iloc[0] > 0:
            found.setdefault(lost.index[0], LOST)
    shares = _shares()
    while len(found) < min(count, len(ranked)):
        share = next(shares)
        found.setdefault(ranked[round(share * (len(ranked) - 1))], SHARE.format(100 * share))
    return {str(mixture): why for mixture, why in found.items()}


def _shares() -> Iterator[float]:
    """The ends, then the odd quarters, eighths, and so on: every rank in the end."""
    yield from (0.05, 0.95)
    parts = 4
    while True:
        yield from (part / parts for part in range(1, parts, 2))
        parts *= 2


def write(folder: Path, mixture: Waveforms, sources: Waveforms, estimates: Sequence[Waveforms], rate: int) -> None:
    """Write a mixture, its sources and estimates, as ``mixture.wav``, ``s<k>.wav`` and ``estimate<k>.wav``.

    Args:
        folder: of the example.
        mixture: waveform (samples,).
        sources: waveforms (sources, samples).
        estimates: one of each source, (samples,).
        rate: Hz. A waveform that would clip is scaled to a peak of one.
    """
    waveforms = {"mixture": mixture}
    for number, (source, estimate) in enumerate(zip(sources, estimates, strict=True), start=1):
        waveforms |= {f"s{number}": source, f"estimate{number}": estimate}
    for name, waveform in waveforms.items():
        audible = np.nan_to_num(np.asarray(waveform, np.float64), posinf=0.0, neginf=0.0)
        with written_aside(folder / f"{name}.wav") as aside:
            sf.write(aside, audible / max(1.0, np.abs(audible).max(initial=0.0)), rate, subtype="PCM_16")
