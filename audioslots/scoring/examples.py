"""The mixtures whose audio is kept: chosen by a rule from the scores of one system, and written as WAV."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import chain
from itertools import count as counted
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from audioslots.runtime.files import written_aside
from audioslots.scoring.mixtures import Waveforms

MEDIAN, LOST, SHARE = "the median", "loses most to the blind order", "{:.3g} % of the way from the worst to the best"


def choose_examples(scores: pd.DataFrame, count: int) -> dict[str, str]:
    """Mixture id -> why it is kept: typical ones and the ends, the most informative first.

    By the SI-SDRi of a mixture, the mean over its sources: the median; the mixture that loses most to the blind order
    of chunks, if one does; 5 % and 95 % of the way from the worst to the best; then 25 %, 75 %, and so on.

    Args:
        scores: rows of one system and seed; rows without an SI-SDRi are left out.
        count: mixtures at most.
    """
    by_mixture = scores.pivot_table("si_sdri_db", "mixture_id", "stitching", sort=True)
    own = by_mixture[min(by_mixture.columns)].dropna() if len(by_mixture) else pd.Series(dtype=float)  # blind, or none
    ranked = own.sort_values(kind="stable").index
    reasons: dict[str, str] = {}
    if len(ranked) and count:
        reasons[ranked[(len(ranked) - 1) // 2]] = MEDIAN
    if {"blind", "oracle"} <= set(by_mixture.columns) and len(reasons) < count:
        lost = (by_mixture["oracle"] - by_mixture["blind"]).dropna().sort_values(ascending=False, kind="stable")
        if len(lost) and lost.iloc[0] > 0:
            reasons.setdefault(lost.index[0], LOST)
    # the ends, then the odd quarters, eighths, and so on: every rank in the end
    shares = chain((0.05, 0.95), (step / 2**n for n in counted(2) for step in range(1, 2**n, 2)))
    while len(reasons) < min(count, len(ranked)):
        share = next(shares)
        reasons.setdefault(ranked[round(share * (len(ranked) - 1))], SHARE.format(100 * share))
    return {str(mixture): reason for mixture, reason in reasons.items()}


chosen = choose_examples


def write_example(
    folder: Path, mixture: Waveforms, sources: Waveforms, estimates: Sequence[Waveforms], rate: int
) -> None:
    """Write a mixture [samples], its sources [sources, samples] and the estimate of each into a folder of their own.

    ``mixture.wav``, ``s<k>.wav`` and ``estimate<k>.wav`` are of 16 bits; what would clip is scaled to a peak of one.
    """
    shutil.rmtree(folder, ignore_errors=True)  # what a killed process has left
    waveforms = {"mixture": mixture}
    for number, (source, estimate) in enumerate(zip(sources, estimates, strict=True), start=1):
        waveforms |= {f"s{number}": source, f"estimate{number}": estimate}
    for name, waveform in waveforms.items():
        finite = np.nan_to_num(np.asarray(waveform, np.float64), posinf=0.0, neginf=0.0)
        with written_aside(folder / f"{name}.wav") as aside:
            sf.write(aside, finite / max(1.0, np.abs(finite).max(initial=0.0)), rate, subtype="PCM_16")
