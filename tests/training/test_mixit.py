"""Mixture invariant training: its assignment against every other, what it hears, and that no source reaches it."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import CPU, history, resolved, same, stopped
from torch import Tensor

from audioslots.config.variant import Resolved
from audioslots.losses import snr
from audioslots.models.base import Estimates, level_of
from audioslots.runtime.errors import InputError
from audioslots.training import trainer
from audioslots.training.mixit import MixIT, assign
from audioslots.training.objective import Matched, Objective

few = settings(max_examples=12, deadline=None, derandomize=True)
MIXIT: dict[str, Any] = {"loss": "snr", "assignment": "mixit"}
FOUR = {"slots": {"count": 4}}


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scene(seed: int, slots: int, spread: float = 0.3, batch: int = 3) -> tuple[Estimates, Tensor]:
    """Two mixtures (B, 2, T) of two sources each, and slots: the sources first, then silence, all with noise."""
    sources = 0.05 * noise(batch, 4, 300, seed=seed) * torch.tensor([1.0, 0.3, 2.0, 0.7])[:, None]
    mixtures = sources.unflatten(1, (2, 2)).sum(dim=2)
    kept = torch.cat([sources, sources.new_zeros(batch, 8, 300)], dim=1)[:, :slots]
    order = torch.randperm(slots, generator=torch.Generator().manual_seed(seed))
    waveforms = (kept + spread * 0.05 * noise(batch, slots, 300, seed=seed + 1))[:, order]
    return Estimates(waveforms, level_of(mixtures.sum(dim=1))), mixtures


def every_cost(estimates: Estimates, mixtures: Tensor) -> Tensor:
    """Cost of each assignment of slots to mixtures, waveforms summed up: (2^K, B)."""
    level = estimates.level[:, None]
    costs = []
    for choice in product((0, 1), repeat=estimates.waveforms.shape[1]):
        second = estimates.waveforms * torch.tensor(choice)[:, None]
        sums = torch.stack([(estimates.waveforms - second).sum(dim=1), second.sum(dim=1)], dim=1)
        costs.append(-snr(sums / level, mixtures / level).mean(dim=1))
    return torch.stack(costs)


@few
@given(seed=st.integers(0, 2**31), slots=st.integers(2, 8), spread=st.floats(0, 2))
def test_the_loss_is_the_least_over_every_assignment_of_slots_to_mixtures(seed: int, slots: int, spread: float) -> None:
    estimates, mixtures = scene(seed, slots, spread)
    expected = every_cost(estimates, mixtures).min(dim=0).values.mean()
    torch.testing.assert_close(MixIT()(estimates, mixtures), expected, atol=1e-9, rtol=0)
    single = Estimates(estimates.waveforms.float(), estimates.level.float())
    torch.testing.assert_close(MixIT()(single, mixtures.float()), expected.float(), atol=1e-5, rtol=1e-5)


def test_chunks_that_are_together_share_an_assignment() -> None:
    estimates, mixtures = scene(1, 5, batch=6)
    estimates.waveforms[1::2] = estimates.waveforms[1::2].flip(1)  # in every second chunk the slots change places
    costs = every_cost(estimates, mixtures)
    expected = costs.unflatten(1, (3, 2)).mean(dim=2).min(dim=0).values.mean()
    torch.testing.assert_close(MixIT(group=2)(estimates, mixtures), expected, atol=1e-9, rtol=0)
    assert expected > costs.min(dim=0).values.mean() + 1e-3, "each by itself would choose otherwise"


@few
@given(seed=st.integers(0, 2**31))
def test_neither_the_order_of_the_mixtures_nor_that_of_the_slots_matters(seed: int) -> None:
    estimates, mixtures = scene(seed, 5)
    expected = MixIT()(estimates, mixtures)
    torch.testing.assert_close(MixIT()(estimates, mixtures.flip(1)), expected, atol=1e-9, rtol=0)
    turned = Estimates(estimates.waveforms.flip(1), estimates.level)
    torch.testing.assert_close(MixIT()(turned, mixtures), expected, atol=1e-9, rtol=0)


def test_perfect_sources_are_given_to_their_mixtures_and_level_off_at_30_db() -> None:
    sources = noise(2, 4, 300, seed=3)
    mixtures = sources.unflatten(1, (2, 2)).sum(dim=2)
    choice = assign(sources, mixtures)
    assert choice.tolist() == [[[1, 1, 0, 0], [0, 0, 1, 1]]] * 2
    assert float(MixIT()(Estimates(sources, torch.ones(2, 1)), mixtures)) == pytest.approx(-30, abs=1e-3)


def test_two_sources_in_one_slot_cost_nothing_if_they_are_of_one_mixture_and_much_if_not() -> None:
    sources, silence = noise(2, 4, 300, seed=4), torch.zeros(2, 1, 300)
    mixtures, level = sources.unflatten(1, (2, 2)).sum(dim=2), torch.ones(2, 1)
    within = torch.cat([sources[:, :2].sum(dim=1, keepdim=True), sources[:, 2:], silence], dim=1)
    across = torch.cat([sources[:, :1], sources[:, 1:3].sum(dim=1, keepdim=True), sources[:, 3:], silence], dim=1)
    assert MixIT()(Estimates(within, level), mixtures) < -29
    assert MixIT()(Estimates(across, level), mixtures) > -15


def test_the_loss_and_its_gradient_need_no_copy_to_the_host() -> None:
    """A tensor on PyTorch's meta device has no values: whatever copies it to the host, or waits for it, is an error."""
    estimates, mixtures = scene(5, 4)
    waveforms = estimates.waveforms.to("meta").requires_grad_()
    MixIT(group=3)(Estimates(waveforms, estimates.level.to("meta")), mixtures.to("meta")).backward()
    assert waveforms.grad is not None


