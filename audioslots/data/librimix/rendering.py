"""Mixtures on disk: a metadata table and a corpus rendered as WAV files in LibriMix's layout, to the bit.

Reference: JorisCos/LibriMix at b898ca3, ``scripts/create_librimix_from_metadata.py``.
"""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import soundfile as sf
from scipy.signal import resample_poly
from tqdm import tqdm

from audioslots.data.audio import open_audio
from audioslots.data.corpora.corpus import SEPARATOR, read_speech
from audioslots.data.corpora.folder import MANIFEST, RECORD, Result, close, pcm_md5, recording, verify
from audioslots.data.librimix.layout import RATE
from audioslots.data.librimix.metadata import info, read_metadata, source_count, turns_of
from audioslots.data.librimix.noise import read_noise
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import sha256, written_aside
from audioslots.runtime.stage import Stage
from audioslots.runtime.workers import in_order

SNR_EPS = 1e-10  # LibriMix's guard of its division and logarithm
FILTER_REACH = 10  # resample_poly's filter reaches this many samples of the slower rate to either side
TYPES = ("mix_clean", "mix_both", "mix_single")  # the speech; the speech and noise; the first source and noise


@dataclass(frozen=True)
class Row:
    """One mixture to render: its ID, the turns of each source (file, first sample at 16 kHz, gain), and its noise."""

    mixture_id: str
    sources: tuple[tuple[tuple[Path, int, float], ...], ...]
    noise: tuple[Path, float] | None


def render(
    metadata_csv: Path,
    librispeech: Path,
    out: Path,
    rate: int,
    mode: str,
    jobs: int = 1,
    types: tuple[str, ...] = TYPES[:1],
    wham: Path | None = None,
) -> Path:
    """Render the mixtures of a metadata table, their sources and their noise as 16-bit WAV files.

    Writes ``OUT/Libri<N>Mix/wav<rate>k/<mode>/<split>/{mix_clean,s1,...,sN}/<mixture_ID>.wav`` (and so for the other
    types and ``noise``), and beside the split folder, in ``metadata/``, LibriMix's ``mixture_<split>_<type>.csv`` and
    ``metrics_<split>_<type>.csv`` and ``info_<split>.csv``. LibriMix writes absolute paths into the first; here they
    are relative to ``OUT``, so that the same input gives the same bytes everywhere and ``OUT`` can be moved (asteroid,
    which opens them as they are, then runs in ``OUT``; torchaudio and SpeechBrain go by the folders).
    ``manifest.json`` closes the split folder.

    The split folder is the stage ``render``: a finished one is verified and left alone, an interrupted one is continued
    row by row. The bytes are the same for any number of jobs.

    Args:
        metadata_csv: metadata of N sources, all from one subset; the split is the subset's name without "-clean".
        librispeech: corpus root that the sources' paths in the table are relative to.
        out: folder to hold ``Libri<N>Mix``.
        rate: 8000 or 16000 Hz.
        mode: ``min`` cuts the sources to the shortest, ``max`` pads them with zeros to the longest.
        jobs: processes, 1 or more.
        types: mixtures to write, of ``TYPES``. ``mix_clean`` alone needs no noise.
        wham: folder of WHAM's noise that the noises' paths in the table are relative to.

    Returns:
        The split folder.

    Raises:
        InputError: an argument out of range; bad metadata; a source or a noise that is missing (found before anything
            is written) or damaged; a folder that is damaged; or as ``Stage.opened``.
    """
    for name, given, allowed in (("rate", rate, (8000, 16000)), ("mode", mode, ("min", "max"))):
        if given not in allowed:
            raise InputError(f"{name}: {given!r}; expected one of {allowed}")
    if jobs < 1:
        raise InputError(f"jobs: {jobs}; expected 1 or more")
    if not types or set(types) - set(TYPES):
        raise InputError(f"types: {','.join(types)}; expected one or more of {','.join(TYPES)}")
    types = tuple(kind for kind in TYPES if kind in types)
    noisy = types != ("mix_clean",)
    if noisy and wham is None:
        raise InputError(f"wham: not given; expected the folder of WHAM's noise, which {types[-1]} is mixed with")
    metadata = read_metadata(metadata_csv)
    split = _split(metadata, metadata_csv)
    folder = Path(out) / f"Libri{source_count(metadata)}Mix" / f"wav{rate // 1000}k" / mode / split
    arguments = {"metadata_sha256": sha256(metadata_csv), "mode": mode, "rate": rate, "types": list(types)}
    makes = (*TYPES, "s[1-9]*", "noise", RECORD, MANIFEST)
    with Stage(folder, "render", arguments, (__name__,), makes, alone=True).opened():
        if (folder / MANIFEST).exists():
            verify(folder, jobs)
            return folder
        rows = _rows(metadata, metadata_csv, Path(librispeech), Path(wham) if noisy and wham is not None else None)
        people = info(metadata, librispeech)
        with recording(folder, jobs) as (record, done):
            for name in dict.fromkeys(name for row in rows for name in _folders(row, types)):
                (folder / name).mkdir(exist_ok=True)
            work = partial(_render_row, folder=folder, rate=rate, mode=mode, types=types)
            waiting = [row for row in rows if row.mixture_id not in done]
            results = tqdm(in_order(work, waiting, jobs), f"render {split}", len(waiting), unit="mixture", disable=None)
            for result in results:
                done[result["mixture_ID"]] = result
                record.write(json.dumps(result) + "\n")
                record.flush()
            ordered = [done[row.mixture_id] for row in rows]
            close(folder, arguments, ordered, _tables(folder, Path(out), types, ordered, people))
    return folder


