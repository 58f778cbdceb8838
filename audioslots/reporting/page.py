"""The results page: one file that opens from disk, with figures inside and audio beside it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import soundfile
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from audioslots.errors import InputError
from audioslots.files import write_text, written_aside
from audioslots.reporting import figures
from audioslots.reporting.statistics import COMPARED
from audioslots.reporting.tables import Table, number, p_value

EXAMPLES = 5  # mixtures to listen to at most: a page is to stay small
_CAPTIONS = {
    "estimates": "SI-SDRi of every variant: mean and 95 % interval. Upright bars: the ceiling of that kind of output.",
    "learning": "Validation SI-SDRi while training: mean over seeds, and a band from the lowest to the highest seed.",
}
_COLOURS = {figures.PAPER: "paper", figures.INK: "ink", figures.MUTED: "muted", figures.LINE: "line"} | {
    colour: f"series-{place}" for place, colour in enumerate(figures.SERIES, start=1)
}


@dataclass(frozen=True)
class Study:
    """One question, its answer in a sentence, and the comparisons behind it."""

    title: str
    question: str
    conclusion: str
    table: Table


@dataclass(frozen=True)
class Signal:
    """Something to listen to; the paths are relative to the page."""

    label: str
    name: str
    audio: str
    spectrogram: str


@dataclass(frozen=True)
class Example:
    """A mixture with its references and the estimates of every variant: rows of (title, signals)."""

    mixture_id: str
    duration_s: float
    rows: list[tuple[str, list[Signal]]]


def conclusion(frame: pd.DataFrame, baseline: str, titles: Mapping[str, str]) -> str:
    """One sentence on a study from its table of ``statistics.compare``, the best variant first."""
    if frame.empty:
        return f"Nothing was compared with {titles[baseline]}."
    clauses = []
    for _, row in frame.sort_values("difference", ascending=False, kind="stable").iterrows():
        name, p = titles[row["variant"]], p_value(row["p_holm"])
        p = p if p.startswith("<") else f"= {p}"
        evidence = f"95 % interval {number(row['low'])} to {number(row['high'])}, p {p}"
        if pd.isna(row["difference"]):
            clauses.append(f"for {name} there is no score to compare")
        elif row["verdict"] == "no difference shown":
            difference = number(row["difference"], sign=True)
            clauses.append(f"for {name} no difference is shown ({difference} dB, {evidence})")
        else:
            clauses.append(f"{name} is {row['verdict']} by {number(abs(row['difference']))} dB SI-SDRi ({evidence})")
    return f"Compared with {titles[baseline]}, {'; '.join(clauses)}."


def headline(main: Table) -> str:
    """The best variant of the main table, in a sentence; empty where none was trained."""
    if "si_sdri_db" not in main.best:
        return ""
    row = main.data.iloc[main.best["si_sdri_db"]]
    words = (
        f"The highest mean is that of {row['title']}: {number(row['si_sdri_db'], sign=True)} dB SI-SDRi (95 % interval "
        f"{number(row['si_sdri_db_low'])} to {number(row['si_sdri_db_high'])}), stitched blindly"
    )
    if pd.notna(row["below_ceiling_db"]):
        words += f", {number(row['below_ceiling_db'])} dB below the ceiling of its kind of output"
    return words + "."


def collect_examples(
    folders: Mapping[str, Path], scores: pd.DataFrame, titles: Mapping[str, str], out: Path
) -> list[Example]:
    """Copy what is to be heard to ``out/audio/<number of the mixture>/``, with a spectrogram of each signal.

    Args:
        folders: variant -> its folder of examples, of one seed; a variant without the folder is left out.
        scores: all rows; of each variant those of its first seed, stitched blindly, are shown beside its estimates.
        titles: variant -> title.
        out: folder of the page.
    """
    found: dict[str, dict[str, Path]] = {}
    for variant, folder in folders.items():
        for example in sorted(folder.iterdir()) if folder.is_dir() else []:
            if example.is_dir():
                found.setdefault(example.name, {})[variant] = example
    rows = scores[scores["stitching"].isin(COMPARED) & scores["mixture_id"].isin(found)]
    rows = rows[rows["seed"] == rows.groupby("variant")["seed"].transform("first")]
    gains = rows.set_index(["variant", "mixture_id", "source"])["si_sdri_db"].to_dict()
    return [
        _example(mixture_id, found[mixture_id], gains, titles, out, f"audio/{place}")
        for place, mixture_id in enumerate(sorted(found)[:EXAMPLES], start=1)
    ]


def _example(
    mixture_id: str, folders: dict[str, Path], gains: dict, titles: Mapping[str, str], out: Path, to: str
) -> Example:
    def signal(source: Path, name: str, label: str, spoken: str) -> Signal:
        # Names of variants stay out of paths: any character may be in them.
        audio, picture = f"{to}/{name}.wav", f"{to}/{name}.png"
        if not source.is_file():
            raise InputError(f"{source}: no such file; expected an example as evaluate keeps it")
        with written_aside(out / audio) as aside:
            shutil.copyfile(source, aside)
        figures.save_spectrogram(source, out / picture)
        return Signal(label, spoken, audio, picture)

    given = next(iter(folders.values()))
    sources = range(1, 1 + len(list(given.glob("s[0-9]*.wav"))))
    listened = [
        ("Mixture", [signal(given / "mixture.wav", "mixture", "play", "Mixture")]),
        ("References", [signal(given / f"s{k}.wav", f"s{k}", f"source {k}", f"Reference {k}") for k in sources]),
    ]
    for place, (variant, folder) in enumerate(folders.items(), start=1):
        row = []
        for k in sources:
            gain = number(gains.get((variant, mixture_id, k)), 1, sign=True)
            spoken = f"{titles[variant]}, estimate of source {k}, {gain} dB"
            row.append(signal(folder / f"estimate{k}.wav", f"v{place}-{k}", f"{gain} dB", spoken))
        listened.append((titles[variant], row))
    return Example(mixture_id, soundfile.info(given / "mixture.wav").duration, listened)


def themed(svg: str) -> Markup:
    """A figure of this project to put inside the page, its colours taken from the page's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, name in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    # Without a size of its own it takes the page's; the viewBox keeps its proportions.
    opening, rest = svg.split(">", 1)
    return Markup(re.sub(r' (width|height)="[^"]*"', "", opening) + ">" + rest)


def write(
    out: Path,
    benchmark: Mapping[str, Any],
    studies: Sequence[Study],
    shown: Sequence[Table],
    drawn: Mapping[str, Path],
    examples: Sequence[Example],
) -> Path:
    """Write ``out/index.html`` and return its path.

    Args:
        out: folder of the page; the tables are in ``tables/`` in it.
        benchmark: of ``benchmark.json``: title, test_description, train_description.
        studies: with their conclusions.
        shown: tables besides those of the studies: the main one, costs, pairs.
        drawn: name -> SVG of the figures.
        examples: of ``collect_examples``.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html.j2").render(
        benchmark=benchmark,
        headline=headline(shown[0]),
        studies=studies,
        tables={table.name: table for table in shown},
        figures={name: (themed(path.read_text(encoding="utf-8")), _CAPTIONS[name]) for name, path in drawn.items()},
        examples=examples,
    )
    write_text(out / "index.html", text)
    return out / "index.html"
