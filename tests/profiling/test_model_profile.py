"""The profile of a model: the table that docs/gpu.md shows, and counts that agree with what real tensors do."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from audioslots.cli import main
from audioslots.config.study import merge
from audioslots.config.variant import Resolved
from audioslots.models.compute import multiply_accumulates, training_multiply_accumulates
from audioslots.profiling.model_profile import profile_model, profile_variants, separation_memory
from audioslots.reporting.publish import BEGIN, END
from audioslots.runtime.errors import InputError
from audioslots.separation.weights import build
from audioslots.training.objective import Matched
from audioslots.training.system import describe

ROOT = Path(__file__).resolve().parents[2]
PAPER = "config/libri2mix.yaml"
SMALL: dict[str, Any] = {
    "name": "small",
    "benchmark": "made",
    "seed": 0,
    "rate": 8000,
    "sources": 2,
    "train": "packed/train-clean",
    "validation": "packed/dev-clean",
    "held_out_speakers": 0,
    "data_identity": "made",
    "chunk_s": 0.25,
    "model": {
        **{"width": 32, "heads": 2, "mlp": 32, "spectrogram": {"window": 128, "hop": 64}},
        "encoder": {"blocks": [1, 1], "layers": 1},
        "slots": {"layers": 1},
        "decoder": {"width": 32, "layers": 2},
    },
    "training": {"batch": 8},
}
TASNET = {"kind": "conv_tasnet", "filters": 32, "features": 16, "hidden": 32, "layers": 2, "stacks": 1}
DPRNN = {
    "kind": "imported",
    "path": f"{ROOT}/ablations/networks/dprnn.py:DPRNN",
    "arguments": {"filters": 16, "hidden": 16, "layers": 1, "chunk": 20},
}
KINDS: dict[str, dict[str, Any]] = {
    "paper": {},
    "weights": {"model": {"width": 256, "mlp": 2048}, "training": {"batch": 1}},
    "convolutions": {"model": {"slots": {"kind": "attention"}, "decoder": {"kind": "broadcast_cnn"}}},
    "frames": {
        "model": {
            "encoder": {"kind": "frames"},
            "decoder": {"kind": "film"},
            "slots": {"count": 4},
            "output": "complex",
        },
        "sources": 3,
        "training": {"loss": "snr"},
    },
    "conv_tasnet": {"model": TASNET, "training": {"loss": "si_sdr"}},
    "imported": {"model": DPRNN, "training": {"loss": "si_sdr"}},
}


def small(**delta: Any) -> Resolved:
    if delta.get("model", {}).get("kind") == "imported":
        pytest.importorskip("speechbrain", reason="speechbrain is not installed")
    return Resolved.of(merge(SMALL, delta), "made")


def measured_peak(config: Resolved) -> int:
    """Bytes that torch's allocator hands out at most in two training steps on values, by its profiler."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True
    ) as profile:
        model, loss = build(config), Matched(config)
        optimiser = torch.optim.AdamW(model.parameters(), fused=True)
        for _ in range(2):
            sources = torch.randn(config.training.batch, config.sources, config.chunk)
            value = loss(model(sources.sum(dim=1)), sources)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
    assert profile.profiler is not None and profile.profiler.kineto_results is not None
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"imported"}))  # a fused LSTM's workspace is left out
def test_counted_peak_is_that_of_a_step_on_values_within_2_percent(kind: str) -> None:
    config = small(**KINDS[kind])
    counted = profile_model(config).parts["peak_memory_bytes"].sum()
    assert counted == pytest.approx(measured_peak(config), rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_sum_up_to_what_training_reports(kind: str) -> None:
    config = small(**KINDS[kind])
    profile, model = profile_model(config), build(config)
    speech: Any = SimpleNamespace(subset="train-clean", hours=1.0, speakers=["1", "2"])
    described = describe(config, model, speech, torch.device("cpu"))
    assert profile.parts["parameters"].sum() == described["parameters"]
    assert profile.parts["macs_per_second"].sum() == described["macs_per_second"]
    assert profile.slot_sizes == {
        key: value for key, value in described.items() if key in ("slot_size", "spectrogram_size")
    }
    assert bool(profile.slot_sizes) == (config.model.kind == "audioslots")
    expected = training_multiply_accumulates(model, config.crop) / config.chunk_s
    assert described["training_macs_per_second"] == expected
    assert profile.training_macs_per_second == pytest.approx(expected, rel=0.03), "the loss uses no presence or state"


def test_audioslots_is_as_counted_by_hand() -> None:
    parts = {"encoder": {"kind": "frames", "layers": 3}, "decoder": {"kind": "unfolded", "layers": 2}}
    config = small(model={**parts, "slots": {"count": 3, "layers": 2}})
    width, hidden, slots, bins, frames = 32, 32, 3, 65, 33

    def attention(queries: int, tokens: int) -> int:
        return 2 * queries * width**2 + 2 * tokens * width**2 + 2 * queries * tokens * width

    def layer(tokens: int) -> int:
        return attention(tokens, tokens) + 2 * tokens * width * hidden

    by_path = multiply_accumulates(build(config), config.crop)
    assert by_path["encoder"] == frames * bins * width + 3 * layer(frames)
    assert by_path["slots"] == 2 * (layer(slots) + attention(slots, frames))
    assert by_path["decoder"] == slots * (frames * width**2 + 2 * layer(frames) + frames * width * bins)
    assert by_path[""] == by_path["encoder"] + by_path["slots"] + by_path["decoder"]


@pytest.mark.parametrize(
    ("section", "key", "part"),
    [
        ("encoder", "blocks", "Encoder: resnet"),
        ("slots", "layers", "Slots: queries"),
        ("decoder", "layers", "Decoder: broadcast"),
    ],
)
def test_a_larger_part_is_charged_to_that_part_only(section: str, key: str, part: str) -> None:
    larger = {"blocks": [2, 1], "layers": SMALL["model"][section]["layers"] + 1}[key]
    more = profile_model(small(model={section: {key: larger}})).parts - profile_model(small()).parts
    assert (more.loc[part] > 0).all()
    assert (more.drop(index=part) == 0).all(axis=None), more


def test_profiling_again_changes_no_byte() -> None:
    """What torch remembers of operators on tensors without values has no influence."""
    FakeTensorMode.cache_clear()
    first = profile_model(small()).parts
    assert profile_model(small()).parts.equals(first)


def test_a_slot_s_size_is_that_of_its_embedding_and_a_source_s_that_of_its_spectrogram() -> None:
    sizes = profile_model(small()).slot_sizes
    assert sizes == {"slot_size": 32, "spectrogram_size": 65 * 33}, "bins x frames"
    assert profile_model(small(**KINDS["frames"])).slot_sizes == sizes, "two maps of a complex mask are one source's"


def test_matching_of_three_sources_needs_no_values() -> None:
    """Beyond two sources and three slots it is SciPy's, on the host."""
    delta: dict[str, Any] = {"sources": 3, "model": {"slots": {"count": 4}}}
    fixed = profile_model(small(**delta, training={"assignment": "fixed"})).parts
    assert profile_model(small(**delta)).parts.equals(fixed)


def test_documentation_shows_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    before = Path("docs/gpu.md").read_text(encoding="utf-8")
    emptied, (ahead, begin, rest) = tmp_path / "gpu.md", before.partition(BEGIN.format(PAPER))
    emptied.write_text(f"{ahead}{begin}\nold\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    arguments = ["profile", PAPER, "audioslots", "conv-tasnet", "--page", str(emptied)]
    monkeypatch.setattr(sys, "argv", ["audioslots", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert emptied.read_text(encoding="utf-8") == before, f"audioslots {' '.join(arguments[:-1])} docs/gpu.md"


def test_an_unknown_variant_is_named() -> None:
    with pytest.raises(InputError, match="unknown variant 'audioslot'; did you mean 'audioslots'"):
        profile_variants(ROOT / PAPER, ["audioslot"])


@pytest.mark.parametrize("kind", ["broadcast", "film"])
def test_memory_of_separation_is_that_of_a_batch_of_chunks_and_does_not_grow_with_the_slots(kind: str) -> None:
    configs = {slots: small(model={"slots": {"count": slots}, "decoder": {"kind": kind}}) for slots in (2, 8)}
    memory = {slots: separation_memory(config) for slots, config in configs.items()}
    for slots, config in configs.items():
        assert 4 * sum(weight.numel() for weight in build(config).parameters()) < memory[slots]
        assert separation_memory(config, "cpu") < memory[slots]
    assert memory[8] < 1.1 * memory[2]


def test_memory_of_separation_by_conv_tasnet_is_that_of_its_longest_recording() -> None:
    config = small(model={"kind": "conv_tasnet"}, training={"loss": "snr"})
    longer = config.separation.model_copy(update={"longest_s": 2 * config.separation.longest_s})
    twice = separation_memory(config.model_copy(update={"separation": longer}))
    assert 1.8 < twice / separation_memory(config) < 2.2
