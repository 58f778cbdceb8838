"""Matching against every assignment there is."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from audioslots.training.matching import match, unmatched

few = settings(max_examples=60, deadline=None, derandomize=True)
SIZES = [(sources, slots) for slots in range(1, 6) for sources in range(1, slots + 1)] + [(2, 8)]


@st.composite
def costs(draw: st.DrawFn) -> Tensor:
    """(B, S, K) costs with S <= K <= 5, or of two sources and eight slots; ties among them."""
    sources, slots = draw(st.sampled_from(SIZES))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    cost = 20 * torch.randn(draw(st.integers(1, 3)), sources, slots, generator=generator)
    return cost.round() if draw(st.booleans()) else cost


def total(cost: Tensor, assignment: list[int]) -> float:
    return float(sum(cost[source, slot] for source, slot in enumerate(assignment)))


def check(cost: Tensor) -> None:
    """The matching of (B, S, K) costs is an assignment, and none costs less."""
    matched = match(cost)
    assert matched.dtype == torch.int64
    assert matched.shape == cost.shape[:2]
    for item, assignment in zip(cost, matched.tolist(), strict=True):
        assert len(set(assignment)) == len(assignment), "two sources share a slot"
        best = min(total(item, list(other)) for other in permutations(range(cost.shape[2]), cost.shape[1]))
        assert total(item, assignment) == pytest.approx(best, abs=1e-4)


@few
@given(cost=costs())
def test_matching_equals_brute_force(cost: Tensor) -> None:
    check(cost)


@pytest.mark.parametrize(("sources", "slots"), SIZES)
def test_matching_equals_brute_force_at_every_size(sources: int, slots: int) -> None:
    check(torch.randn(20, sources, slots, generator=torch.Generator().manual_seed(0)))


# A tensor on PyTorch's meta device has no values: whatever copies it to the host, or waits for it, is an error.
@pytest.mark.parametrize(("sources", "slots"), [(1, 1), (1, 3), (2, 2), (2, 3), (2, 5), (2, 8), (3, 3)])
def test_up_to_two_sources_or_three_slots_are_matched_without_a_copy_to_the_host(sources: int, slots: int) -> None:
    matched = match(torch.rand(4, sources, slots, device="meta"))
    assert matched.shape == (4, sources)
    assert unmatched(matched, slots).shape == (4, slots)


@pytest.mark.parametrize(("sources", "slots"), [(3, 4), (4, 4), (5, 5)])
def test_a_copy_to_the_host_is_noticed(sources: int, slots: int) -> None:
    with pytest.raises(NotImplementedError, match="meta tensor"):
        match(torch.rand(4, sources, slots, device="meta"))


@few
@given(cost=costs())
def test_permuting_the_slots_permutes_the_matching(cost: Tensor) -> None:
    cost = cost + 1e-3 * torch.rand(cost.shape, generator=torch.Generator().manual_seed(0))  # no ties
    order = torch.arange(cost.shape[2]).flip(0)
    assert torch.equal(order[match(cost[:, :, order])], match(cost))


@pytest.mark.parametrize(("sources", "slots"), [(2, 1), (3, 2), (5, 4)])
def test_fewer_slots_than_sources_are_refused(sources: int, slots: int) -> None:
    with pytest.raises(ValueError, match=f"{slots} slots for {sources} sources; expected at least as many"):
        match(torch.zeros(1, sources, slots))


@pytest.mark.parametrize(("sources", "slots"), [(2, 2), (2, 5), (3, 5)])
def test_matching_a_cost_that_is_no_number_leaves_it_to_the_trainer_to_complain(sources: int, slots: int) -> None:
    assert match(torch.full((1, sources, slots), torch.nan)).shape == (1, sources)


@few
@given(cost=costs())
def test_the_unmatched_slots_are_those_that_no_source_was_given(cost: Tensor) -> None:
    matched, slots = match(cost), cost.shape[2]
    free = unmatched(matched, slots)
    assert free.shape == (len(cost), slots)
    for chosen, row in zip(matched.tolist(), free, strict=True):
        assert row.nonzero().ravel().tolist() == [slot for slot in range(slots) if slot not in chosen]


@pytest.mark.parametrize("slots", [2, 4])
def test_no_gradient_flows_through_the_choice(slots: int) -> None:
    assert not match(torch.rand(1, 2, slots, requires_grad=True)).requires_grad
