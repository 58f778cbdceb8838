"""The config: words of provenance, one line for whatever is wrong, an identity that follows what decides the result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audioslots.config.study import merge
from audioslots.config.variant import Resolved, Section, Variant, checked
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import write_json
from audioslots.schema import provenance

RESOLVED: dict[str, Any] = {
    "name": "mask",
    "benchmark": "made",
    "seed": 0,
    "rate": 8000,
    "sources": 2,
    "train": "packed/train",
    "validation": "packed/dev",
    "held_out_speakers": 0,
    "data_identity": "abc",
}
# Another valid value for what cannot simply be doubled.
OTHER = {
    "slots.noise_slot": True,
    "init_from": {"variant": "other"},
    "separation.extra_slots": "merge",
    "encoder.kind": "frames",
    "encoder.blocks": (1, 1),
    "encoder.kernel": 3,
    "spectrogram.hop": 60,
    "spectrogram.exponent": 0.5,
    "slots.kind": "attention",
    "decoder.kind": "film",
    "decoder.output": "sigmoid",
    "decoder.stride": (1, 2),
    "model": "conv_tasnet",
    "training.loss": "si_sdr",
    "training.exponent": 0.5,
    "training.assignment": "fixed",
    "training.unmatched": "free",
    "training.weight_decay": 0.01,
    "training.mixing": "static",
    "training.keep": "best",
    "training.precision": "bf16-mixed",
    "training.adjacent_overlap": 0.25,
    "training.contrast": 0.1,
    "training.ratio": 0.1,
    "training.single_speaker_fraction": 0.1,
    "training.supervised": 0.1,
    "training.discount": 0.3,
    "slots.recurrence": "gated",
    "slots.update": "sum",
    "slots.gradient": "last",
    "slots.start": "gaussian",
    "separation.reconstruction": "ratio",
    "separation.overlap": 0.75,
}
# Keys that ask for chunks in a row, for slot attention, or for mixtures without sources.
ASKS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        ("slots.recurrence", "training.adjacent_overlap", "training.contrast"),
        {"training": {"chunks_per_assignment": 2, "adjacent": True}},
    ),
    **dict.fromkeys(("slots.update", "slots.gradient", "slots.start"), {"slots": {"kind": "attention"}}),
    "training.discount": {"slots": {"refinement_iterations": 2}},
    "training.supervised": {"slots": {"count": 4}, "training": {"loss": "snr", "assignment": "mixit"}},
    "slots.noise_slot": {"slots": {"count": 3}, "task": "sep_noisy", "noise": "noise"},
}
# What a run costs and how often it is saved; the initial run counts by its identity (`test_identity.py`).
NOT_IDENTITY = {
    *("training.checkpoint_every", "training.checkpoint_minutes", "training.skips", "training.accumulate"),
    "init_from",
}


def resolved(**delta: Any) -> Resolved:
    return checked(Resolved, merge(RESOLVED, delta), "config.json")


def hyper_parameters(section: Section, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of the sections of a variant, by its dotted key."""
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, Section):
            yield from hyper_parameters(value, f"{prefix}{key}.")
        elif key != "title":
            yield prefix + key, value


def delta(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def changed(key: str, value: Any) -> Resolved:
    """A variant with another value of one hyper-parameter."""
    if key == "model" or key.startswith("conv_tasnet."):
        waveforms = resolved(model="conv_tasnet", training={"loss": "si_sdr"}).model_dump()
        return checked(Resolved, merge(waveforms, delta(key, OTHER.get(key, 2 * value))), "config.json")
    if key in ASKS:
        return resolved(**merge(ASKS[key], delta(key, OTHER.get(key, value))))
    if isinstance(value, bool):
        return resolved(**delta(key, not value))
    return resolved(**delta(key, OTHER[key] if key in OTHER else 2 * value or 0.1))


LEAVES = dict(hyper_parameters(Variant.model_validate({})))


def test_every_hyper_parameter_has_one_word_of_provenance() -> None:
    words = provenance(resolved())
    assert words.keys() == LEAVES.keys()
    assert set(words.values()) <= {"paper", "secondary", "ours"}


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("training.steps", 300_000, "secondary"),
        ("training.steps", 299_999, "ours"),
        ("encoder.blocks", [3, 4, 6, 3], "secondary"),
        ("encoder.blocks", [3, 4, 6], "ours"),
        ("decoder.output", "magnitude", "paper"),
        ("decoder.output", "sigmoid", "ours"),
        ("training.clip", 5.0, "ours"),
        ("init_from", None, "ours"),
    ],
)
def test_provenance_is_derived_from_the_value(key: str, value: Any, word: str) -> None:
    assert provenance(resolved(**delta(key, value)))[key] == word


