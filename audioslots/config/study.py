"""A study: one question, a file of ``ablations/``. Its variants are deltas, which a benchmark merges into its scale."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from audioslots.runtime.errors import InputError
from audioslots.schema import KINDS, Name, Section, checked, nearest, read_yaml

FOLDER = "ablations"


class Study(Section):
    """One question, a baseline, and variants that differ from it."""

    title: str
    question: str
    start: str | None = Field(None, alias="from", description="study/variant that every variant here starts from")
    baseline: Name
    lengths: int | None = Field(None, ge=1, description="training lengths, where fewer than the benchmark's")
    variants: dict[Name, dict[str, Any]] = Field(min_length=1, description="name -> delta; the baseline among them")

    @model_validator(mode="after")
    def _baseline_named(self) -> Self:
        if self.baseline not in self.variants:
            raise ValueError(f"baseline {self.baseline!r} is not among the variants; expected {sorted(self.variants)}")
        return self


def find_studies(beside: Iterable[Path]) -> Path:
    """The folder ``ablations`` in the first of some folders that has one, or in the nearest folder above it.

    Args:
        beside: the Snakefile's folder, then the benchmark file's, or the latter only.

    Raises:
        InputError: there is none.
    """
    places = [Path(folder).resolve() for folder in beside]
    for place in [*places, *places[-1].parents]:
        if (place / FOLDER).is_dir():
            return place / FOLDER
    searched = " or ".join(map(str, places))
    raise InputError(f"{FOLDER}: no such folder in {searched} or above; expected the studies there")


def read_study(name: str, folder: Path) -> Study:
    """Read ``<folder>/<name>.yaml``.

    Raises:
        InputError: there is no such study, named with the nearest, or a key of it is wrong.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"{path}: no study {name!r}; {nearest(name, [file.stem for file in folder.glob('*.yaml')])}")
    return checked(Study, locate_imports(_read_once(path, path.stat().st_mtime_ns), folder), str(path))


@functools.lru_cache(maxsize=200)
def _read_once(path: Path, changed_ns: int) -> Any:
    return read_yaml(path)


def locate_imports(document: Any, folder: Path) -> Any:
    """A YAML's content, the paths of files that it imports networks from taken as beside it, in ``folder``."""
    if not isinstance(document, dict):
        return document
    content = {key: locate_imports(value, folder) for key, value in document.items()}
    file, _, name = str(content.get("path", "")).partition(":")
    if content.get("kind") == "imported" and file.endswith(".py"):
        content["path"] = f"{Path(os.path.relpath(folder / file)).as_posix()}:{name}"
    return content


def merge(base: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``delta``, section by section.

    Another ``kind`` drops the keys that it lacks, and an imported network of another ``path`` the arguments.
    """
    merged = dict(base)
    for key, value in delta.items():
        if isinstance(value, dict) and isinstance(section := merged.get(key), dict):
            if key in KINDS:
                section = KINDS[key].drop_keys(section, value.get("kind"))
            if value.get("path", section.get("path")) != section.get("path"):
                section = {name: kept for name, kept in section.items() if name != "arguments"}
            merged[key] = merge(section, value)
        else:
            merged[key] = value
    return merged


def deltas(study_name: str, folder: Path, seen: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """A study's deltas by variant name, the one it starts ``from`` merged in."""
    study = read_study(study_name, folder)
    start: dict[str, Any] = {}
    if study.start:
        other, _, name = study.start.partition("/")
        if other in (study_name, *seen):
            raise InputError(f"ablations/{study_name}.yaml: from: {study.start!r} is circular; expected no cycle")
        others = deltas(other, folder, (study_name, *seen))
        if name not in others:
            raise InputError(
                f"ablations/{study_name}.yaml: from: no variant {study.start!r}; {nearest(name, list(others))}"
            )
        start = others[name]
    return {name: merge(start, delta) for name, delta in study.variants.items()}
