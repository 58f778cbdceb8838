"""Any ``nn.Module`` of any package, or of a file beside the config, by its import path.

Contract: ``forward(mixture) -> estimates``, (B, T) -> (B, S, T); with ``domain: stft`` complex (B, F, N) ->
(B, S, F, N). A network of another signature takes an adapter, a module of some twenty lines (``ablations/networks``).
A config that imports code is trusted code: reading its results is safe, building its model runs it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from audioslots.models.base import ModelConfig, Spectrogram
from audioslots.models.compute import count_multiply_accumulates
from audioslots.models.network import NetworkModel
from audioslots.runtime.errors import InputError
from audioslots.schema import hyper

BATCH = 2  # mixtures of the check of the contract


class Config(ModelConfig):
    """A network to import, and what is to be known of it before it is built."""

    kind: Literal["imported"]
    path: str = Field(pattern=r"^[\w./-]+:\w+$", description="package.module:Class, or file.py:Class beside the YAML")
    arguments: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the class")
    outputs: int = hyper(2, "estimates per mixture (S), at least as many as sources", ge=1)
    domain: Literal["waveform", "stft"] = hyper("waveform", "what the network reads and returns")
    stft: Spectrogram | None = Field(None, description="domain stft: window, hop and compression")
    separates_any_length: bool = hyper(True, "whether recordings are separated as a whole; false: in chunks of chunk_s")
    source_digest: str = Field("", description="of a file beside the YAML and the class: SHA-256, filled in on reading")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, content: Any) -> Any:
        """The transform of domain stft, and the digest of a file."""
        if not isinstance(content, dict):
            return content
        if content.get("domain") == "stft" and content.get("stft") is None:
            content = content | {"stft": {}}
        path, _, name = str(content.get("path", "")).partition(":")
        if path.endswith(".py") and not content.get("source_digest"):
            if not Path(path).is_file():
                raise ValueError(f"path {path}: no such file; expected one beside the YAML, or package.module:Class")
            content = content | {"source_digest": _file_digest(path, name)}
        return content

    @model_validator(mode="after")
    def _check_domain(self) -> Config:
        if self.domain == "waveform" and self.stft is not None:
            raise ValueError("stft with domain waveform; expected domain stft, or no section stft")
        return self

    def places(self) -> frozenset[str]:
        """A file counts by its digest, wherever it lies."""
        return frozenset({"path"} if self.source_digest else ())

    @property
    def num_slots(self) -> int:  # noqa: D102
        return self.outputs

    @property
    def any_length(self) -> bool:  # noqa: D102
        return self.separates_any_length

    @property
    def transform(self) -> Spectrogram | None:  # noqa: D102
        return self.stft

    def provenance(self) -> dict[str, str]:
        """Class, version of its package, and SHA-256 of its source file."""
        source = inspect.getsourcefile(factory := import_class(self.path))
        digest = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
        package = factory.__module__.partition(".")[0]
        names = packages_distributions().get(package, [])
        release = f"{names[0]} {version(names[0])}" if names else ""
        return {"class": self.path, "version": release, "source_sha256": digest}


def build(config: Config, samples: int, rate: int) -> NetworkModel:
    """The model of a config, checked against the contract on random mixtures.

    Args:
        config: what to import.
        samples: chunk, samples.
        rate: Hz.

    Raises:
        InputError: wrong path or arguments, another shape of output, or parameters that get no gradient.
    """
    name = f"model.path {config.path}"
    if config.source_digest and config.source_digest != _file_digest(*config.path.split(":")):
        raise InputError(f"{name}: the file has changed since the variant was resolved; restore it, or train again")
    factory = import_class(config.path)
    try:
        network = factory(**config.arguments)
    except Exception as error:
        raise InputError(f"{name}: arguments {config.arguments}: {_line(error)}; expected those of the class") from None
    if not isinstance(network, nn.Module):
        raise InputError(f"{name}: makes a {type(network).__name__}; expected a torch.nn.Module")
    model = NetworkModel(config, samples, network)
    _check(model, name)
    return model


def import_class(path: str) -> Callable[..., Any]:
    """The class, or any callable that makes a module, of ``package.module:Class`` or ``file.py:Class``.

    Raises:
        InputError: there is no such module, file or class.
    """
    place, _, name = path.partition(":")
    try:
        module = _import_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise InputError(
            f"model.path {path}: cannot be imported: {_line(error)}; expected package.module:Class or file.py:Class"
        ) from None
    if not callable(factory := getattr(module, name, None)):
        known = [key for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, nn.Module)]
        raise InputError(f"model.path {path}: {place} has no class {name}; expected one of {sorted(known)}")
    return factory


def _file_digest(path: str, name: str = "") -> str:
    """Hash of a file's content and of a class in it, 16 hexadecimal digits; empty where there is no file."""
    return hashlib.sha256(Path(path).read_bytes() + name.encode()).hexdigest()[:16] if Path(path).is_file() else ""


def _import_file(path: Path) -> Any:
    """The module of a file; it may import its neighbours, and is imported once per content."""
    place = hashlib.sha256(path.resolve().as_posix().encode()).hexdigest()[:8]
    name = f"audioslots_imported_{path.stem}_{place}_{_file_digest(str(path))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.pop(0)
    return module


def _check(model: NetworkModel, name: str) -> None:
    """Separate random mixtures once; neither generators nor buffers of the network change."""
    config_slots, stft = model.num_slots, model.stft
    with torch.random.fork_rng(devices=[]):
        mixture = torch.randn(BATCH, model.samples)
        given = mixture if stft is None else stft(mixture)
        expected = (BATCH, config_slots, *given.shape[1:])
        model.eval()
        try:
            with count_multiply_accumulates(model):  # refuses a network whose cost cannot be counted
                estimates = model.network(given)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        except Exception as error:
            raise InputError(
                f"{name}: fails on mixtures of shape {tuple(given.shape)}: {_line(error)}; expected {expected}"
            ) from None
        finally:
            model.train()
        if not isinstance(estimates, torch.Tensor) or tuple(estimates.shape) != expected:
            shape = tuple(estimates.shape) if isinstance(estimates, torch.Tensor) else type(estimates).__name__
            raise InputError(
                f"{name}: returns {shape} for {tuple(given.shape)}; expected {expected}, (batch, outputs, ...)"
            )
        if estimates.is_complex() != given.is_complex():
            kind = "complex spectra" if given.is_complex() else "real waveforms"
            raise InputError(f"{name}: returns {estimates.dtype}; expected {kind}")
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        if not torch.is_grad_enabled():
            return
        if not weights or not estimates.requires_grad:
            raise InputError(f"{name}: its estimates have no gradient; expected trainable parameters, and no detach()")
        gradients = torch.autograd.grad(estimates.abs().sum(), weights, allow_unused=True)
        if all(gradient is None for gradient in gradients):
            raise InputError(f"{name}: no parameter gets a gradient; expected estimates that depend on them")


def _line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
