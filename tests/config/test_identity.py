"""When two runs are the same: identities leave out default values, so defaults are pinned, and new keys are free."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_benchmark import ROOT, made

from audioslots.config.benchmark import read_benchmark, resolve, variants
from audioslots.config.data import MixtureSet, Noise
from audioslots.config.separation import Separation
from audioslots.config.study import merge
from audioslots.config.training import Training
from audioslots.config.variant import InitFrom, Resolved, Variant
from audioslots.schema import KINDS, Kinds, Section, checked, hyper

PINNED = Path(__file__).with_name("defaults.json")
HASHED: dict[str, type[Section]] = {"variant": Resolved, "mixtures": MixtureSet, "noise": Noise}
"""Sections whose defaults an identity leaves out; ``Resolved`` has the keys of ``Variant``."""
CHANGED = (
    "{key}: the default was {before}, and is {now}. A changed default changes identities, which leave defaults out: "
    "write the old value into the configs that meant it, then the new one into tests/config/defaults.json"
)
NEW = "{key}: a new key; it changes no identity. Write its default, {now}, into tests/config/defaults.json"
GONE = "{key}: no such key; remove it from tests/config/defaults.json"


def defaults(section: type[Section], prefix: str) -> Iterator[tuple[str, Any]]:
    """The default of every key that an identity may hold, by its dotted name; of sections of every kind."""
    for key, field in section.model_fields.items():
        extra, name = field.json_schema_extra, f"{prefix}.{key}"
        value = None if field.is_required() else field.get_default(call_default_factory=True)
        if kinds := next((item for item in field.metadata if isinstance(item, Kinds)), None):
            yield f"{name}.kind", kinds.default
            for kind, config in kinds.configs.items():
                yield from ((k, v) for k, v in defaults(config, f"{name}.{kind}") if k != f"{name}.{kind}.kind")
        elif isinstance(value, Section):
            yield from defaults(type(value), name)
        elif not field.is_required() and not (isinstance(extra, dict) and not extra.get("decides", True)):
            yield name, json.loads(json.dumps(value))


def differences(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    lines = [
        (CHANGED if key in before else NEW).format(key=key, before=json.dumps(before.get(key)), now=json.dumps(value))
        for key, value in now.items()
        if key not in before or before[key] != value
    ]
    return [*lines, *(GONE.format(key=key) for key in before if key not in now)]


def test_no_default_changes_by_accident() -> None:
    now = {name: value for prefix, section in HASHED.items() for name, value in defaults(section, prefix)}
    assert "\n".join(differences(now, json.loads(PINNED.read_text(encoding="utf-8")))) == ""
    kinds = {f".{key}.{kind}." for key, of_key in KINDS.items() for kind in of_key.configs}
    assert len(now) > 70 and all(any(kind in name for name in now) for kind in kinds)


# --- keys that come later ------------------------------------------------------------------------------------------


class LaterTraining(Training):
    """With a key that this version lacks."""

    momentum: float = hyper(0.9, "of a later version")


class LaterSeparation(Separation):
    """With a key that this version lacks."""

    fade: bool = hyper(False, "of a later version")


class LaterSection(Section):
    """That this version lacks."""

    depth: int = hyper(3, "of a later version")


class Later(Resolved):
    """A resolved variant of a later version, with new keys at every depth."""

    training: LaterTraining = LaterTraining()
    separation: LaterSeparation = LaterSeparation()
    refiner: LaterSection = LaterSection()
    extra: str | None = hyper(None, "of a later version")


@pytest.fixture(scope="module")
def mini() -> list[Resolved]:
    """Every variant of config/mini.yaml, at every length."""
    benchmark = read_benchmark(ROOT / "config" / "mini.yaml", check=False)
    of_mini = variants(benchmark)
    return [resolve(benchmark, name, 0, of_mini) for name in of_mini]


def test_a_new_key_with_a_default_changes_no_identity(mini: list[Resolved]) -> None:
    assert len(mini) > 100
    for config in mini:
        later = Later.of(config.document(), config.name)
        assert later.identity == config.identity and later.run_identity == config.run_identity, config.name
        assert Later.of(later.document(), config.name) == later


@pytest.mark.parametrize(
    ("delta", "trains_again"),
    [
        ({"training": {"momentum": 0.8}}, True),
        ({"refiner": {"depth": 4}}, True),
        ({"extra": "more"}, True),
        ({"separation": {"fade": True}}, False),
    ],
)
def test_another_value_of_a_new_key_changes_every_identity(
    mini: list[Resolved], delta: dict[str, Any], trains_again: bool
) -> None:
    for config in mini:
        later = Later.of(merge(config.document(), delta), config.name)
        assert (later.identity != config.identity) == trains_again, config.name
        assert later.run_identity != config.run_identity, config.name


# --- what counts, and what does not --------------------------------------------------------------------------------

RESOLVED: dict[str, Any] = {
    **{"name": "made", "benchmark": "made", "seed": 0, "rate": 8000, "sources": 2, "train": "packed/train"},
    **{"validation": "packed/dev", "held_out_speakers": 0, "data_identity": "abc"},
}
CONV_TASNET: dict[str, Any] = {"model": {"kind": "conv_tasnet"}, "training": {"loss": "si_sdr"}}
IMPORTED: dict[str, Any] = {"model": {"kind": "imported", "path": "a.b:C"}, "training": {"loss": "si_sdr"}}
ADJACENT: dict[str, Any] = {"training": {"chunks_per_assignment": 2, "adjacent": True}}
PLAIN: list[dict[str, Any]] = [
    {},
    CONV_TASNET,
    IMPORTED | {"model": IMPORTED["model"] | {"domain": "stft"}},
    {"model": {"encoder": {"kind": "frames"}, "slots": {"kind": "attention"}, "decoder": {"kind": "film"}}},
    *({"model": {"decoder": {"kind": kind}}} for kind in ("broadcast_cnn", "frames", "unfolded")),
]
"""Variants that together have every key of every kind."""
NOT_LEAVES = ("kind", "init_from", "source_digest")  # have tests of their own
OTHER: dict[str, Any] = {
    "chunk_s": 1.0,
    "model.slots.count": 3,
    "model.arguments": {"depth": 3},
    "model.path": "a.b:D",
    "model.domain": "waveform",
    "model.outputs": 3,
    "model.output": "sigmoid",
    "model.recurrence": "last",
    "model.noise_slot": True,
    "model.spectrogram.hop": 60,
    "model.encoder.blocks": (1, 1),
    "model.encoder.kernel": 3,
    "model.decoder.kernel": 3,
    "model.decoder.stride": (1, 2),
    "training.loss": "snr",
    "training.assignment": "fixed",
    "training.unmatched": "free",
    "training.mixing": "static",
    "training.precision": "bf16-mixed",
    "training.adjacent_overlap": 0.25,
    "separation.reconstruction": "ratio",
    "separation.overlap": 0.75,
    "separation.extra_slots": "merge",
}
"""Other valid values, where twice the value, or 0.1 for 0, is none."""
NEEDS: dict[str, Any] = {
    "model.recurrence": ADJACENT,
    "training.adjacent_overlap": ADJACENT,
    "model.slots.count": {"training": {"unmatched": "free"}},
    "model.outputs": {"training": {"unmatched": "free"}},
    "model.noise_slot": {"model": {"slots": {"count": 3}}, "task": "sep_noisy", "noise": "noise"},
    "training.supervised": {"model": {"slots": {"count": 4}}, "training": {"loss": "snr", "assignment": "mixit"}},
}
"""Other keys that a key is valid with only."""


def resolved(*deltas: dict[str, Any]) -> Resolved:
    return checked(Resolved, functools.reduce(merge, deltas, RESOLVED), "config.json")


def leaves(section: Section, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a variant that decides its training, by its dotted key."""
    for key, field in type(section).model_fields.items():
        value, extra = getattr(section, key), field.json_schema_extra
        if isinstance(value, Section):
            yield from leaves(value, f"{prefix}{key}.")
        elif (not isinstance(extra, dict) or extra.get("decides", True)) and key not in NOT_LEAVES:
            yield prefix + key, value


