"""Noise without a download, in the layout of WHAM!'s: coloured noise and babble by turns, ten seconds each.

Coloured noise is white noise of a random slope, 0 (white) to -6 dB (brown) an octave, whose level wanders. Babble is
six speakers of the corpus at once, each at the same level, who read one utterance after another. Nobody in the babble
of ``tr`` is in that of ``tt``, where their subsets share no speaker.

The same arguments give the same noise for any number of jobs: a recording is a function of seed, part and number.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from tqdm import tqdm

from audioslots.data.corpora.corpus import read_speech, utterances
from audioslots.data.librimix.layout import MAX_AMPLITUDE, RATE
from audioslots.data.librimix.noise import PARTS
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import sha256, write_json, written_aside
from audioslots.runtime.stage import Stage
from audioslots.runtime.workers import in_order

SECONDS = 10
SAMPLES = SECONDS * RATE
SHARES = {"tr": 0.8, "cv": 0.1, "tt": 0.1}  # of the hours
FEWEST = 4  # recordings a part
TALKERS = 6
LEVEL = 0.03  # root mean square, full scale 1
WANDERS_DB = 6.0  # up or down, from second to second
LOWEST_HZ = 20.0  # below, coloured noise has no more than there
VERSION = 1  # raised where a sample changes


def synthesize_noise(
    out: Path, corpus: Path, subsets: Mapping[str, str], hours: float, seed: int, jobs: int = 1
) -> None:
    """Synthesize noise: ``out/<part>/<part>-<nnnn>.wav`` (16 kHz, 16-bit, mono), and ``out/manifest.json`` at the end.

    It is the stage ``noise``: a finished folder is left as it is, an interrupted one is continued file by file.

    Args:
        out: root of the noise.
        corpus: root of the speech that babbles.
        subsets: of it, for each of ``tr``, ``cv`` and ``tt``.
        hours: of all parts together, four fifths of them in ``tr``.
        seed: of all that is random.
        jobs: processes; changes the time taken and nothing else.

    Raises:
        InputError: an argument out of range, a subset is missing, or as ``Stage.opened``.
    """
    if not hours > 0 or seed < 0 or jobs < 1:
        raise InputError(f"hours {hours}, seed {seed}, jobs {jobs}; expected more than 0, 0 or more, 1 or more")
    if set(subsets) != set(PARTS):
        raise InputError(f"subsets: {', '.join(subsets) or 'none'}; expected one for each of {', '.join(PARTS)}")
    out, asked = Path(out), {"version": VERSION, "subsets": dict(subsets), "hours": float(hours), "seed": seed}
    with Stage(out, "noise", asked, (__name__,), (*PARTS, "manifest.json"), alone=True).opened():
        if (out / "manifest.json").exists():
            return
        wanted = [(part, number) for part in PARTS for number in range(recordings(hours, part))]
        speech = {part: utterances(corpus, subset) for part, subset in subsets.items()}
        work = partial(_write, out=out, corpus=Path(corpus), speech=speech, seed=seed)
        for _ in tqdm(in_order(work, wanted, jobs), "noise", total=len(wanted), unit="file", disable=None):
            pass
        sums = {f"{part}/{number:04d}": sha256(_place(out, part, number)) for part, number in wanted}
        write_json(out / "manifest.json", {**asked, "files": len(wanted), "sha256": sums})


def recordings(hours: float, part: str) -> int:
    """How many recordings a part has, of so many hours in all."""
    return max(FEWEST, round(hours * SHARES[part] * 3600 / SECONDS))


def coloured(random: np.random.Generator) -> np.ndarray:
    """Noise whose power falls by 0 to 6 dB an octave, and whose level wanders: (``SAMPLES``,) float64."""
    slope = random.uniform(0, 1)  # of magnitudes
    spectrum = np.fft.rfft(random.standard_normal(SAMPLES))
    frequencies = np.maximum(np.fft.rfftfreq(SAMPLES, 1 / RATE), LOWEST_HZ)
    noise = np.fft.irfft(spectrum * frequencies**-slope, SAMPLES)
    levels = random.uniform(-WANDERS_DB, WANDERS_DB, SECONDS + 1)
    return noise * 10 ** (np.interp(np.arange(SAMPLES) / RATE, np.arange(SECONDS + 1), levels) / 20)


def babble(random: np.random.Generator, corpus: Path, speech: pd.DataFrame) -> np.ndarray:
    """Several speakers at once, fewer where the subset has no more: (``SAMPLES``,) float64."""
    speakers = np.sort(speech["speaker_id"].unique())
    noise = np.zeros(SAMPLES)
    for speaker in random.choice(speakers, min(TALKERS, len(speakers)), replace=False):
        paths = speech.loc[speech["speaker_id"] == speaker, "path"].to_numpy()
        said: list[np.ndarray] = []
        while sum(map(len, said)) < 2 * SAMPLES:  # a part of which is heard, so that nobody begins when another does
            said.append(read_speech(corpus / str(random.choice(paths))).astype(np.float64))
        whole = np.concatenate(said)
        at = int(random.integers(len(whole) - SAMPLES + 1))
        voice = whole[at : at + SAMPLES]
        noise += voice / max(float(np.sqrt(np.mean(voice**2))), 1e-6)
    return noise


def _place(out: Path, part: str, number: int) -> Path:
    return out / part / f"{part}-{number:04d}.wav"


def _write(one: tuple[str, int], out: Path, corpus: Path, speech: Mapping[str, pd.DataFrame], seed: int) -> None:
    """Make one recording, if it is not there yet."""
    part, number = one
    path = _place(out, part, number)
    if path.exists():
        return
    random = np.random.default_rng([seed, PARTS.index(part), number])
    noise = babble(random, corpus, speech[part]) if number % 2 else coloured(random)
    noise *= min(LEVEL / np.sqrt(np.mean(noise**2)), MAX_AMPLITUDE / np.abs(noise).max())
    path.parent.mkdir(exist_ok=True)
    with written_aside(path) as aside:
        soundfile.write(aside, noise, RATE, subtype="PCM_16", format="WAV")
