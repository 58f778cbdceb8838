"""What can be heard on the page: a few mixtures, their references and the estimates of every variant."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import soundfile

from audioslots.reporting import spectrograms
from audioslots.reporting.words import number
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import written_aside
from audioslots.stats.comparisons import COMPARED

EXAMPLES = 5  # mixtures at most
BUDGET_BYTES = 6_000_000  # of audio and spectrograms together: with many variants there are fewer mixtures


@dataclass(frozen=True)
class Signal:
    """Something to listen to; the paths are relative to the page."""

    label: str
    name: str
    audio: str
    spectrogram: str


@dataclass(frozen=True)
class Example:
    """A mixture, why it was chosen, its references and the estimates of every variant: rows of (title, signals)."""

    mixture_id: str
    why: str
    duration_s: float
    rows: list[tuple[str, list[Signal]]]


def found(folders: Mapping[str, Path], order: Collection[str] = ()) -> dict[str, dict[str, Path]]:
    """Mixture id -> variant -> folder of the example: those in ``order`` first, then in order of the ids.

    Args:
        folders: variant -> its folder of examples, of one seed; a variant without the folder is left out.
        order: mixture ids, as they were chosen.
    """
    examples: dict[str, dict[str, Path]] = {}
    for variant, folder in folders.items():
        for example in folder.iterdir() if folder.is_dir() else []:
            if example.is_dir():
                examples.setdefault(example.name, {})[variant] = example
    places = {mixture_id: place for place, mixture_id in enumerate(order)}
    return dict(sorted(examples.items(), key=lambda item: (places.get(item[0], len(places)), item[0])))


def gained(scores: pd.DataFrame, mixtures: Collection[str]) -> dict[tuple[str, str, int], float]:
    """(variant, mixture id, source) -> SI-SDRi in dB, of each variant's first seed, stitched blindly."""
    rows = scores[scores["stitching"].isin(COMPARED) & scores["mixture_id"].isin(mixtures)]
    rows = rows[rows["seed"] == rows.groupby("variant")["seed"].transform("first")]
    keys = (rows[key] for key in ("variant", "mixture_id", "source"))
    return dict(zip(zip(*keys, strict=True), rows["si_sdri_db"], strict=True))


def collect(
    examples: Mapping[str, Mapping[str, Path]],
    scores: pd.DataFrame,
    titles: Mapping[str, str],
    out: Path,
    why: Mapping[str, str] | None = None,
) -> list[Example]:
    """Copy what is to be heard to ``out/audio/<number of the mixture>/``, with a spectrogram of each signal.

    The first mixture is always copied, the others as long as their size is likely to fit ``BUDGET_BYTES``. WAV, since
    browsers cannot seek in every FLAC file that libsndfile writes (it writes no table to seek by).

    Args:
        examples: of ``found``.
        scores: all rows; of each variant those of its first seed, stitched blindly, are shown beside its estimates.
        titles: variant -> title.
        out: folder of the page; an earlier ``audio`` in it is removed.
        why: mixture id -> why it was chosen, where that is known.
    """
    gains = gained(scores, examples)
    shutil.rmtree(out / "audio", ignore_errors=True)
    written: list[Example] = []
    for place, (mixture_id, folders) in enumerate(list(examples.items())[:EXAMPLES], start=1):
        if written and size(out / "audio") * place / len(written) > BUDGET_BYTES:
            break
        reason = (why or {}).get(mixture_id, "")
        written.append(_example(mixture_id, reason, folders, gains, titles, out, f"audio/{place}"))
    return written


def size(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _example(
    mixture_id: str, why: str, folders: Mapping[str, Path], gains: dict, titles: Mapping[str, str], out: Path, to: str
) -> Example:
    def signal(source: Path, name: str, label: str, spoken: str) -> Signal:
        # Names of variants stay out of paths: any character may be in them.
        audio, picture = f"{to}/{name}.wav", f"{to}/{name}.png"
        if not source.is_file():
            raise InputError(f"{source}: no such file; expected an example as evaluate keeps it")
        with written_aside(out / audio, sync=False) as aside:
            shutil.copyfile(source, aside)
        spectrograms.save_picture(source, out / picture)
        return Signal(label, spoken, audio, picture)

    given = next(iter(folders.values()))
    sources = spectrograms.sources(given)
    listened = [
        ("Mixture", [signal(given / "mixture.wav", "mixture", "play", "Mixture")]),
        ("References", [signal(given / f"s{k}.wav", f"s{k}", f"source {k}", f"Reference {k}") for k in sources]),
    ]
    for place, (variant, folder) in enumerate(folders.items(), start=1):
        row = []
        for k in sources:
            gain = gains.get((variant, mixture_id, k))
            label = f"source {k}" if pd.isna(gain) else f"{number(gain, 1, sign=True)} dB"
            spoken = f"{titles[variant]}, estimate of source {k}, {label}"
            row.append(signal(folder / f"estimate{k}.wav", f"v{place}-{k}", label, spoken))
        listened.append((titles[variant], row))
    return Example(mixture_id, why, soundfile.info(given / "mixture.wav").duration, listened)
