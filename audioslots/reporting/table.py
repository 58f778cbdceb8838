"""A table: one description of its columns, written as CSV (numbers), Markdown and LaTeX, or shown on the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from audioslots.reporting.formatting import EMPTY, format_estimate
from audioslots.runtime.files import write_text, written_aside
from audioslots.stats.summaries import BEST, TIED

TIE = "≈ "  # before a value that is not shown to differ from the best
PAGE_ROWS = 40  # of a LaTeX table on one page


@dataclass(frozen=True)
class Column:
    """A column as people see it.

    Attributes:
        heading: of the column.
        key: numeric column of the data that it sorts by.
        show: makes the text, of the value, or of the whole row if ``of_row``.
        numeric: whether it is aligned as numbers are.
        of_row: see ``show``.
    """

    heading: str
    key: str
    show: Callable[[Any], str]
    numeric: bool = True
    of_row: bool = False

    def text(self, row: Any) -> str:
        """The text of a row."""
        return self.show(row if self.of_row else row[self.key])


def estimate_column(heading: str, key: str, metric: str = "si_sdri_db") -> Column:
    """A column of means with their intervals."""

    def show(row: Any) -> str:
        return format_estimate(row[key], row[f"{key}_low"], row[f"{key}_high"], metric)

    return Column(heading, key, show, of_row=True)


TITLE = Column("Variant", "title", str, numeric=False)
STITCHING = Column("Stitching", "stitching", lambda value: EMPTY if value == "none" else value, numeric=False)


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
    ``views`` are named choices of rows for the page, a flag per row; it shows the first one initially.
    """

    name: str
    caption: str
    data: pd.DataFrame
    columns: Sequence[Column]
    views: Mapping[str, Sequence[bool]] = field(default_factory=dict)

    def cells(self) -> list[list[Cell]]:
        """Shown cells, row by row."""
        rows = []
        for _, row in self.data.iterrows():
            cells = []
            for column in self.columns:
                standing, value = row.get(f"{column.key}_standing", ""), row[column.key]
                text = (TIE if standing == TIED else "") + column.text(row)
                cells.append(Cell(text, "" if pd.isna(value) else value, standing == BEST, column.numeric))
            rows.append(cells)
        return rows

    def to_markdown(self) -> str:
        """Markdown (GitHub's), the caption above."""
        rule = ["---:" if column.numeric else ":---" for column in self.columns]
        head, *body = self._format_rows(_escape_markdown, "**{}**")
        lines = "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *body))
        return f"{_escape_markdown(self.caption)}\n\n{lines}"

    def to_latex(self) -> str:
        """LaTeX with booktabs, or longtable where the rows would not fit on one page."""
        head, *body = self._format_rows(_escape_latex, r"\textbf{{{}}}")
        return str(
            pd.DataFrame(body, columns=head).to_latex(
                index=False,
                column_format="".join("r" if column.numeric else "l" for column in self.columns),
                longtable=len(body) > PAGE_ROWS,
                caption=_escape_latex(self.caption),
                label=f"tab:{re.sub(r'[^A-Za-z0-9-]', '-', self.name)}",
            )
        )

    def to_text(self) -> str:
        """Aligned text for a terminal, without the caption; control characters become spaces."""
        rows = self._format_rows(lambda text: "".join(mark if mark.isprintable() else " " for mark in text), "{}")
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                f"{text:{'>' if column.numeric else '<'}{width}}"
                for text, width, column in zip(row, widths, self.columns, strict=True)
            ).rstrip()
            for row in rows
        ]
        return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:]])

    def save(self, folder: Path) -> None:
        """Write ``<name>.csv``, ``.md`` and ``.tex`` into ``folder``."""
        with written_aside(folder / f"{self.name}.csv") as aside:
            self.data.to_csv(aside, index=False, lineterminator="\n")
        write_text(folder / f"{self.name}.md", self.to_markdown())
        write_text(folder / f"{self.name}.tex", self.to_latex())

    def _format_rows(self, escape: Callable[[str], str], bold: str) -> list[list[str]]:
        """Headings, then the rows."""
        rows = [[(bold if cell.bold else "{}").format(escape(cell.text)) for cell in row] for row in self.cells()]
        return [[escape(column.heading) for column in self.columns], *rows]


def _escape_markdown(text: str) -> str:
    """Escape only what Markdown or HTML would read as a mark, so that the raw file stays readable."""
    text = re.sub(r"([\\`*_|~$]|\](?=[(\[:]))", r"\\\1", " ".join(text.split()))
    return re.sub(r"&(?=[#\w])", "&amp;", text).replace("<", "&lt;").replace("&lt; ", "< ")


_LATEX = str.maketrans(
    {mark: rf"\{mark}" for mark in "&_%#${}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
        "→": r"$\rightarrow$",
    }
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "≈": r"$\approx$", "≥": r"$\geq$", "−": "$-$"}
)


def _escape_latex(text: str) -> str:
    escaped = " ".join(text.split()).translate(_LATEX)
    # A row that opens with a bracket would be read as the optional argument of the \\ before it.
    return "{}" + escaped if escaped.startswith(("[", "*")) else escaped
