"""A resolved variant for the tests, to be changed by deltas."""

from __future__ import annotations

import functools
from typing import Any

from audioslots.config.study import merge
from audioslots.config.variant import Resolved
from audioslots.schema import checked

RESOLVED: dict[str, Any] = {
    **{"name": "made", "benchmark": "made", "seed": 0, "rate": 8000, "sources": 2, "train": "packed/train"},
    **{"validation": "packed/dev", "held_out_speakers": 0, "data_identity": "abc"},
}
CONV_TASNET: dict[str, Any] = {"model": {"kind": "conv_tasnet"}, "training": {"loss": "snr"}}


def resolved(*deltas: dict[str, Any]) -> Resolved:
    return checked(Resolved, functools.reduce(merge, deltas, RESOLVED), "config.json")