def nested(key: str, value: Any) -> dict[str, Any]:
    return functools.reduce(lambda inner, name: {name: inner}, reversed(key.split(".")), value)


def doubled(value: Any) -> Any:
    return not value if isinstance(value, bool) else 2 * value or 0.1


CASES = [(base, key, value) for base in PLAIN for key, value in leaves(checked(Variant, base, "plain"))]


@pytest.mark.parametrize(
    ("base", "key", "value"),
    [
        pytest.param(*case, id=f"{PLAIN.index(case[0])}-{case[1]}")
        for case in CASES
        if case[0] == {} or "model." in case[1]
    ],
)
def test_identity_follows_every_hyper_parameter_of_every_kind(base: dict[str, Any], key: str, value: Any) -> None:
    before = resolved(base, NEEDS.get(key, {}))
    other = OTHER[key] if key in OTHER else doubled(value)
    after = resolved(base, NEEDS.get(key, {}), nested(key, other))
    assert after.run_identity != before.run_identity
    assert (after.identity == before.identity) == key.startswith("separation.")


def test_identity_follows_kinds() -> None:
    kinds = [
        {"model": {key: {"kind": kind}}}
        for key in ("encoder", "slots", "decoder")
        for kind in KINDS[key].configs
        if kind != KINDS[key].default
    ]
    deltas = [{}, CONV_TASNET, IMPORTED, *kinds, functools.reduce(merge, kinds)]
    assert len({resolved(delta).identity for delta in deltas}) == len(deltas)


