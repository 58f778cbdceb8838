"""Models: a kind is a file with a pydantic ``Config`` and a function ``build``. ``base`` says what callers may ask."""

from __future__ import annotations

from audioslots.models import audioslots, conv_tasnet, imported
from audioslots.models.base import ModelConfig, SeparationModel
from audioslots.schema import Section, union

MODULES = {"audioslots": audioslots, "conv_tasnet": conv_tasnet, "imported": imported}

MODELS = union("model", {kind: module.Config for kind, module in MODULES.items()}, default="audioslots")
"""Kinds of the section ``model`` of a variant."""


def build(config: ModelConfig, samples: int, rate: int) -> SeparationModel:
    """A model with random weights.

    Args:
        config: of any kind.
        samples: chunk, samples.
        rate: Hz.

    Raises:
        InputError: a class to import is missing or does not keep to the contract.
    """
    return MODULES[config.kind].build(config, samples, rate)


def modules_of(section: Section) -> list[str]:
    """Dotted names of the modules of this package that a model's config is read and built by."""
    own = [type(section).__module__]
    values = [getattr(section, key) for key in type(section).model_fields]
    nested = [name for value in values if isinstance(value, Section) for name in modules_of(value)]
    return sorted({*own, *nested})
