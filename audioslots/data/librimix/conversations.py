"""Conversations: long mixtures of whole utterances with turns, pauses and overlaps, for tests of long recordings.

The table has LibriMix's columns. Where a source has several turns, its path, start and gain are lists, parted by ";":
``source_<i>_path`` (relative to the corpus root), ``source_<i>_start`` (samples at 16 kHz) and ``source_<i>_gain`` (a
factor on the samples). ``overlap`` is the share of the time with any speech in which more than one source speaks, by
the ends of the utterances. The rules are this project's own; levels are LibriMix's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from audioslots.data.corpora.corpus import SEPARATOR, held_out, read_speech, utterances
from audioslots.data.librimix.layout import LOUDNESS_LUFS, MAX_AMPLITUDE, MIN_UTTERANCE_S, RATE, gain
from audioslots.data.librimix.metadata import measured
from audioslots.runtime.errors import InputError

PAUSE_S = (0.1, 1.0)  # before a turn, where nothing overlaps
FRUITLESS_TURNS = 20  # utterances that are too long for what is left, before a conversation ends


def converse(
    root: Path,
    subset: str,
    sources: int,
    count: int,
    seconds: tuple[float, float],
    seed: int,
    of_held_out: int = 0,
) -> pd.DataFrame:
    """Draw ``count`` conversations.

    A conversation has different speakers, and two numbers drawn for it: its overlap, uniform in 0 to 1, and its length,
    uniform in ``seconds``. A turn is one utterance of at least 3 s, of the speaker who has been silent for longest, and
    begins where it brings the conversation nearest to its overlap; no speaker overlaps itself. A pause is uniform in
    0.1 to 1 s, times what the overlap leaves of 1. The conversation ends with the first turn that reaches its length;
    one that would pass the longest of ``seconds`` is left out. Every speaker's loudness is drawn as in LibriMix, and is
    that of each of its turns.

    Args:
        root: corpus in LibriSpeech's layout.
        subset: folder under ``root``.
        sources: speakers a conversation, 2 or more.
        count: conversations, 1 or more.
        seconds: shortest and longest.
        seed: same seed and corpus, same table.
        of_held_out: draw from so many speakers alone, those that ``held_out`` of training; 0: from all.

    Raises:
        InputError: an argument out of range, too few speakers, or utterances too long for ``seconds``.
    """
    if sources < 2 or count < 1 or not 0 < seconds[0] <= seconds[1] < np.inf:
        raise InputError(
            f"sample-conversations: {sources} sources, {count} conversations of {seconds[0]:g} to {seconds[1]:g} s; "
            "expected 2 sources or more, 1 conversation or more, and lengths above 0 in order"
        )
    speech = utterances(root, subset)
    speech = speech[speech["frames"] >= MIN_UTTERANCE_S * RATE].sort_values("path", ignore_index=True)
    if of_held_out:
        speech = speech[speech["speaker_id"].isin(held_out(speech, of_held_out))]
    said = {str(speaker): rows for speaker, rows in speech.groupby("speaker_id")}
    if len(said) < sources:
        problem = f"{len(said)} speakers with utterances of {MIN_UTTERANCE_S:g} s or more"
        raise InputError(f"{Path(root) / subset}: {problem}; expected at least {sources}")
    random, rows = np.random.default_rng(seed), []
    for number in tqdm(range(1, count + 1), desc=f"converse {subset}", unit="conversation", disable=None):
        speakers = [str(speaker) for speaker in random.choice(sorted(said), sources, replace=False)]
        turns = _turns([_endless(said[speaker], random) for speaker in speakers], seconds, random)
        if not all(turns) or max(map(_end, turns)) < seconds[0] * RATE:
            problem = f"utterances of {' and '.join(speakers)} do not fit {seconds[0]:g} to {seconds[1]:g} s"
            raise InputError(f"{Path(root) / subset}: {problem}; expected lengths further apart")
        row: dict[str, object] = {"mixture_ID": f"conversation-{number:04d}_{'_'.join(speakers)}"}
        for i, (own, gains) in enumerate(zip(turns, _gains(Path(root), turns, random), strict=True), start=1):
            row[f"source_{i}_path"] = SEPARATOR.join(path for path, _, _ in own)
            row[f"source_{i}_start"] = SEPARATOR.join(str(start) for _, start, _ in own)
            row[f"source_{i}_gain"] = SEPARATOR.join(f"{factor:g}" for factor in gains)
        rows.append(row | {"overlap": round(overlap(turns), 3)})
    return pd.DataFrame(rows)


Turn = tuple[str, int, int]
"""Path of an utterance, its first sample, its length in samples at 16 kHz."""


def _endless(rows: pd.DataFrame, random: np.random.Generator) -> Iterator[tuple[str, int]]:
    """A speaker's utterances and their lengths, each once before any comes again."""
    while True:
        for place in random.permutation(len(rows)):
            yield str(rows["path"].iloc[place]), int(rows["frames"].iloc[place])


