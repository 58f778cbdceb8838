"""The code that runs: its commit, and a digest of the modules that decide a result."""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
DECIDES = ("audioslots", "ablations", "config", "workflow", "Snakefile", "requirements.lock")
"""What of a checkout decides results: where other files are changed, a commit still says what made them."""
RUNTIME = "audioslots.runtime."
"""The package of what decides how a result comes to the disk, or data from it, and nothing of the result."""


def commit() -> str:
    """The commit of the code that runs, with ``-dirty`` where what decides results was changed since.

    Outside a checkout it is AUDIOSLOTS_COMMIT of the environment, which the image sets, or empty.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PACKAGE.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        dirty = git("status", "--porcelain", "--untracked-files=no", "--", *DECIDES)
        return git("rev-parse", "--short=12", "HEAD") + ("-dirty" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("AUDIOSLOTS_COMMIT", "")


def is_module(name: str) -> bool:
    """Whether this package has a module of this dotted name."""
    return _path(name) is not None


def digest(*modules: str) -> str:
    """Hash of the source of some modules and of all that they import from this package, 16 hexadecimal digits.

    Comments, docstrings and the layout of the text do not count, nor does ``RUNTIME``.

    Args:
        modules: dotted names, such as ``audioslots.training.trainer``.
    """
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and not name.startswith(RUNTIME):
            found[name], imports = _read(name)
            waiting += imports
    text = "".join(f"{name}\n{found[name]}\n" for name in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """A module's code without comments and docstrings, and the modules of the package that it imports."""
    path = _path(name)
    assert path is not None, name
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            imports += [one if one.startswith("audioslots.") and _path(one) else node.module for one in inside]
        body = getattr(node, "body", None)
        if isinstance(body, list):  # a string alone is a docstring, or as good as one
            node.body = [one for one in body if not _is_text(one)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree), tuple(one for one in imports if one.startswith("audioslots."))


def _path(name: str) -> Path | None:
    """The file of a module of the package, where it is one."""
    place = PACKAGE.parent.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
