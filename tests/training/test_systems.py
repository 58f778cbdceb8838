"""Systems of other packages in this trainer: two steps, resumed to the bit, validated, separated and described."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import CPU, resolved, same, stopped

from audioslots.config.study import deltas
from audioslots.runtime.files import read_json
from audioslots.separation.separator import Separator
from audioslots.training import trainer

ABLATIONS = Path(__file__).resolve().parents[2] / "ablations"


@pytest.mark.parametrize("name", ["conv-tasnet-tiny", "dprnn", "sepformer", "tfgridnet"])
def test_a_system_trains_resumes_and_separates(name: str, packed: Path, tmp_path: Path, monkeypatch: Any) -> None:
    model = deltas("systems", ABLATIONS)[name]["model"]
    if model["kind"] == "imported":
        pytest.importorskip("espnet2" if name == "tfgridnet" else "speechbrain")
    config = resolved(packed, {"steps": 2, "validate_every": 2}, model, chunk_s=0.25)
    trainer.train(config, tmp_path / "whole", CPU)
    stopped(1, config, tmp_path / "parted", monkeypatch)
    trainer.train(config, tmp_path / "parted", CPU)
    same(tmp_path / "whole", tmp_path / "parted")
    system = read_json(tmp_path / "whole" / "system.json")
    assert system["macs_per_second"] > 0 and ("network" in system) == (model["kind"] == "imported")
    mixture = 0.1 * np.random.default_rng(0).standard_normal(5001)
    assert Separator.load(tmp_path / "whole").separate(mixture, 8000).shape == (2, 5001)
