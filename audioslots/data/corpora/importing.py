"""Speech of any folder, or of a table, brought into LibriSpeech's layout: from there on it is a corpus like others."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from audioslots.data.audio import AUDIO_SUFFIXES, open_audio
from audioslots.data.librimix.layout import RATE
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_table, write_text, written_aside
from audioslots.runtime.stage import Stage
from audioslots.runtime.workers import in_order

SEXES = {"F", "M", ""}
_HEAD = "; Speech of other places; a speaker may be in several subsets\n;ID  |SEX| SUBSET           |MINUTES| NAME\n"


class Recording(NamedTuple):
    """One file: its speaker's name and sex (empty where unknown), and its length in seconds."""

    path: Path
    speaker: str
    sex: str
    duration_s: float


def bring(speech: Path, root: Path, subset: str, jobs: int = 1) -> int:
    """Write a subset of a corpus: 16 kHz, mono, 16 bits, an utterance a recording.

    Writes ``root/<subset>/<number>/0/<number>-0-<nnnn>.flac`` and lines of ``root/SPEAKERS.TXT``, which number the
    speakers by their names, the same in every subset. Channels are averaged; what is above full scale is made quieter.
    It is the stage ``import-<subset>``: an interrupted call goes on where it stopped.

    Args:
        speech: a folder that holds a folder of recordings for every speaker; or a CSV file with the columns ``path``
            (from its folder on), ``speaker`` and, if known, ``sex`` (F, M or empty).
        root: of the corpus; may hold other subsets.
        subset: its name.
        jobs: processes.

    Returns:
        Number of speakers.

    Raises:
        InputError: no speech is found, a recording cannot be read, or as ``Stage.opened``.
    """
    speech, root = Path(speech), Path(root)
    found = _found(speech)
    listing = "\n".join(f"{one.path} {one.speaker} {one.sex} {one.duration_s}" for one in found)
    request = {"subset": subset, "recordings": hashlib.sha256(listing.encode()).hexdigest()}
    with Stage(root, f"import-{subset}", request, (__name__,), (subset,)).opened():
        with Stage(root, "speakers", {}, ()).locked(wait=True):  # others may bring another subset
            numbers = _numbered(root / "SPEAKERS.TXT", subset, found)
        counts: dict[str, int] = {}
        places = []
        for one in found:
            number, count = numbers[one.speaker], counts.get(one.speaker, 0)
            counts[one.speaker] = count + 1
            places.append(root / subset / str(number) / "0" / f"{number}-0-{count:04d}.flac")
        left = [(one.path, place) for one, place in zip(found, places, strict=True) if not place.is_file()]
        for _ in tqdm(in_order(_convert, left, jobs), f"import {subset}", len(left), unit="file", disable=None):
            pass
        for stray in set((root / subset).glob("*/*/[!.]*.flac")) - set(places):
            raise InputError(f"{stray}: belongs to no recording of {speech}; expected another --subset, or --overwrite")
    return len(counts)


def _found(speech: Path) -> list[Recording]:
    """The recordings, by speaker and path."""
    if speech.is_file():
        named = _of_table(speech)
    elif speech.is_dir():
        named = [
            (path, path.relative_to(speech).parts[0], "")
            for path in speech.rglob("*")
            if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")
        ]
        if loose := sorted(path for path, *_ in named if path.parent == speech):
            raise InputError(f"{loose[0]}: belongs to no speaker; expected one folder per speaker, or a CSV file")
    else:
        raise InputError(f"{speech}: no such folder or file; expected a folder of speech, or a CSV file")
    if not named:
        raise InputError(f"{speech}: no speech; expected a folder of recordings for every speaker")
    found = []
    for path, speaker, sex in sorted(named, key=lambda one: (one[1], one[0].as_posix())):
        with open_audio(path) as file:
            found.append(Recording(path, " ".join(speaker.split()), sex, file.frames / file.samplerate))
    return found


def _of_table(path: Path) -> list[tuple[Path, str, str]]:
    table = read_table(path)
    if missing := [column for column in ("path", "speaker") if column not in table]:
        raise InputError(f"{path}: no column {missing[0]}; expected path, speaker and, if known, sex")
    sexes = table["sex"] if "sex" in table else [""] * len(table)
    rows = [(path.parent / at, who, sex) for at, who, sex in zip(table["path"], table["speaker"], sexes, strict=True)]
    for place, who, sex in rows:
        if not who.strip() or sex not in SEXES:
            raise InputError(
                f"{path}: {place.name}: speaker {who!r}, sex {sex!r}; expected a name, and F, M or nothing"
            )
    if len({place for place, *_ in rows}) < len(rows):
        raise InputError(f"{path}: names a file twice; expected each once")
    return rows


def _numbered(table: Path, subset: str, found: list[Recording]) -> dict[str, int]:
    """Numbers of the speakers, by name: those of the table, and new ones; the table is written with this subset's."""
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    known = [[field.strip() for field in line.split("|", 4)] for line in lines if line.strip() and line[0] != ";"]
    if any(len(fields) < 5 or not fields[0].isdigit() for fields in known):
        raise InputError(f"{table}: of another origin; expected the table that `audioslots corpus import` writes")
    numbers = {fields[4]: int(fields[0]) for fields in known}
    speakers = list(dict.fromkeys(one.speaker for one in found))
    for speaker in speakers:
        numbers.setdefault(speaker, max(numbers.values(), default=0) + 1)
    rows = [fields for fields in known if fields[2] != subset]
    for speaker in speakers:
        own = [one for one in found if one.speaker == speaker]
        sex = next((one.sex for one in own if one.sex), "U")
        rows.append([str(numbers[speaker]), sex, subset, f"{sum(one.duration_s for one in own) / 60:.2f}", speaker])
    text = [f"{number:<5}| {sex} | {part:<17}| {minutes:>5} | {name}\n" for number, sex, part, minutes, name in rows]
    write_text(table, _HEAD + "".join(text))
    return numbers


def _convert(job: tuple[Path, Path]) -> None:
    """Write one recording as an utterance."""
    path, place = job
    with open_audio(path) as file:
        waveform, rate = file.read(dtype="float32", always_2d=True).mean(axis=1), file.samplerate
    if not len(waveform) or not np.isfinite(waveform).all():
        raise InputError(f"{path}: is empty, or holds samples that are not finite; expected speech")
    waveform = soxr.resample(waveform, rate, RATE) if rate != RATE else waveform
    peak = float(np.abs(waveform).max())
    place.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(place, sync=False) as aside:
        soundfile.write(aside, waveform / max(1.0, peak), RATE, format="FLAC", subtype="PCM_16")
