"""How far a run is and how it went there: what a checkpoint holds beside weights and optimiser, and history.csv."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from audioslots.runtime.errors import InputError
from audioslots.runtime.files import written_aside
from audioslots.training.validation import VALIDATED


@dataclass
class Progress:
    """Progress of a run.

    Attributes:
        step: steps done, those left out included.
        seconds: spent in training, over all restarts.
        waited_s: of these, waiting for data, since the last row of history.
        peak_memory_bytes: largest so far.
        commit: of the code that began the run.
        best_si_sdri_db: of the validations so far.
        pending: what was measured at each step since the last row.
        history: rows of history.csv.
        skipped: rows of skipped.csv: steps left out, whose loss or gradient was not finite.
    """

    step: int = 0
    seconds: float = 0.0
    waited_s: float = 0.0
    peak_memory_bytes: int = 0
    commit: str = ""
    best_si_sdri_db: float = -math.inf
    pending: list[dict[str, float]] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)

    def log(self, learning_rate: float, audio_s: float, validated: dict[str, float]) -> dict[str, float]:
        """Close one row of history: the means of what was measured since the last, and how fast it went.

        Args:
            learning_rate: of the last step.
            audio_s: seconds of audio a step.
            validated: columns of VALIDATED; empty where this step was not validated.
        """
        before = self.history[-1] if self.history else {"step": 0, "seconds": 0.0}
        seconds = max(self.seconds - before["seconds"], 1e-9)
        measured = {key: [step[key] for step in self.pending] for key in (self.pending[0] if self.pending else {})}
        means = {key: sum(values) / len(values) for key, values in measured.items()}
        row = {
            "step": self.step,
            "loss": means.pop("loss", math.nan),
            "learning_rate": learning_rate,
            "seconds": round(self.seconds, 3),
            "audio_seconds_per_second": round(audio_s * (self.step - before["step"]) / seconds, 2),
            **{key: validated.get(key, math.nan) for key in VALIDATED},
            "data_wait_share": round(self.waited_s / seconds, 5),
            "skipped_steps": sum(skipped["step"] >= before["step"] for skipped in self.skipped),
            **means,
        }
        self.history.append(row)
        self.pending, self.waited_s = [], 0.0
        return row

    def write(self, out: Path) -> None:
        """Write history.csv, and skipped.csv where steps were left out."""
        for name, rows in {"history.csv": self.history, "skipped.csv": self.skipped}.items():
            if rows or name == "history.csv":
                with written_aside(out / name) as aside:
                    pd.DataFrame(rows).to_csv(aside, index=False)


class Board:
    """TensorBoard's view of the history, in ``<run>/tensorboard``.

    Raises:
        InputError: TensorBoard is not installed.
    """

    def __init__(self, out: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise InputError("--tensorboard: not installed; expected pip install 'audioslots[tensorboard]'") from None
        self.writer = SummaryWriter(str(out / "tensorboard"), purge_step=step)

    def show(self, row: dict[str, float]) -> None:
        """Add one row of history."""
        for key, value in row.items():
            if key != "step" and not math.isnan(value):
                self.writer.add_scalar(key, value, int(row["step"]))
        self.writer.flush()