# --- what a step hears ---------------------------------------------------------------------------------------------


def mixed(packed: Path, supervised: float = 0.0, **training: Any) -> Resolved:
    return resolved(packed, {**MIXIT, "supervised": supervised, **training}, model=FOUR)


def test_a_step_hears_two_mixtures_and_learns_from_their_sums_alone(packed: Path) -> None:
    objective = Objective(mixed(packed))
    sources = noise(3, 4, 800, seed=6)
    references = objective.references(sources, 7)
    expected = torch.stack([sources[:, 0] + sources[:, 1], sources[:, 2] + sources[:, 3]], dim=1)
    torch.testing.assert_close(references, expected)
    torch.testing.assert_close(objective.references(sources[:, [1, 0, 3, 2]], 7), references)
    estimates = Estimates(noise(3, 4, 800, seed=7), level_of(sources.sum(dim=1)))
    assert objective(estimates, references, 7) == MixIT()(estimates, references)


def test_the_second_mixture_grows_where_there_is_a_curriculum(packed: Path) -> None:
    objective = Objective(mixed(packed, curriculum=0.5, steps=20))
    sources = noise(3, 4, 800, seed=6)
    whole, first = objective.references(sources, 10), objective.references(sources, 0)
    assert torch.equal(first[:, 0], whole[:, 0])
    torch.testing.assert_close(first[:, 1], 0.01 * whole[:, 1])  # -40 dB


@pytest.mark.parametrize(("share", "known"), [(0.0, 0), (0.1, 20), (0.25, 50), (1.0, 200)])
def test_a_share_of_the_steps_knows_the_sources_of_one_mixture(packed: Path, share: float, known: int) -> None:
    config = mixed(packed, share)
    objective = Objective(config)
    steps = [step for step in range(200) if objective.is_supervised(step)]
    assert len(steps) == known
    if 0 < share < 1:
        assert max(later - step for step, later in zip(steps, steps[1:], strict=False)) == 1 / share, "evenly spread"
    if steps:
        sources = noise(3, 4, 800, seed=8)
        references = objective.references(sources, steps[0])
        assert torch.equal(references, sources[:, :2])
        estimates = Estimates(noise(3, 4, 800, seed=9), level_of(references.sum(dim=1)))
        assert objective(estimates, references, steps[0]) == Matched(config)(estimates, references)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_training_without_sources_lowers_its_loss_and_goes_on_as_if_never_stopped(
    packed: Path, tmp_path: Path, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = mixed(packed, share, steps=60, chunks_per_assignment=2, batch=8)
    trainer.train(config, tmp_path / "whole", CPU)
    losses = history(tmp_path / "whole")["loss"].astype(float)
    assert losses.iloc[-1] < losses.iloc[0]
    assert next(trainer.Trainer(config, tmp_path / "unused", CPU)._batches()).shape == (8, 4, 800)
    stopped(31, config, tmp_path / "parts", monkeypatch)
    trainer.train(config, tmp_path / "parts", CPU)
    same(tmp_path / "parts", tmp_path / "whole")


# --- what a config may say -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("training", "slots", "expected"),
    [
        ({**MIXIT, "loss": "si_sdr"}, 4, "assignment mixit with loss si_sdr; expected snr"),
        ({"supervised": 0.1}, 4, "supervised 0.1 with assignment pit; expected 0, or mixit"),
        ({**MIXIT, "ratio": 0.1}, 4, "ratio 0.1 with assignment mixit"),
        ({**MIXIT, "single_speaker_fraction": 0.1}, 4, "single_speaker_fraction 0.1 with assignment mixit"),
        (MIXIT, 3, "model: 3 slots with training.assignment mixit, whose input is two mixtures; expected 4 to 8"),
        (MIXIT, 9, "model: 9 slots with training.assignment mixit, whose input is two mixtures; expected 4 to 8"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(packed: Path, training: dict[str, Any], slots: int, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        resolved(packed, {"unmatched": "free", **training}, model={"slots": {"count": slots}})
    assert expected in str(caught.value) and "\n" not in str(caught.value)
