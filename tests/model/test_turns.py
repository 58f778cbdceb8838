"""One source at a time: each turn reads what those before left; one turn is the plain model to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from audioslots.architecture import kinds
from audioslots.config import Resolved, Variant, checked
from audioslots.errors import InputError
from audioslots.losses import snr
from audioslots.model.audioslots import AudioSlots
from audioslots.model.estimates import level_of
from audioslots.model.turns import InTurn
from audioslots.model.weights import build, load_model, save_model
from audioslots.separation.separate import Separator
from audioslots.study import merge
from audioslots.training.objective import Matched

SAMPLES = 800
SMALL: dict[str, Any] = {
    "spectrogram": {"window": 128, "hop": 64},
    "encoder": {"kind": "frames", "blocks": [1, 1], "width": 16, "layers": 1, "heads": 2, "mlp": 16},
    "slots": {"count": 3, "layers": 1, "tokens": 2, "in_turn": True},
    "decoder": {"kind": "modulated", "width": 16, "layers": 2, "output": "sigmoid"},
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
def test_one_turn_is_the_plain_model_to_the_bit() -> None:
    mixture = 0.1 * noise(2, SAMPLES, seed=0)
    plain = model(AudioSlots, slots={"count": 1, "in_turn": False})(mixture)
    found = model(slots={"count": 1})(mixture)
    assert plain.compressed is not None and found.compressed is not None
    assert torch.equal(found.waveforms, plain.waveforms) and torch.equal(found.compressed, plain.compressed)


@torch.no_grad()
def test_each_turn_reads_what_those_before_left_of_the_mixture() -> None:
    found_by, mixture = model(), 0.1 * noise(1, SAMPLES, seed=1)
    found = found_by(mixture)
    assert found.waveforms.shape == (1, 3, SAMPLES) and found.slots is not None and found.slots.shape == (1, 3, 32)
    level, left = level_of(mixture), mixture
    for turn in range(3):
        spectrum = found_by.stft(left / level_of(left))  # the model is deaf to the level of what it reads
        columns = spectrum.abs() ** found_by.exponent
        tokens = found_by.encoder((columns - columns.mean()) / columns.std())
        slot = found_by.slots.readers.joined(found_by.slots(tokens))
        mask = found_by.decoder(slot, tokens)[:, :, 0].sigmoid()[:, 0]
        spectra = mask * found_by.stft(left)
        torch.testing.assert_close(
            found.waveforms[:, turn], found_by.stft.inverse(spectra, SAMPLES), atol=1e-6, rtol=1e-4
        )
        assert found.compressed is not None  # of the level of the mixture, not of what was left of it
        expected = (spectra.abs() / level) ** found_by.exponent
        torch.testing.assert_close(found.compressed[:, turn], expected, atol=1e-2, rtol=1e-3)
        left = left - found.waveforms[:, turn]


@torch.no_grad()
def test_what_is_taken_once_is_left_to_no_later_turn_and_silence_stays_silent() -> None:
    taking = model(decoder={"output": "sigmoid"})
    last = [layer for layer in taking.decoder.modules() if isinstance(layer, torch.nn.Linear)][-1]
    last.weight.zero_()
    last.bias.fill_(20.0)  # masks of one: the first turn takes all
    mixture = 0.1 * noise(2, SAMPLES, seed=2)
    energies = taking(mixture).waveforms.square().sum(dim=-1)
    assert (energies[:, 1:] < 1e-8 * energies[:, :1]).all()
    silent = taking(torch.zeros(1, SAMPLES)).waveforms
    assert torch.isfinite(silent).all() and silent.abs().max() < 1e-6


def test_no_gradient_goes_from_a_turn_to_the_one_before() -> None:
    found_by, mixture = model().train(), 0.1 * noise(2, SAMPLES, seed=3)
    seen: list[Tensor] = []
    found_by.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    found_by(mixture).waveforms.square().sum().backward()
    assert len(seen) == 3 and not any(given.requires_grad for given in seen)
    assert all(parameter.grad is not None for parameter in found_by.parameters())


@pytest.mark.parametrize("decoder", kinds("decoders"))
@pytest.mark.parametrize("output", ["magnitude", "sigmoid", "complex"])
@torch.no_grad()
def test_every_decoder_and_output_takes_turns_at_any_level(decoder: str, output: str) -> None:
    found_by = model(decoder={"kind": decoder, "layers": 3, "output": output})
    mixture = 0.1 * noise(2, SAMPLES, seed=4)
    found = found_by(mixture).waveforms
    assert found.shape == (2, 3, SAMPLES) and torch.isfinite(found).all()
    torch.testing.assert_close(found_by(8 * mixture).waveforms, 8 * found, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("speaking", [1, 2, 3])
def test_the_first_turn_of_a_model_of_several_numbers_may_take_any_source(speaking: int) -> None:
    """The cost is that of the best order of all, and a turn beyond the sources is to be silent."""
    sources = 0.1 * noise(1, 3, SAMPLES, seed=5)
    sources[:, speaking:] = 0
    objective = Matched(Variant.model_validate(merge(SMALL, {"training": {"loss": "snr"}})), varies=True)
    estimates = model()(sources.sum(dim=1))
    swapped = estimates._replace(waveforms=sources[:, [2, 0, 1]] + 1e-3)
    torch.testing.assert_close(objective(swapped, sources), objective(swapped, sources[:, [1, 2, 0]]))
    best = swapped._replace(waveforms=sources)
    assert objective(best, sources) < objective(swapped, sources) < objective(estimates, sources)
    assert -snr(sources[:, 0], sources[:, 0]).mean() < 0


def test_weights_are_those_of_one_slot_and_come_back_from_their_file(tmp_path: Any) -> None:
    config = checked(Resolved, merge(merge(RESOLVED, SMALL), {"chunk_s": 0.1}), "tiny")
    made = build(config).eval()
    assert isinstance(made, InTurn) and made.slots.queries.shape == (1, 16)
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
        ({"slots": {"passes": 2}}, "in_turn with passes 2, carry none, kind queries; expected 1, none"),
        ({"slots": {"carry": "last"}, "training": {"sequence": 2}}, "in_turn with passes 1, carry last"),
        ({"slots": {"kind": "attention"}}, "kind attention; expected 1, none, and a kind whose slots do not compete"),
        ({"decoder": {"output": "softmax"}}, "with decoder.output softmax"),
        ({"decoder": {"consistent": True}}, "decoder.consistent"),
        ({"context_s": 0.1}, "context_s"),
        ({"model": "conv_tasnet", "training": {"loss": "snr"}}, "in_turn true of conv_tasnet"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(delta: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        checked(Resolved, merge(merge(RESOLVED, SMALL), delta), "tiny")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_the_key_is_no_part_of_an_identity_that_was_there_before_it() -> None:
    content = checked(Resolved, RESOLVED, "tiny").content
    assert "in_turn" not in content["slots"]
    assert checked(Resolved, merge(RESOLVED, {"slots": {"in_turn": True}}), "tiny").content["slots"]["in_turn"]
