"""Refinement: one pass is the plain model to the bit, more read what the last one made, one permutation for all."""

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
from audioslots.models.audioslots.refinement import Reread
from audioslots.models.base import Estimates, covered, level_of
from audioslots.runtime.errors import InputError
from audioslots.training.mixit import MixIT
from audioslots.training.objective import Matched

SAMPLES, CONTEXT = 800, 256
SMALL: dict[str, Any] = {
    "spectrogram": {"window": 128, "hop": 64},
    "encoder": {"kind": "frames", "blocks": [1, 1], "width": 16, "layers": 1, "heads": 2, "mlp": 16},
    "slots": {"count": 3, "layers": 1, "tokens": 2},
    "decoder": {"kind": "film", "width": 16, "layers": 2},
}


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def model(passes: int, context: int = 0, **delta: Any) -> AudioSlots:
    torch.manual_seed(0)
    variant = Variant.model_validate(merge(merge(SMALL, {"slots": {"refinement_iterations": passes}}), delta))
    return AudioSlots(variant, SAMPLES, context).eval()


def with_a_say(refined: AudioSlots) -> AudioSlots:
    """The same with weights where refinement starts at zero."""
    torch.manual_seed(1)
    for parameter in refined.reread.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return refined


def test_one_pass_is_the_plain_model_and_has_no_weights_of_refinement() -> None:
    plain = model(1)
    assert "reread" not in dict(plain.named_children())
    assert plain(0.1 * noise(2, SAMPLES, seed=0)).earlier == ()


@pytest.mark.parametrize("context", [0, CONTEXT])
@torch.no_grad()
def test_the_first_pass_is_the_plain_models_to_the_bit_and_the_next_begins_there(context: int) -> None:
    mixture = 0.1 * noise(2, SAMPLES + 2 * context, seed=0)
    plain, refined = model(1, context), model(3, context)
    refined.load_state_dict(plain.state_dict(), strict=False)
    expected, found = plain(mixture), refined(mixture)
    assert len(found.earlier) == 2
    assert torch.equal(found.earlier[0].waveforms, expected.waveforms)
    for later in (found.earlier[1], found):
        torch.testing.assert_close(later.waveforms, expected.waveforms, atol=1e-6, rtol=1e-5)


def by_hand(refined: AudioSlots, mixture: Tensor) -> Tensor:
    """The second pass' waveforms of one mixture without context, slot by slot."""
    level = level_of(mixture)
    spectrum = refined.stft(mixture / level)
    first = refined(mixture).earlier[0]
    columns = spectrum.abs() ** refined.exponent
    tokens = refined.encoder((columns - columns.mean()) / columns.std())
    maps = []
    for slot in range(first.waveforms.shape[1]):
        magnitudes = first.compressed[:, slot] ** (1 / refined.exponent)
        spectra = magnitudes * torch.polar(torch.ones_like(magnitudes), spectrum.angle())
        own = tokens + refined.reread(spectra[:, None], spectrum)[:, 0]
        read = refined.slots.readers.joined(refined.slots(own))[:, slot : slot + 1]
        maps.append(refined.decoder(read, own))
    _, spectra = refined.output.read(torch.cat(maps, dim=1), spectrum, refined.exponent)
    return refined.stft.inverse(spectra, SAMPLES) * level[:, None]


@torch.no_grad()
def test_each_slot_of_the_second_pass_reads_its_own_estimate_and_what_that_leaves() -> None:
    refined, mixture = with_a_say(model(2)), 0.1 * noise(1, SAMPLES, seed=3)
    found = refined(mixture)
    assert (found.waveforms - found.earlier[0].waveforms).abs().max() > 1e-3
    torch.testing.assert_close(found.waveforms, by_hand(refined, mixture), atol=1e-5, rtol=1e-3)


