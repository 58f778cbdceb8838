"""Tables: one description of columns, written as CSV (numbers), Markdown and LaTeX (text), or shown on the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audioslots.files import write_text, written_aside
from audioslots.reporting.statistics import RESAMPLES

EMPTY = "–"  # what a cell without a value shows
METRIC_TITLES = {"si_sdri_db": "SI-SDRi (dB)", "sdri_db": "SDRi (dB)", "pesq": "PESQ", "stoi": "STOI", "estoi": "ESTOI"}
_DIGITS = {"si_sdri_db": 2, "sdri_db": 2, "pesq": 2, "stoi": 3, "estoi": 3}


@dataclass(frozen=True)
class Column:
    """A column as people see it: a heading, the numeric column it sorts by, and the text of a row."""

    heading: str
    key: str
    text: Callable[[Any], str]
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """One shown cell: its text, the value it sorts by ("" where missing), and whether it is the best of its column."""

    text: str
    value: Any
    bold: bool
    numeric: bool


@dataclass(frozen=True)
class Table:
    """A table: ``data`` holds numbers, with units in the names; ``columns`` say how they are shown."""

    name: str
    caption: str
    data: pd.DataFrame
    columns: Sequence[Column]
    best: Mapping[str, int] = field(default_factory=dict)  # column key -> position of the row set in bold

    def cells(self) -> list[list[Cell]]:
        """Shown cells, row by row."""
        rows = []
        for place, (_, row) in enumerate(self.data.iterrows()):
            values = {key: "" if pd.isna(value) else value for key, value in row.items()}
            rows.append(
                [
                    Cell(column.text(row), values[column.key], self.best.get(column.key) == place, column.numeric)
                    for column in self.columns
                ]
            )
        return rows

    def markdown(self) -> str:
        """Markdown (GitHub's), the caption above."""
        head = [_markdown(column.heading) for column in self.columns]
        rule = ["---:" if column.numeric else ":---" for column in self.columns]
        rows = (head, rule, *self._texts(_markdown, "**%s**"))
        return f"{_markdown(self.caption)}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)

    def latex(self) -> str:
        """LaTeX with booktabs, a float of its own."""
        head = " & ".join(_latex(column.heading) for column in self.columns)
        body = "".join(" & ".join(row) + " \\\\\n" for row in self._texts(_latex, r"\textbf{%s}"))
        kinds = "".join("r" if column.numeric else "l" for column in self.columns)
        label = re.sub(r"[^A-Za-z0-9-]", "-", self.name)
        return (
            "% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n"
            f"\\caption{{{_latex(self.caption)}}}\n\\label{{tab:{label}}}\n\\begin{{tabular}}{{{kinds}}}\n"
            f"\\toprule\n{head} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
        )

    def plain(self) -> str:
        """Aligned text for a terminal, without the caption; control characters become spaces."""
        body = self._texts(lambda text: "".join(mark if mark.isprintable() else " " for mark in text), "%s")
        rows = [[column.heading for column in self.columns], *body]
        for k, column in enumerate(self.columns):
            width = max(len(row[k]) for row in rows)
            for row in rows:
                row[k] = row[k].rjust(width) if column.numeric else row[k].ljust(width)
        lines = ["  ".join(row).rstrip() for row in rows]
        return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:]])

    def _texts(self, escape: Callable[[str], str], bold: str) -> list[list[str]]:
        return [[bold % escape(cell.text) if cell.bold else escape(cell.text) for cell in row] for row in self.cells()]

    def save(self, folder: Path) -> None:
        """Write ``<name>.csv``, ``.md`` and ``.tex`` into ``folder``."""
        with written_aside(folder / f"{self.name}.csv") as aside:
            self.data.to_csv(aside, index=False, lineterminator="\n")
        write_text(folder / f"{self.name}.md", self.markdown())
        write_text(folder / f"{self.name}.tex", self.latex())


def _value(heading: str, key: str, show: Callable[[Any], str], numeric: bool = True) -> Column:
    return Column(heading, key, lambda row: show(row[key]), numeric)


def _which() -> list[Column]:
    stitching = _value("Stitching", "stitching", lambda value: EMPTY if value == "none" else value, numeric=False)
    return [_value("Variant", "title", str, numeric=False), stitching]


def _interval(heading: str, key: str, metric: str = "si_sdri_db") -> Column:
    return Column(heading, key, lambda row: estimate(row[key], row[f"{key}_low"], row[f"{key}_high"], metric))


