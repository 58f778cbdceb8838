"""Which commit a result says it is from."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioslots.commit import commit


def test_outside_a_checkout_the_environment_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    monkeypatch.delenv("AUDIOSLOTS_COMMIT", raising=False)
    assert commit() == ""
    monkeypatch.setenv("AUDIOSLOTS_COMMIT", "0123456789ab")
    assert commit() == "0123456789ab"
