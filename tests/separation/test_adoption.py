"""A variant of another stitching takes a trained model over; one of another training does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from made_separator import tiny

from audioslots.errors import InputError
from audioslots.model.weights import save_model
from audioslots.separation.adoption import adopt
from audioslots.separation.separate import Separator


@pytest.fixture
def donor(tmp_path: Path) -> Path:
    run = tmp_path / "donor"
    save_model(run / "model.safetensors", tiny().model, tiny().config)
    for name in ("history.csv", "system.json"):
        (run / name).write_text(f"of {name}")
    return run


def test_another_stitching_takes_weights_history_and_costs_over(donor: Path, tmp_path: Path) -> None:
    config = tiny().config
    stitching = config.separation.model_copy(
        update={"overlap": 0.9, "embedding_weight": 0.0, "reconstruction": "ratio"}
    )
    adopt(config.model_copy(update={"name": "other", "separation": stitching}), donor, tmp_path / "run")
    adopted = Separator.load(tmp_path / "run")
    assert (adopted.name, adopted.config.separation.overlap) == ("other", 0.9)
    for mine, given in zip(adopted.model.parameters(), tiny().model.parameters(), strict=True):
        assert torch.equal(mine, given)
    for name in ("history.csv", "system.json"):
        assert (tmp_path / "run" / name).read_text() == f"of {name}"


def test_a_variant_to_be_trained_otherwise_is_refused(donor: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has identity .*; expected"):
        adopt(tiny().config.model_copy(update={"seed": 9}), donor, tmp_path / "run")
    (donor / "history.csv").unlink()
    with pytest.raises(InputError, match="history.csv: no such file"):
        adopt(tiny().config, donor, tmp_path / "run")
    assert not (tmp_path / "run" / "model.safetensors").exists()
