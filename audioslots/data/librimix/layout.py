"""LibriMix's rules of mixing, in one place: its numbers, which utterances are grouped, and the gain of a source.

Cosentino et al., "LibriMix: An open-source dataset for generalizable speech separation", 2020; the reference is
JorisCos/LibriMix at b898ca3, ``scripts/create_librimix_metadata.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

RATE = 16_000  # Hz, LibriSpeech's
MIN_UTTERANCE_S = 3.0
LOUDNESS_LUFS = (-33.0, -25.0)  # each source's loudness is drawn uniformly from this range
NOISE_LUFS = (-38.0, -30.0)  # and a noise's from this one
MAX_AMPLITUDE = 0.9  # a source or a mixture that is too loud is scaled to this peak


def groups(order: Iterable[int], speakers: Sequence[Any] | np.ndarray, sources: int) -> Iterator[tuple[int, ...]]:
    """Groups of utterances of different speakers, each utterance once at most.

    Args:
        order: the utterances, as indices; each begins a group, and takes the next ones that fit.
        speakers: of every utterance.
        sources: utterances a group; what is left at the end makes none.
    """
    waiting = [int(index) for index in order][::-1]  # taken from the end, where removing is cheap
    while waiting:
        group = [waiting.pop()]
        for place in range(len(waiting) - 1, -1, -1):
            if len(group) == sources:
                break
            if all(speakers[waiting[place]] != speakers[index] for index in group):
                group.append(waiting.pop(place))
        if len(group) == sources:
            yield tuple(group)


def gain(wanted: Any, loudness: Any, peak: Any) -> Any:
    """Factor on a source's samples: from its loudness to the one that is wanted; to ``MAX_AMPLITUDE`` if it would clip.

    Args:
        wanted: LUFS.
        loudness: LUFS, of the source as it is.
        peak: its largest absolute sample; full scale is 1.
    """
    factor = 10 ** ((wanted - loudness) / 20)
    return np.where(factor * peak < 1, factor, MAX_AMPLITUDE / peak)[()]
