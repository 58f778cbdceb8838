"""One source at a time: each turn reads what the one before left; one turn is the plain model to the bit."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor

from audioslots.config.architecture import kinds
from audioslots.config.study import merge
from audioslots.config.variant import Resolved, Variant, checked
from audioslots.losses import LOSSES
from audioslots.models.audioslots.model import AudioSlots
from audioslots.models.audioslots.outputs import OUTPUTS
from audioslots.models.audioslots.turns import InTurn
from audioslots.models.base import Estimates, level_of
from audioslots.separation.weights import build, load_model, save_model
from audioslots.runtime.errors import InputError
from audioslots.separation.separate import Separator
from audioslots.training.objective import Matched

SAMPLES = 800
SMALL: dict[str, Any] = {
    "spectrogram": {"window": 128, "hop": 64},
    "encoder": {"kind": "frames", "blocks": [1, 1], "width": 16, "layers": 1, "heads": 2, "mlp": 16},
    "slots": {"count": 3, "layers": 1, "tokens": 2, "recursive": True},
    "decoder": {"kind": "film", "width": 16, "layers": 2, "output": "sigmoid"},
}
RESOLVED = {
    **{"name": "tiny", "benchmark": "made", "seed": 1, "rate": 8000, "sources": 2, "train": "packed"},
    **{"validation": None, "held_out_speakers": 4, "data_identity": "made"},
}


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def model(kind: type[AudioSlots] = InTurn, **delta: Any) -> AudioSlots:
    torch.manual_seed(0)
    return kind(Variant.model_validate(merge(SMALL, delta)), SAMPLES).eval()


@torch.no_grad()
def test_one_turn_is_the_plain_model_of_two_slots_to_the_bit() -> None:
    mixture = 0.1 * noise(2, SAMPLES, seed=0)
    plain = model(AudioSlots, slots={"count": 2, "recursive": False})(mixture)
    found = model(slots={"count": 2})(mixture)
    assert plain.compressed is not None and found.compressed is not None and found.left is None
    assert torch.equal(found.waveforms, plain.waveforms) and torch.equal(found.compressed, plain.compressed)


@torch.no_grad()
def test_each_turn_reads_what_the_one_before_left() -> None:
    in_turn, mixture = model(slots={"count": 4}), 0.1 * noise(1, SAMPLES, seed=1)
    pair = model(AudioSlots, slots={"count": 2, "recursive": False})
    pair.load_state_dict(in_turn.state_dict())
    found = in_turn(mixture)
    assert found.waveforms.shape == (1, 4, SAMPLES) and found.slots is not None and found.slots.shape == (1, 4, 32)
    assert found.left is not None and found.left.waveforms.shape == (1, 2, SAMPLES)
    heard = mixture
    for turn in range(3):
        one, rest = pair(heard).waveforms.unbind(dim=1)
        assert torch.equal(found.waveforms[:, turn], one)
        assert torch.equal(found.left.waveforms[:, turn] if turn < 2 else found.waveforms[:, 3], rest)
        # Magnitudes are of the level of the whole mixture, not of what was left of it.
        spectra = in_turn.stft(heard) * mask_of(pair, heard)
        assert found.compressed is not None
        expected = (spectra.abs() / level_of(mixture)) ** in_turn.exponent
        torch.testing.assert_close(found.compressed[:, turn], expected, atol=1e-2, rtol=1e-3)
        heard = rest


def mask_of(pair: AudioSlots, heard: Tensor) -> Tensor:
    """The first slot's mask (B, F, N)."""
    columns = pair.stft(heard / level_of(heard)).abs() ** pair.exponent
    tokens = pair.encoder((columns - columns.mean()) / columns.std())
    return pair.decoder(pair.slots.readers.joined(pair.slots(tokens)), tokens)[:, 0, 0].sigmoid()


@torch.no_grad()
def test_what_is_left_of_nothing_is_nothing() -> None:
    silent = model()(torch.zeros(1, SAMPLES)).waveforms
    assert torch.isfinite(silent).all() and silent.abs().max() < 1e-6


def test_no_gradient_goes_from_a_turn_to_the_one_before() -> None:
    in_turn, mixture = model().train(), 0.1 * noise(2, SAMPLES, seed=3)
    seen: list[Tensor] = []
    in_turn.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    in_turn(mixture).waveforms.square().sum().backward()
    assert len(seen) == 2 and not any(given.requires_grad for given in seen)
    assert all(parameter.grad is not None for parameter in in_turn.parameters())


@pytest.mark.parametrize("decoder", kinds("decoders"))
@pytest.mark.parametrize("output", list(OUTPUTS))
@torch.no_grad()
def test_every_decoder_and_output_takes_turns_at_any_level(decoder: str, output: str) -> None:
    in_turn = model(decoder={"kind": decoder, "layers": 3, "output": output})
    mixture = 0.1 * noise(2, SAMPLES, seed=4)
    found = in_turn(mixture).waveforms
    assert found.shape == (2, 3, SAMPLES) and torch.isfinite(found).all()
    torch.testing.assert_close(in_turn(8 * mixture).waveforms, 8 * found, atol=1e-4, rtol=1e-3)


# --- the loss ------------------------------------------------------------------------------------------------------


