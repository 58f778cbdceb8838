"""A variant's YAML and JSON: provenance, kinds and their keys, one line with file and key for whatever is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_variant import CONV_TASNET, RESOLVED, resolved

from audioslots.config.study import deltas, locate_imports, merge
from audioslots.config.variant import Resolved
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import write_json
from audioslots.schema import KINDS, checked, provenance

# --- provenance ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delta", "key", "word"),
    [
        ({}, "training.steps", "secondary"),
        ({"training": {"steps": 299_999}}, "training.steps", "ours"),
        ({"model": {"encoder": {"blocks": [3, 4, 6]}}}, "model.encoder.blocks", "ours"),
        ({}, "model.output", "paper"),
        ({"model": {"output": "sigmoid"}}, "model.output", "ours"),
        ({}, "init_from", "ours"),
        (CONV_TASNET, "model.filters", "paper"),
    ],
)
def test_provenance_is_derived_from_the_value(delta: dict[str, Any], key: str, word: str) -> None:
    assert provenance(resolved(delta))[key] == word


# --- kinds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"kind": "convtasnet"}, "model.kind: no such kind 'convtasnet'; did you mean 'conv_tasnet'?"),
        ({"encoder": {"kind": "resnext"}}, "model.encoder.kind: no such kind 'resnext'; did you mean 'resnet'?"),
        (
            {"slots": {"kind": "banana"}},
            "model.slots.kind: no such kind 'banana'; expected one of ['attention', 'queri",
        ),
        (
            {"decoder": {"kind": "__init__"}},
            "model.decoder.kind: no such kind '__init__'; expected one of ['broadcast'",
        ),
        ({"decoder": {"kind": [1]}}, "model.decoder.kind: no such kind '[1]'; "),
        ({"widht": 16}, "model.widht: unknown key; did you mean 'width'?"),
        ({"slots": {"cuont": 2}}, "model.slots.cuont: unknown key; did you mean 'count'?"),
        ({"encoder": {"kind": "frames", "kernl": 3}}, "model.encoder.kernl: unknown key; did you mean 'kernel'?"),
        (
            {"encoder": {"kernel": 3}},
            "model.encoder.kernel: unknown key of this kind, a key of frames; expected one of",
        ),
        ({"kind": "conv_tasnet", "width": 8}, "model.width: unknown key of this kind, a key of audioslots"),
        ({"decoder": {"frames": {}}}, "model.decoder.frames: unknown key"),
        ({"conv_tasnet": {}}, "model.conv_tasnet: unknown key"),
        ({"kind": "imported"}, "model.path: Field required"),
        ("conv_tasnet", "model: 'conv_tasnet'; expected a section, such as {kind: conv_tasnet}"),
        ({"encoder": "frame"}, "model.encoder: 'frame'; expected a section, such as {kind: frames}"),
        (None, "model: None; expected a section, such as {kind: audioslots}"),
        ({"width": 18}, "model: width 18 is not a multiple of heads 4"),
        ({"encoder": {"kind": "frames", "kernel": 4}}, "model.encoder: kernel 4 is even"),
    ],
)
def test_a_wrong_kind_or_key_is_named_with_the_file_and_the_nearest(tmp_path: Path, model: Any, says: str) -> None:
    write_json(tmp_path / "config.json", RESOLVED | {"model": model})
    with pytest.raises(InputError) as error:
        Resolved.read(tmp_path / "config.json")
    assert str(error.value).startswith(f"{tmp_path / 'config.json'}: {says}")


@pytest.mark.parametrize("key", ["encoder", "slots", "decoder", "context_s", "spectrogram"])
def test_a_key_of_the_model_outside_its_section_is_named_with_its_place(key: str) -> None:
    with pytest.raises(InputError, match=f"^config.json: {key}: unknown key; did you mean 'model.{key}'"):
        resolved({key: {}})


@pytest.mark.parametrize(
    ("base", "delta", "merged"),
    [
        ({"kind": "frames", "kernel": 3, "layers": 2}, {"kind": "resnet"}, {"kind": "resnet", "layers": 2}),
        ({"blocks": [1], "layers": 2}, {"kind": "frames", "kernel": 3}, {"kind": "frames", "layers": 2, "kernel": 3}),
        ({"kind": "frames", "kernel": 3}, {"layers": 1}, {"kind": "frames", "kernel": 3, "layers": 1}),
        ({"kind": "frames", "kernel": 3}, {"kind": "frames"}, {"kind": "frames", "kernel": 3}),
        ({"blcoks": [1]}, {"kind": "frames"}, {"blcoks": [1], "kind": "frames"}),
        ({"blocks": [1]}, {"kind": "banana"}, {"blocks": [1], "kind": "banana"}),
        ({"blocks": [1]}, {"kind": ["frames"]}, {"blocks": [1], "kind": ["frames"]}),
        ("frames", {"layers": 1}, {"layers": 1}),
        ({"layers": 1}, "frames", "frames"),
    ],
)
def test_another_kind_drops_the_keys_that_it_lacks_and_no_misspelt_one(base: Any, delta: Any, merged: Any) -> None:
    before = {"model": {"encoder": base}}
    copy = json.loads(json.dumps(before))
    assert merge(before, {"model": {"encoder": delta}}) == {"model": {"encoder": merged}}
    assert before == copy, "and changes neither"


@pytest.mark.parametrize(("path", "arguments"), [("a.b:C", {"depth": 1, "width": 2}), ("a.b:D", {"width": 2})])
def test_another_network_has_only_arguments_of_its_own(path: str, arguments: dict[str, int]) -> None:
    base = {"model": {"kind": "imported", "path": "a.b:C", "arguments": {"depth": 1}}}
    merged = merge(base, {"model": {"path": path, "arguments": {"width": 2}}})
    assert merged["model"] == {"kind": "imported", "path": path, "arguments": arguments}


@given(kinds=st.lists(st.sampled_from(sorted(KINDS["decoder"].configs)), min_size=1, max_size=4), data=st.data())
def test_deltas_of_any_kinds_in_a_row_leave_a_valid_section_of_the_last_kind(kinds: list[str], data: Any) -> None:
    document = RESOLVED
    for kind in kinds:
        valid = sorted({"width", "layers"} & set(KINDS["decoder"].configs[kind].model_fields))
        keys = data.draw(st.lists(st.sampled_from(valid), unique=True))
        document = merge(document, {"model": {"decoder": {"kind": kind, **dict.fromkeys(keys, 16)}}})
    decoder = checked(Resolved, document, "config.json").model.decoder
    assert decoder.kind == kinds[-1] and all(getattr(decoder, key) == 16 for key in keys)


def test_a_network_of_a_file_is_located_beside_the_yaml_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ablations").mkdir()
    (tmp_path / "ablations" / "net.py").write_text("class Net: ...")
    delta = "{model: {kind: imported, path: 'net.py:Net'}, training: {loss: snr}}"
    text = f"title: T\nquestion: Q?\nbaseline: mine\nvariants: {{mine: {delta}}}"
    (tmp_path / "ablations" / "own.yaml").write_text(text)
    identities = set()
    for folder, path in ((tmp_path, "ablations/net.py:Net"), (tmp_path / "ablations", "net.py:Net")):
        monkeypatch.chdir(folder)
        config = resolved(deltas("own", tmp_path / "ablations")["mine"])
        assert config.model.path == path and config.model.source_digest
        identities.add(config.identity)
    assert len(identities) == 1
    package = {"kind": "imported", "path": "torchaudio.models:ConvTasNet"}
    assert locate_imports({"model": package}, tmp_path) == {"model": package}
    (tmp_path / "ablations" / "net.py").unlink()
    with pytest.raises(InputError, match=r"config.json: model: path net.py: no such file; expected one beside"):
        resolved(deltas("own", tmp_path / "ablations")["mine"])


# --- values --------------------------------------------------------------------------------------------------------

MIXIT = {"loss": "snr", "assignment": "mixit"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"trainnig": {}}, "trainnig: unknown key; did you mean 'training'?"),
        ({"training": {"learning_rat": 1}}, "training.learning_rat: unknown key; did you mean 'learning_rate'?"),
        ({"name": "../x"}, "name: "),
        ({"chunk_s": 0.05}, "chunk_s 0.05 is 400 samples"),
        ({"sources": 3}, "model: 2 slots (or outputs) for 3 sources"),
        ({"noise": "noise"}, "noise noise with task sep_clean"),
        ({"model": {"spectrogram": {"hop": 257}}}, "model.spectrogram: hop 257"),
        ({"model": {"spectrogram": {"window": 255, "hop": 100}}}, "model.spectrogram.window: "),
        ({"model": {"encoder": {"blocks": [1, 0]}}}, "model.encoder.blocks.1: "),
        ({"model": {"decoder": {"stride": [0, 2]}}}, "model.decoder.stride.0: "),
        ({"model": {"slots": {"count": 1}}}, "model: 1 slots"),
        ({"model": {"noise_slot": True}}, "model.noise_slot with 2 slots, task sep_clean"),
        ({"model": {"recursive": True, "refinement_iterations": 2}}, "model: refinement_iterations and recursive"),
        ({"model": {"recursive": True, "context_s": 0.5}}, "model: recursive with 2 slots, context_s 0.5"),
        ({"model": {"recurrence": "last"}}, "model.recurrence is learned from chunks of one recording"),
        ({"model": {"kind": "conv_tasnet"}}, "training.loss squared needs a spectrogram"),
        (
            CONV_TASNET | {"separation": {"reconstruction": "ratio"}},
            "separation.reconstruction ratio needs a spectrogr",
        ),
        ({"training": None}, "training: "),
        ({"training": {"steps": 0}}, "training.steps 0 without init_from"),
        ({"training": {"steps": 2.5}}, "training.steps: "),
        ({"training": {"learning_rate": float("nan")}}, "training.learning_rate: "),
        ({"training": {"loss": "sisdr"}}, "training.loss: "),
        (
            {"training": {"loss": "si_sdr"}, "model": {"slots": {"count": 3}}},
            "training.loss si_sdr does not train extra slots",
        ),
        ({"training": {"chunks_per_assignment": 3}}, "training: batch 64 in 1 passes"),
        (
            {"training": {"chunks_per_assignment": 2, "mixing": "static"}},
            "training: chunks_per_assignment 2 with mixing",
        ),
        ({"training": {"mixing": "static", "speed": 0.1}}, "training: mixing static fixes speed"),
        ({"training": {"adjacent_overlap": 0.25}}, "training: adjacent_overlap 0.25 with adjacent false"),
        ({"training": {"assignment": "mixit"}}, "training: assignment mixit with loss squared"),
        ({"training": MIXIT | {"ratio": 0.1}}, "training: ratio 0.1 with assignment mixit"),
        ({"training": MIXIT}, "model: 2 slots with training.assignment mixit"),
        ({"training": {"supervised": 0.1}}, "training: supervised 0.1 with assignment pit"),
    ],
)
def test_a_value_that_cannot_work_is_one_line_naming_the_key(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as error:
        resolved(wrong)
    assert says in str(error.value) and str(error.value).startswith("config.json: ")
    assert "pydantic" not in str(error.value)


def test_si_sdr_serves_as_many_slots_as_sources_and_slots_left_free() -> None:
    assert resolved({"training": {"loss": "si_sdr"}}).model.num_slots == 2
    free = resolved({"training": {"loss": "si_sdr", "unmatched": "free"}, "model": {"slots": {"count": 8}}})
    assert free.model.num_slots == 8


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\xff", "{}"])
def test_a_file_that_is_no_variant_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(InputError, match="no such file"):
        Resolved.read(path)
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"config.json: (.*expected|name: Field required)"):
        Resolved.read(path)


@pytest.mark.parametrize(
    ("delta", "oracle_bound"),
    [
        ({"model": {"encoder": {"blocks": [1, 2]}, "output": "sigmoid"}}, "oracle-psm-512-125"),
        ({"training": {"learning_rate": 1 / 3}}, "oracle-magnitude-512-125"),
        ({"separation": {"reconstruction": "ratio"}}, "oracle-ratio-1.5-512-125"),
        ({"separation": {"reconstruction": "misi"}}, "oracle-misi-5-512-125"),
        ({"model": {"output": "complex"}}, None),
        (CONV_TASNET, None),
        ({"model": {"encoder": {"kind": "frames"}, "slots": {"kind": "attention"}}}, "oracle-magnitude-512-125"),
    ],
)
def test_a_document_reads_back_as_the_same_variant(tmp_path: Path, delta: dict[str, Any], oracle_bound: str) -> None:
    config = resolved(delta)
    document = config.document()
    assert (document["identity"], document["oracle_bound"]) == (config.identity, oracle_bound)
    write_json(tmp_path / "config.json", document)
    again = Resolved.read(tmp_path / "config.json")
    assert again == config and json.dumps(again.document()) == json.dumps(document)


def test_lengths_are_in_samples_and_context_is_of_whole_hops() -> None:
    assert resolved({"rate": 16000}).chunk == 8000
    config = resolved({"model": {"context_s": 0.1, "spectrogram": {"hop": 256}}})
    assert (config.chunk, config.context, config.crop) == (4000, 768, 4000 + 2 * 768)
    four = {"chunks_per_assignment": 4, "adjacent": True, "adjacent_overlap": 0.75}
    assert resolved({"training": four}).crop_samples == 4000 + 3 * 1000


def test_values_never_change_after_reading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        resolved().model.width = 3
