"""A reproducible benchmark and ablation suite for slot-centric audio separation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from audioslots.separation.separator import Separator

__version__ = "0.2.0"


def load(path: str | Path | None = None, device: str = "cpu", config: str | Path | None = None) -> Separator:
    """Load a trained model, from a run folder or one safetensors file, onto a torch device.

    Without a path it is the one that comes with the package (``audioslots/weights/README.md``). Its
    ``separate(waveform, rate)`` returns estimates (sources, samples). ``config`` is the ``config.json`` of a variant
    that differs from the model's own in ``separation`` alone.

    Raises:
        InputError: no such model, it cannot be read, or the variant would have to be trained otherwise.
    """
    from pathlib import Path

    from audioslots.separation.separator import Separator
    from audioslots.separation.weights import SHIPPED

    return Separator.load(SHIPPED if path is None else Path(path), device, None if config is None else Path(config))


def evaluate(
    separate: Callable[[NDArray[np.float32], int], ArrayLike],
    mixtures: str | Path,
    out: str | Path,
    name: str,
    version: str = "",
    jobs: int = 1,
    cost: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Score any function that separates, as ``audioslots evaluate`` scores a model.

    Args:
        separate: mixture (samples,) as 32-bit floats and sample rate (Hz) -> estimates (any number, samples), in any
            order; the loudest are scored, and silence stands in for those that are too few.
        mixtures: a rendered folder, such as ``data/.../Libri2Mix/wav8k/min/test``.
        out: ``scores.parquet`` to write; ``evaluation.json`` and ``examples/`` are written beside it.
        name: of the system, for tables: small letters, digits, ``_``, ``.`` and ``-``.
        version: of the function. An interrupted call goes on where it stopped if name and version are the same; a
            finished one is not repeated.
        jobs: scoring processes.
        cost: what it is known to cost, for tables: parameters, macs_per_second, real_time_factor, delay_ms, of those
            that are known.

    Returns:
        One row per mixture and source: the columns of ``scores.parquet``, such as ``si_sdri_db``.

    Raises:
        InputError: the mixtures are not finished, or the function returns something else.
    """
    from pathlib import Path

    from audioslots.scoring.evaluate import EvaluationOptions, evaluate
    from audioslots.scoring.external import FunctionSystem, external_name
    from audioslots.scoring.mixtures import read_mixtures
    from audioslots.scoring.scores import read_scores

    rate = read_mixtures(Path(mixtures))[0].read_rate()
    system = FunctionSystem(separate, external_name(name), rate, f"{name} {version}")
    evaluate(system, Path(mixtures), Path(out), EvaluationOptions(jobs=jobs, cost=cost or {}))
    return read_scores(Path(out))
