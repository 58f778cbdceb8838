"""Spectrogram, attention, encoders, slots and decoders, each on its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_models import SMALL, kinds
from torch import Tensor

from audioslots.models.audioslots.model import part
from audioslots.models.audioslots.parts import Sizes
from audioslots.models.spectrogram import STFT
from audioslots.models.transformer import Attention, Layer
from audioslots.schema import KINDS

BINS, FRAMES, WIDTH = 17, 9, 16
few = settings(max_examples=15, deadline=None, derandomize=True)
seeds = st.integers(0, 2**31)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(key: str, kind: str, sizes: Sizes, **values: Any) -> Any:
    """A part in double precision, with those of the values that its kind has; small where its defaults are not."""
    section = KINDS[key].configs[kind]
    values = {name: value for name, value in (SMALL.get(kind, {}) | values).items() if name in section.model_fields}
    return part(section.model_validate({"kind": kind} | values), key.capitalize(), sizes).double()


def sizes_of(channels: int = 1, grid: tuple[int, int] = (1, FRAMES), bins: int = BINS, frames: int = FRAMES) -> Sizes:
    return Sizes(WIDTH, 2, 24, WIDTH, bins, frames, channels, grid)


def encoder_of(kind: str, bins: int = BINS, frames: int = FRAMES, **values: Any) -> Any:
    return made("encoder", kind, sizes_of(bins=bins, frames=frames), **{"layers": 1} | values)


def decoder_of(kind: str, channels: int = 1, grid: tuple[int, int] = (1, FRAMES), **values: Any) -> Any:
    return made("decoder", kind, sizes_of(channels, grid), **{"layers": 2} | values)


def slots_of(kind: str, **values: Any) -> Any:
    return made("slots", kind, sizes_of(), **{"count": 3} | values)


@few
@given(
    window=st.sampled_from([32, 64, 256, 512]), share=st.floats(0.1, 0.5), samples=st.integers(512, 1100), seed=seeds
)
@example(window=512, share=125 / 512, samples=8000, seed=0)
@example(window=512, share=0.5, samples=8191, seed=0)  # the last sample lies where a window has almost faded out
def test_the_stft_and_its_inverse_are_the_identity(window: int, share: float, samples: int, seed: int) -> None:
    stft = STFT(window, max(1, int(share * window)))
    waveform = noise(2, 3, samples, seed=seed).float()
    spectra = stft(waveform)
    assert spectra.shape == (2, 3, stft.bins, stft.frames(samples))
    torch.testing.assert_close(stft.inverse(spectra, samples), waveform, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("window", "hop", "samples"), [(512, 125, 8000), (256, 128, 4000), (128, 64, 801)])
def test_the_inverse_stft_is_pytorchs_to_the_bit_and_so_is_its_gradient(window: int, hop: int, samples: int) -> None:
    stft = STFT(window, hop)
    mixture = stft(noise(2, samples).float())[:, None]
    masks = noise(2, 3, stft.bins, stft.frames(samples), seed=1).sigmoid().float().requires_grad_()

    def pytorchs(spectra: Tensor) -> Tensor:
        flat = torch.istft(spectra.flatten(0, 1), window, hop, window=stft.hann, length=samples)
        return flat.unflatten(0, spectra.shape[:2])

    ours, theirs = stft.inverse(masks * mixture, samples), pytorchs(masks * mixture)
    assert torch.equal(ours, theirs)
    gradients = [torch.autograd.grad(waveforms.square().sum(), masks)[0] for waveforms in (ours, theirs)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("samples", [4000, 4095])  # 4000: half a second at 8 kHz
def test_masking_a_spectrogram_adds_no_click_at_the_borders_of_a_chunk(samples: int) -> None:
    stft, waveform = STFT(256, 128), noise(1, samples).float()
    spectra = stft(waveform)
    mask = noise(*spectra.shape, seed=1).sigmoid().float()
    assert stft.inverse(spectra * mask, samples).abs().max() < 1.5 * waveform.abs().max()


def test_attention_equals_the_textbook_scaled_by_the_width_of_one_head() -> None:
    heads, head = 2, WIDTH // 2
    attention = Attention(WIDTH, heads).double()
    # Large projections make the softmax sharp, so that another scale would show.
    with torch.no_grad():
        attention.queries.weight.mul_(8)
    queries, context = noise(3, 4, WIDTH), noise(3, 6, WIDTH, seed=1)
    q, (k, v) = attention.queries(queries), attention.keys_values(context).chunk(2, dim=-1)
    outputs = []
    for index in range(heads):
        part = slice(index * head, (index + 1) * head)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / head**0.5
        outputs.append(scores.softmax(dim=-1) @ v[..., part])
    expected = attention.out(torch.cat(outputs, dim=-1))
    torch.testing.assert_close(attention(queries, context), expected, atol=1e-12, rtol=1e-10)


def test_a_layer_without_convolution_is_equivariant_to_the_order_of_its_tokens() -> None:
    layer, tokens, order = Layer(WIDTH, 2, 24).double(), noise(2, 5, WIDTH), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(layer(tokens[:, order]), layer(tokens)[:, order], atol=1e-12, rtol=0)


def test_a_layers_convolution_hears_the_neighbours_alone() -> None:
    layer = Layer(WIDTH, 2, 24, kernel=3).double()
    with torch.no_grad():
        layer.attention.out.weight.zero_()
    tokens = noise(1, 9, WIDTH)
    moved = tokens.clone()
    moved[:, 4] += noise(WIDTH, seed=1)
    changed = (layer(moved) - layer(tokens)).abs().sum(dim=-1)[0] > 1e-9
    assert changed.nonzero().ravel().tolist() == [3, 4, 5]


@pytest.mark.parametrize(("bins", "frames"), [(17, 9), (16, 8), (33, 31)])
@pytest.mark.parametrize("blocks", [None, (1,), (1, 1), (1, 2, 1)])
def test_an_encoder_gives_one_token_for_every_point_of_its_grid(bins: int, frames: int, blocks: tuple | None) -> None:
    encoder = encoder_of("resnet", bins, frames, blocks=blocks) if blocks else encoder_of("frames", bins, frames)
    height, length = encoder.grid
    assert encoder(noise(2, bins, frames)).shape == (2, height * length, WIDTH)
    halved = 2 ** len(blocks or ())
    assert encoder.grid == ((-(-bins // halved), -(-frames // halved)) if blocks else (1, frames))


def test_the_papers_resnet_has_the_33_convolutions_and_channels_of_resnet_34() -> None:
    encoder = part(KINDS["encoder"].configs["resnet"](layers=0), "Encoder", Sizes(512, 4, 1024, 512, 257, 64, 1))
    threes = [m for m in encoder.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(threes) == 2 * (3 + 4 + 6 + 3)
    assert sorted({m.out_channels for m in threes}) == [64, 128, 256, 512]


@pytest.mark.parametrize("kind", kinds("encoder"))
def test_an_encoder_tells_times_apart(kind: str) -> None:
    encoder = encoder_of(kind)
    tokens = encoder(noise(1, BINS, 1).expand(-1, -1, FRAMES))
    assert not torch.allclose(tokens[:, 0], tokens[:, -1])


@pytest.mark.parametrize("kind", kinds("slots"))
@few
@given(count=st.integers(2, 6), seed=seeds, data=st.data())
def test_permuting_the_queries_permutes_the_slots(kind: str, count: int, seed: int, data: st.DataObject) -> None:
    slots, tokens, order = slots_of(kind, count=count), noise(2, 7, WIDTH, seed=seed), torch.arange(count)
    order = order[data.draw(st.permutations(range(count)))]
    before = slots(tokens)
    assert before.shape == (2, count, WIDTH)
    assert not torch.allclose(before[:, 0], before[:, 1])
    with torch.no_grad():
        slots.queries.copy_(slots.queries[order].clone())
    torch.testing.assert_close(slots(tokens), before[:, order], atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", kinds("slots"))
def test_the_slots_do_not_depend_on_the_order_of_the_tokens(kind: str) -> None:
    slots, tokens, order = slots_of(kind), noise(2, 5, WIDTH), [3, 0, 4, 1, 2]
    torch.testing.assert_close(slots(tokens[:, order]), slots(tokens), atol=1e-12, rtol=0)
    assert not torch.allclose(slots(noise(2, 5, WIDTH, seed=1)), slots(tokens))


def test_iterations_of_slot_attention_share_their_weights_and_change_the_slots() -> None:
    modules = [slots_of("attention", iterations=iterations) for iterations in (1, 5)]
    modules[1].load_state_dict(modules[0].state_dict())
    tokens = noise(1, 7, WIDTH)
    assert not torch.allclose(modules[0](tokens), modules[1](tokens))


def test_the_first_iteration_of_slot_attention_equals_the_published_algorithm() -> None:
    """Locatello et al. 2020, algorithm 1, written out for one item."""
    module, tokens = slots_of("attention", iterations=1), noise(1, 7, WIDTH)
    inputs, queries = module.tokens_norm(tokens[0]), module.queries
    dots = module.key(inputs) @ module.query(module.slots_norm(queries)).T / WIDTH**0.5  # (tokens, slots)
    attention = dots.softmax(dim=1) + 1e-8
    weights = attention / attention.sum(dim=0)
    state = module.gru(weights.T @ module.value(inputs), queries)
    expected = module.norm(state + module.mlp(module.mlp_norm(state)))
    torch.testing.assert_close(module(tokens)[0], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("grid", [(1, FRAMES), (5, 3)], ids=["frames", "points"])
@pytest.mark.parametrize("kind", kinds("decoder"))
@few
@given(seed=seeds, channels=st.integers(1, 2))
def test_a_decoders_output_for_a_slot_does_not_depend_on_the_other_slots(
    kind: str, grid: tuple[int, int], seed: int, channels: int
) -> None:
    decoder = decoder_of(kind, channels, grid)
    slots, tokens = noise(2, 3, WIDTH, seed=seed), noise(2, grid[0] * grid[1], WIDTH, seed=seed + 1)
    others = slots.clone()
    others[:, [0, 2]] = noise(2, 2, WIDTH, seed=seed + 2)
    maps, changed = decoder(slots, tokens), decoder(others, tokens)
    assert maps.shape == (2, 3, channels, BINS, FRAMES)
    torch.testing.assert_close(changed[:, 1], maps[:, 1], atol=1e-12, rtol=0)
    assert not torch.allclose(changed[:, 0], maps[:, 0])
    torch.testing.assert_close(decoder(slots[:, 1:2], tokens), maps[:, 1:2], atol=1e-12, rtol=0)


@pytest.mark.parametrize("layers", [1, 3, 5])
@pytest.mark.parametrize("kind", kinds("decoder"))
def test_a_decoder_tells_every_time_and_frequency_apart(kind: str, layers: int) -> None:
    (maps,) = decoder_of(kind, layers=layers)(noise(1, 1, WIDTH), noise(1, FRAMES, WIDTH, seed=1))[0]
    for points in (maps[0], maps[0].T):
        assert torch.cdist(points, points).fill_diagonal_(1).min() > 1e-6


@pytest.mark.parametrize("stride", [(1, 2), (2, 1), (2, 2), (3, 4), (40, 40)])
def test_a_stride_decodes_the_same_points_and_interpolates_between(stride: tuple[int, int]) -> None:
    every, slots = decoder_of("broadcast", channels=2), noise(2, 3, WIDTH)
    some = decoder_of("broadcast", channels=2, stride=stride)
    some.load_state_dict(every.state_dict())
    whole, maps = every(slots, slots), some(slots, slots)
    assert maps.shape == whole.shape == (2, 3, 2, BINS, FRAMES)
    torch.testing.assert_close(maps[..., :: stride[0], :: stride[1]], whole[..., :: stride[0], :: stride[1]])
    for axis, step in ((-2, stride[0]), (-1, stride[1])):
        bends = maps.diff(n=2, dim=axis).abs().amax(dim=(0, 1, 2, -1 if axis == -2 else -2))
        straight = torch.arange(1, len(bends) + 1) % step != 0  # between two decoded points, on one line with them
        assert bends[straight].numel() == 0 or bends[straight].max() < 1e-6


def test_the_broadcast_decoders_first_layer_equals_a_linear_on_the_concatenation() -> None:
    decoder, slots = decoder_of("broadcast", channels=2), noise(2, 3, WIDTH)
    parts = [decoder.slot.weight, decoder.frequency.weight, decoder.time.weight]
    whole = torch.nn.Linear(sum(weight.shape[1] for weight in parts), len(parts[0])).double()
    with torch.no_grad():
        whole.weight.copy_(torch.cat(parts, dim=1))
        whole.bias.copy_(decoder.slot.bias)
    grid = (2, 3, BINS, FRAMES)
    points = [
        slots[:, :, None, None].expand(*grid, -1),
        decoder.frequencies[None, None, :, None].expand(*grid, -1),
        decoder.times[None, None, None].expand(*grid, -1),
    ]
    expected = decoder.hidden(whole(torch.cat(points, dim=-1))).movedim(-1, 2)
    torch.testing.assert_close(decoder(slots, noise(2, FRAMES, WIDTH)), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", kinds("decoder"))
def test_only_the_film_decoder_uses_the_tokens(kind: str) -> None:
    slots, tokens, others = noise(1, 2, WIDTH), noise(1, FRAMES, WIDTH, seed=1), noise(1, FRAMES, WIDTH, seed=2)
    decoder = decoder_of(kind)
    assert torch.equal(decoder(slots, tokens), decoder(slots, others)) == (kind != "film")


def test_the_film_decoder_gives_each_frame_the_tokens_of_its_time() -> None:
    """Tokens of 5 frequencies by 3 times stand for 9 frames: three frames a time, told apart by their position."""
    decoder, slots, tokens = decoder_of("film", grid=(5, 3), layers=1), noise(1, 1, WIDTH), noise(1, 15, WIDTH)
    seen: list[Tensor] = []
    decoder.frames.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    moved = tokens.clone()
    moved[:, 1::3] += noise(5, WIDTH, seed=1)  # the second time, at every frequency
    decoder(slots, tokens), decoder(slots, moved)
    changed = (seen[0] - seen[1]).abs().amax(dim=-1)[0, 0] > 1e-9
    assert changed.nonzero().ravel().tolist() == [3, 4, 5]
