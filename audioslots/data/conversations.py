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

from audioslots.data.corpus import held_out, read_speech, utterances
from audioslots.data.librimix import LOUDNESS_LUFS, MAX_AMPLITUDE, MIN_UTTERANCE_S, RATE, gain
from audioslots.data.metadata import SEPARATOR, measured
from audioslots.errors import InputError

PAUSE_S = (0.1, 1.0)  # between two turns; of a speaker's own turns at least, of any where nothing overlaps


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

    The speakers of a conversation are different, and take turns of one utterance each, of at least 3 s. A turn begins
    before the last one ends, by a share of the shorter of both that is drawn once a conversation, uniform in 0 to 1;
    the pause after it is drawn for each turn and is the shorter, the more they overlap. No speaker overlaps itself. The
    conversation ends where the next turn would pass its length, which is uniform in ``seconds``. Every speaker's
    loudness is drawn as in LibriMix, and is that of each of its turns.

    Args:
        root: corpus in LibriSpeech's layout.
        subset: folder under ``root``.
        sources: speakers a conversation, 2 or more.
        count: conversations, 1 or more.
        seconds: shortest and longest.
        seed: same seed and corpus, same table.
        of_held_out: draw from so many speakers alone, those that ``held_out`` of training; 0: from all.

    Raises:
        InputError: an argument out of range, or too few speakers.
    """
    if sources < 2 or count < 1 or not 0 < seconds[0] <= seconds[1]:
        raise InputError(
            f"converse: {sources} sources, {count} conversations of {seconds[0]:g} to {seconds[1]:g} s; expected 2 "
            "sources or more, 1 conversation or more, and lengths above 0 in order"
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
        turns = _turns([_endless(said[speaker], random) for speaker in speakers], random.uniform(*seconds), random)
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


def _turns(said: list[Iterator[tuple[str, int]]], seconds: float, random: np.random.Generator) -> list[list[Turn]]:
    """The turns of each speaker, the speakers one after the other."""
    turns: list[list[Turn]] = [[] for _ in said]
    share, last, place = float(random.uniform()), None, 0
    while True:
        own = turns[place % len(said)]
        path, length = next(said[place % len(said)])
        pauses = [round(pause * RATE) for pause in random.uniform(*PAUSE_S, size=2)]
        start = 0
        if last is not None:
            start = last[1] + last[2] - round(share * min(length, last[2])) + round((1 - share) * pauses[0])
        if own:
            start = max(start, own[-1][1] + own[-1][2] + pauses[1])
        if all(turns) and start + length > seconds * RATE:
            return turns
        last = (path, max(0, start), length)
        own.append(last)
        place += 1


def overlap(turns: list[list[Turn]]) -> float:
    """Share of the time with any speech in which more than one source speaks."""
    edges = sorted(
        edge for own in turns for _, start, length in own for edge in ((start, 1), (start + length, -1)) if length
    )
    active = spoken = shared = before = 0
    for at, change in edges:
        spoken += (at - before) * (active > 0)
        shared += (at - before) * (active > 1)
        active, before = active + change, at
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
