"""Speech without a download: sentences of our own grammar read by eSpeak NG, in LibriSpeech's layout.

A speaker is a voice variant of eSpeak NG with an accent of English, a pitch, a pitch range, a rate and a level.

What is the same to the bit: with the same eSpeak NG library and data (their SHA-256 stand in the manifest), the same
arguments give the same samples, for any number of jobs and wherever a stopped run resumed. Chance comes from
``random.Random`` seeded by the corpus' seed and the speaker; every speaker is read by a copy of the library loaded
for that speaker alone, since eSpeak NG keeps the phase of its flutter and its noise from one call to the next, even
across its own termination; pauses, resampling and levelling are done on integers, so that neither the order of a sum
nor the instructions of a processor can change a sample. Whoever changes samples raises ``dataset.SYNTHESIS``.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import math
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import espeakng_loader
import numpy as np
import scipy.signal
import soundfile
from tqdm import tqdm

from audioslots.config.data import SYNTHESIS
from audioslots.data.corpora.corpus import read_speech
from audioslots.data.corpora.pauses import clauses, joined
from audioslots.data.corpora.sentences import sentence, words
from audioslots.data.corpora.speakers import SUBSETS, Speaker, draw_speakers
from audioslots.data.librimix.layout import RATE
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import sha256, write_json, write_text, written_aside
from audioslots.runtime.stage import Stage
from audioslots.runtime.workers import in_order

MOST_HOURS_A_SPEAKER = 10.0

ESPEAK_RATE = 22050  # Hz
UP, DOWN = 320, 441  # RATE / ESPEAK_RATE
PEAK = 0.9
SENTENCES = (1, 1, 2)  # in an utterance, each as likely as the others

# From espeak-ng's speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS, INITIALIZE_DONT_EXIT, CHARS_UTF8 = 2, 0x8000, 1
PARAMETER_RATE, PARAMETER_PITCH, PARAMETER_RANGE = 1, 3, 4
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


@contextmanager
def reader(speaker: Speaker) -> Iterator[Callable[[str], np.ndarray]]:
    """A function that reads a text aloud in a speaker's voice: int16 samples at ``ESPEAK_RATE`` Hz.

    The library is loaded from a copy, so that its static variables are new: see the module's docstring.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            library = ctypes.CDLL(str(shutil.copy(espeakng_loader.get_library_path(), folder)))
        except OSError as error:
            raise InputError(f"TMPDIR: {error}; expected a folder from which libraries can be loaded") from None
        blocks: list[bytes] = []

        def keep(samples: int | None, count: int, _events: int | None) -> int:
            if samples and count > 0:
                blocks.append(ctypes.string_at(samples, 2 * count))
            return 0

        callback = CALLBACK(keep)
        data = espeakng_loader.get_data_path().encode()
        if library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, data, INITIALIZE_DONT_EXIT) != ESPEAK_RATE:
            raise RuntimeError(f"eSpeak NG did not start with its data in {espeakng_loader.get_data_path()}")
        library.espeak_ng_SetRandSeed(ctypes.c_long(speaker.identity))
        library.espeak_SetSynthCallback(callback)
        voice = f"{speaker.accent}+{speaker.variant}"
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f"eSpeak NG has no voice {voice}")
        library.espeak_SetParameter(PARAMETER_RATE, speaker.rate, 0)
        library.espeak_SetParameter(PARAMETER_PITCH, speaker.pitch, 0)
        library.espeak_SetParameter(PARAMETER_RANGE, speaker.pitch_range, 0)

        def read(text: str) -> np.ndarray:
            blocks.clear()
            raw = text.encode()
            library.espeak_Synth(raw, ctypes.c_size_t(len(raw) + 1), 0, 1, 0, CHARS_UTF8, None, None)
            library.espeak_Synchronize()
            samples = np.frombuffer(b"".join(blocks), np.int16)
            if not samples.any():
                raise RuntimeError(f"eSpeak NG's voice {voice} was silent for: {text}")
            return samples

        try:
            yield read
        finally:
            library.espeak_Terminate()


@functools.cache
def resampling_filter() -> Any:
    """``scipy.signal.resample_poly``'s own low-pass filter from 22,050 to 16,000 Hz, in whole numbers of 2**-28.

    With whole samples, every product and sum of the resampling is a whole number below 2**53, exact in float64.
    """
    taps = scipy.signal.firwin(20 * DOWN + 1, 1 / DOWN, window=("kaiser", 5.0))
    return np.rint(taps * 2.0**28)


def levelled(samples: np.ndarray, level: float) -> np.ndarray:
    """Resample an utterance to 16 kHz and set its level.

    Args:
        samples: (n,) int16 at 22,050 Hz.
        level: root mean square asked for, full scale 1; lowered where the peak would pass ``PEAK``.

    Returns:
        (m,) int16 at 16 kHz.
    """
    resampled = scipy.signal.resample_poly(samples.astype(np.float64), UP, DOWN, window=resampling_filter())
    # Whole numbers again: sixteenths of a step of 16 bits.
    whole = np.rint(resampled * 2.0**-24).astype(np.int64)
    peak = int(np.abs(whole).max())
    root_mean_square = math.sqrt(int((whole * whole).sum()) / len(whole))
    gain = min(level * 2**15 / root_mean_square, PEAK * 2**15 / peak)
    return np.rint(whole * gain).astype(np.int16)


