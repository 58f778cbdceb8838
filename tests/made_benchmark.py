"""A small benchmark for the tests, to be changed key by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from audioslots.config.benchmark import Benchmark, Place
from audioslots.schema import checked

ROOT = Path(__file__).resolve().parents[1]
MADE: dict[str, Any] = {
    "name": "made",
    "title": "Made",
    "rate": 8000,
    "seeds": [0, 1],
    "corpus": {"kind": "synthesized", "validation": "dev-clean"},
    "test": {"subset": "test-clean"},
    "studies": ["first"],
}
LONG = {"subset": "test-clean", "rows": "conversations", "count": 3, "length_s": [30, 120]}
HELD_OUT = {"kind": "synthesized", "held_out_speakers": 4}


def made(*studies: str, folder: Path | None = None, **other: Any) -> Benchmark:
    """The benchmark with some studies and other values; ``folder`` holds the studies, else those of the repository."""
    benchmark = checked(Benchmark, MADE | {"studies": list(studies)} | other, "made.yaml")
    place = Place(folder or ROOT / "config", folder or ROOT / "ablations", list(studies), benchmark.lengths)
    return benchmark.at(place)


def write_study(folder: Path, name: str, deltas: dict[str, Any], start: str | None = None, **other: Any) -> None:
    """Write ``<folder>/<name>.yaml``; the first variant is the baseline, ``start`` the value of ``from``."""
    content = {"title": name, "question": "Does it?", "baseline": next(iter(deltas)), "variants": deltas} | other
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content | ({"from": start} if start else {}), sort_keys=False))


def write_benchmark(path: Path, **other: Any) -> Path:
    """Write a benchmark file, called as the file is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(MADE | {"name": path.stem} | other, sort_keys=False))
    return path
