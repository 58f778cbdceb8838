"""A reproducible benchmark and ablation suite for slot-centric audio separation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from audioslots.separation.separate import Separator

__version__ = "0.1.0"


def load(path: str | Path, device: str = "cpu", config: str | Path | None = None) -> Separator:
    """Load a trained model, from a run folder or one safetensors file, onto a torch device.

    Its ``separate(waveform, rate)`` returns estimates (sources, samples). ``config`` is the ``config.json`` of a
    variant that differs from the model's own in ``separation`` alone.

    Raises:
        InputError: no such model, it cannot be read, or the variant would have to be trained otherwise.
    """
    from pathlib import Path

    from audioslots.separation.separate import Separator

    return Separator.load(Path(path), device, None if config is None else Path(config))
