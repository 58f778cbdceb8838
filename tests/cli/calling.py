"""The command line called in this process, and a variant for it to work on."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from running import TINY

from audioslots.cli import main

CONFIG: dict[str, Any] = {
    "name": "tiny",
    "benchmark": "made",
    "seed": 0,
    "rate": 8000,
    "sources": 2,
    "train": "packed/train-clean",
    "validation": "packed/dev-clean",
    "held_out_speakers": 0,
    "data_identity": "made",
    **TINY["variant"],
    "training": {"steps": 2, "batch": 2, "validation_mixtures": 2},
}


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


class Call:
    """The command line in this process: ``call("corpus", "pack", ...)``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    def __call__(self, *arguments: object, err: io.StringIO | None = None) -> Ended:
        self.monkeypatch.setattr(sys, "argv", ["audioslots", *map(str, arguments)])
        out, err = io.StringIO(), err or io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
        return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    def good(self, *arguments: object) -> str:
        ended = self(*arguments)
        assert ended.status == 0, ended.err
        return ended.out

    def refused(self, *arguments: object) -> str:
        """The one line that says why."""
        ended = self(*arguments)
        assert ended.status == 2, ended
        assert ended.err.startswith("audioslots: ") and ended.err.count("\n") == 1 and ended.err.endswith("\n"), ended
        return ended.err


def files(folder: Path) -> list[str]:
    """Names of all files below a folder, but for locks and notes of stages."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith((".lock", ".stage.json"))]
    return sorted(path.name for path in files)