def results(
    summary: pd.DataFrame, trained: pd.DataFrame, titles: Mapping[str, str], ceilings: Mapping[str, str]
) -> Table:
    """The main table: one row a variant and stitching.

    Args:
        summary: of ``statistics.summarise``.
        trained: one row a trained variant: variant, train_subset, train_hours.
        titles: variant -> title.
        ceilings: variant -> the oracle row that bounds its kind of output.
    """
    data = summary.reset_index(drop=True)
    data.insert(1, "title", data["variant"].map(titles))
    oracle = summary.drop_duplicates("variant").set_index("variant")["si_sdri_db"]
    data["ceiling"] = data["variant"].map(ceilings)
    data["below_ceiling_db"] = data["ceiling"].map(oracle).astype(float) - data["si_sdri_db"]
    for key in ("train_subset", "train_hours"):
        data[key] = data["variant"].map(trained.set_index("variant")[key])
    blind = data["stitching"] == "blind"
    best = {key: int(np.nanargmax(data[key].where(blind))) for key in METRIC_TITLES if data[key][blind].notna().any()}
    columns = [
        *_which(),
        *(_interval(heading, key, key) for key, heading in METRIC_TITLES.items()),
        _value("Below its ceiling (dB)", "below_ceiling_db", number),
        _value("n", "n", whole),
        _value("Seeds", "seeds", whole),
        _value("Failures", "failures", whole),
    ]
    caption = (
        f"Means over {_count(data['n'].max(), 'test mixture')} and {_count(data['seeds'].max(), 'seed')} (what is not "
        f"trained has one), with 95 % intervals. {interval_in_words(data)} {training_in_words(trained)} Stitching: how "
        "chunks are put together, blind or, as a bound, in the order of the references (oracle). The ceiling of a "
        "variant is the oracle that bounds its kind of output. Failures: rows with a score that a metric could not "
        f"give.{missing_in_words(data)}"
    )
    if best:
        caption += " Bold: best of the variants stitched blindly."
    return Table("main", caption, data, columns, best)


def pairs(parts: Mapping[str, pd.DataFrame], titles: Mapping[str, str]) -> Table:
    """SI-SDRi by the sexes of the speakers.

    Args:
        parts: heading of the part (FF, FM, MM, unknown) -> ``statistics.summarise`` of its rows.
        titles: variant -> title.
    """
    columns = _which()
    data, sizes = pd.DataFrame(columns=["variant", "stitching"]), []
    for part, summary in parts.items():
        key = f"{part}_si_sdri_db"
        names = {f"si_sdri_db{end}": f"{key}{end}" for end in ("", "_low", "_high", "_missing")} | {"n": f"{part}_n"}
        shown = summary[["variant", "stitching", *names]].rename(columns=names)
        data = shown if data.empty else data.merge(shown, how="left", on=["variant", "stitching"])
        sizes.append(f"{part} {whole(summary['n'].max())}")
        columns.append(_interval(part, key))
    data.insert(1, "title", data["variant"].map(titles))
    caption = (
        "SI-SDRi (dB) by the sexes of the two speakers (F, M), with 95 % intervals. "
        f"Number of mixtures: {', '.join(sizes)}."
    )
    return Table("pairs", caption, data, columns)


def costs(runs: pd.DataFrame, titles: Mapping[str, str]) -> Table:
    """What each trained variant costs.

    Args:
        runs: one row a trained variant: variant, seeds, parameters, macs_per_second, real_time_factor, train_s, steps,
            train_subset, train_hours, train_speakers, peak_memory_bytes, device, threads.
        titles: variant -> title.
    """
    data = runs.copy()
    data.insert(1, "title", data["variant"].map(titles))
    columns = [
        _which()[0],
        _value("Parameters", "parameters", scaled),
        _value("MACs a second of audio", "macs_per_second", scaled),
        _value("Real-time factor", "real_time_factor", lambda value: number(value, 4)),
        _value("Training time", "train_s", duration),
        _value("Steps", "steps", whole),
        _value("Train split", "train_subset", text, numeric=False),
        _value("Hours", "train_hours", lambda value: number(value, 1)),
        _value("Speakers", "train_speakers", whole),
        _value("Peak memory (MiB)", "peak_memory_bytes", lambda value: whole(value / 2**20)),
        Column("Device", "device", lambda row: f"{text(row['device'])}, {whole(row['threads'])} threads", False),
    ]
    caption = (
        "Costs: means over seeds; of peak memory the largest. MACs: multiply-accumulates. Real-time factor: seconds to "
        "separate one second of audio. Training time is of one seed."
    )
    return Table("costs", caption, data, columns)


def terminal(frame: pd.DataFrame) -> str:
    """A table of ``statistics.compare`` as aligned text."""
    return comparison(frame, "comparison", "").plain()


def comparison(frame: pd.DataFrame, name: str, caption: str, titles: Mapping[str, str] | None = None) -> Table:
    """A table of ``statistics.compare``."""
    data = frame.copy()
    data.insert(1, "title", [(titles or {}).get(name, name) for name in data["variant"]])
    columns = [
        _which()[0],
        Column(
            "Difference [95 % interval]",
            "difference",
            lambda row: estimate(row["difference"], row["low"], row["high"], row["metric"], sign=True),
        ),
        _value("p", "p", p_value),
        _value("p (Holm)", "p_holm", p_value),
        _value("Effect size", "effect", lambda value: number(value, sign=True)),
        _value("n", "n", whole),
        _value("Missing", "missing", whole),
        _value("Speaker pairs", "speaker_pairs", whole),
        _value("Seeds", "seeds", whole),
        _value("Verdict", "verdict", str, numeric=False),
    ]
    return Table(name, caption, data, columns)


