"""Sizes: the table that docs/gpu.md shows, and counts that agree with what real tensors do."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from audioslots.cli import main
from audioslots.config.study import merge
from audioslots.config.variant import Resolved
from audioslots.models.compute import multiply_accumulates
from audioslots.profiling.sizes import count, held, separation_memory, sizes
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
}


def small(**delta: Any) -> Resolved:
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


@pytest.mark.parametrize("kind", KINDS)
def test_counted_peak_is_what_a_step_on_values_takes_to_2_percent(kind: str) -> None:
    config = small(**KINDS[kind])
    counted = count(config)["peak_memory_bytes"].sum()
    assert counted == pytest.approx(measured_peak(config), rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_sum_up_to_what_training_reports_of_the_whole(kind: str) -> None:
    config = small(**KINDS[kind])
    counted, model = count(config), build(config)
    assert counted["parameters"].sum() == sum(parameter.numel() for parameter in model.parameters())
    assert counted["macs_per_second"].sum() == multiply_accumulates(model, config.chunk)[""] / config.chunk_s


@pytest.mark.parametrize(
    ("section", "key", "part"),
    [
        ("encoder", "blocks", "Encoder: resnet"),
        ("encoder", "layers", "Encoder: resnet"),
        ("slots", "layers", "Slots: queries"),
        ("decoder", "layers", "Decoder: broadcast"),
    ],
)
def test_a_larger_part_is_charged_to_that_part_alone(section: str, key: str, part: str) -> None:
    before = count(small())
    larger = {"blocks": [2, 1], "layers": SMALL["model"][section]["layers"] + 1}[key]
    more = count(small(model={section: {key: larger}})) - before
    assert (more.loc[part] > 0).all()
    assert (more.drop(index=part) == 0).all(axis=None), more


def test_counting_again_changes_no_byte() -> None:
    """What torch remembers of operators on tensors without values has no part in it."""
    FakeTensorMode.cache_clear()
    first = count(small())
    assert count(small()).equals(first)


def test_a_slot_s_numbers_are_those_of_the_embedding_and_a_source_s_those_of_its_spectrogram() -> None:
    wide = small(model={"width": 64}, chunk_s=0.5)
    assert held(small()) == {"numbers_a_slot": 32, "numbers_a_source": 65 * 33}, "bins x frames"
    assert held(wide) == {"numbers_a_slot": 64, "numbers_a_source": 65 * 64}
    assert held(small(**KINDS["frames"])) == held(small()), "two maps of a complex mask are one source's all the same"


@pytest.mark.parametrize("kind", ["paper", "conv_tasnet"])
def test_a_run_s_costs_say_what_is_counted_of_a_slot(kind: str) -> None:
    config = small(**KINDS[kind])
    speech: Any = SimpleNamespace(subset="train-clean", hours=1.0, speakers=["1", "2"])
    costs = describe(config, build(config), speech, torch.device("cpu"))
    told = {key: value for key, value in costs.items() if key.startswith("numbers_")}
    assert told == {key: value for key, value in held(config).items() if not pd.isna(value)}
    assert bool(told) == (kind == "paper")


def test_the_table_says_what_a_slot_holds_of_the_whole_that_has_slots() -> None:
    table = sizes(ROOT / PAPER, ["audioslots", "conv-tasnet"])
    shown = [row[-1].text for row in table.cells()]
    slot, source = table.data.iloc[-2][["numbers_a_slot", "numbers_a_source"]]
    assert shown == ["–"] * 4 + [f"{slot:,.0f} : {source:,.0f} [1 : {source / slot:.0f}]", "–"]
    for text in (table.plain(), table.markdown(), table.latex()):
        assert shown[-2] in text and "Numbers a slot : a source" in text


def test_matching_of_three_sources_needs_no_values() -> None:
    """Beyond two sources and three slots it is SciPy's, on the host."""
    fixed = count(small(sources=3, model={"slots": {"count": 4}}, training={"assignment": "fixed"}))
    assert count(small(sources=3, model={"slots": {"count": 4}})).equals(fixed)


def test_documentation_shows_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting again changes nothing in it."""
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
        sizes(ROOT / PAPER, ["audioslot"])


@pytest.mark.parametrize("kind", ["broadcast", "film"])
def test_memory_of_separation_is_that_of_a_batch_of_chunks_and_does_not_grow_with_the_slots(kind: str) -> None:
    found = {}
    for slots in (2, 8):
        config = small(model={"slots": {"count": slots}, "decoder": {"kind": kind}})
        found[slots] = separation_memory(config)
        assert 4 * sum(weight.numel() for weight in build(config).parameters()) < found[slots]
        assert separation_memory(config, "cpu") < found[slots]
    assert found[8] < 1.1 * found[2]


def test_memory_of_separation_by_conv_tasnet_is_that_of_its_longest_recording() -> None:
    config = small(model={"kind": "conv_tasnet"}, training={"loss": "snr"})
    longer = config.separation.model_copy(update={"longest_s": 2 * config.separation.longest_s})
    twice = separation_memory(config.model_copy(update={"separation": longer}))
    assert 1.8 < twice / separation_memory(config) < 2.2
