"""What a folder holds, to compare two."""

from __future__ import annotations

from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its path, hidden ones too; not what a stage says of itself: when, and by whom."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.name.endswith((".lock", ".stage.json"))]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}