def comparison_caption(frame: pd.DataFrame, baseline: str) -> str:
    """How to read a table of ``statistics.compare`` with the baseline titled ``baseline``."""
    return (
        f"Difference in SI-SDRi (dB) to the baseline, {baseline}, on the same mixtures and seeds, stitched blindly. "
        f"{interval_in_words(frame)} p: Wilcoxon signed-rank test over speaker pairs, and corrected by Holm for the "
        f"{_count(len(frame), 'comparison')} of this table. Effect size: rank-biserial correlation, "
        "−1 to 1. A verdict needs both: corrected p below 0.05 and an interval without 0."
    )


def interval_in_words(frame: pd.DataFrame) -> str:
    """How the intervals of a table with a ``seeds`` column were made."""
    seeds = frame["seeds"].max() if len(frame) else 1
    levels = "seeds, speaker pairs and mixtures" if seeds > 1 else "speaker pairs and mixtures only (there is one seed)"
    return f"Intervals: hierarchical bootstrap over {levels}, {whole(RESAMPLES)} resamples."


def missing_in_words(data: pd.DataFrame) -> str:
    """Which means of the main table leave values out, and how many; empty where none does."""
    parts = [
        f"{row['title']} ({row['stitching']}) {heading.split(' (')[0]} {whole(row[f'{key}_missing'])} of "
        f"{whole(row['n'] * row['seeds'])}"
        for _, row in data.iterrows()
        for key, heading in METRIC_TITLES.items()
        if row[f"{key}_missing"]
    ]
    return f" Missing, and left out of the mean: {'; '.join(parts)}." if parts else ""


def training_in_words(trained: pd.DataFrame) -> str:
    """On what the variants were trained: split and hours."""
    sets = trained[["train_subset", "train_hours"]].drop_duplicates()
    words = [f"{text(row['train_subset'])} ({number(row['train_hours'], 1)} h)" for _, row in sets.iterrows()]
    return f"Trained on {', '.join(words)}." if words else "Nothing was trained."


def estimate(mean: float, low: float, high: float, metric: str = "si_sdri_db", sign: bool = False) -> str:
    """``5.21 [4.90, 5.52]``, with the metric's digits."""
    if pd.isna(mean):
        return EMPTY
    digits = _DIGITS.get(metric, 2)
    return f"{number(mean, digits, sign)} [{number(low, digits)}, {number(high, digits)}]"


def number(value: Any, digits: int = 2, sign: bool = False) -> str:
    """A number with a true minus sign; never ``-0.00``."""
    return EMPTY if pd.isna(value) else f"{value:{'+' if sign else '-'}z,.{digits}f}".replace("-", "−")


def whole(value: Any) -> str:
    """An integer with thousands separators."""
    return EMPTY if pd.isna(value) else f"{int(round(value)):,}"


def _count(number: Any, noun: str) -> str:
    return f"{whole(number)} {noun}" + ("" if number == 1 else "s")


def scaled(value: Any) -> str:
    """Three digits and a letter: ``1.05 M``."""
    if pd.isna(value):
        return EMPTY
    shown, power = float(f"{value:.3g}"), 0
    while abs(shown) >= 1000 and power < 4:
        shown, power = shown / 1000, power + 1
    return f"{shown:.3g} {' kMGT'[power]}".strip()


def duration(seconds: Any) -> str:
    """``62 h 05 min`` or ``4 min 05 s``."""
    if pd.isna(seconds):
        return EMPTY
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def p_value(value: Any) -> str:
    """A p-value with three digits, bounded below."""
    if pd.isna(value):
        return EMPTY
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def text(value: Any) -> str:
    """A string, or the mark of a missing one."""
    return EMPTY if pd.isna(value) or value == "" else str(value)


def _markdown(value: str) -> str:
    """Escape what Markdown or HTML would read as a mark, and no more, so that the raw file stays readable."""
    value = re.sub(r"([\\`*_|~$]|\](?=[(\[:]))", r"\\\1", " ".join(value.split()))
    return re.sub(r"&(?=[#\w])", "&amp;", value).replace("<", "&lt;").replace("&lt; ", "< ")


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "−": "$-$",
} | {mark: "\\" + mark for mark in "&_%#${}"}


def _latex(value: str) -> str:
    escaped = "".join(_LATEX.get(mark, mark) for mark in " ".join(value.split()))
    # A row's text that opens with a bracket would be read as the optional argument of the \\ before it.
    return "{}" + escaped if escaped.startswith(("[", "*")) else escaped
