"""The check that no speaker of test or dev mixtures is trained on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from audioslots.data.training.packing import Speech
from audioslots.runtime.errors import InputError


def speakers_apart(mixtures: Path, packed: Path, held_out: int = 0) -> tuple[int, int]:
    """Check that rendered mixtures and training speech share no speaker.

    Args:
        mixtures: folder of mix_clean, s1, s2.
        packed: packed training speech.
        held_out: how many of its speakers training leaves out, as ``Speech.hold_out`` does.

    Returns:
        Number of speakers that are trained on, and of those in the mixtures.

    Raises:
        InputError: they share one, or one of the folders is missing.
    """
    speech = Speech.open(packed)
    trained = set((speech.hold_out(held_out)[0] if held_out else speech).speakers)
    info = mixtures.parent / "metadata" / f"info_{mixtures.name}.csv"
    if not info.is_file():
        raise InputError(f"{info}: no such file; expected it from `audioslots mixtures render`")
    mixed = set(pd.read_csv(info, dtype=str).filter(regex=r"^speaker_\d+_ID$").to_numpy().ravel())
    if shared := trained & mixed:
        raise InputError(f"{mixtures}: speaker {min(shared)} is trained on too ({packed}); expected other speakers")
    return len(trained), len(mixed)