def test_provenance_word_changes_with_the_value_of_every_key_but_ours() -> None:
    before = provenance(resolved())
    for key, value in LEAVES.items():
        assert provenance(changed(key, value))[key] == "ours" or before[key] == "ours", key


@pytest.mark.parametrize(
    ("wrong", "key", "near"),
    [
        ({"trainnig": {}}, "trainnig", "'training'"),
        ({"training": {"learning_rat": 1}}, "training.learning_rat", "'learning_rate'"),
        ({"encoder": {"widht": 16}}, "encoder.widht", "'width'"),
        (
            {"slots": {"zzzzz": 2}},
            "slots.zzzzz",
            "['count', 'gradient', 'iterations', 'kind', 'layers', 'noise_slot', 'recurrence', 'recursive', "
            "'refinement_iterations', 'start', 'tokens', 'update']",
        ),
    ],
)
def test_unknown_key_is_named_with_the_file_and_the_nearest_valid_one(
    tmp_path: Path, wrong: dict[str, Any], key: str, near: str
) -> None:
    write_json(tmp_path / "config.json", merge(RESOLVED, wrong))
    with pytest.raises(InputError) as error:
        Resolved.read(tmp_path / "config.json")
    assert str(error.value).startswith(f"{tmp_path / 'config.json'}: {key}: unknown key; ")
    assert near in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "key", "says"),
    [
        ({"rate": 11025}, "rate", "8000 or 16000"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"chunk_s": 0}, "chunk_s", "greater than 0"),
        ({"chunk_s": 0.05}, "chunk_s", "at least 512 samples"),
        ({"spectrogram": {"hop": 257}}, "spectrogram", "at most half the window (256)"),
        ({"spectrogram": {"window": 255, "hop": 100}}, "window", "255"),
        ({"spectrogram": {"exponent": 1.5}}, "spectrogram.exponent", "less than or equal to 1"),
        ({"encoder": {"width": 18, "heads": 4}}, "encoder", "width 18 is not a multiple of heads 4"),
        ({"encoder": {"kernel": 4}}, "encoder", "kernel 4 is even"),
        ({"encoder": {"blocks": []}}, "encoder", "blocks"),
        ({"encoder": {"blocks": [1, 0]}}, "encoder", "blocks"),
        (
            {"encoder": {"kind": "resnext"}},
            "encoder.kind",
            "did you mean 'resnet'? expected one of cnn, frames, resnet",
        ),
        ({"slots": {"kind": "banana"}}, "slots.kind", "no such kind; expected one of attention, queries"),
        ({"slots": {"kind": "queries", "update": "sum"}}, "slots", "expected mean, or kind attention"),
        ({"decoder": {"kind": "frames", "stride": [1, 2]}}, "decoder", "expected [1, 1], or kind broadcast"),
        ({"decoder": {"stride": [0, 2]}}, "decoder.stride", "greater than or equal to 1"),
        (
            {"decoder": {"kind": "__init__"}},
            "decoder.kind",
            "expected one of broadcast, broadcast_cnn, film, frames, unfolded",
        ),
        ({"decoder": {"output": "mask"}}, "decoder.output", "'sigmoid'"),
        ({"model": "conv_tasnet"}, "training.loss", "squared needs a spectrogram, which conv_tasnet lacks"),
        ({"slots": {"iterations": 0}}, "slots.iterations", "greater than or equal to 1"),
        ({"slots": {"count": 1}}, "slots.count", "expected >= 2"),
        ({"sources": 3}, "slots.count", "expected >= 3"),
        ({"training": {"steps": 0}}, "training.steps", "without init_from; expected 1 or more"),
        ({"training": {"steps": -1}}, "training.steps", "greater than or equal to 0"),
        ({"training": {"steps": 2.5}}, "training.steps", "2.5"),
        ({"training": {"learning_rate": float("nan")}}, "training.learning_rate", "nan"),
        ({"training": {"learning_rate": float("inf")}}, "training.learning_rate", "inf"),
        ({"training": {"loss": "sisdr"}}, "training.loss", "'si_sdr'"),
        (
            {"training": {"loss": "si_sdr"}, "slots": {"count": 3}},
            "training.loss si_sdr",
            "expected squared or absolute or snr",
        ),
        ({"training": None}, "training", "dictionary"),
        ({"separation": {"overlap": 0.0}}, "separation.overlap", "0.25"),
        ({"name": "../x"}, "name", "'../x'"),
    ],
)
def test_value_that_cannot_work_is_one_line_naming_the_key(wrong: dict[str, Any], key: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        resolved(**wrong)
    message = str(error.value)
    assert message.startswith("config.json: ") and key in message and says in message
    assert "\n" not in message and "pydantic" not in message


def test_si_sdr_serves_as_many_slots_as_sources_and_slots_left_free() -> None:
    assert resolved(training={"loss": "si_sdr"}).slots.count == 2
    assert resolved(training={"loss": "si_sdr", "unmatched": "free"}, slots={"count": 8}).slots.count == 8


def test_missing_key_is_named() -> None:
    with pytest.raises(InputError, match=r"^config.json: rate: Field required"):
        checked(Resolved, {key: value for key, value in RESOLVED.items() if key != "rate"}, "config.json")


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '"text"', "null", "\xff"])
def test_file_that_is_no_json_object_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"config.json: .*expected"):
        Resolved.read(path)
    with pytest.raises(InputError, match="no such file"):
        Resolved.read(tmp_path / "absent.json")


