"""The bottleneck model, as the mini benchmark trains it, separates held-out speakers after seconds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_run import CPU

from audioslots.config.benchmark import read_benchmark, variants
from audioslots.config.study import merge
from audioslots.config.variant import Resolved
from audioslots.data.corpora.synthesis import synthesize
from audioslots.data.training.packing import pack
from audioslots.models import build
from audioslots.schema import checked
from audioslots.separation.weights import load_model
from audioslots.training.trainer import Trainer

CONFIG = Path(__file__).resolve().parents[2] / "config" / "mini.yaml"
STEPS = 800


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Path]:
    """``audioslots`` of ``config/mini.yaml``, but for fewer steps on less speech, and its run folder."""
    folder = tmp_path_factory.mktemp("paper")
    synthesize(folder / "corpus", speakers=40, hours=0.3, seed=0, jobs=2)
    for subset in ("train-clean", "dev-clean"):
        pack(folder / "corpus", subset, folder / subset, 8000)
    mini = variants(read_benchmark(CONFIG))["audioslots"].model_dump()
    training = {"steps": STEPS, "batch": 16, "validate_every": 200, "checkpoint_every": STEPS}
    place = {"name": "audioslots", "benchmark": "mini", "seed": 0, "rate": 8000, "sources": 2, "data_identity": "made"}
    place |= {"train": str(folder / "train-clean"), "validation": str(folder / "dev-clean"), "held_out_speakers": 0}
    config = checked(Resolved, merge(mini, {"training": training}) | place, "mini")
    run = Trainer(config, folder / "run", CPU)
    run.train()
    return run, folder / "run"


def test_the_slot_is_the_only_way_from_the_mixture_to_the_output() -> None:
    """What is decoded does not change with the encoder's tokens, nor with the other slots."""
    config = variants(read_benchmark(CONFIG))["audioslots"].model
    torch.manual_seed(0)
    model = build(config, 4000, 8000).eval()
    slots, tokens = torch.randn(1, 2, config.slot_size), torch.randn(2, 1, 17, config.width)
    maps = model.decoder(slots, tokens[0])
    assert torch.equal(maps, model.decoder(slots, tokens[1]))
    other = torch.cat([slots[:, :1], torch.randn(1, 1, config.slot_size)], dim=1)
    torch.testing.assert_close(model.decoder(other, tokens[0])[:, 0], maps[:, 0])


@pytest.mark.slow
def test_two_slots_are_occupied_and_differ_and_their_ratio_masks_improve_on_the_mixture(
    trained: tuple[Trainer, Path],
) -> None:
    run, folder = trained
    last = pd.read_csv(folder / "history.csv").iloc[-1]
    assert last["occupied_slots"] > 1.8
    assert last["validation_ratio_si_sdri_db"] > 0.5
    model, _ = load_model(folder)
    with torch.no_grad():
        compressed = model(run.validation.sum(dim=1)).compressed.flatten(2)
    centred = compressed - compressed.mean(dim=(1, 2), keepdim=True)
    likeness = torch.cosine_similarity(centred[:, 0], centred[:, 1], dim=-1)
    assert likeness.mean() < 0.9
