"""When two runs are the same: identities leave out default values, so defaults are pinned, and new keys are free."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_benchmark import ROOT, made
from pydantic.fields import FieldInfo

from audioslots.config.benchmark import read_benchmark, resolve, variants
from audioslots.config.data import MixtureSet, Noise
from audioslots.config.training import Training
from audioslots.config.variant import InitFrom, Resolved, Separation, Variant
from audioslots.schema import Section, hyper

PINNED = Path(__file__).with_name("defaults.json")
HASHED: dict[str, type[Section]] = {"variant": Resolved, "mixtures": MixtureSet, "noise": Noise}
"""Sections whose defaults an identity leaves out; ``Resolved`` has the keys of ``Variant``."""
CHANGED = (
    "{key}: the default was {before}, and is {now}. A changed default changes identities, which leave defaults out: "
    "write the old value into the configs that meant it, then the new one into tests/defaults.json"
)
NEW = "{key}: a new key; it changes no identity. Write its default, {now}, into tests/defaults.json"
GONE = "{key}: no such key; remove it from tests/defaults.json"


def decides(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return not isinstance(extra, dict) or bool(extra.get("decides", True))


def defaults(section: type[Section], prefix: str) -> dict[str, Any]:
    """The default of every key that an identity may hold, by its dotted name."""
    found: dict[str, Any] = {}
    for key, field in section.model_fields.items():
        value = None if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(value, Section):
            found |= defaults(type(value), f"{prefix}.{key}")
        elif decides(field) and not field.is_required():
            found[f"{prefix}.{key}"] = json.loads(json.dumps(value))
    return found


def differences(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    lines = [
        (CHANGED if key in before else NEW).format(key=key, before=json.dumps(before.get(key)), now=json.dumps(value))
        for key, value in now.items()
        if key not in before or before[key] != value
    ]
    return [*lines, *(GONE.format(key=key) for key in before if key not in now)]


def test_no_default_changes_by_accident() -> None:
    now = {name: value for prefix, section in HASHED.items() for name, value in defaults(section, prefix).items()}
    assert "\n".join(differences(now, json.loads(PINNED.read_text(encoding="utf-8")))) == ""


def test_every_default_of_a_variant_is_pinned() -> None:
    pinned = json.loads(PINNED.read_text(encoding="utf-8"))
    leaves = defaults(Variant, "variant")
    assert len(leaves) > 60 and leaves.keys() <= pinned.keys()
    assert {"variant.training.learning_rate", "variant.separation.overlap", "variant.slots.count"} <= leaves.keys()


def test_a_changed_a_new_and_a_removed_default_each_say_what_to_do() -> None:
    before = {"variant.training.clip": 5.0, "variant.chunk_s": 0.5, "variant.gone": 1}
    lines = differences({"variant.training.clip": 4.0, "variant.chunk_s": 0.5, "variant.later": True}, before)
    assert len(lines) == 3
    assert "variant.training.clip: the default was 5.0, and is 4.0. A changed default changes identities" in lines[0]
    assert "write the old value into the configs that meant it" in lines[0]
    assert lines[1].startswith("variant.later: a new key; it changes no identity.")
    assert lines[2].startswith("variant.gone: no such key")


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
    known = variants(benchmark)
    return [resolve(benchmark, name, 0, known) for name in known]


def test_a_new_key_with_a_default_changes_no_identity(mini: list[Resolved]) -> None:
    assert len(mini) > 100
    for config in mini:
        later = Later.of(config.document(), config.name)
        assert later.identity == config.identity and later.run_identity == config.run_identity, config.name
        assert Later.of(later.document(), config.name) == later


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("training", "momentum", 0.8), ("refiner", "depth", 4), ("", "extra", "more")],
)
def test_another_value_of_a_new_key_changes_every_identity(
    mini: list[Resolved], section: str, key: str, value: Any
) -> None:
    for config in mini:
        document = config.document()
        (document.setdefault(section, {}) if section else document)[key] = value
        later = Later.of(document, config.name)
        assert later.identity != config.identity and later.run_identity != config.run_identity, config.name


def test_another_value_of_a_new_key_of_separation_is_another_run_of_the_same_model(mini: list[Resolved]) -> None:
    for config in mini:
        document = config.document()
        document["separation"]["fade"] = True
        later = Later.of(document, config.name)
        assert later.identity == config.identity and later.run_identity != config.run_identity, config.name


# --- what counts, and what does not --------------------------------------------------------------------------------


@pytest.fixture
def config() -> Resolved:
    return resolve(made("audioslots"), "audioslots", 0)


def changed(config: Resolved, section: str = "", **values: Any) -> Resolved:
    document = config.document()
    (document[section] if section else document).update(values)
    return Resolved.of(document, "changed")


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("training", {"checkpoint_every": 7}),
        ("training", {"checkpoint_minutes": 0.5}),
        ("training", {"skips": 3}),
        ("training", {"accumulate": 2}),
        ("", {"title": "Another"}),
        ("", {"name": "another"}),
        ("", {"benchmark": "another"}),
        ("", {"train": "elsewhere/train"}),
        ("", {"validation": "elsewhere/dev"}),
        ("", {"validation": None}),
    ],
)
def test_operational_keys_names_titles_and_places_change_no_identity(
    config: Resolved, section: str, values: dict[str, Any]
) -> None:
    other = changed(config, section, **values)
    assert other != config
    assert (other.identity, other.run_identity) == (config.identity, config.run_identity)


def test_the_place_of_noise_changes_no_identity() -> None:
    config = resolve(made("noise", task="sep_noisy", noise={"hours": 0.5}), "noisy", 0)
    other = changed(config, noise="elsewhere/noise")
    assert config.noise and (other.identity, other.run_identity) == (config.identity, config.run_identity)


def test_separation_is_part_of_a_run_and_not_of_its_model(config: Resolved) -> None:
    for values in ({"overlap": 0.9}, {"reconstruction": "misi"}, {"extra_slots": "merge"}):
        other = changed(config, "separation", **values)
        assert other.identity == config.identity and other.run_identity != config.run_identity, values


def test_the_initial_run_counts_by_its_identity_and_not_by_its_name_or_place(config: Resolved) -> None:
    def initialised(variant: str, benchmark: str | None, model: str, identity: str) -> Resolved:
        init = InitFrom(variant=variant, benchmark=benchmark).model_dump()
        return changed(config, init_from=init, init_model=model, init_identity=identity)

    first = initialised("first", None, "results/a/model.safetensors", "1" * 16)
    renamed = initialised("other", "mini", "results/b/model.safetensors", "1" * 16)
    trained_otherwise = initialised("first", None, "results/a/model.safetensors", "2" * 16)
    assert (first.identity, first.run_identity) == (renamed.identity, renamed.run_identity)
    assert len({config.identity, first.identity, trained_otherwise.identity}) == 3
    assert len({config.run_identity, first.run_identity, trained_otherwise.run_identity}) == 3


def test_a_name_of_a_benchmark_or_study_changes_no_identity() -> None:
    known = made("audioslots"), made("audioslots", "slots", name="other", title="Other", seeds=[0, 5], lengths=2)
    plain, other = (resolve(one, "film", 0) for one in known)
    assert plain.benchmark != other.benchmark and plain.identity == other.identity


def test_a_default_that_is_written_out_changes_no_identity(config: Resolved) -> None:
    written = made("audioslots", variant={"chunk_s": 0.5, "training": {"clip": 5, "mixing": "dynamic"}})
    assert resolve(written, "audioslots", 0).run_identity == config.run_identity