def read_aloud(speaker: Speaker, seconds: float, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Utterances and their speech, int16 at 16 kHz: one or more, until another would be no nearer to ``seconds``."""
    generator = random.Random(f"sentences {seed} {speaker.identity}")
    pauses = random.Random(f"pauses {seed} {speaker.identity}")
    left = seconds * RATE
    with reader(speaker) as read:
        while True:
            text = " ".join(sentence(generator) for _ in range(generator.choice(SENTENCES)))
            parts = clauses(text)
            spoken = joined(parts, [read(part) for part in parts], ESPEAK_RATE, pauses)
            samples = levelled(spoken, speaker.level)
            yield text, samples
            left -= len(samples)
            if left < len(samples) / 2:
                break


def _write_speaker(speaker: Speaker, out: Path, seconds: float, seed: int) -> None:
    """Write one speaker's folder, the transcript last: where it stands, the speaker is complete."""
    prefix = f"{speaker.identity}-1"
    folder = out / speaker.subset / str(speaker.identity) / "1"
    transcript = folder / f"{prefix}.trans.txt"
    if transcript.exists():
        return
    lines = []
    for index, (text, samples) in enumerate(read_aloud(speaker, seconds, seed)):
        with written_aside(folder / f"{prefix}-{index:04d}.flac") as aside:
            soundfile.write(aside, samples, RATE, subtype="PCM_16", format="FLAC")
        lines.append(f"{prefix}-{index:04d} {' '.join(words(text))}\n")
    write_text(transcript, "".join(lines))


def espeak_ng() -> dict[str, str]:
    """What reads: the version of eSpeak NG, and the SHA-256 of its library and of its data."""
    library = Path(espeakng_loader.get_library_path())
    data = Path(espeakng_loader.get_data_path())
    info = ctypes.CDLL(str(library)).espeak_Info
    info.restype = ctypes.c_char_p
    digest = hashlib.sha256()
    for path in sorted((path for path in data.rglob("*") if path.is_file()), key=lambda path: path.as_posix()):
        digest.update(f"{path.relative_to(data).as_posix()} {sha256(path)}\n".encode())
    version = info(None).decode().split()[0]
    return {"version": version, "library_sha256": sha256(library), "data_sha256": digest.hexdigest()}


def synthesize(out: Path, speakers: int, hours: float, seed: int, jobs: int = 1) -> None:
    """Synthesize a corpus of read English in LibriSpeech's layout: train-clean, dev-clean and test-clean.

    Writes ``out/<subset>/<speaker>/1/<speaker>-1-<nnnn>.flac`` (16 kHz, 16-bit, mono) with transcripts,
    ``out/SPEAKERS.TXT`` and, at the end, ``out/manifest.json`` with a SHA-256 over the samples of each subset. It is
    the stage ``synthesize``: a finished folder is left as it is, an interrupted one is continued speaker by speaker.

    Args:
        out: the corpus' root folder.
        speakers: number of speakers in all, ``FEWEST_SPEAKERS`` to ``MOST_SPEAKERS``; about 65 % train, 10 % dev and
            25 % test, with at least two women and two men in each.
        hours: hours of speech in all, the same share for every speaker, kept to within about half an utterance.
        seed: seed of voices and sentences, 0 or more.
        jobs: processes; changes the time taken and nothing else.

    Raises:
        InputError: an argument is out of range, or as ``Stage.opened``.
    """
    out = Path(out)
    if seed < 0:
        raise InputError(f"seed: {seed} is negative; expected a whole number of 0 or more")
    if jobs < 1:
        raise InputError(f"jobs: {jobs} is too few; expected a whole number of 1 or more")
    drawn = draw_speakers(speakers, seed)
    most = MOST_HOURS_A_SPEAKER * speakers
    if not 0 < hours <= most:
        raise InputError(
            f"hours: {hours} is out of range; expected more than 0 and at most {most} for {speakers} speakers"
        )
    asked: dict[str, Any] = {"version": SYNTHESIS, "seed": seed, "speakers": speakers, "hours": float(hours)}
    request = {**asked, "espeak_ng": espeak_ng()}
    makes = (*SUBSETS, "SPEAKERS.TXT", "manifest.json")
    with Stage(out, "synthesize", request, (__name__,), makes, alone=True).opened():
        if (out / "manifest.json").exists():
            return
        work = functools.partial(_write_speaker, out=out, seconds=hours * 3600 / speakers, seed=seed)
        for _ in tqdm(in_order(work, drawn, jobs), "synthesize", total=speakers, unit="speaker", disable=None):
            pass
        _finish(out, drawn, request)


def _finish(out: Path, speakers: list[Speaker], request: dict[str, Any]) -> None:
    """Read back every utterance, then write SPEAKERS.TXT and the manifest."""
    lines = ["; Synthetic speakers\n;ID  |SEX| SUBSET           |MINUTES| NAME\n"]
    digests = {subset: hashlib.sha256() for subset in SUBSETS}
    subsets: dict[str, dict[str, Any]] = {name: {"speakers": 0, "utterances": 0, "hours": 0.0} for name in SUBSETS}
    for speaker in speakers:
        subset = subsets[speaker.subset]
        paths = sorted((out / speaker.subset / str(speaker.identity)).glob("*/[!.]*.flac"))
        frames = 0
        for path in paths:
            samples = np.rint(read_speech(path) * 2**15).astype("<i2")
            digests[speaker.subset].update(samples.tobytes())
            frames += len(samples)
        subset["speakers"] += 1
        subset["utterances"] += len(paths)
        subset["hours"] += frames / RATE / 3600
        minutes = frames / RATE / 60
        lines.append(f"{speaker.identity:<5}| {speaker.sex} | {speaker.subset:<17}| {minutes:5.2f} | {speaker}\n")
    write_text(out / "SPEAKERS.TXT", "".join(lines))
    for name, digest in digests.items():
        subsets[name]["pcm_sha256"] = digest.hexdigest()
    write_json(out / "manifest.json", {**request, "subsets": subsets})
