"""Multiply-accumulates agree with counts by hand, for layers by themselves and for whole networks of the field."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel

from audioslots.models.compute import (
    FORMULAS,
    count_multiply_accumulates,
    multiply_accumulates,
    training_multiply_accumulates,
)
from audioslots.runtime.errors import InputError

B, T, C, H = 2, 7, 4, 6  # batch, steps, channels, hidden units


class OnMixture(nn.Module):
    """A layer as a network of mixtures; what it reads is made of the mixture (1, T), in another shape."""

    def __init__(self, layer: nn.Module, *shape: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.layer, self.shape, self.dtype = layer, shape, dtype

    def forward(self, mixture: Tensor) -> Tensor:
        given = (mixture.mean() + torch.zeros(self.shape)).to(self.dtype)
        return self.layer(given, given, given) if isinstance(self.layer, nn.MultiheadAttention) else self.layer(given)


def attention(width: int, steps: int) -> int:
    """Of one sequence: projections of queries, keys, values and output; scores and weighted values."""
    return 4 * steps * width**2 + 2 * steps**2 * width


def transformer(width: int, hidden: int, steps: int) -> int:
    return attention(width, steps) + 2 * steps * width * hidden


COMPLEX = torch.complex64
LAYERS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "linear": (lambda: OnMixture(nn.Linear(C, H), B, T, C), B * T * C * H),
    "complex": (lambda: OnMixture(nn.Linear(C, H, dtype=COMPLEX), B, T, C, dtype=COMPLEX), 4 * B * T * C * H),
    "convolution": (lambda: OnMixture(nn.Conv1d(C, H, 3), B, C, T), B * (T - 2) * 3 * C * H),
    "grouped": (lambda: OnMixture(nn.Conv1d(C, C, 3, stride=2, groups=C), B, C, T), B * 3 * 3 * C),
    "images": (lambda: OnMixture(nn.Conv2d(C, H, (3, 1), bias=False), B, C, T, T), B * (T - 2) * T * 3 * C * H),
    "transposed": (lambda: OnMixture(nn.ConvTranspose1d(C, H, 4, stride=2), B, C, T), B * T * 4 * C * H),
    "complex convolution": (
        lambda: OnMixture(nn.Conv1d(C, H, 3, dtype=COMPLEX), B, C, T, dtype=COMPLEX),
        3 * B * (T - 2) * 3 * C * H,
    ),
    "lstm": (lambda: OnMixture(nn.LSTM(C, H), T, B, C), B * T * 4 * H * (C + H)),
    "lstm, two layers, both directions": (
        lambda: OnMixture(nn.LSTM(C, H, 2, bidirectional=True, batch_first=True), B, T, C),
        B * T * 2 * 4 * H * (C + H + 2 * H + H),
    ),
    "gru, two layers": (lambda: OnMixture(nn.GRU(C, H, 2), T, B, C), B * T * 3 * H * (C + H + H + H)),
    "gru, both directions": (lambda: OnMixture(nn.GRU(C, H, bidirectional=True), T, B, C), B * T * 2 * 3 * H * (C + H)),
    "rnn": (lambda: OnMixture(nn.RNN(C, H), T, B, C), B * T * H * (C + H)),
    "projected lstm": (lambda: OnMixture(nn.LSTM(C, H, proj_size=3), T, B, C), B * T * (4 * H * (C + 3) + 3 * H)),
    "cell": (lambda: OnMixture(nn.LSTMCell(C, H), B, C), B * 4 * H * (C + H)),
    "attention": (lambda: OnMixture(nn.MultiheadAttention(C, 2, batch_first=True), B, T, C), B * attention(C, T)),
    "transformer": (
        lambda: OnMixture(nn.TransformerEncoder(nn.TransformerEncoderLayer(C, 2, H, batch_first=True), 2), B, T, C),
        2 * B * transformer(C, H, T),
    ),
    "weight norm": (
        lambda: OnMixture(nn.utils.parametrizations.weight_norm(nn.Conv1d(C, H, 3)), B, C, T),
        B * (T - 2) * 3 * C * H,
    ),
    "free": (lambda: OnMixture(nn.Sequential(nn.BatchNorm1d(C), nn.PReLU(C), nn.Dropout(0.5)), B, C, T), 0),
}


class SameFakes(FakeTensorMode):
    def __deepcopy__(self, memo: object) -> SameFakes:
        return self  # a copied layer stays in it


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_s_count_is_that_by_hand_also_without_values_and_with_gradients(kind: str) -> None:
    build, expected = LAYERS[kind]
    model = build()
    assert multiply_accumulates(model, 5)[""] == expected
    with count_multiply_accumulates(model) as counts:
        model(torch.zeros(1, 5))
    assert counts[""] == counts["layer"] == expected, "with gradients, and in training mode"
    with torch.inference_mode(), count_multiply_accumulates(model) as counts:
        model.eval()(torch.zeros(1, 5))
    assert counts[""] == expected, "in inference mode"
    training = training_multiply_accumulates(model, 5)
    assert 2 * expected <= training <= 3 * expected
    with SameFakes():
        fake = build()
        assert multiply_accumulates(fake, 5)[""] == expected
        assert training_multiply_accumulates(fake, 5) == training


@pytest.mark.parametrize("kind", ["lstm", "lstm, two layers, both directions"])
def test_fused_and_unrolled_recurrence_count_the_same(kind: str) -> None:
    model = LAYERS[kind][0]()
    with torch.backends.mkldnn.flags(enabled=False):
        assert multiply_accumulates(model, 5)[""] == LAYERS[kind][1]


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
def test_fused_attention_counts_like_its_matrix_products(backend: SDPBackend) -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, mixture: Tensor) -> Tensor:
            query, key = self.query(mixture.expand(2, 3, 7, 8)), self.key(mixture.expand(2, 3, 5, 8))
            return nn.functional.scaled_dot_product_attention(query, key, key)

    model, rows = Attention(), (2 * 3 * 7, 2 * 3 * 5)
    scores = 2 * 2 * 3 * 7 * 5 * 8
    with sdpa_kernel(backend):
        assert multiply_accumulates(model, 8) == {
            "": sum(rows) * 64 + scores,
            **{"query": rows[0] * 64, "key": rows[1] * 64},
        }
        assert training_multiply_accumulates(model, 8) == 2 * sum(rows) * 64 + 3 * scores, "the mixture has no gradient"


def test_kernels_of_gpus_count_like_those_of_cpus() -> None:
    """On tensors without values; the kernels themselves need a GPU."""
    aten = torch.ops.aten
    with torch.device("meta"):
        lstm, hidden = nn.LSTM(C, H, 2, bidirectional=True), torch.zeros(4, B, H)
        query, key = torch.zeros(B, 3, T, C), torch.zeros(B, 3, 5, C)
        signal = torch.zeros(T, B, C)
    with count_multiply_accumulates(lstm) as counts:
        aten._cudnn_rnn(
            signal, lstm._flat_weights, 4, None, hidden, hidden, 2, H, 0, 2, False, 0.0, True, True, [], None
        )
    assert counts[""] == LAYERS["lstm, two layers, both directions"][1]
    for fused, options in {
        aten._scaled_dot_product_efficient_attention: (None, True),
        aten._scaled_dot_product_cudnn_attention: (None, True),
        aten._scaled_dot_product_flash_attention: (),
    }.items():
        with count_multiply_accumulates(lstm) as counts:
            fused(query, key, key, *options)
        assert counts[""] == 2 * B * 3 * T * 5 * C


def test_a_training_step_counts_gradients_of_weights_and_of_what_needs_them() -> None:
    first, second = B * (T - 2) * 3 * C, B * (T - 2) * C * H
    model = OnMixture(nn.Sequential(nn.Conv1d(C, C, 3, groups=C), nn.Conv1d(C, H, 1)), B, C, T)
    assert training_multiply_accumulates(model, 5) == 2 * first + 3 * second
    model.layer[1].requires_grad_(False)
    assert training_multiply_accumulates(model, 5) == 2 * first + 2 * second


def test_counting_leaves_the_model_and_the_generators_as_they_were() -> None:
    model = LAYERS["free"][0]()
    model.layer[0].eval()
    before, state = copy.deepcopy(model), torch.get_rng_state()
    next(model.parameters()).grad = gradient = torch.ones(C)
    multiply_accumulates(model, 5), training_multiply_accumulates(model, 5)
    assert torch.equal(torch.get_rng_state(), state) and next(model.parameters()).grad is gradient
    assert model.training and not model.layer[0].training
    for key, value in before.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key


@torch.library.custom_op("audioslots_tests::scan", mutates_args=())
def scan(signal: Tensor, decay: Tensor) -> Tensor:
    return signal * decay.sum()


class Scan(nn.Module):
    """A state-space layer, whose kernel gets what it computes of its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.log_decay = nn.Parameter(torch.zeros(C, H))

    def forward(self, signal: Tensor) -> Tensor:
        return scan(signal, -torch.exp(self.log_decay.half().float()))


