"""A model as an ONNX file: the same estimates in ONNX Runtime, with the STFT and the rest of it here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from made_models import built, mixtures, resolved
from torch import Tensor, nn

from audioslots.config.variant import Resolved
from audioslots.models.audioslots.model import AudioSlots
from audioslots.models.base import center_crop, level_of
from audioslots.runtime.errors import InputError
from audioslots.separation import export as exporting
from audioslots.separation.export import export
from audioslots.separation.weights import build, save_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own


def exported(config: Resolved, model: nn.Module, folder: Path) -> tuple[Any, dict[str, Any]]:
    save_model(folder / "model.safetensors", model, config)
    made = export(folder, folder / "model.onnx")
    return onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"]), made


def by_runtime(session: Any, model: AudioSlots, crops: Tensor) -> Tensor:
    """Waveforms (B, K, T) of crops, by the network in ONNX Runtime and the recipe of the documentation."""
    level = level_of(crops)
    unit = crops / level
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {"mixture_magnitudes": model.stft(unit).abs().numpy()})
    given = dict(zip(names, map(torch.from_numpy, found), strict=True))
    spectrum = model.stft(center_crop(unit, model.samples))[:, None]
    if "magnitudes" in given:
        spectra = given["magnitudes"] * spectrum / spectrum.abs()
    elif given["masks"].ndim == 5:
        spectra = torch.complex(given["masks"][:, :, 0], given["masks"][:, :, 1]) * spectrum
    else:
        spectra = given["masks"] * spectrum
    return model.stft.inverse(spectra, model.samples) * level[:, None]


@pytest.mark.parametrize(
    "kinds",
    [
        {},
        {"decoder": {"kind": "unfolded"}, "output": "magnitude"},
        {"encoder": {"kind": "resnet"}, "slots": {"kind": "attention"}, "output": "complex"},
        {"decoder": {"kind": "broadcast"}, "output": "softmax"},
    ],
)
def test_estimates_are_the_same_in_another_runtime(kinds: dict[str, Any], tmp_path: Path) -> None:
    config, model = resolved(kinds), built(kinds)
    session, made = exported(config, model, tmp_path)
    assert made["difference"] <= 1e-4
    for count in (1, 5):  # any number of chunks
        crops = mixtures(count, seed=count)
        with torch.inference_mode():
            expected = model(crops).waveforms
        torch.testing.assert_close(by_runtime(session, model, crops), expected, atol=1e-5, rtol=1e-3)
    properties = {one.key: one.value for one in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(properties["config"])["identity"] == config.identity


def test_context_and_the_presence_head_go_along(tmp_path: Path) -> None:
    config, model = resolved({"context_s": 0.02, "presence": True}), built({"context_s": 0.02, "presence": True})
    session, made = exported(config, model, tmp_path)
    assert config.context > 0
    assert made["outputs"]["presence"] == ["B", 3] and made["outputs"]["embeddings"] == ["B", 3, 16]
    crops = mixtures(2, samples=config.crop)
    with torch.inference_mode():
        expected = model(crops)
    torch.testing.assert_close(by_runtime(session, model, crops), expected.waveforms, atol=1e-5, rtol=1e-3)
    magnitudes = model.stft(crops / level_of(crops)).abs().numpy()
    logits = session.run(["presence"], {"mixture_magnitudes": magnitudes})[0]
    torch.testing.assert_close(torch.from_numpy(logits), expected.presence, atol=1e-4, rtol=1e-3)


def test_models_of_waveforms_take_waveforms(tmp_path: Path) -> None:
    config, model = resolved({"kind": "conv_tasnet"}), built({"kind": "conv_tasnet"})
    session, _ = exported(config, model, tmp_path)
    mixture = mixtures(2)
    unit = mixture / level_of(mixture)
    waveforms = torch.from_numpy(session.run(["waveforms"], {"mixture": unit.numpy()})[0])
    with torch.inference_mode():
        torch.testing.assert_close(waveforms, model(unit).waveforms, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(
    "model",
    [{"recurrence": "last"}, {"refinement_iterations": 2}, {"recursive": True}],
    ids=lambda model: next(iter(model)),
)
def test_models_of_more_than_a_chunk_at_once_are_refused(model: dict, tmp_path: Path) -> None:
    training = {"chunks_per_assignment": 2, "adjacent": True, "batch": 4}
    config = resolved(model, training=training)
    save_model(tmp_path / "model.safetensors", build(config), config)
    with pytest.raises(InputError, match="cannot be exported: its model is recurrent, iterative or of complex spectra"):
        export(tmp_path, tmp_path / "model.onnx")
    assert not list(tmp_path.glob("*.onnx*"))


def test_a_file_that_is_not_the_model_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tmp_path / "model.safetensors", built(), resolved())
    monkeypatch.setattr(exporting, "CLOSE", -1.0)
    with pytest.raises(InputError, match="differs by .* from the model; expected -1 at most"):
        export(tmp_path, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"onnxscript is not installed; expected it: pip install 'audioslots\[onnx\]'"):
        export(tmp_path, tmp_path / "model.onnx")
