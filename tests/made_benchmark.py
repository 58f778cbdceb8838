"""A small benchmark for the tests, to be changed key by key."""

from __future__ import annotations

from typing import Any

from audioslots.benchmark import Benchmark
from audioslots.checking import checked

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


def made(*studies: str, **other: Any) -> Benchmark:
    return checked(Benchmark, MADE | {"studies": list(studies)} | other, "made.yaml")