class Bilinear(nn.Bilinear):
    def forward(self, signal: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(signal, signal)


@pytest.mark.parametrize(
    ("layer", "operator"), [(Scan(), "audioslots_tests.scan"), (Bilinear(C, C, H), "aten._trilinear")]
)
def test_an_operator_with_a_weight_and_no_formula_is_an_error_that_names_it_and_its_module(
    layer: nn.Module, operator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = OnMixture(nn.Sequential(layer), B, C)
    with pytest.raises(InputError, match=f"'layer.0': operator {operator}"):
        multiply_accumulates(model, 5)
    monkeypatch.setitem(FORMULAS, torch.ops.audioslots_tests.scan, lambda *_: 3)
    monkeypatch.setitem(FORMULAS, torch.ops.aten._trilinear, lambda *_: 3)
    assert multiply_accumulates(model, 5)["layer.0"] == 3


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_conv_tasnet_of_torchaudio_is_as_counted_by_hand() -> None:
    from torchaudio.models import ConvTasNet

    n, b, h, layers, stacks, taps, samples, sources = 32, 8, 16, 3, 2, 16, 400, 2
    model = ConvTasNet(sources, taps, n, 3, b, h, layers, stacks)
    frames, blocks = samples // (taps // 2) + 1, layers * stacks
    matrices = 3 * b * h * blocks - b * h + 3 * h * blocks  # of blocks: in, residual (not of the last), skip; depthwise
    matrices += b * n + sources * b * n
    with count_multiply_accumulates(model) as counts:
        model(torch.zeros(1, 1, samples))
    assert counts[""] == frames * (matrices + n * taps + sources * n * taps)
    assert counts["decoder"] == frames * sources * n * taps
    small = blocks * (h + 1 + 2 * h + h + 1 + 2 * h + 2 * b) - b  # biases, PReLUs, norms
    assert parameters(model) == matrices + 2 * n * taps + small + 2 * n + b + 1 + sources * n


class Dprnn(nn.Module):
    """Speechbrain's dual-path network between an encoder and a decoder."""

    def __init__(self, n: int, h: int, layers: int, chunk: int) -> None:
        super().__init__()
        parts = pytest.importorskip("speechbrain.lobes.models.dual_path", reason="speechbrain is not installed")
        self.encoder = parts.Encoder(16, n)
        rnns = [parts.SBRNNBlock(n, h, 1, "LSTM", bidirectional=True) for _ in range(2)]
        self.masks = parts.Dual_Path_Model(n, n, *rnns, layers, "ln", chunk, 2)
        self.decoder = parts.Decoder(in_channels=n, out_channels=1, kernel_size=16, stride=8, bias=False)

    def forward(self, mixture: Tensor) -> Tensor:
        spectra = self.encoder(mixture)
        return torch.stack([self.decoder(spectra * mask) for mask in self.masks(spectra)], dim=1)


def dual_path(n: int, frames: int, chunk: int) -> tuple[int, int, int]:
    """Chunks, and multiply-accumulates and weights around the blocks, of speechbrain's network with two sources."""
    gap = chunk - (chunk // 2 + frames % chunk) % chunk
    chunks = 2 * (frames + gap + chunk // 2) // chunk
    ends = frames * (16 * n + n**2) + 2 * frames * (3 * n**2 + 16 * n) + chunks * chunk * 2 * n**2
    return chunks, ends, 2 * 16 * n + (1 + 2 + 3) * n**2


def test_dprnn_of_speechbrain_is_as_counted_by_hand() -> None:
    n, h, layers, chunk, samples = 16, 12, 2, 20, 808
    model, frames = Dprnn(n, h, layers, chunk), 100
    chunks, ends, weights = dual_path(n, frames, chunk)
    lstm, linear = 2 * 4 * h * (n + h), 2 * h * n
    assert multiply_accumulates(model, samples)[""] == pytest.approx(
        ends + layers * 2 * chunks * chunk * (lstm + linear), rel=0.01
    )
    small = layers * 2 * (2 * 2 * 4 * h + n + 2 * n) + 2 * n + 2 * n + 2 * n + 1  # biases and norms
    assert parameters(model) == weights + layers * 2 * (lstm + linear) + small


def test_sepformer_of_speechbrain_is_as_counted_by_hand() -> None:
    parts = pytest.importorskip("speechbrain.lobes.models.dual_path", reason="speechbrain is not installed")
    n, hidden, blocks, layers, chunk, samples = 16, 24, 2, 3, 20, 808
    options = {"intra_numlayers": layers, "inter_numlayers": layers, "intra_nhead": 2, "inter_nhead": 2}
    model = parts.SepformerWrapper(
        encoder_out_nchannels=n, masknet_chunksize=chunk, masknet_numlayers=blocks, intra_dffn=hidden,
        inter_dffn=hidden, **options,
    )  # fmt: skip
    chunks, ends, weights = dual_path(n, 100, chunk)
    transformers = chunks * transformer(n, hidden, chunk) + chunk * transformer(n, hidden, chunks)
    assert multiply_accumulates(model, samples)[""] == pytest.approx(ends + blocks * layers * transformers, rel=0.01)
    layer = 4 * n**2 + 2 * n * hidden + 4 * n + hidden + n + 4 * n  # weights, biases, norms
    small = blocks * 2 * (2 * n + 2 * n) + 2 * n + 2 * n + 2 * n + 1
    assert parameters(model) == pytest.approx(weights + blocks * 2 * layers * layer + small, rel=0.01)
