"""Training on sequences of chunks: what is cut, one permutation a sequence, the contrastive loss, exact resuming."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tiny_run import resolved, same, stopped

from audioslots.config.variant import Resolved
from audioslots.data.training.packing import Speech
from audioslots.models.audioslots.carry import CARRIES
from audioslots.separation.weights import load_model
from audioslots.runtime.errors import InputError
from audioslots.training import trainer
from audioslots.training.batches import sequenced
from audioslots.training.objective import TEMPERATURE, contrast
from audioslots.training.speech import open_speech

SEQUENCE = {"chunks_per_assignment": 2, "adjacent": True, "adjacent_overlap": 0.75, "contrast": 0.1}


def carried(packed: Path, carry: str = "gated", **training: object) -> Resolved:
    return resolved(packed, {**SEQUENCE, **training}, slots={"count": 2, "layers": 1, "recurrence": carry})


def test_a_crop_is_cut_to_its_chunks_one_after_the_other() -> None:
    crops = torch.arange(2 * 3 * 20.0).reshape(2, 3, 20)
    chunks = sequenced(crops, 8, 6)
    assert chunks.shape == (2 * 3, 3, 8)
    for place, chunk in enumerate(chunks):
        start = 6 * (place % 3)
        assert torch.equal(chunk, crops[place // 3, :, start : start + 8])


def test_a_training_crop_is_as_long_as_its_sequence(packed: Path) -> None:
    config = carried(packed, chunks_per_assignment=4)
    assert (config.hop, config.heard) == (200, 800 + 3 * 200)
    run = trainer.Trainer(config, Path("unused"), "cpu")
    assert run.mixer.chunk == config.heard and run.validation.shape == (4, 2, 800)
    assert next(run._batches()).shape == (1, 2, config.heard)


def test_contrast_is_the_mean_over_all_pairs_of_one_source() -> None:
    voices = torch.randn(2, 3, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    unit = {(b, s, c): voices[b, c, s] / voices[b, c, s].norm() for b in range(2) for s in range(2) for c in range(3)}
    costs = []
    for one, voice in unit.items():
        likeness = {other: float(voice @ unit[other]) / TEMPERATURE for other in unit if other != one}
        total = math.log(sum(math.exp(value) for value in likeness.values()))
        costs += [total - likeness[other] for other in likeness if other[:2] == one[:2]]
    torch.testing.assert_close(float(contrast(voices)), sum(costs) / len(costs))


def test_contrast_is_least_where_sources_are_alike_in_all_chunks_and_apart() -> None:
    apart = torch.eye(4).reshape(2, 1, 2, 4).expand(-1, 3, -1, -1)
    mixed = apart.clone()
    mixed[:, 1] = mixed[:, 1].flip(1)  # in the second chunk the sources have changed places
    assert contrast(apart) < contrast(mixed) and contrast(apart) < contrast(torch.ones(2, 3, 2, 4))


@pytest.mark.parametrize("carry", ["none", *CARRIES])
def test_a_run_of_sequences_that_is_stopped_resumes_to_the_same_weights(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carry: str
) -> None:
    config = carried(packed, carry, steps=8, validate_every=4)
    trainer.train(config, tmp_path / "whole", "cpu")
    stopped(3, config, tmp_path / "parts", monkeypatch)
    trainer.train(config, tmp_path / "parts", "cpu")
    same(tmp_path / "whole", tmp_path / "parts")


def test_slots_are_carried_through_chunks_that_are_together(packed: Path, tmp_path: Path) -> None:
    config = carried(packed, "mean", adjacent=False, adjacent_overlap=0.5, contrast=0.0, steps=2, validate_every=1)
    trainer.train(config, tmp_path, "cpu")
    model, _ = load_model(tmp_path)
    assert model.carry.start.weight.any(), "zero at first: only what is carried moves it"


@pytest.mark.parametrize(
    ("training", "slots", "message"),
    [
        ({"chunks_per_assignment": 3}, {}, "does not hold whole groups of chunks_per_assignment 3"),
        ({"contrast": 0.1}, {}, "contrast needs several chunks of one source"),
        ({}, {"recurrence": "last"}, "slots.recurrence last is learned from chunks of one recording"),
    ],
)
def test_what_does_not_fit_a_sequence_is_refused(packed: Path, training: dict, slots: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolved(packed, training, slots={"count": 2, "layers": 1, **slots})


def test_utterances_shorter_than_a_crop_are_left_out_of_training(packed: Path) -> None:
    whole = Speech.open(packed / "train-clean")
    lengths = sorted(whole.index["length"])
    enough = int(lengths[len(lengths) // 2])
    assert sorted(whole.at_least(enough).index["length"]) == [length for length in lengths if length >= enough]
    sequence = (enough - 800) // 200 + 1  # of chunks of 800 samples at a hop of 200
    for config in (
        carried(packed, chunks_per_assignment=sequence, batch=sequence),
        resolved(packed, {"speed": 0.1}, chunk_s=enough / 1.1 / 8000),
    ):
        speech, _ = open_speech(config)
        assert speech.index["length"].min() >= config.heard * (1 + config.training.speed) > lengths[0]


def test_a_sequence_longer_than_all_utterances_is_refused(packed: Path) -> None:
    with pytest.raises(InputError, match=r"chunks_per_assignment: a crop needs \d+ samples; the longest utterance of"):
        open_speech(carried(packed, chunks_per_assignment=1000, batch=1000))
