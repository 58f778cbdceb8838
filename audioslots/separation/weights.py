"""A trained model on disk: one safetensors file, with its config in the header."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from audioslots.config.variant import Resolved
from audioslots.models import build as build_model
from audioslots.models.base import SeparationModel
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import sha256, written_aside

SHIPPED = Path(__file__).resolve().parent.parent / "weights" / "librispeech-8k.safetensors"
"""The weights in the package: a published run on real speech, put there by ``audioslots results release-weights``."""


def build(config: Resolved) -> SeparationModel:
    """The model of a resolved variant, with random weights; raises as ``models.build``."""
    return build_model(config.model, config.chunk, config.rate)


def init_model(config: Resolved) -> SeparationModel:
    """The model of a resolved variant as training starts: of random weights, or with another run's (``init_from``).

    The other run may have shorter or longer chunks, where its weights fit. It may lack recurrent slots: their weights
    are random then.

    Raises:
        InputError: as ``load_model`` of the other, or it has other parts or sizes, another rate or spectrogram.
    """
    model = build(config)
    if config.init_model is None:
        return model
    other, trained = load_model(Path(config.init_model))
    pairs = {
        "rate": (trained.rate, config.rate),
        "model": (trained.model.kind, config.model.kind),
        "spectrogram": (trained.model.transform, config.model.transform),
    }
    for key, (theirs, ours) in pairs.items():
        if theirs != ours:
            raise InputError(f"init_from: {config.init_model} has {key} {theirs}; expected the variant's, {ours}")
    try:
        random = {name: weight for name, weight in model.state_dict().items() if name.startswith("recurrence.")}
        model.load_state_dict(random | other.state_dict())
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise InputError(
            f"init_from: {config.init_model} has other weights ({reason}); expected the variant's"
        ) from None
    return model


def init_checksum(config: Resolved) -> dict[str, str]:
    """What training depends on beside its config: the checksum of the weights that it starts from, if there are any.

    Raises:
        InputError: there is no such file.
    """
    if config.init_model is None:
        return {}
    if not Path(config.init_model).is_file():
        raise InputError(f"init_from: {config.init_model}: no such file; expected a model that was trained before")
    return {"init_sha256": sha256(Path(config.init_model))}


def save_model(path: Path, model: SeparationModel, config: Resolved) -> None:
    """Write the weights as safetensors, with the config in the header."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with written_aside(path) as aside:
        save_file(weights, aside, metadata={"config": json.dumps(config.document(), sort_keys=True)})


def load_model(path: Path) -> tuple[SeparationModel, Resolved]:
    """Load a model from a run folder or from one safetensors file, ready to separate.

    Raises:
        InputError: the file is absent, is no safetensors file, or holds no config.
    """
    path = Path(path)
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{file}: no such file; expected a run folder with model.safetensors, or such a file")
    try:
        with safe_open(file, framework="pt") as opened:
            header = opened.metadata() or {}
        weights = load_file(file)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: cannot be read ({error}); expected a safetensors file") from None
    if "config" not in header:
        raise InputError(f"{file}: its header has no config; expected a model written by `audioslots train`")
    try:
        config = Resolved.of(json.loads(header["config"]), str(file))
        model = build(config)
        model.load_state_dict(weights)
    except (json.JSONDecodeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{file}: config and weights do not fit ({reason}); expected a model of this version"
        ) from None
    return model.eval(), config
