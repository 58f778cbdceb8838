"""Training on sequences of chunks: what is cut, one permutation per sequence, exact resuming."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_run import CPU, resolved, same, stopped

from audioslots.config.variant import Resolved
from audioslots.data.training.packing import Speech
from audioslots.models.audioslots.recurrence import RECURRENCES
from audioslots.runtime.errors import InputError
from audioslots.separation.weights import load_model
from audioslots.training import trainer
from audioslots.training.batches import split_crops
from audioslots.training.speech import open_speech

SEQUENCE = {"chunks_per_assignment": 2, "adjacent": True, "adjacent_overlap": 0.75}


def carried(packed: Path, recurrence: str = "last", **training: object) -> Resolved:
    return resolved(packed, {**SEQUENCE, **training}, model={"recurrence": recurrence})


def test_a_crop_is_cut_to_its_chunks_one_after_the_other() -> None:
    crops = torch.arange(2 * 3 * 20.0).reshape(2, 3, 20)
    chunks = split_crops(crops, 8, 6)
    assert chunks.shape == (2 * 3, 3, 8)
    for place, chunk in enumerate(chunks):
        start = 6 * (place % 3)
        assert torch.equal(chunk, crops[place // 3, :, start : start + 8])


def test_a_training_crop_is_as_long_as_its_sequence(packed: Path) -> None:
    config = carried(packed, chunks_per_assignment=4)
    assert (config.hop, config.crop_samples) == (200, 800 + 3 * 200)
    run = trainer.Trainer(config, Path("unused"), CPU)
    assert run.mixer.chunk == config.crop_samples and run.validation.shape == (4, 2, 800)
    assert next(run._batches()).shape == (1, 2, config.crop_samples)


@pytest.mark.parametrize("carry", ["none", *RECURRENCES])
def test_a_run_of_sequences_that_is_stopped_resumes_to_the_same_weights(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carry: str
) -> None:
    config = carried(packed, carry, steps=8, validate_every=4)
    trainer.train(config, tmp_path / "whole", CPU)
    stopped(3, config, tmp_path / "parts", monkeypatch)
    trainer.train(config, tmp_path / "parts", CPU)
    same(tmp_path / "whole", tmp_path / "parts")


def test_slots_are_carried_through_chunks_that_are_together(packed: Path, tmp_path: Path) -> None:
    config = carried(packed, "tokens", adjacent=False, adjacent_overlap=0.5, steps=2, validate_every=1)
    trainer.train(config, tmp_path, CPU)
    model, _ = load_model(tmp_path)
    assert model.recurrence.layer.added[0].weight.any(), "zero at first: only earlier chunks move it"


@pytest.mark.parametrize(
    ("training", "model", "message"),
    [
        ({"chunks_per_assignment": 3}, {}, "does not hold whole groups of chunks_per_assignment 3"),
        ({}, {"recurrence": "last"}, "model.recurrence is learned from chunks of one recording"),
    ],
)
def test_what_does_not_fit_a_sequence_is_refused(packed: Path, training: dict, model: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolved(packed, training, model)


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
        assert speech.index["length"].min() >= config.crop_samples * (1 + config.training.speed) > lengths[0]


def test_a_sequence_longer_than_all_utterances_is_refused(packed: Path) -> None:
    with pytest.raises(InputError, match=r"chunks_per_assignment: a crop needs \d+ samples; the longest utterance of"):
        open_speech(carried(packed, chunks_per_assignment=1000, batch=1000))
