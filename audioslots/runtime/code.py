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
"""Files of a checkout that decide results. A commit still identifies the results if only other files have changed."""
RUNTIME = "audioslots.runtime."
"""Left out of digests: locks, processes and files, which decide how a result is stored, never its values."""


def commit() -> str:
    """Commit of the checkout, 12 digits, with ``-dirty`` if files that decide results have changed since.

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
    """Hash of the source of modules and of all that they import from this package, 16 hexadecimal digits.

    Comments, docstrings and layout do not count, nor does ``RUNTIME``.

    Args:
        modules: dotted names, such as ``audioslots.training.trainer``.
    """
    sources: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in sources and not name.startswith(RUNTIME):
            sources[name], imports = _read(name)
            waiting += imports
    text = "".join(f"{name}\n{sources[name]}\n" for name in sorted(sources))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def _read(name: str) -> tuple[str, list[str]]:
    """A module's code without comments and docstrings, and the modules of the package that it imports."""
    path = _path(name)
    assert path is not None, name
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                imports += [alias.name for alias in names]
            case ast.ImportFrom(str(module), names, 0):
                members = [f"{module}.{alias.name}" for alias in names]
                imports += [member if is_module(member) else module for member in members]
            case ast.Module(body) | ast.ClassDef(body=body) | ast.FunctionDef(body=body):
                body[:] = [
                    line for line in body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
                ]
    return ast.unparse(tree), [module for module in imports if module.startswith("audioslots.")]


def _path(name: str) -> Path | None:
    """The file of a module of the package; None for any other name."""
    place = PACKAGE.parent.joinpath(*name.split("."))
    paths = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in paths if path.is_file()), None) if name.startswith("audioslots.") else None
