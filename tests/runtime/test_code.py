"""Which commit a result says it is from, and which code decides it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from audioslots.runtime import code
from audioslots.runtime.code import commit, digest


def test_outside_a_checkout_the_environment_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    monkeypatch.delenv("AUDIOSLOTS_COMMIT", raising=False)
    assert commit() == ""
    monkeypatch.setenv("AUDIOSLOTS_COMMIT", "0123456789ab")
    assert commit() == "0123456789ab"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of modules, one of which imports another and one of the runtime."""
    package = tmp_path / "audioslots"
    (package / "runtime").mkdir(parents=True)
    (package / "runtime" / "errors.py").write_text("WRONG = 1\n")
    (package / "loss.py").write_text(
        '"""Losses."""\nfrom audioslots.runtime.errors import WRONG\nfrom audioslots import ruler'
    )
    (package / "ruler.py").write_text("LENGTH = 2  # cm\n\ndef measure(x):\n    return x / LENGTH\n")
    (package / "plot.py").write_text("COLOUR = 3\n")
    monkeypatch.setattr(code, "PACKAGE", package)
    code._read.cache_clear()
    yield package
    code._read.cache_clear()


@pytest.mark.parametrize(
    ("name", "text", "same"),
    [
        ("ruler", 'LENGTH = 2\n"""Of it."""\n\n\ndef measure(x):\n    """In cm."""\n    return x / LENGTH\n', True),
        ("ruler", "LENGTH = 2.5\n\ndef measure(x):\n    return x / LENGTH\n", False),
        ("ruler", "LENGTH = 2\n\ndef measure(x):\n    return LENGTH / x\n", False),
        ("plot", "COLOUR = 4\n", True),
        ("runtime/errors", "WRONG = 2\n", True),
    ],
)
def test_a_digest_changes_with_the_code_that_decides_and_with_no_text(
    made: Path, name: str, text: str, same: bool
) -> None:
    before = digest("audioslots.loss")
    (made / f"{name}.py").write_text(text)
    code._read.cache_clear()
    assert (digest("audioslots.loss") == before) == same


def test_a_commit_is_dirty_where_what_decides_results_was_changed(made: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(made.parent), *identity, *arguments], check=True, capture_output=True)

    (made.parent / "README.md").write_text("before")
    git("init")
    git("add", "--all")
    git("commit", "--message", "all")
    (made.parent / "README.md").write_text("after")
    assert commit() and not commit().endswith("-dirty")
    (made / "ruler.py").write_text("LENGTH = 3\n")
    assert commit().endswith("-dirty")


@pytest.mark.parametrize(
    ("module", "imported"),
    [("training.trainer", "training.matching"), ("data.librimix.rendering", "data.audio")],
)
def test_a_digest_covers_imported_modules(module: str, imported: str) -> None:
    alone = digest(f"audioslots.{module}")
    assert alone == digest(f"audioslots.{module}", f"audioslots.{imported}")
    assert alone != digest(f"audioslots.{module}", "audioslots.models.audioslots.decoders.broadcast")
