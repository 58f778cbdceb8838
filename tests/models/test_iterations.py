"""Recurrence, refinement, recursion and the presence head: what they add to the plain model."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import pytest
import torch
from made_models import CHUNK, built, kinds, mixtures, resolved
from torch import Tensor

from audioslots.losses import LOSSES, snr
from audioslots.models.audioslots.outputs import OUTPUTS
from audioslots.models.audioslots.recurrence import MOST_CHUNKS, RECURRENCES
from audioslots.models.base import Estimates, level_of
from audioslots.training.mixit import MixIT, assign
from audioslots.training.objective import DISCOUNT, Matched

EVERY = [*product(RECURRENCES, kinds("slots"))]
ADJACENT = {"chunks_per_assignment": 4, "adjacent": True}


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- recurrence ------------------------------------------------------------------------------------------------------


def recurrent(kind: str, slots: str = "queries", **model: Any) -> Any:
    parts = {"recurrence": kind, "slots": {"kind": slots, "tokens": 2}, **model}
    made = built(parts, training=ADJACENT)
    if kind == "tokens":  # as if it had been trained: the layer adds zero at first
        for layer in made.recurrence.layer.added:
            torch.nn.init.normal_(layer.weight, std=0.1)
        torch.nn.init.normal_(made.recurrence.nothing)
    return made


@pytest.mark.parametrize(("kind", "slots"), EVERY)
def test_a_recording_is_the_same_in_one_call_and_chunk_by_chunk(kind: str, slots: str) -> None:
    model, chunks = recurrent(kind, slots).double(), mixtures(5).double()
    with torch.no_grad():
        whole, state, single = model(chunks, 5), None, []
        for chunk in chunks:
            single.append(model(chunk[None], 1, state))
            state = single[-1].state
    for field in ("waveforms", "slots"):
        joined = torch.cat([getattr(one, field) for one in single])
        torch.testing.assert_close(joined, getattr(whole, field), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("kind", "slots"), EVERY)
def test_the_first_chunk_is_that_of_a_plain_model_and_recordings_do_not_mix(kind: str, slots: str) -> None:
    model, chunks = recurrent(kind, slots).double(), mixtures(6).double()
    with torch.no_grad():
        both, single, second = model(chunks, 3).slots, model(chunks, 1).slots, model(chunks[3:], 3).slots
        torch.testing.assert_close(both[::3], single[::3], atol=1e-12, rtol=0)
        torch.testing.assert_close(both[3:], second, atol=1e-12, rtol=0)
        assert (both[1] - single[1]).abs().max() > 1e-3
        model.slots.queries.copy_(model.slots.queries[[2, 0, 1]].clone())
        torch.testing.assert_close(model(chunks, 3).slots, both[:, [2, 0, 1]], atol=1e-12, rtol=0)
    model(chunks, 3).slots.square().sum().backward()
    weights = model.recurrence.named_parameters()
    assert [name for name, weight in weights if weight.grad is None or not weight.grad.any()] == []


def test_tokens_are_those_of_the_last_chunks_without_context_and_change_nothing_at_first() -> None:
    parts, chunks = {"recurrence": "tokens", "context_s": 4 * 32 / 8000}, mixtures(MOST_CHUNKS + 3, 0, CHUNK + 8 * 32)
    untrained, model = built(parts, training=ADJACENT).double(), recurrent("tokens", context_s=4 * 32 / 8000)
    with torch.no_grad():
        assert model(chunks, len(chunks)).state.shape == (1, MOST_CHUNKS, 17, 16)
        chunks = chunks.double()
        torch.testing.assert_close(untrained(chunks, len(chunks)).slots, untrained(chunks).slots, atol=1e-12, rtol=0)


# --- refinement ------------------------------------------------------------------------------------------------------


def refined(iterations: int, **model: Any) -> Any:
    made = built({"refinement_iterations": iterations, "slots": {"tokens": 2}, **model}).double()
    if iterations > 1:  # as if it had been trained: the layer adds zero at first
        torch.nn.init.normal_(made.reread.layers[-1].weight, std=0.5)
    return made


@pytest.mark.parametrize("slots", kinds("slots"))
@pytest.mark.parametrize("encoder", kinds("encoder"))
@torch.no_grad()
def test_the_first_iteration_is_the_plain_model_and_the_next_begins_as_it(encoder: str, slots: str) -> None:
    parts = {"encoder": {"kind": encoder}, "slots": {"kind": slots}, "context_s": 4 * 32 / 8000}
    mixture = mixtures(samples=CHUNK + 8 * 32).double()
    model, plain = built(parts | {"refinement_iterations": 3}).double(), built(parts).double()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("reread.")})
    estimates = model(mixture)
    assert len(estimates.earlier) == 2 and estimates.waveforms.shape == (2, 3, CHUNK)
    assert torch.equal(estimates.earlier[0].waveforms, plain(mixture).waveforms)
    torch.testing.assert_close(estimates.waveforms, plain(mixture).waveforms, atol=1e-9, rtol=0)
    torch.nn.init.normal_(model.reread.layers[-1].weight, std=0.5)
    assert not torch.allclose(model(mixture).waveforms, plain(mixture).waveforms, atol=1e-6)


@torch.no_grad()
def test_a_slot_attends_to_its_own_estimate_and_permuting_the_queries_permutes_all_iterations() -> None:
    model, mixture = refined(3), mixtures().double()
    before = model(mixture)
    model.slots.queries.copy_(model.slots.queries[[2, 0, 1]].clone())
    after = model(mixture)
    for ours, theirs in zip((after, *after.earlier), (before, *before.earlier), strict=True):
        torch.testing.assert_close(ours.waveforms, theirs.waveforms[:, [2, 0, 1]], atol=1e-9, rtol=0)


def test_no_gradient_goes_through_the_estimates_that_are_attended_to() -> None:
    model = refined(2).train()
    inputs: list[Tensor] = []
    model.reread.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    model(mixtures().double()).waveforms.square().sum().backward()
    assert not inputs[0].requires_grad and all(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if not loss.spectral])
@pytest.mark.parametrize("group", [1, 2])
def test_all_iterations_take_the_assignment_of_the_last_one(loss: str, group: int) -> None:
    level = 0.1 + noise(4, 1, seed=0).abs()
    iterations = [Estimates(0.1 * noise(4, 2, CHUNK, seed=seed), level) for seed in (1, 2, 3)]
    estimates, sources = iterations[-1]._replace(earlier=tuple(iterations[:-1])), 0.1 * noise(4, 2, CHUNK, seed=9)
    unit = sources / level[:, None]

    def cost(one: Estimates, order: tuple[int, ...]) -> Tensor:  # (B,)
        signals = one.waveforms / one.level[:, None]
        return torch.stack([LOSSES[loss].cost(signals[:, k], unit[:, s]) for s, k in enumerate(order)]).mean(dim=0)

    orders = list(permutations(range(2)))
    last = torch.stack([cost(estimates, order) for order in orders])
    best = last.unflatten(1, (-1, group)).mean(dim=2).argmin(dim=0).repeat_interleave(group)
    expected = torch.zeros(())
    for age, one in enumerate((estimates, *reversed(estimates.earlier))):
        every = torch.stack([cost(one, order) for order in orders])
        expected = expected + DISCOUNT**age * every.gather(0, best[None]).mean()
    objective = Matched(resolved({"slots": {"count": 2}}, training={"loss": loss}), group)
    torch.testing.assert_close(objective(estimates, sources), expected.double(), atol=1e-9, rtol=1e-9)
    choice = assign(estimates.waveforms / level[:, None], unit)  # of sources as if they were two mixtures
    values = [-snr(choice @ (one.waveforms / level[:, None]), unit).mean() for one in (estimates, estimates.earlier[1])]
    both = estimates._replace(earlier=estimates.earlier[1:])
    torch.testing.assert_close(MixIT()(both, sources, 0.3), values[0] + 0.3 * values[1])


# --- recursion -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_each_recursion_reads_the_rest_of_the_one_before_at_the_level_of_the_mixture() -> None:
    model, mixture = built({"recursive": True, "slots": {"count": 4, "tokens": 2}}), mixtures(1, seed=1)
    pair = built({"slots": {"count": 2, "tokens": 2}})
    pair.load_state_dict(model.state_dict())
    estimates = model(mixture)
    assert estimates.waveforms.shape == (1, 4, CHUNK) and estimates.slots.shape == (1, 4, 32) and model.num_slots == 4
    assert estimates.rests.waveforms.shape == (1, 2, CHUNK)
    rest = mixture
    for recursion in range(3):
        plain = pair(rest)
        one, left = plain.waveforms.unbind(dim=1)
        assert torch.equal(estimates.waveforms[:, recursion], one)
        assert torch.equal(
            estimates.rests.waveforms[:, recursion] if recursion < 2 else estimates.waveforms[:, 3], left
        )
        expected = plain.compressed[:, 0] * (plain.level / level_of(mixture))[..., None] ** model.exponent
        torch.testing.assert_close(estimates.compressed[:, recursion], expected)
        rest = left
    two = built({"recursive": True, "slots": {"count": 2, "tokens": 2}})(mixture)
    assert two.rests is None and torch.equal(
        two.waveforms, built({"slots": {"count": 2, "tokens": 2}})(mixture).waveforms
    )


@pytest.mark.parametrize("output", OUTPUTS)
def test_recursions_scale_with_the_mixture_and_pass_no_gradient_on(output: str) -> None:
    model, mixture = built({"recursive": True, "output": output}).train(), mixtures(seed=3)
    inputs: list[Tensor] = []
    model.encoder.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    waveforms = model(mixture).waveforms
    waveforms.square().sum().backward()
    assert len(inputs) == 2 and not any(given.requires_grad for given in inputs)
    assert torch.isfinite(waveforms).all()
    torch.testing.assert_close(model(8 * mixture).waveforms, 8 * waveforms, atol=1e-4, rtol=1e-3)
    assert model(torch.zeros(1, CHUNK)).waveforms.abs().max() < 1e-6


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("speaking", [1, 2, 3])
def test_a_rest_is_compared_with_the_sum_of_the_later_sources_by_all_orders(group: int, speaking: int) -> None:
    kind, level = LOSSES["snr"], 0.1 + noise(4, 1, seed=0).abs()
    rests = Estimates(0.1 * noise(4, 2, CHUNK, seed=1), level)
    estimates = Estimates(0.1 * noise(4, 4, CHUNK, seed=2), level, rests=rests)
    sources = 0.1 * noise(4, 3, CHUNK, seed=9)
    sources[:, speaking:] = 0
    unit = sources / level[:, None]
    ones, remaining = (one.waveforms / level[:, None] for one in (estimates, rests))

    def cost(signal: Tensor, target: Tensor) -> Tensor:  # (B,)
        assert kind.silence is not None
        return torch.where((target == 0).all(dim=-1), kind.silence(signal), kind.cost(signal, target))

    by_order, orders = [], list(permutations(range(4), 3))
    for order in orders:  # the recursion of each source
        nothing = torch.zeros_like(unit[:, 0])
        targets = [unit[:, order.index(turn)] if turn in order else nothing for turn in range(4)]
        by_order.append(torch.stack([cost(ones[:, turn], targets[turn]) for turn in range(4)]).mean(dim=0))
    best = torch.stack(by_order).unflatten(1, (-1, group)).mean(dim=2).argmin(dim=0).repeat_interleave(group)
    expected = []
    for item, choice in enumerate(best.tolist()):
        later = [
            sum((unit[item, source] for source in range(3) if orders[choice][source] > turn), torch.zeros(CHUNK))
            for turn in range(2)
        ]
        left = [cost(remaining[item : item + 1, turn], later[turn][None].double()) for turn in range(2)]
        expected.append(by_order[choice][item] + torch.cat(left).mean())
    objective = Matched(resolved({"slots": {"count": 4}}), group, may_be_silent=True)
    torch.testing.assert_close(objective(estimates, sources), torch.stack(expected).mean(), atol=1e-9, rtol=1e-9)


# --- presence --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [{}, {"recursive": True}, {"refinement_iterations": 2}])
@torch.no_grad()
def test_the_presence_head_reads_the_slots_and_changes_no_estimate(kind: dict[str, Any]) -> None:
    model, mixture = built(kind | {"presence": True}), mixtures()
    estimates = model(mixture)
    assert estimates.presence.shape == (2, 3) and model.num_slots == 3 and model.has_spectrogram
    assert torch.equal(estimates.presence, model.head(estimates.slots).squeeze(-1))
    assert torch.equal(estimates.waveforms, built(kind)(mixture).waveforms)