def _folders(row: Row, types: tuple[str, ...]) -> list[str]:
    """Names of the folders of audio that a split has."""
    return [*types, *(f"s{i}" for i in range(1, len(row.sources) + 1)), *(["noise"] if row.noise else [])]


def _tables(
    folder: Path, out: Path, types: tuple[str, ...], results: list[Result], people: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """LibriMix's tables of a split: files and signal-to-noise ratios of each type of mixture, and the speakers."""
    names = list(dict.fromkeys(name for result in results for name in result["pcm_md5"]))
    ids = pd.DataFrame({"mixture_ID": [result["mixture_ID"] for result in results]})
    files = {
        name: [
            f"{(folder / name).relative_to(out).as_posix()}/{result['mixture_ID']}.wav"
            if name in result["pcm_md5"]
            else ""
            for result in results
        ]
        for name in names
    }
    speech = [name for name in names if re.fullmatch(r"s\d+", name)]
    tables = {}
    for mixed in types:
        parts = [f"source_{name[1:]}" for name in (speech[:1] if mixed == "mix_single" else speech)]
        parts += [] if mixed == "mix_clean" else ["noise"]
        mixtures, metrics = ids.assign(mixture_path=files[mixed]), ids.copy()
        for i, part in enumerate(parts):
            mixtures[f"{part}_path"] = files[part.replace("source_", "s")]
            ratios = np.array([_ratio_of(result, mixed, part, i) for result in results])
            # The reference's column is as wide as its first value, which is float64 where a noise was extended.
            metrics[f"{part}_SNR"] = ratios.astype(np.float32) if ratios[0] == np.float32(ratios[0]) else ratios
        tables[f"mixture_{folder.name}_{mixed}.csv"] = mixtures.assign(length=[result["length"] for result in results])
        tables[f"metrics_{folder.name}_{mixed}.csv"] = metrics
    return tables | {f"info_{folder.name}.csv": people}


def _ratio_of(result: Result, kind: str, part: str, place: int) -> float:
    """Signal-to-noise ratio of a part of a mixture, dB; NaN of a source that it does not have."""
    ratios: list[float] = result["snr"][kind]
    if part == "noise":
        return ratios[-1]
    return ratios[place] if part.replace("source_", "s") in result["pcm_md5"] else math.nan


def _split(metadata: pd.DataFrame, csv: Path) -> str:
    """LibriMix's name of the split: the one subset that all sources come from, without "-clean"."""
    paths = metadata[[f"source_{i}_path" for i in range(1, source_count(metadata) + 1)]]
    first = paths.map(lambda text: {PurePosixPath(path).parts[0] for path in text.split(SEPARATOR) if path})
    subsets = sorted(set().union(*first.to_numpy().ravel()))
    if len(subsets) > 1:
        raise InputError(f"{csv}: sources of several subsets ({', '.join(subsets)}); expected one subset a table")
    return subsets[0].replace("-clean", "")


def _rows(metadata: pd.DataFrame, csv: Path, librispeech: Path, wham: Path | None) -> list[Row]:
    """The table as rows, every file of which is on disk; with noise where its folder is given."""
    parts = [(f"source_{i}", librispeech) for i in range(1, source_count(metadata) + 1)]
    if wham is not None:
        if "noise_path" not in metadata:
            raise InputError(f"{csv}: column noise_path is missing; expected a noise for each mixture")
        parts.append(("noise", wham))
    rows = []
    for number, record in enumerate(metadata.to_dict("records"), start=1):
        said = [tuple((root / path, at, factor) for path, at, factor in turns_of(record, part)) for part, root in parts]
        for turns, (part, _) in zip(said, parts, strict=True):
            for path, _, _ in turns:
                if not path.is_file():
                    kind = "noise" if part == "noise" else "speech"
                    raise InputError(f"{csv}: row {number}: {path} does not exist; expected a {kind} file")
        noise = None if wham is None else said.pop()[0]
        rows.append(
            Row(str(record["mixture_ID"]), tuple(filter(None, said)), None if noise is None else (noise[0], noise[2]))
        )
    return rows


def _render_row(row: Row, folder: Path, rate: int, mode: str, types: tuple[str, ...]) -> Result:
    signals = _signals(row, rate, mode)
    parts = {"mix_clean": signals[: len(row.sources)], "mix_both": signals, "mix_single": [signals[0], signals[-1]]}
    mixtures = {kind: _mixed(parts[kind]) for kind in types}
    return {
        "mixture_ID": row.mixture_id,
        "length": len(signals[0]),
        "pcm_md5": {
            name: _write(folder / name / f"{row.mixture_id}.wav", samples, rate)
            for name, samples in zip(_folders(row, types), [*mixtures.values(), *signals], strict=True)
        },
        "snr": {kind: [_snr(part, mixtures[kind] - part) for part in parts[kind]] for kind in types},
    }


def _mixed(parts: list[np.ndarray]) -> np.ndarray:
    mixture = np.zeros_like(parts[0])  # float32, whatever a noise is
    for part in parts:
        mixture += part
    return mixture


def _signals(row: Row, rate: int, mode: str) -> list[np.ndarray]:
    """Sources, then the noise if any, at ``rate``, gain applied, of equal length: ``[samples]`` each.

    In ``min`` mode the tail of a longer utterance is not even decoded: the samples kept depend on no more than the
    filter's reach beyond them.
    """
    lengths = [max(at + _frames(path) for path, at, _ in turns) for turns in row.sources]
    needed = max(lengths)
    if mode == "min":
        down = RATE // rate
        reach = FILTER_REACH * down if down > 1 else 0
        needed = min(needed, math.ceil(min(lengths) / down) * down + reach)
    # A plain float keeps the product in float32, where a float64 scalar would widen it.
    signals = [_said(turns, length, needed) for turns, length in zip(row.sources, lengths, strict=True)]
    if row.noise is not None:
        path, gain = row.noise
        signals.append(read_noise(path, max(lengths), needed) * gain)
    resampled = [resample_poly(samples, rate, RATE) for samples in signals]
    if mode == "min":
        return [samples[: min(map(len, resampled))] for samples in resampled]
    return [np.pad(samples, (0, max(map(len, resampled)) - len(samples))) for samples in resampled]


def _said(turns: tuple[tuple[Path, int, float], ...], length: int, needed: int) -> np.ndarray:
    """A source at 16 kHz: its one utterance, or its turns with silence between them; ``needed`` samples at most."""
    if len(turns) == 1 and turns[0][1] == 0:
        return read_speech(turns[0][0], needed) * turns[0][2]
    source = np.zeros(length, np.float32)
    for path, at, factor in turns:
        speech = read_speech(path) * factor
        source[at : at + len(speech)] += speech
    return source[:needed]


def _frames(path: Path) -> int:
    """Length of an utterance in samples, by its header."""
    with open_audio(path) as file:
        return int(file.frames)


def _write(path: Path, samples: np.ndarray, rate: int) -> str:
    """Write a WAV file of 16-bit PCM; return the MD5 of its PCM bytes."""
    wav = io.BytesIO()  # libsndfile itself does not say that a disk is full
    sf.write(wav, samples, rate, subtype="PCM_16", format="WAV")
    with written_aside(path, sync=False) as aside:  # close() syncs all at once, in a fraction of the time
        aside.write_bytes(wav.getbuffer())
    return pcm_md5(wav.getbuffer())


def _snr(source: np.ndarray, rest: np.ndarray) -> float:
    """Power of a source over that of the rest of the mixture in dB, in float32 and with LibriMix's guards."""
    return float(10 * np.log10(np.mean(source**2) / (np.mean(rest**2) + SNR_EPS) + SNR_EPS))
