"""A table: one description of its columns, written as CSV (numbers), Markdown and LaTeX, or shown on the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from audioslots.runtime.files import write_text, written_aside
from audioslots.stats.summaries import BEST, TIED

TIE = "≈ "  # before a value that is not shown to differ from the best
PAGE_ROWS = 40  # of a LaTeX table on one page


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
    """A table: ``data`` holds numbers, with units in the names; ``columns`` say how they are shown.

    A column of ``data`` called ``<key>_standing`` sets the best of ``<key>`` in bold and marks those tied with it.
    ``views`` are named choices of rows for the page, a flag a row; the first is what it shows to begin with. ``links``
    are the (text, address) of a last column that only the page has, a list a row.
    """

    name: str
    caption: str
    data: pd.DataFrame
    columns: Sequence[Column]
    views: Mapping[str, Sequence[bool]] = field(default_factory=dict)
    links: Sequence[Sequence[tuple[str, str]]] = ()

    def cells(self) -> list[list[Cell]]:
        """Shown cells, row by row."""
        rows = []
        for _, row in self.data.iterrows():
            cells = []
            for column in self.columns:
                standing, value = row.get(f"{column.key}_standing", ""), row[column.key]
                shown = (TIE if standing == TIED else "") + column.text(row)
                cells.append(Cell(shown, "" if pd.isna(value) else value, standing == BEST, column.numeric))
            rows.append(cells)
        return rows

    def markdown(self) -> str:
        """Markdown (GitHub's), the caption above."""
        head = [_markdown(column.heading) for column in self.columns]
        rule = ["---:" if column.numeric else ":---" for column in self.columns]
        rows = (head, rule, *self._texts(_markdown, "**%s**"))
        return f"{_markdown(self.caption)}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)

    def latex(self) -> str:
        """LaTeX with booktabs: a float of its own, or a longtable where the rows would not fit one page."""
        head = " & ".join(_latex(column.heading) for column in self.columns)
        body = "".join(" & ".join(row) + " \\\\\n" for row in self._texts(_latex, r"\textbf{%s}"))
        kinds = "".join("r" if column.numeric else "l" for column in self.columns)
        caption = f"\\caption{{{_latex(self.caption)}}}\\label{{tab:{re.sub(r'[^A-Za-z0-9-]', '-', self.name)}}}"
        head = f"\\toprule\n{head} \\\\\n\\midrule\n"
        if len(self.data) > PAGE_ROWS:
            return (
                f"% needs \\usepackage{{booktabs,longtable}}\n{{\\footnotesize\n\\begin{{longtable}}{{{kinds}}}\n"
                f"{caption} \\\\\n{head}\\endfirsthead\n{head}\\endhead\n\\bottomrule\n\\endfoot\n"
                f"{body}\\end{{longtable}}}}\n"
            )
        return (
            f"% needs \\usepackage{{booktabs}}\n\\begin{{table}}\n\\centering\\footnotesize\n{caption}\n"
            f"\\begin{{tabular}}{{{kinds}}}\n{head}{body}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
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
    "≈": "$\\approx$",
    "≥": "$\\geq$",
    "−": "$-$",
    "→": r"$\rightarrow$",
} | {mark: "\\" + mark for mark in "&_%#${}"}


def _latex(value: str) -> str:
    escaped = "".join(_LATEX.get(mark, mark) for mark in " ".join(value.split()))
    # A row's text that opens with a bracket would be read as the optional argument of the \\ before it.
    return "{}" + escaped if escaped.startswith(("[", "*")) else escaped