@torch.no_grad()
def test_estimates_are_seen_on_the_grid_of_the_tokens_and_zeros_leave_the_mixture() -> None:
    reread = Reread(bins=5, grid=(2, 3), width=4, exponent=0.5)
    for parameter in reread.parameters():
        torch.nn.init.normal_(parameter)
    spectra, mixture = torch.complex(noise(2, 3, 5, 3, seed=1), noise(2, 3, 5, 3, seed=2)), noise(2, 5, 3, seed=3) + 0j
    found = reread(spectra, mixture).unflatten(2, (2, 3))
    assert found.shape == (2, 3, 2, 3, 4)
    left = (mixture[1] - spectra[1, 2]).abs()[3:, 1].sqrt()  # the upper band: 2 of its 3 bins are there
    own = spectra[1, 2].abs()[3:, 1].sqrt()
    seen = torch.cat([own, torch.zeros(1), left, torch.zeros(1)])
    torch.testing.assert_close(found[1, 2, 1, 1], reread.layers(seen), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("slots", kinds("slots"))
@pytest.mark.parametrize("encoder", kinds("encoders"))
@pytest.mark.parametrize("context", [0, CONTEXT])
@torch.no_grad()
def test_every_encoder_and_slot_module_refines_and_permuted_queries_permute_the_slots(
    encoder: str, slots: str, context: int
) -> None:
    refined = with_a_say(model(2, context, encoder={"kind": encoder}, slots={"kind": slots}))
    mixture = 0.1 * noise(2, SAMPLES + 2 * context, seed=4)
    before = refined(mixture).waveforms
    assert before.shape == (2, 3, SAMPLES) and torch.isfinite(before).all()
    refined.slots.queries.copy_(refined.slots.queries.roll(1, dims=0))
    torch.testing.assert_close(refined(mixture).waveforms, before.roll(1, dims=1), atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(
    ("decoder", "output"),
    [*((decoder, "sigmoid") for decoder in kinds("decoders")), *(("film", output) for output in OUTPUTS)],
)
@torch.no_grad()
def test_every_decoder_and_output_refines(decoder: str, output: str) -> None:
    refined = with_a_say(model(2, decoder={"kind": decoder, "layers": 3, "output": output}))
    found = refined(0.1 * noise(2, SAMPLES, seed=5))
    assert found.waveforms.shape == found.earlier[0].waveforms.shape == (2, 3, SAMPLES)
    assert torch.isfinite(found.waveforms).all()


def test_no_gradient_goes_from_a_pass_to_the_one_before_through_its_estimates() -> None:
    refined = with_a_say(model(2)).train()
    seen: list[Tensor] = []
    refined.reread.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    refined(0.1 * noise(2, SAMPLES, seed=6)).waveforms.square().sum().backward()
    assert not seen[0].requires_grad
    assert all(parameter.grad is not None for parameter in refined.parameters())


# --- the loss ------------------------------------------------------------------------------------------------------


def passes(seed: int, batch: int, slots: int) -> tuple[Estimates, Tensor]:
    """Three passes of slots, each nearer the sources than the last, in another order in the first; and the sources."""
    sources = 0.1 * noise(batch, 2, SAMPLES, seed=seed).double()
    level = level_of(sources.sum(dim=1))
    target = torch.cat([sources, sources.new_zeros(batch, slots - 2, SAMPLES)], dim=1)
    made = []
    for age, spread in ((2, 0.08), (1, 0.04), (0, 0.02)):
        waveforms = target + spread * noise(batch, slots, SAMPLES, seed=seed + 1 + age).double()
        made.append(Estimates(waveforms.flip(1) if age == 2 else waveforms, level))
    return made[-1]._replace(earlier=tuple(made[:-1])), sources


@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if not loss.spectral])
@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("slots", [2, 4])
def test_the_last_pass_chooses_the_permutation_and_the_earlier_ones_cost_less(
    loss: str, together: int, slots: int
) -> None:
    unmatched = "silence" if LOSSES[loss].silence else "free"
    settings = {"loss": loss, "unmatched": unmatched, "discount": 0.3}
    variant = Variant.model_validate({"slots": {"refinement_iterations": 2}, "training": settings})
    objective = Matched(variant, together)
    estimates, sources = passes(0, 4, slots)
    unit = sources / estimates.level[:, None]

    def cost(one: Estimates, order: tuple[int, ...]) -> Tensor:  # (B,): a choice of slots, and the others' silence
        signals, silence = one.waveforms / one.level[:, None], LOSSES[loss].silence
        costs = [LOSSES[loss].cost(signals[:, slot], unit[:, source]) for source, slot in enumerate(order)]
        if silence and slots > 2:
            costs += [silence(signals[:, slot]) for slot in range(slots) if slot not in order]
        return torch.stack(costs).sum(dim=0) / (slots if silence and slots > 2 else 2)

    orders = list(permutations(range(slots), 2))
    last = torch.stack([cost(estimates, order) for order in orders])
    chosen = last.unflatten(1, (-1, together)).mean(dim=2).argmin(dim=0).repeat_interleave(together)
    expected = 0.0
    for weight, one in zip((1.0, 0.3, 0.09), (estimates, *reversed(estimates.earlier)), strict=True):
        all_orders = torch.stack([cost(one, order) for order in orders])
        expected += weight * all_orders.gather(0, chosen[None]).mean()
    torch.testing.assert_close(objective(estimates, sources), torch.as_tensor(expected), atol=1e-9, rtol=1e-9)


