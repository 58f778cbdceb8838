"""The audio on the page: a few mixtures, their references and the estimates of every variant."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import soundfile

from audioslots.reporting.formatting import format_number
from audioslots.reporting.spectrograms import list_sources, save_picture
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import written_aside
from audioslots.stats.summaries import COMPARED

EXAMPLES = 5  # mixtures at most
BUDGET_BYTES = 6_000_000  # of audio and spectrograms together: with many variants there are fewer mixtures


@dataclass(frozen=True)
class Signal:
    """An audible signal; the paths are relative to the page."""

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


def find_examples(folders: Mapping[str, Path], order: Collection[str] = ()) -> dict[str, dict[str, Path]]:
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


def select_gains(scores: pd.DataFrame, mixtures: Collection[str]) -> dict[tuple[str, str, int], float]:
    """(variant, mixture id, source) -> SI-SDRi in dB, of each variant's first seed, stitched blindly."""
    rows = scores[scores["stitching"].isin(COMPARED) & scores["mixture_id"].isin(mixtures)]
    rows = rows[rows["seed"] == rows.groupby("variant")["seed"].transform("first")]
    keys = zip(rows["variant"], rows["mixture_id"], rows["source"], strict=True)
    return dict(zip(keys, rows["si_sdri_db"], strict=True))


def copy_examples(
    examples: Mapping[str, Mapping[str, Path]],
    scores: pd.DataFrame,
    titles: Mapping[str, str],
    out: Path,
    why: Mapping[str, str],
) -> list[Example]:
    """Copy examples to ``out/audio/<number of the mixture>/``, with a spectrogram of each signal.

    The first mixture is always copied, the others as long as their size is likely to fit ``BUDGET_BYTES``. WAV, since
    browsers cannot seek in every FLAC file that libsndfile writes (it writes no table to seek by).

    Args:
        examples: of ``find_examples``.
        scores: all rows; the blind ones of each variant's first seed are shown beside its estimates.
        titles: variant -> title.
        out: folder of the page; an earlier ``audio`` in it is removed.
        why: mixture id -> why it was chosen, where that is known.
    """
    gains = select_gains(scores, examples)
    shutil.rmtree(out / "audio", ignore_errors=True)
    written: list[Example] = []
    for place, (mixture_id, folders) in enumerate(list(examples.items())[:EXAMPLES], start=1):
        if written and measure_size(out / "audio") * place / len(written) > BUDGET_BYTES:
            break

        def copy(source: Path, name: str, label: str, spoken: str, folder: str = f"audio/{place}") -> Signal:
            # Names of variants stay out of paths: they may contain any character.
            audio, picture = f"{folder}/{name}.wav", f"{folder}/{name}.png"
            if not source.is_file():
                raise InputError(f"{source}: no such file; expected an example as evaluate keeps it")
            with written_aside(out / audio, sync=False) as aside:
                shutil.copyfile(source, aside)
            save_picture(source, out / picture)
            return Signal(label, spoken, audio, picture)

        first = next(iter(folders.values()))
        sources = list_sources(first)
        references = [copy(first / f"s{k}.wav", f"s{k}", f"source {k}", f"Reference {k}") for k in sources]
        rows = [("Mixture", [copy(first / "mixture.wav", "mixture", "play", "Mixture")]), ("References", references)]
        for number, (variant, folder) in enumerate(folders.items(), start=1):
            signals = []
            for k in sources:
                gain = gains.get((variant, mixture_id, k))
                label = f"source {k}" if pd.isna(gain) else f"{format_number(gain, 1, sign=True)} dB"
                spoken = f"{titles[variant]}, estimate of source {k}, {label}"
                signals.append(copy(folder / f"estimate{k}.wav", f"v{number}-{k}", label, spoken))
            rows.append((titles[variant], signals))
        duration_s = soundfile.info(first / "mixture.wav").duration
        written.append(Example(mixture_id, why.get(mixture_id, ""), duration_s, rows))
    return written


def measure_size(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