@pytest.mark.parametrize("key", [key for key in LEAVES if key not in NOT_IDENTITY and not key.startswith("separation")])
def test_identity_follows_every_hyper_parameter_of_training(key: str) -> None:
    assert changed(key, LEAVES[key]).identity != resolved(**ASKS.get(key, {})).identity


@pytest.mark.parametrize("other", [{"seed": 1}, {"rate": 16000}, {"data_identity": "abd"}, {"held_out_speakers": 4}])
def test_identity_follows_seed_and_data(other: dict[str, Any]) -> None:
    assert resolved(**other).identity != resolved().identity


@pytest.mark.parametrize(
    "other",
    [
        {"title": "Another"},
        {"name": "another"},
        {"train": "elsewhere/train"},
        {"validation": "elsewhere/dev"},
        {"separation": {"overlap": 0.75}},
        {"training": {"checkpoint_every": 1, "checkpoint_minutes": 1.0, "skips": 0, "accumulate": 4}},
    ],
)
def test_identity_is_blind_to_titles_places_and_separation(other: dict[str, Any]) -> None:
    assert resolved(**other).identity == resolved().identity
    assert resolved(**other) != resolved()


def test_identity_does_not_depend_on_how_a_value_was_written() -> None:
    written = resolved(chunk_s=0.5, training={"clip": 5, "learning_rate": 2.0e-4}, encoder={"blocks": [3, 4, 6, 3]})
    assert written.identity == resolved().identity


def test_document_reads_back_as_the_same_variant(tmp_path: Path) -> None:
    config = resolved(encoder={"blocks": [1, 2]}, decoder={"output": "sigmoid"}, training={"learning_rate": 1 / 3})
    document = config.document()
    assert document["identity"] == config.identity
    assert document["ceiling"] == "oracle-psm-512-125"
    assert resolved().document()["ceiling"] == "oracle-magnitude-512-125"
    assert resolved(decoder={"output": "complex"}).ceiling is None
    assert document["provenance"]["decoder.output"] == "ours"
    write_json(tmp_path / "config.json", document)
    again = Resolved.read(tmp_path / "config.json")
    assert again == config
    assert json.dumps(again.document()) == json.dumps(document)


def test_chunk_is_in_samples() -> None:
    assert resolved(chunk_s=0.5).chunk == 4000
    assert resolved(chunk_s=0.5, rate=16000).chunk == 8000


def test_values_never_change_after_reading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        resolved().encoder.width = 3


def test_context_is_of_whole_hops() -> None:
    config = resolved(context_s=0.1, spectrogram={"window": 512, "hop": 256})
    assert (config.context, config.crop) == (768, 4000 + 2 * 768)


@pytest.mark.parametrize(
    ("delta", "message"),
    [
        ({"training": {"chunks_per_assignment": 3}}, "does not hold whole groups of chunks_per_assignment 3"),
        ({"training": {"chunks_per_assignment": 2, "mixing": "static"}}, "chunks_per_assignment 2 with mixing static"),
        ({"context_s": 0.5, "model": "conv_tasnet", "training": {"loss": "snr"}}, "context_s 0.5 of conv_tasnet"),
    ],
)
def test_chunks_together_and_context_are_checked(delta: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolved(**delta)
