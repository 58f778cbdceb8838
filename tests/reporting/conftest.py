"""Fixtures for the tests of the reporting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from audioslots.reporting import publish, report


@contextmanager
def stub_figures() -> Iterator[None]:
    """Write empty figures, in tests that are not about them; drawing takes most of the time."""

    def save_nothing(path: Path, kinds: tuple[str, ...], *_: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            path.with_name(f"{path.name}.{kind}").write_text("<svg></svg>")

    with pytest.MonkeyPatch.context() as patch:
        for module in (report, publish):
            patch.setattr(module, "save_figure", save_nothing)
        yield


@pytest.fixture
def without_figures() -> Iterator[None]:
    """``stub_figures`` during one test only: tests run in any order, and others of the module draw."""
    with stub_figures():
        yield
