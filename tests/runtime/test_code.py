"""Which commit a result says it is from, and which code decides it."""

from __future__ import annotations

import subprocess
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
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of three modules, one of which imports another."""
    package = tmp_path / "audioslots"
    package.mkdir()
    (package / "errors.py").write_text("WRONG = 1\n")
    (package / "loss.py").write_text(
        '"""Losses."""\n\nfrom audioslots.runtime.errors import WRONG\nfrom audioslots import ruler\n'
    )
    (package / "ruler.py").write_text("LENGTH = 2  # cm\n\ndef measure(x):\n    return x / LENGTH\n")
    (package / "plot.py").write_text("COLOUR = 3\n")
    monkeypatch.setattr(code, "PACKAGE", package)
    code._read.cache_clear()
    yield package
    code._read.cache_clear()


def changed(path: Path, text: str) -> str:
    before = digest("audioslots.loss")
    path.write_text(text)
    code._read.cache_clear()
    return "changed" if digest("audioslots.loss") != before else "same"


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("ruler", 'LENGTH = 2\n\n\ndef measure(x):\n    """In cm."""\n    return x / LENGTH\n', "same"),
        ("ruler", "LENGTH = 2.5\n\ndef measure(x):\n    return x / LENGTH\n", "changed"),
        ("ruler", "LENGTH = 2\n\ndef measure(x):\n    return LENGTH / x\n", "changed"),
        ("plot", "COLOUR = 4\n", "same"),
        ("errors", "WRONG = 2\n", "same"),
    ],
)
def test_a_digest_changes_with_the_code_that_decides_and_with_no_word_of_it(made, name, text, found) -> None:
    assert changed(made / f"{name}.py", text) == found


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


def test_the_digest_of_training_follows_the_parts_that_the_model_is_built_of() -> None:
    plain = digest("audioslots.training.trainer")
    assert plain != digest("audioslots.training.trainer", "audioslots.models.audioslots.decoders.broadcast")
    assert plain == digest("audioslots.training.trainer", "audioslots.training.matching"), "it imports that"