@pytest.mark.parametrize("other", [{"seed": 1}, {"rate": 16000}, {"data_identity": "abd"}, {"held_out_speakers": 4}])
def test_identity_follows_seed_and_data(other: dict[str, Any]) -> None:
    assert resolved(other).identity != resolved().identity


@pytest.mark.parametrize(
    "other",
    [
        {"title": "Another"},
        {"name": "another"},
        {"benchmark": "another"},
        {"train": "elsewhere/train"},
        {"validation": "elsewhere/dev"},
        {"validation": None},
        {"training": {"checkpoint_every": 7}},
        {"training": {"accumulate": 2}},
    ],
)
def test_operational_keys_names_titles_and_places_change_no_identity(other: dict[str, Any]) -> None:
    config = resolved(other)
    assert config != resolved()
    assert (config.identity, config.run_identity) == (resolved().identity, resolved().run_identity)


def test_the_place_of_noise_changes_no_identity() -> None:
    noisy, moved = (resolved({"task": "sep_noisy", "noise": place}) for place in ("noise", "elsewhere"))
    assert noisy.identity == moved.identity != resolved().identity


def test_defaults_that_are_written_out_and_other_spellings_change_no_identity() -> None:
    written = {
        "chunk_s": 0.5,
        "model": {"kind": "audioslots", "encoder": {"kind": "resnet", "blocks": [3, 4, 6, 3]}, "decoder": {}},
        "training": {"learning_rate": 2.0e-4, "weight_decay": 0},
    }
    assert resolved(written).run_identity == resolved().run_identity


def test_the_initial_run_counts_by_its_identity_and_not_by_its_name_or_place() -> None:
    def initialised(variant: str, benchmark: str | None, model: str, identity: str) -> Resolved:
        init = InitFrom(variant=variant, benchmark=benchmark).model_dump()
        return resolved({"init_from": init, "init_model": model, "init_identity": identity})

    first = initialised("first", None, "results/a/model.safetensors", "1" * 16)
    renamed = initialised("other", "mini", "results/b/model.safetensors", "1" * 16)
    trained_otherwise = initialised("first", None, "results/a/model.safetensors", "2" * 16)
    assert first.identity == renamed.identity
    assert len({resolved().identity, first.identity, trained_otherwise.identity}) == 3


def test_a_name_of_a_benchmark_or_study_changes_no_identity() -> None:
    benchmarks = made("audioslots"), made("audioslots", "slots", name="other", title="Other", seeds=[0, 5], lengths=2)
    plain, other = (resolve(benchmark, "film", 0) for benchmark in benchmarks)
    assert plain.benchmark != other.benchmark and plain.identity == other.identity


def test_an_imported_file_counts_by_its_content_and_class_wherever_it_lies(tmp_path: Path) -> None:
    def identity(place: str, content: str, name: str = "Net") -> str:
        file = tmp_path / place / "net.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
        return resolved(IMPORTED, {"model": {"path": f"{file}:{name}"}}).identity

    assert identity("a", "x = 1") == identity("b", "x = 1")
    assert len({identity("a", "x = 1"), identity("a", "x = 2"), identity("a", "x = 1", "Other")}) == 3
