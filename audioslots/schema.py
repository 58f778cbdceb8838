"""Sections of the YAML and JSON files that people write: checking, kinds, identities and provenance.

A file is checked against a ``Section``, a pydantic model; what is wrong is said in one line with file and key. A
hyper-parameter (``hyper``) says what it means, its range, and the value that the paper or a second-hand source gives.
A section of several kinds (``union``) has only the keys of its kind. The *identity* of a section is the hash of the
values that decide a result and are not the defaults (``decisive``).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypeVar, Union, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, GetCoreSchemaHandler, Tag, ValidationError
from pydantic_core import CoreSchema

from audioslots.runtime.errors import InputError
from audioslots.runtime.files import parsed

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=60)]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# --- keys ----------------------------------------------------------------------------------------------------------


def hyper(
    default: Any, description: str, *, paper: Any = None, secondary: Any = None, decides: bool = True, **limits: Any
) -> Any:
    """A hyper-parameter, with the value that the paper or a second-hand source gives for it, where known.

    Args:
        default: its value where a file does not give it.
        description: its meaning and unit.
        paper: the paper's value.
        secondary: the value of a second-hand source (docs/paper.md).
        decides: whether it changes a result, and so belongs to identities.
        limits: as of pydantic's ``Field``.
    """
    extra: Any = {"known": {"paper": paper, "secondary": secondary}, "decides": decides}
    return Field(default, description=description, json_schema_extra=extra, **limits)


def label(default: Any = ..., description: str = "", **limits: Any) -> Any:
    """A key that names or places something: it changes no result and belongs to no identity."""
    return Field(default, description=description, json_schema_extra={"decides": False}, **limits)


def provenance(section: Section, prefix: str = "") -> dict[str, str]:
    """Where the value of every hyper-parameter is from: ``paper``, ``secondary`` or ``ours``, by dotted key."""
    words: dict[str, str] = {}
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(field.json_schema_extra, dict) and "known" in field.json_schema_extra:
            known: Any = field.json_schema_extra["known"]
            sources = [word for word, source in known.items() if source is not None and source == value]
            words[prefix + key] = sources[0] if sources else "ours"
        elif isinstance(value, Section):
            words |= provenance(value, f"{prefix}{key}.")
    return words


# --- kinds ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kinds:
    """The kinds of a section, by the value of its key ``kind``.

    Attributes:
        configs: kind -> section.
        default: kind of a section without the key.
    """

    configs: Mapping[str, type[Section]]
    default: str

    @property
    def section(self) -> Any:
        """A section of the default kind and values."""
        return self.configs[self.default]()

    def of(self, document: Any) -> Any:
        """Kind of a document or of a section; None where it is neither."""
        if isinstance(document, dict):
            return document.get("kind", self.default)
        return getattr(document, "kind", None)

    def switched(self, base: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
        """``base`` without the keys that the kind of ``delta`` lacks."""
        kind = delta.get("kind", self.of(base))
        if kind == self.of(base) or kind not in self.configs:
            return base
        return {key: value for key, value in base.items() if key in self.configs[kind].model_fields}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The union of the kinds, of which pydantic checks only the one that is named."""
        members = tuple(Annotated[config, Tag(kind)] for kind, config in self.configs.items())
        return handler.generate_schema(Annotated[Union[members], Discriminator(self.of)])  # noqa: UP007


KINDS: dict[str, Kinds] = {}
"""Key of a section -> its kinds."""


def union(key: str, configs: Mapping[str, type[Section]], default: str) -> Kinds:
    """The kinds of the section of a key, for ``Annotated[Any, kinds] = kinds.section``."""
    KINDS[key] = kinds = Kinds(configs, default)
    return kinds


def modules_in(package: str) -> dict[str, ModuleType]:
    """The modules of a package by name: a file is a kind."""
    folder = importlib.import_module(package).__path__
    return {one.name: importlib.import_module(f"{package}.{one.name}") for one in pkgutil.iter_modules(folder)}


# --- reading -------------------------------------------------------------------------------------------------------

AnySection = TypeVar("AnySection", bound=Section)


def checked(model: type[AnySection], document: Any, source: str) -> AnySection:
    """Validate a document; ``source`` names it in errors.

    Raises:
        InputError: the first thing that is wrong, in one line with file and key.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
    keys, section = _place(model, first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = f"unknown key; {nearest(keys[-1], list(section.model_fields))}"
    elif first["type"] == "union_tag_invalid":
        known = KINDS[keys[-1]].configs
        message = f"no such kind {first['ctx']['tag']}; {nearest(first['ctx']['tag'].strip(chr(39)), list(known))}"
        keys = [*keys, "kind"]
    elif first["type"] == "union_tag_not_found":
        message = f"{first['input']!r}; expected a section with a kind, such as {{kind: {KINDS[keys[-1]].default}}}"
    elif "input" in first and not isinstance(first["input"], dict):
        message = f"{message} (found {first['input']!r})"
    raise InputError(f"{source}: {'.'.join(keys) or 'the file'}: {message}")


def nearest(word: str, valid: list[str]) -> str:
    """The valid word closest to a misspelt one, for an error message."""
    close = difflib.get_close_matches(word, valid, n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected one of {sorted(valid)}"


def read_yaml(path: Path) -> Any:
    """Read one YAML file; raises as ``files.parsed``."""
    return parsed(path, yaml.safe_load, "YAML", yaml.YAMLError)


def _place(model: type[Section], location: tuple[int | str, ...]) -> tuple[list[str], type[Section]]:
    """Keys of an error's location, without the kinds that pydantic adds, and the section that holds the last one."""
    keys: list[str] = []
    holder = section = model
    for item in map(str, location):
        if keys and keys[-1] in KINDS and item in (configs := KINDS[keys[-1]].configs):
            section = configs[item]
            continue
        holder = section
        keys.append(item)
        field = holder.model_fields.get(item)
        nested = [kind for kind in _classes(field.annotation) if issubclass(kind, Section)] if field else []
        section = nested[0] if nested else section
    return keys, holder


def _classes(annotation: Any) -> list[type]:
    if isinstance(annotation, type):
        return [annotation]
    return [kind for argument in get_args(annotation) for kind in _classes(argument)]


# --- identity ------------------------------------------------------------------------------------------------------


def decisive(section: Section, *without: str) -> dict[str, Any]:
    """The values of a section that decide a result and are not the defaults, as JSON: what an identity hashes.

    Defaults are left out, so that a new key changes no identity. ``without`` names keys to leave out besides.
    """
    content: dict[str, Any] = {}
    dumped = section.model_dump(mode="json")
    for key, field in type(section).model_fields.items():
        extra = field.json_schema_extra
        if key in without or (isinstance(extra, dict) and not extra.get("decides", True)):
            continue
        value = getattr(section, key)
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(value, Section):
            nested = decisive(value)
            if type(value) is not type(default) and hasattr(value, "kind"):
                nested["kind"] = value.kind
            if nested:
                content[key] = nested
        elif field.is_required() or value != default:
            content[key] = dumped[key]
    return content


def hashed(content: Any) -> str:
    """Hash of a JSON document, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