def _turns(
    said: list[Iterator[tuple[str, int]]], seconds: tuple[float, float], random: np.random.Generator
) -> list[list[Turn]]:
    """The turns of each speaker, in their order."""
    turns: list[list[Turn]] = [[] for _ in said]
    share, target, fruitless = random.uniform(), random.uniform(*seconds) * RATE, 0
    while fruitless < FRUITLESS_TURNS and not (all(turns) and max(map(_end, turns)) >= target):
        ends = list(map(_end, turns))
        place = ends.index(min(ends))
        path, length = next(said[place])
        pause = round((1 - share) * random.uniform(*PAUSE_S) * RATE)
        earliest = ends[place] + pause if turns[place] else 0
        shared, spoken = _spoken(turns)
        wanted = (share * (spoken + length) - shared) / (1 + share)  # of this turn's samples, to be shared
        if wanted <= 0:
            start = max(ends) + pause
        else:
            start = earliest if wanted >= length else max(earliest, max(ends) - round(wanted))
        if start + length > seconds[1] * RATE:
            fruitless += 1
        else:
            turns[place].append((path, start, length))
            fruitless = 0
    return turns


def _end(own: list[Turn]) -> int:
    """The sample after a speaker's last turn; 0 before its first."""
    return own[-1][1] + own[-1][2] if own else 0


def _spoken(turns: list[list[Turn]]) -> tuple[int, int]:
    """Samples in which more than one source speaks, and in which any does."""
    edges = sorted(edge for own in turns for _, start, length in own for edge in ((start, 1), (start + length, -1)))
    active = shared = spoken = before = 0
    for at, change in edges:
        spoken += (at - before) * (active > 0)
        shared += (at - before) * (active > 1)
        active, before = active + change, at
    return shared, spoken


def overlap(turns: list[list[Turn]]) -> float:
    """Share of the time with any speech in which more than one source speaks."""
    shared, spoken = _spoken(turns)
    return shared / spoken if spoken else 0.0


def _gains(root: Path, turns: list[list[Turn]], random: np.random.Generator) -> list[list[float]]:
    """A gain a turn, such that the mixture stays at a peak of 0.9."""
    wanted = random.uniform(*LOUDNESS_LUFS, size=len(turns))
    gains = []
    for own, loudness in zip(turns, wanted, strict=True):
        facts = [measured(root / path) for path, _, _ in own]
        gains.append([float(gain(loudness, found, peak)) for _, found, peak in facts])
    ends = [start + length for own in turns for _, start, length in own]
    mixture = np.zeros(max(ends))
    for own, factors in zip(turns, gains, strict=True):
        for (path, start, length), factor in zip(own, factors, strict=True):
            mixture[start : start + length] += read_speech(root / path) * factor
    peak = float(np.abs(mixture).max())
    weight = MAX_AMPLITUDE / peak if peak > MAX_AMPLITUDE else 1.0
    return [[round(factor * weight, 6) for factor in factors] for factors in gains]
