"""Slots carried from chunk to chunk: the same in one call or in many; nothing crosses from a sequence to another."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from made_models import TINY, mixtures

from audioslots.config.architecture import kinds
from audioslots.config.study import merge
from audioslots.config.variant import Resolved, checked
from audioslots.models.audioslots.carry import CARRIES, HEARD, REMEMBERED
from audioslots.separation.weights import build

EVERY = [*product(CARRIES, kinds("slots"))]


def carrying(carry: str, slots: str = "queries", **training: Any) -> Any:
    delta = {
        "slots": {"recurrence": carry, "kind": slots, "tokens": 2},
        "training": {"chunks_per_assignment": 4, "adjacent": True, **training},
    }
    torch.manual_seed(0)
    model = build(checked(Resolved, merge(TINY, delta), "tiny")).eval()
    if carry == "mean":  # as if it had been trained: what it adds is zero at first
        torch.nn.init.normal_(model.carry.start.weight, std=0.1)
    if carry == "tokens":  # likewise
        for layer in model.carry.layer.added:
            torch.nn.init.normal_(layer.weight, std=0.1)
        torch.nn.init.normal_(model.carry.nothing)
    return model


@pytest.mark.parametrize(("carry", "slots"), EVERY)
def test_a_sequence_is_the_same_in_one_call_and_chunk_by_chunk(carry: str, slots: str) -> None:
    model, chunks = carrying(carry, slots).double(), mixtures(5).double()
    with torch.no_grad():
        whole, state, parts = model(chunks, 5), None, []
        for chunk in chunks:
            parts.append(model(chunk[None], 1, state))
            state = parts[-1].state
    for field in ("waveforms", "slots"):
        found = torch.cat([getattr(part, field) for part in parts])
        torch.testing.assert_close(found, getattr(whole, field), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("carry", "slots"), EVERY)
def test_the_first_chunk_starts_from_the_queries_and_sequences_do_not_mix(carry: str, slots: str) -> None:
    model, chunks = carrying(carry, slots).double(), mixtures(6).double()
    with torch.no_grad():
        both, alone, second = model(chunks, 3).slots, model(chunks, 1).slots, model(chunks[3:], 3).slots
    torch.testing.assert_close(both[::3], alone[::3], atol=1e-12, rtol=0)
    torch.testing.assert_close(both[3:], second, atol=1e-12, rtol=0)
    assert (both[1] - alone[1]).abs().max() > 1e-3


@pytest.mark.parametrize("slots", kinds("slots"))
def test_without_carrying_a_sequence_is_so_many_chunks(slots: str) -> None:
    model, chunks = carrying("none", slots), mixtures(4)
    with torch.no_grad():
        assert torch.equal(model(chunks, 4).slots, model(chunks).slots)
    assert model(chunks).state is None


@pytest.mark.parametrize(("carry", "slots"), EVERY)
def test_permuting_the_queries_permutes_the_slots_of_the_whole_sequence(carry: str, slots: str) -> None:
    model, chunks = carrying(carry, slots).double(), mixtures(4).double()
    with torch.no_grad():
        before = model(chunks, 4).slots
        model.slots.queries.copy_(model.slots.queries[[2, 0, 1]].clone())
        torch.testing.assert_close(model(chunks, 4).slots, before[:, [2, 0, 1]], atol=1e-12, rtol=0)


@pytest.mark.parametrize("carry", CARRIES)
def test_what_is_carried_is_learned(carry: str) -> None:
    model = carrying(carry)
    model(mixtures(4), 4).slots.square().sum().backward()
    weights = model.carry.named_parameters()
    assert [name for name, weight in weights if weight.grad is None or not weight.grad.any()] == []


def test_mean_starts_as_a_model_without_and_is_that_of_all_chunks() -> None:
    model, chunks = carrying("mean").double(), mixtures(4).double()
    with torch.no_grad():
        state = model(chunks, 4).state
        read = model(chunks, 4).slots.unflatten(-1, (2, -1)).flatten(1, 2)  # (4, K M, W)
        torch.testing.assert_close(state[0, :, :-1], read.mean(dim=0))
        assert (state[..., -1] == 4).all()
        model.carry.start.weight.zero_()
        torch.testing.assert_close(model(chunks, 4).slots, model(chunks, 1).slots, atol=1e-12, rtol=0)


def test_memory_holds_the_last_chunks_alone() -> None:
    model, chunks = carrying("memory"), mixtures(REMEMBERED + 3)
    with torch.no_grad():
        state = model(chunks, len(chunks)).state
    assert state.shape == (1, 3 * 2, REMEMBERED, 16)


def test_tokens_starts_as_a_model_without_and_holds_the_last_chunks_alone() -> None:
    model, chunks = carrying("tokens").double(), mixtures(HEARD + 3).double()
    with torch.no_grad():
        estimates = model(chunks, len(chunks))
        assert estimates.state.shape[:2] == (1, HEARD)
        latest = model(
            chunks[-1:], 1, model(chunks[2:-1], HEARD).state
        )  # the last that it attends to, but not what those did
        assert (latest.slots - estimates.slots[-1:]).abs().max() > 0
        for layer in model.carry.layer.added:
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
        torch.testing.assert_close(model(chunks, len(chunks)).slots, model(chunks, 1).slots, atol=1e-12, rtol=0)


def test_tokens_are_those_of_the_chunk_without_its_context() -> None:
    delta = {
        "slots": {"recurrence": "tokens"},
        "training": {"chunks_per_assignment": 4, "adjacent": True},
        "context_s": 0.05,
    }
    config = checked(Resolved, merge(TINY, delta), "tiny")
    model = build(config)
    state = model(torch.randn(3, config.crop), 3).state
    assert config.context and state.shape == (1, 3, model.encoder.grid[0] * model.shown, 16)
