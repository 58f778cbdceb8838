"""A trained model as an ONNX file, for runtimes other than PyTorch."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audioslots.config.variant import Resolved
from audioslots.models.base import Core
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import written_aside
from audioslots.separation.weights import load_model

CLOSE = 1e-4  # largest difference of ONNX Runtime's numbers from PyTorch's, at unit level of the mixture
TRIED = 3  # chunks that both are compared on


def export(path: Path, out: Path) -> dict[str, Any]:
    """Write the network of a run as an ONNX file, its config in the metadata, and hold it against PyTorch.

    Level, STFT, stitching and the inverse STFT remain the caller's, by the config's numbers.

    Args:
        path: run folder or safetensors file.
        out: file to write.

    Returns:
        ``inputs`` and ``outputs`` (name -> shape, "B" for the batch), ``difference``: the largest from PyTorch.

    Raises:
        InputError: as ``load_model``; onnx, onnxscript or onnxruntime are not installed; the model is
            recurrent, iterative or of complex spectra; or the file's numbers are not those of the model.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"export: {error.name} is not installed; expected it: pip install 'audioslots[onnx]'"
        ) from None
    model, config = load_model(path)
    if (core := model.core()) is None:
        raise InputError(
            f"{path}: cannot be exported: its model is recurrent, iterative or of complex spectra; expected one that "
            "separates a chunk by itself and at once"
        )
    core.eval()
    given = core.example(torch.randn(TRIED, config.crop, generator=torch.Generator().manual_seed(0)))
    with written_aside(out) as aside:
        _write(core, given, aside, config)
        session = onnxruntime.InferenceSession(str(aside), providers=["CPUExecutionProvider"])
        with torch.inference_mode():
            expected = core(given)
        actual = session.run(list(core.outputs), {core.input: given.numpy()})
        difference = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(actual, expected, strict=True))
        if not difference <= CLOSE:
            raise InputError(f"{out}: differs by {difference:.1e} from the model; expected {CLOSE:g} at most")
    shapes = {one.name: ["B", *one.shape[1:]] for one in (*session.get_inputs(), *session.get_outputs())}
    return {
        "inputs": {core.input: shapes[core.input]},
        "outputs": {one: shapes[one] for one in core.outputs},
        "difference": difference,
    }


def _write(core: Core, given: Tensor, path: Path, config: Resolved) -> None:
    """The ONNX file of any number of chunks; the exporter's messages are not for the user."""
    for exporter in ("torch.onnx", "onnxscript"):
        logging.getLogger(exporter).setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            core,
            (given,),
            input_names=[core.input],
            output_names=list(core.outputs),
            dynamic_shapes=({0: torch.export.Dim("B")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props["config"] = json.dumps(config.document(), sort_keys=True)
    program.save(str(path))
