"""Mixtures of several numbers of speakers: what slots cost, against every assignment, and what tells their number."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import CPU, history, resolved, same, stopped
from torch import Tensor

from audioslots.config.variant import Resolved
from audioslots.losses import energy_db, snr
from audioslots.models.base import Estimates, level_of
from audioslots.runtime.errors import InputError
from audioslots.separation.weights import build
from audioslots.training import trainer
from audioslots.training.objective import Matched, Objective, is_silent

few = settings(max_examples=15, deadline=None, derandomize=True)
SEVERAL: dict[str, Any] = {"counts": [1, 2, 3], "sources": 3, "model": {"slots": {"count": 4}}}
HEAD = {"slots": {"count": 4}, "presence": True}
SNR: dict[str, Any] = {"loss": "snr"}


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scene(seed: int, counts: list[int], slots: int, most: int = 3) -> tuple[Estimates, Tensor]:
    """Sources (B, S, T) of which the last are silent, and estimates by slots, with logits of what they hold."""
    sources = 0.05 * noise(len(counts), most, 200, seed=seed)
    for item, count in enumerate(counts):
        sources[item, count:] = 0
    waveforms = 0.05 * noise(len(counts), slots, 200, seed=seed + 1)
    waveforms[:, :most] += sources
    logits = noise(len(counts), slots, seed=seed + 2)
    return Estimates(waveforms, level_of(sources.sum(dim=1)), presence=logits), sources


def least(estimates: Estimates, sources: Tensor) -> tuple[Tensor, list[tuple[int, ...]]]:
    """The least mean cost over slots of each mixture, by all ways to give the sources that speak a slot."""
    level, costs, ways = estimates.level[:, None], [], []
    for outputs, heard in zip(estimates.waveforms / level, sources / level, strict=True):
        speaking = [source for source in heard if source.abs().max() > 0]
        slots = range(len(outputs))
        tried = {
            way: sum(-snr(outputs[slot], source) for slot, source in zip(way, speaking, strict=True))
            + sum(energy_db(outputs[slot]) for slot in slots if slot not in way)
            for way in permutations(slots, len(speaking))
        }
        ways.append(min(tried, key=lambda way: float(tried[way])))
        costs.append(tried[ways[-1]] / len(outputs))
    return torch.stack(costs), ways


@few
@given(seed=st.integers(0, 2**31), counts=st.lists(st.integers(1, 3), min_size=1, max_size=4), slots=st.integers(3, 5))
def test_a_silent_source_costs_what_an_unmatched_slot_does(seed: int, counts: list[int], slots: int) -> None:
    estimates, sources = scene(seed, counts, slots)
    config = resolved(Path(), SNR, **SEVERAL | {"model": {"slots": {"count": slots}}})
    expected, _ = least(estimates, sources)
    loss = Matched(config, may_be_silent=True)
    cost = loss(estimates._replace(presence=None), sources) * (slots / (3 if slots == 3 else slots))
    torch.testing.assert_close(cost, expected.mean(), atol=1e-9, rtol=0)


@few
@given(seed=st.integers(0, 2**31), slots=st.integers(3, 5))
def test_where_all_speak_the_cost_is_that_of_a_fixed_number(seed: int, slots: int) -> None:
    estimates, sources = scene(seed, [3, 3], slots)
    config = resolved(Path(), SNR, **SEVERAL | {"model": {"slots": {"count": slots}}})
    assert torch.equal(Matched(config, may_be_silent=True)(estimates, sources), Matched(config)(estimates, sources))


@few
@given(seed=st.integers(0, 2**31), counts=st.lists(st.integers(1, 3), min_size=2, max_size=4))
def test_presence_is_the_cross_entropy_of_what_is_matched_to_a_source_that_speaks(seed: int, counts: list[int]) -> None:
    estimates, sources = scene(seed, counts, 4)
    config = resolved(Path(), SNR | {"presence_weight": 0.7}, **SEVERAL | {"model": HEAD})
    holds = torch.zeros(len(counts), 4, dtype=torch.float64)
    for item, way in enumerate(least(estimates, sources)[1]):
        holds[item, list(way)] = 1
    assert estimates.presence is not None
    loss = Matched(config, may_be_silent=True)
    added = loss(estimates, sources) - loss(estimates._replace(presence=None), sources)
    expected = 0.7 * F.binary_cross_entropy_with_logits(estimates.presence, holds)
    torch.testing.assert_close(added, expected, atol=1e-9, rtol=0)


def test_chunks_that_share_an_assignment_share_their_presence() -> None:
    estimates, sources = scene(3, [2, 2], 4)
    sources[1, 1] = 0  # it pauses in the second chunk
    config = resolved(Path(), SNR | {"presence_weight": 1.0, "chunks_per_assignment": 2}, **SEVERAL)
    certain = estimates._replace(presence=torch.full((2, 4), -9.0, dtype=torch.float64))
    costs = []
    for slot in range(4):
        logits = certain.presence.clone()
        logits[:, slot] = 9.0
        costs.append(float(Matched(config, 2, may_be_silent=True)(certain._replace(presence=logits), sources)))
    assert sorted(costs)[1] - sorted(costs)[0] < 1e-9, "two slots hold a source, in both chunks"
    assert sorted(costs)[2] - sorted(costs)[1] > 1


@pytest.mark.parametrize(
    ("training", "values", "words"),
    [
        ({"loss": "si_sdr"}, {}, "training.loss si_sdr does not train extra slots towards silence"),
        (SNR | {"unmatched": "free"}, {}, "unmatched free"),
        (
            SNR | {"assignment": "fixed"},
            {},
            r"training.assignment fixed, .* with sources \[1, 2, 3\]; expected pit",
        ),
        (SNR | {"mixing": "static"}, {}, "mixing static"),
        (
            SNR | {"single_speaker_fraction": 0.1},
            {},
            r"single_speaker_fraction 0.1 with sources \[1, 2, 3\]; expected 0",
        ),
        (
            {"loss": "si_sdr", "single_speaker_fraction": 0.1},
            {"counts": []},
            "loss si_sdr does not train extra slots towards silence",
        ),
        (SNR | {"ratio": 0.1}, {"model": {"kind": "conv_tasnet"}}, "training.ratio 0.1 needs a spectrogram, which"),
    ],
)
def test_what_does_not_go_with_several_numbers_is_refused(training: dict, values: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        resolved(Path(), training, **SEVERAL | values)


@pytest.mark.parametrize(
    ("training", "values", "numbers"),
    [
        ({"presence_weight": 0.5}, SEVERAL | {"model": HEAD}, (1, 2, 3)),
        ({"single_speaker_fraction": 0.5, "chunks_per_assignment": 2}, {}, (1, 2)),
    ],
)
def test_training_hears_each_number_and_resumes_to_the_same(
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    training: dict[str, Any],
    values: dict[str, Any],
    numbers: tuple[int, ...],
) -> None:
    config = resolved(packed, SNR | {"batch": 6} | training, **values)
    heard: list[int] = []
    whole = Objective.references

    def noted(self: Objective, sources: Tensor, step: int) -> Tensor:
        heard.extend((~is_silent(sources)).sum(dim=1).tolist())
        return whole(self, sources, step)

    with monkeypatch.context() as patched:
        patched.setattr(Objective, "references", noted)
        trainer.train(config, tmp_path / "whole", CPU)
    assert len(heard) == 20 * 6 and all(heard.count(count) > 20 for count in numbers)
    stopped(8, config, tmp_path / "parted", monkeypatch)
    trainer.train(config, tmp_path / "parted", CPU)
    same(tmp_path / "whole", tmp_path / "parted")
    assert history(tmp_path / "whole").equals(history(tmp_path / "parted"))


def test_the_head_learns_how_many_slots_hold_a_source() -> None:
    config: Resolved = resolved(Path(), SNR | {"presence_weight": 1.0}, **SEVERAL | {"model": HEAD})
    torch.manual_seed(0)
    model, objective = build(config), Objective(config, may_be_silent=True)
    time = torch.arange(config.chunk) / 8000
    tones = torch.stack([(2 * torch.pi * pitch * time).sin() for pitch in (300.0, 900.0, 2100.0)])
    sources = 0.1 * torch.stack([tones * (torch.arange(3) < count)[:, None] for count in (1, 2, 3, 1, 2, 3)])
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(120):
        optimiser.zero_grad()
        objective(model(sources.sum(dim=1)), sources, step).backward()
        optimiser.step()
    told = model(sources.sum(dim=1)).presence
    assert (told > 0).sum(dim=1).tolist() == [1, 2, 3, 1, 2, 3]