def test_without_a_discounted_share_the_earlier_passes_cost_nothing() -> None:
    estimates, sources = passes(0, 4, 2)
    variant = Variant.model_validate(
        {"slots": {"refinement_iterations": 2}, "training": {"loss": "snr", "discount": 0.0}}
    )
    assert Matched(variant)(estimates, sources) == Matched(variant)(estimates._replace(earlier=()), sources)
    assert MixIT()(estimates, sources) == MixIT()(estimates._replace(earlier=()), sources)
    costs = [MixIT()(one._replace(earlier=()), sources) for one in (estimates, estimates.earlier[1])]
    both = estimates._replace(earlier=estimates.earlier[1:])
    torch.testing.assert_close(MixIT()(both, sources, 0.3), costs[0] + 0.3 * costs[1])


# --- the config ----------------------------------------------------------------------------------------------------

RESOLVED = {
    **{"name": "tiny", "benchmark": "made", "seed": 1, "rate": 8000, "sources": 2, "train": "packed"},
    **{"validation": None, "held_out_speakers": 4, "data_identity": "made"},
}


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"slots": {"refinement_iterations": 0}}, "slots.refinement_iterations"),
        (
            {"slots": {"refinement_iterations": 2, "recurrence": "last"}},
            "refinement_iterations 2 with recurrence last; expected 1, or recurrence none",
        ),
        (
            {"model": "conv_tasnet", "slots": {"refinement_iterations": 2}, "training": {"loss": "snr"}},
            "slots.refinement_iterations 2, recursive false of conv_tasnet, which has no slots; expected 1, false",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_line(delta: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        checked(Resolved, merge(RESOLVED, delta), "tiny")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_the_discount_is_part_of_the_identity_and_refused_of_one_iteration() -> None:
    def identity(passes: int, discount: float) -> str:
        delta = {"slots": {"refinement_iterations": passes}, "training": {"discount": discount}}
        return checked(Resolved, merge(RESOLVED, delta), "tiny").identity

    assert identity(1, 0.5) == checked(Resolved, RESOLVED, "tiny").identity
    assert len({identity(1, 0.5), identity(2, 0.5), identity(2, 0.3)}) == 3
    with pytest.raises(InputError, match="training.discount 0.3 of one iteration; expected slots.refinement_iter"):
        identity(1, 0.3)


@torch.no_grad()
def test_covered_is_what_the_passes_decode() -> None:
    refined = with_a_say(model(2, CONTEXT))
    mixture = 0.1 * noise(1, SAMPLES + 2 * CONTEXT, seed=8)
    found = refined(mixture)
    assert found.waveforms.shape[-1] == covered(mixture, SAMPLES).shape[-1] == SAMPLES
