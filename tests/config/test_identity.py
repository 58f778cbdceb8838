"""When two runs are the same: identities leave out default values, so defaults are pinned, and new keys are free."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_benchmark import ROOT
from made_variant import CONV_TASNET, resolved
from pydantic import create_model

from audioslots.config.benchmark import read_benchmark, resolve, variants
from audioslots.config.data import MixtureSet, Noise
from audioslots.config.separation import Separation
from audioslots.config.study import merge
from audioslots.config.training import Training
from audioslots.config.variant import Resolved
from audioslots.models.base import Spectrogram
from audioslots.schema import KINDS, Kinds, Section

PINNED = Path(__file__).with_name("defaults.json")
HASHED: dict[str, type[Section]] = {"variant": Resolved, "mixtures": MixtureSet, "noise": Noise}
"""Sections whose defaults an identity leaves out; ``Resolved`` has the keys of ``Variant``."""
CHANGED = """
A changed default changes identities, which leave defaults out: write the old value into the configs that meant it, then
the new one into tests/config/defaults.json. A new key changes none: write its default there. Remove a key that is gone.
"""


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


def test_no_default_changes_by_accident() -> None:
    now = {name: value for prefix, section in HASHED.items() for name, value in defaults(section, prefix)}
    before = json.loads(PINNED.read_text(encoding="utf-8"))
    assert now == before, CHANGED
    kinds = {f".{key}.{kind}." for key, of_key in KINDS.items() for kind in of_key.configs}
    assert len(now) > 70 and all(any(kind in name for name in now) for kind in kinds)


# --- keys that come later ------------------------------------------------------------------------------------------


def later(section: type[Section], **keys: Any) -> Any:
    """A section of a later version, with keys that this version lacks."""
    return create_model(section.__name__, __base__=section, **{key: (type(v), v) for key, v in keys.items()})


LaterTraining, LaterSeparation = later(Training, momentum=0.9), later(Separation, fade=False)
Later = later(Resolved, training=LaterTraining(), separation=LaterSeparation(), stft=Spectrogram(), extra="")


@pytest.fixture(scope="module")
def mini() -> list[Resolved]:
    """Every variant of config/mini.yaml, at every length."""
    benchmark = read_benchmark(ROOT / "config" / "mini.yaml", check=False)
    by_name = variants(benchmark)
    return [resolve(benchmark, name, 0, by_name) for name in by_name]


@pytest.mark.parametrize(
    ("delta", "is_same", "is_same_run"),
    [
        ({}, True, True),
        ({"training": {"momentum": 0.8}}, False, False),
        ({"stft": {"exponent": 0.5}}, False, False),
        ({"extra": "more"}, False, False),
        ({"separation": {"fade": True}}, True, False),
    ],
)
def test_only_another_value_than_the_default_of_a_new_key_changes_identities(
    mini: list[Resolved], delta: dict[str, Any], is_same: bool, is_same_run: bool
) -> None:
    assert len(mini) > 100
    for config in mini:
        other = Later.of(merge(config.document(), delta), config.name)
        assert (other.identity == config.identity) == is_same, config.name
        assert (other.run_identity == config.run_identity) == is_same_run, config.name
        assert Later.of(other.document(), config.name) == other


# --- what counts, and what does not --------------------------------------------------------------------------------

IMPORTED: dict[str, Any] = {"model": {"kind": "imported", "path": "a.b:C"}, "training": {"loss": "snr"}}
FILE: dict[str, Any] = {"model": {"path": "net.py:Net", "source_digest": "0", "domain": "stft"}}
DECODERS = ("broadcast_cnn", "frames", "unfolded")
EVERY_KEY: dict[str, dict[str, Any]] = {
    "defaults": {},
    "conv_tasnet": CONV_TASNET,
    "imported": IMPORTED,
    "file": merge(IMPORTED, FILE),
    "parts": {"model": {"encoder": {"kind": "frames"}, "slots": {"kind": "attention"}, "decoder": {"kind": "film"}}},
    **{kind: {"model": {"decoder": {"kind": kind}}} for kind in DECODERS},
}
"""Variants that together have every key of every kind."""
DECIDES_NOTHING = {
    *("title", "name", "benchmark", "noise", "train", "validation", "init_model", "init_from"),  # init_identity does
    *("training.accumulate", "training.checkpoint_every"),
}


def changed(value: Any) -> Any:
    """Another value, which need not be a valid one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (list, tuple)):
        return type(value)([*value, 1])
    return value | {"other": 1} if isinstance(value, dict) else value + ("-" if isinstance(value, str) else 1)


def changes(section: Section, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted key of every value, and the section with another value there."""
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, Section):
            inner = changes(value, f"{prefix}{key}.")
        else:
            inner = iter([(prefix + key, "other" if value is None else changed(value))])
        yield from ((name, section.model_copy(update={key: other})) for name, other in inner)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("delta", EVERY_KEY.values(), ids=EVERY_KEY.keys())
def test_identity_follows_every_value_but_names_places_and_operation(delta: dict[str, Any]) -> None:
    config = resolved(delta)
    decides_nothing = DECIDES_NOTHING | ({"model.path"} if delta is EVERY_KEY["file"] else set())
    keys = {}
    for key, other in changes(config):
        keys[key] = other.identity != config.identity, other.run_identity != config.run_identity
    assert {key for key, same in keys.items() if same == (False, False)} == decides_nothing
    assert {key for key, same in keys.items() if same == (False, True)} == {k for k in keys if "separation." in k}
    assert len(keys) > 50


def test_identity_follows_kinds() -> None:
    kinds = [{"model": {key: {"kind": kind}}} for key in ("encoder", "slots", "decoder") for kind in KINDS[key].configs]
    deltas = [CONV_TASNET, IMPORTED, EVERY_KEY["parts"], *kinds]
    assert len({resolved(delta).identity for delta in deltas}) == len(deltas) - 2, "three are the defaults"


def test_defaults_that_are_written_out_and_other_spellings_change_no_identity() -> None:
    written = {
        "chunk_s": 0.5,
        "model": {"kind": "audioslots", "encoder": {"kind": "resnet", "blocks": [3, 4, 6, 3]}, "decoder": {}},
        "training": {"learning_rate": 2.0e-4, "weight_decay": 0},
    }
    assert resolved(written).run_identity == resolved().run_identity


def test_an_imported_file_counts_by_its_content_and_class_wherever_it_lies(tmp_path: Path) -> None:
    def identity(place: str, content: str, name: str = "Net") -> str:
        file = tmp_path / place / "net.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
        return resolved(IMPORTED, {"model": {"path": f"{file}:{name}"}}).identity

    assert identity("a", "x = 1") == identity("b", "x = 1")
    assert len({identity("a", "x = 1"), identity("a", "x = 2"), identity("a", "x = 1", "Other")}) == 3