def taken(seed: int, batch: int, count: int) -> Estimates:
    """Estimates of ``count`` turns but one, and what all but the last have left: noise."""
    level = 0.1 + noise(batch, 1, seed=seed).abs().double()
    left = Estimates(0.1 * noise(batch, count - 2, SAMPLES, seed=seed + 1).double(), level)
    return Estimates(0.1 * noise(batch, count, SAMPLES, seed=seed + 2).double(), level, left=left)


@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if not loss.spectral and loss.silence])
@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("speaking", [1, 2, 3])
def test_a_turns_rest_is_to_be_the_sources_of_later_turns_by_all_orders(
    loss: str, together: int, speaking: int
) -> None:
    settings = {"loss": loss, "unmatched": "silence"}
    objective = Matched(Variant.model_validate({"training": settings}), together, varies=True)
    kind, estimates = LOSSES[loss], taken(0, 4, 4)
    sources = 0.1 * noise(4, 3, SAMPLES, seed=9).double()
    sources[:, speaking:] = 0
    unit = sources / estimates.level[:, None]
    assert estimates.left is not None and kind.silence is not None
    made, rests = (one.waveforms / one.level[:, None] for one in (estimates, estimates.left))

    def cost(signal: Tensor, target: Tensor) -> Tensor:  # (B,)
        assert kind.silence is not None
        return torch.where((target == 0).all(dim=-1), kind.silence(signal), kind.cost(signal, target))

    by_order, orders = [], list(permutations(range(4), 3))
    for order in orders:  # the turn of each source
        nothing = torch.zeros_like(unit[:, 0])
        heard = [unit[:, order.index(turn)] if turn in order else nothing for turn in range(4)]
        by_order.append(torch.stack([cost(made[:, turn], heard[turn]) for turn in range(4)]).mean(dim=0))
    best = torch.stack(by_order).unflatten(1, (-1, together)).mean(dim=2).argmin(dim=0).repeat_interleave(together)
    expected = []
    for item, choice in enumerate(best.tolist()):
        later = [
            sum((unit[item, source] for source in range(3) if orders[choice][source] > turn), torch.zeros(SAMPLES))
            for turn in range(2)
        ]
        left = [cost(rests[item : item + 1, turn], later[turn][None].double()) for turn in range(2)]
        expected.append(by_order[choice][item] + torch.cat(left).mean())
    torch.testing.assert_close(objective(estimates, sources), torch.stack(expected).mean(), atol=1e-9, rtol=1e-9)


def test_a_rest_is_trained_with_every_loss_and_none_is_where_there_is_one_turn() -> None:
    mixture = 0.1 * noise(2, 3, SAMPLES, seed=5)
    for loss, kind in LOSSES.items():
        unmatched = {"training": {"loss": loss, "unmatched": "silence" if kind.silence else "free"}}
        objective = Matched(Variant.model_validate(merge(SMALL, unmatched)))
        found = model()(mixture.sum(dim=1))
        assert found.left is not None
        assert objective(found, mixture) != objective(found._replace(left=None), mixture)
    assert model(slots={"count": 2})(mixture.sum(dim=1)).left is None


# --- files and the config --------------------------------------------------------------------------------------------


def test_weights_are_those_of_two_slots_and_come_back_from_their_file(tmp_path: Any) -> None:
    config = checked(Resolved, merge(merge(RESOLVED, SMALL), {"chunk_s": 0.1}), "tiny")
    made = build(config).eval()
    assert isinstance(made, InTurn) and made.slots.queries.shape == (2, 16)
    save_model(tmp_path / "model.safetensors", made, config)
    loaded, read = load_model(tmp_path / "model.safetensors")
    mixture = 0.1 * noise(1, SAMPLES, seed=6)
    assert read == config
    assert torch.equal(loaded(mixture).waveforms, made(mixture).waveforms)


@torch.no_grad()
def test_a_whole_recording_is_separated_and_its_sources_counted() -> None:
    config = checked(Resolved, merge(merge(RESOLVED, SMALL), {"chunk_s": 0.1, "counts": [1, 2]}), "tiny")
    separator = Separator(build(config).eval(), config)
    recording = 0.1 * noise(3000, seed=7).numpy()
    assert separator.separate(recording, 8000, sources=2).shape == (2, 3000)
    assert separator.separate(recording, 8000, sources="auto").shape[0] in (1, 2)


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        (
            {"slots": {"refinement_iterations": 2}},
            "recursive with refinement_iterations 2, recurrence none, count 3; expected 1, none, 2 or more",
        ),
        (
            {"slots": {"recurrence": "last"}, "training": {"chunks_per_assignment": 2, "adjacent": True}},
            "recursive with refinement_iterations 1, recurrence last",
        ),
        ({"slots": {"count": 1}}, "count 1; expected"),
        (
            {"training": {"assignment": "mixit", "loss": "snr"}, "slots": {"count": 4}},
            "training.assignment mixit; expected 0, and",
        ),
        ({"context_s": 0.1}, "slots.recursive with context_s 0.1"),
        ({"model": "conv_tasnet", "training": {"loss": "snr"}}, "recursive true of conv_tasnet"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(delta: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        checked(Resolved, merge(merge(RESOLVED, SMALL), delta), "tiny")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_the_key_is_part_of_an_identity_only_where_it_is_set() -> None:
    assert "recursive" not in checked(Resolved, RESOLVED, "tiny").content.get("slots", {})
    assert checked(Resolved, merge(RESOLVED, {"slots": {"recursive": True}}), "tiny").content["slots"]["recursive"]
