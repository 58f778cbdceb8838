"""What an evaluation has scored so far: a file a mixture, in a folder beside the table, until that is written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioslots.files import read_json, write_json


@dataclass(frozen=True)
class Parts:
    """The parts of one table; the folder's name holds the key of what decides them, so none are ever mixed."""

    out: Path
    folder: Path

    @classmethod
    def beside(cls, out: Path, key: str) -> Parts:
        """The parts of the table ``out`` that a stage of this key makes."""
        return cls(out, out.with_name(f".{out.stem}.{key}.parts"))

    def __contains__(self, index: int) -> bool:
        return self._path(index).is_file()

    def write(self, index: int, part: dict[str, Any]) -> None:
        """Keep what belongs to mixture ``index``."""
        write_json(self._path(index), part)

    def read(self, index: int) -> dict[str, Any]:
        """What ``write`` kept, to the bit."""
        part: dict[str, Any] = read_json(self._path(index))
        return part

    def remove(self) -> None:
        """Remove them, and those of earlier requests."""
        for folder in self.out.parent.glob(f".{self.out.stem}.*.parts"):
            shutil.rmtree(folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.json"
