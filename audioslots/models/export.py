"""A trained model as an ONNX file, for runtimes other than PyTorch."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audioslots.config.variant import Resolved
from audioslots.models.audioslots.model import AudioSlots, standardise
from audioslots.models.audioslots.outputs import compress
from audioslots.models.conv_tasnet import ConvTasNet
from audioslots.models.weights import load_model
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import written_aside

CLOSE = 1e-4  # largest difference of ONNX Runtime's numbers from PyTorch's, at unit level of the mixture
TRIED = 3  # chunks that both are compared on


class Core(nn.Module):
    """An ``AudioSlots`` between its STFTs.

    Magnitudes (B, F, N) of chunks with their context, at unit level, give what is to be made of the spectrum (B, F, N)
    of the chunks alone: ``masks`` to be multiplied with it, (B, K, F, N), complex ones (B, K, 2, F, N) with their real
    and imaginary parts; or ``magnitudes`` (B, K, F, N) to be given its phase. Then ``embeddings`` (B, K, W), which
    blind order goes by, and of a model that tells it ``existence`` (B, K), logits.
    """

    def __init__(self, model: AudioSlots, config: Resolved) -> None:
        super().__init__()
        self.model, self.kind = model, config.decoder.output
        told = ["embeddings", *(["existence"] if model.existence is not None else [])]
        self.names = ["magnitudes" if self.kind == "magnitude" else "masks", *told]

    def forward(self, magnitudes: Tensor) -> tuple[Tensor, ...]:
        """Of chunks, see above."""
        model = self.model
        tokens = model.encoder(standardise(compress(magnitudes, model.exponent)))
        slots, tokens, _ = model._read(tokens, 1, None)
        maps = model.decoder(slots, model._shown(tokens))
        if self.kind == "complex":
            made = maps
        elif self.kind == "magnitude":
            made = nn.functional.softplus(maps[:, :, 0]) ** (1 / model.exponent)
        else:
            made = maps[:, :, 0].sigmoid() if self.kind == "sigmoid" else maps[:, :, 0].softmax(dim=1)
        embeddings = slots if model.voice is None else model.voice(slots)
        told = [] if model.existence is None else [model.existence(slots).squeeze(-1)]
        return (made, embeddings, *told)


class Whole(nn.Module):
    """A Conv-TasNet: waveforms (B, T) at unit level, of a chunk's length, give ``waveforms`` (B, K, T)."""

    names = ("waveforms",)

    def __init__(self, model: ConvTasNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """Of chunks, see above."""
        return (self.model.network(waveform[:, None]),)


def export(path: Path, out: Path) -> dict[str, Any]:
    """Write the network of a run as an ONNX file, its config in the metadata, and hold it against PyTorch.

    Level, STFT, stitching and the inverse STFT remain the caller's, by the config's numbers.

    Args:
        path: run folder or safetensors file.
        out: file to write.

    Returns:
        ``inputs`` and ``outputs`` (name -> shape, "B" for the batch), ``difference``: the largest from PyTorch.

    Raises:
        InputError: as ``load_model``; onnx, onnxscript or onnxruntime are not installed; the model carries slots from
            chunk to chunk, refines its estimates or takes turns; or the file's numbers are not those of the model.
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
    slots = config.slots
    if slots.recurrence != "none" or slots.refinement_iterations > 1 or slots.recursive:
        asked = f"slots.recurrence {slots.recurrence}, refinement_iterations {slots.refinement_iterations}, "
        asked += f"recursive {slots.recursive}"
        raise InputError(f"{path}: {asked}; expected none, 1, false: a chunk decoded by itself and once")
    random = torch.Generator().manual_seed(0)
    waveforms = torch.randn(TRIED, config.crop, generator=random)
    if isinstance(model, AudioSlots):
        core: Core | Whole = Core(model, config).eval()
        given, name = model.stft(waveforms).abs(), "mixture_magnitudes"
    else:
        assert isinstance(model, ConvTasNet)
        core, given, name = Whole(model).eval(), waveforms, "mixture"
    with written_aside(out) as aside:
        _write(core, given, name, aside, config)
        session = onnxruntime.InferenceSession(str(aside), providers=["CPUExecutionProvider"])
        with torch.inference_mode():
            expected = core(given)
        found = session.run(list(core.names), {name: given.numpy()})
        difference = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(found, expected, strict=True))
        if not difference <= CLOSE:
            raise InputError(f"{out}: differs by {difference:.1e} from the model; expected {CLOSE:g} at most")
    shapes = {one.name: ["B", *one.shape[1:]] for one in (*session.get_inputs(), *session.get_outputs())}
    return {
        "inputs": {name: shapes[name]},
        "outputs": {one: shapes[one] for one in core.names},
        "difference": difference,
    }


def _write(core: Core | Whole, given: Tensor, name: str, path: Path, config: Resolved) -> None:
    """The ONNX file of any number of chunks; what the exporter has to say is not the user's."""
    for exporter in ("torch.onnx", "onnxscript"):
        logging.getLogger(exporter).setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            core,
            (given,),
            input_names=[name],
            output_names=list(core.names),
            dynamic_shapes=({0: torch.export.Dim("B")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props["config"] = json.dumps(config.document(), sort_keys=True)
    program.save(str(path))
