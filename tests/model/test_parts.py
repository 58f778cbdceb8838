"""Spectrogram, attention, encoders, slots and decoders, each on its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from audioslots import config
from audioslots.model.decoders import DECODERS, BroadcastDecoder
from audioslots.model.encoder import ENCODERS
from audioslots.model.slots import LearnedQueries
from audioslots.model.spectrogram import STFT
from audioslots.model.transformer import Attention, Layer, sinusoids

BINS, FRAMES, WIDTH = 17, 9, 16
few = settings(max_examples=15, deadline=None, derandomize=True)
seeds = st.integers(0, 2**31)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def variant(**sections: dict) -> config.Variant:
    encoder = {"kind": "frames", "blocks": (1, 1), "width": WIDTH, "layers": 1, "heads": 2, "mlp": 24, "kernel": 3}
    document: dict[str, Any] = {
        "encoder": encoder,
        "slots": {"count": 3, "layers": 1},
        "decoder": {"width": 12, "layers": 2},
    }
    return config.Variant.model_validate({key: document.get(key, {}) | sections.get(key, {}) for key in document})


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


def test_a_cross_attending_layer_reads_its_context() -> None:
    layer, tokens = Layer(WIDTH, 2, 24, cross=True).double(), noise(1, 3, WIDTH)
    first, second = layer(tokens, noise(1, 5, WIDTH, seed=1)), layer(tokens, noise(1, 5, WIDTH, seed=2))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("width", [8, 9])
def test_sinusoids_tell_positions_apart(width: int) -> None:
    table = sinusoids(200, width)
    assert table.shape == (200, width)
    assert table.abs().max() <= 1
    assert torch.cdist(table, table).fill_diagonal_(1).min() > 1e-3
    assert torch.allclose(table[:, 0], torch.arange(200).sin(), atol=1e-4)


@pytest.mark.parametrize(("bins", "frames"), [(17, 9), (16, 8), (33, 31)])
@pytest.mark.parametrize("blocks", [(1,), (1, 1), (1, 2, 1)])
def test_the_resnet_gives_one_token_for_every_point_that_is_left(bins: int, frames: int, blocks: tuple) -> None:
    encoder = ENCODERS["resnet"](variant(encoder={"blocks": blocks}).encoder, bins, frames).double()
    halvings = len(blocks)
    height, length = -(-bins // 2**halvings), -(-frames // 2**halvings)
    assert encoder(noise(2, bins, frames)).shape == (2, height * length, WIDTH)


def test_the_papers_resnet_has_the_33_convolutions_and_channels_of_resnet_34() -> None:
    encoder = ENCODERS["resnet"](config.Encoder(layers=0), 257, 64)
    threes = [m for m in encoder.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(threes) == 2 * (3 + 4 + 6 + 3)
    assert sorted({m.out_channels for m in threes}) == [64, 128, 256, 512]


def test_the_frames_encoder_gives_one_token_a_frame() -> None:
    encoder = ENCODERS["frames"](variant().encoder, BINS, FRAMES).double()
    assert encoder(noise(2, BINS, FRAMES)).shape == (2, FRAMES, WIDTH)


@pytest.mark.parametrize("kind", sorted(ENCODERS))
def test_an_encoder_tells_times_apart(kind: str) -> None:
    encoder = ENCODERS[kind](variant(encoder={"kernel": 0}).encoder, BINS, FRAMES).double()
    spectrogram = noise(1, BINS, 1).expand(-1, -1, FRAMES)
    tokens = encoder(spectrogram)
    assert not torch.allclose(tokens[:, 0], tokens[:, -1])


@few
@given(count=st.integers(2, 6), seed=seeds)
def test_permuting_the_queries_permutes_the_slots(count: int, seed: int) -> None:
    sizes = variant(slots={"count": count})
    slots = LearnedQueries(sizes.slots, sizes.encoder).double()
    tokens, order = noise(2, 7, WIDTH, seed=seed), torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    before = slots(tokens)
    assert before.shape == (2, count, WIDTH)
    with torch.no_grad():
        slots.queries.copy_(slots.queries[order].clone())
    torch.testing.assert_close(slots(tokens), before[:, order], atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", sorted(DECODERS))
@few
@given(seed=seeds)
def test_a_decoders_output_for_a_slot_does_not_depend_on_the_other_slots(kind: str, seed: int) -> None:
    decoder = DECODERS[kind](variant(), BINS, FRAMES).double()
    slots, tokens = noise(2, 3, WIDTH, seed=seed), noise(2, FRAMES, WIDTH, seed=seed + 1)
    others = slots.clone()
    others[:, [0, 2]] = noise(2, 2, WIDTH, seed=seed + 2)
    maps, changed = decoder(slots, tokens), decoder(others, tokens)
    assert maps.shape == (2, 3, BINS, FRAMES)
    torch.testing.assert_close(changed[:, 1], maps[:, 1], atol=1e-12, rtol=0)
    assert not torch.allclose(changed[:, 0], maps[:, 0])
    torch.testing.assert_close(decoder(slots[:, 1:2], tokens), maps[:, 1:2], atol=1e-12, rtol=0)


def test_the_broadcast_decoders_first_layer_equals_a_linear_on_the_concatenation() -> None:
    decoder: Any = BroadcastDecoder(variant(), BINS, FRAMES).double()
    slots = noise(2, 3, WIDTH)
    parts = [decoder.slot.weight, decoder.frequency.weight, decoder.time.weight]
    whole = torch.nn.Linear(sum(part.shape[1] for part in parts), len(parts[0])).double()
    with torch.no_grad():
        whole.weight.copy_(torch.cat(parts, dim=1))
        whole.bias.copy_(decoder.slot.bias)
    grid = (2, 3, BINS, FRAMES)
    points = [
        slots[:, :, None, None].expand(*grid, -1),
        decoder.frequencies[None, None, :, None].expand(*grid, -1),
        decoder.times[None, None, None].expand(*grid, -1),
    ]
    expected = decoder.hidden(whole(torch.cat(points, dim=-1))).squeeze(-1)
    torch.testing.assert_close(decoder(slots, noise(2, FRAMES, WIDTH)), expected, atol=1e-12, rtol=0)


def test_the_broadcast_decoder_sees_the_mixture_through_the_slot_alone_and_the_modulated_one_does_not() -> None:
    slots, tokens, others = noise(1, 2, WIDTH), noise(1, FRAMES, WIDTH, seed=1), noise(1, FRAMES, WIDTH, seed=2)
    for kind, bottleneck in (("broadcast", True), ("modulated", False)):
        decoder = DECODERS[kind](variant(), BINS, FRAMES).double()
        assert torch.equal(decoder(slots, tokens), decoder(slots, others)) is bottleneck
