"""A trained model, taken over by a variant that differs in stitching alone."""

from __future__ import annotations

import shutil
from pathlib import Path

from audioslots.config import Resolved
from audioslots.errors import InputError
from audioslots.files import written_aside
from audioslots.model.weights import load_model, save_model


def adopt(config: Resolved, donor: Path, out: Path) -> None:
    """Fill the run folder ``out`` of a variant with what the training of its twin left: weights, history, costs.

    Raises:
        InputError: the donor lacks one of them, or is of another identity: it would have to be trained otherwise.
    """
    model, trained = load_model(donor)
    if trained.identity != config.identity:
        raise InputError(f"{donor}: has identity {trained.identity}; expected {config.identity}, stitching aside")
    for name in ("history.csv", "system.json"):
        if not (donor / name).is_file():
            raise InputError(f"{donor / name}: no such file; expected the run folder of a finished training")
        with written_aside(out / name) as aside:
            shutil.copyfile(donor / name, aside)
    save_model(out / "model.safetensors", model, config)
