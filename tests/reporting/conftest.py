"""Fixtures for the tests of the reporting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audioslots.reporting import publish, report


@pytest.fixture(scope="module")
def without_figures() -> Iterator[None]:
    """Draw nothing, in tests that are not about figures, which take most of the time."""

    def save_nothing(path: Path, kinds: tuple[str, ...], *_: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            path.with_name(f"{path.name}.{kind}").write_text("<svg></svg>")

    with pytest.MonkeyPatch.context() as patch:
        for module in (report, publish):
            patch.setattr(module, "save_figure", save_nothing)
        yield
