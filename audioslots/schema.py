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
import re
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

    def places(self) -> frozenset[str]:
        """Keys that in this section only say where something lies, and so belong to no identity."""
        return frozenset()


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
    extra: Any = {"sources": {"paper": paper, "secondary": secondary}, "decides": decides}
    return Field(default, description=description, json_schema_extra=extra, **limits)


def label(default: Any = ..., description: str = "", **limits: Any) -> Any:
    """A key that names or places something: it changes no result and belongs to no identity."""
    return Field(default, description=description, json_schema_extra={"decides": False}, **limits)


def provenance(section: Section, prefix: str = "") -> dict[str, str]:
    """Where the value of every hyper-parameter is from: ``paper``, ``secondary`` or ``ours``, by dotted key."""
    origins: dict[str, str] = {}
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(field.json_schema_extra, dict) and "sources" in field.json_schema_extra:
            sources: Any = field.json_schema_extra["sources"]
            same = [name for name, given in sources.items() if given is not None and given == value]
            origins[prefix + key] = same[0] if same else "ours"
        elif isinstance(value, Section):
            origins |= provenance(value, f"{prefix}{key}.")
    return origins


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

    def drop_keys(self, base: dict[str, Any], kind: Any) -> dict[str, Any]:
        """``base`` without the keys of other kinds that ``kind`` lacks; an unknown key stays, for an error."""
        if not isinstance(kind, str) or kind not in self.configs or base.get("kind") == kind:
            return base
        others = {key for config in self.configs.values() for key in config.model_fields}
        lacking = others - set(self.configs[kind].model_fields)
        return {key: value for key, value in base.items() if key not in lacking}

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
    names = [module.name for module in pkgutil.iter_modules(folder)]
    return {name: importlib.import_module(f"{package}.{name}") for name in names}


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
    keys, section = _locate(model, first["loc"])
    kinds = _kinds_of(section, keys[-1]) if keys else None
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = _unknown_key(keys[-1], section)
    elif first["type"] == "union_tag_invalid" and kinds:
        kind = first["ctx"]["tag"].strip("'")
        message = f"no such kind {kind!r}; {nearest(kind, list(kinds.configs))}"
        keys.append("kind")
    elif first["type"] == "union_tag_not_found" and kinds:
        kind = [*difflib.get_close_matches(str(first["input"]), kinds.configs, n=1), kinds.default][0]
        message = f"{first['input']!r}; expected a section, such as {{kind: {kind}}}"
    elif "input" in first and not isinstance(first["input"], dict):
        message = f"{message} (found {first['input']!r})"
    raise InputError(f"{source}: {'.'.join(keys) or 'the file'}: {message}")


def nearest(word: str, valid: list[str]) -> str:
    """The valid word closest to a misspelt one, for an error message."""
    close = difflib.get_close_matches(word, valid, n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected one of {sorted(valid)}"


class _StrictLoader(yaml.SafeLoader):
    """YAML without doubled keys, and with the numbers and words of YAML 1.2: ``on`` and ``1:30`` are texts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and key.value in keys:
                raise ValueError(f"line {key.start_mark.line + 1}: key {key.value!r} is given twice")
            keys.add(str(key.value))
        return super().construct_mapping(node, deep)


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in (
    ("bool", r"true|false|True|False", "tfTF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf)|\.(nan|NaN)", "-+.0123456789"),
):
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))
_StrictLoader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))


def read_yaml(path: Path) -> Any:
    """Read one YAML file, strictly; raises as ``files.parsed``, also for a key that is given twice."""
    return parsed(path, lambda text: yaml.load(text, _StrictLoader), "YAML", yaml.YAMLError)


def _unknown_key(key: str, section: type[Section]) -> str:
    """What to do about a key that a section lacks, also where a section inside it, or another kind, has it."""
    fields = section.model_fields
    inside = [
        f"{name}.{key}" for name in fields for nested in _sections_of(section, name) if key in nested.model_fields
    ]
    if inside:
        return f"unknown key; did you mean {inside[0]!r}?"
    kinds = next((kinds for kinds in KINDS.values() if section in kinds.configs.values()), None)
    others = [kind for kind, config in kinds.configs.items() if key in config.model_fields] if kinds else []
    if others:
        return f"unknown key of this kind, a key of {' and '.join(others)}; expected one of {sorted(fields)}"
    return f"unknown key; {nearest(key, list(fields))}"


def _locate(model: type[Section], location: tuple[int | str, ...]) -> tuple[list[str], type[Section]]:
    """Keys of an error's location, without the kinds that pydantic adds, and the section that holds the last one."""
    keys: list[str] = []
    holder = section = model
    items = iter(map(str, location))
    for key in items:
        keys.append(key)
        holder = section
        if kinds := _kinds_of(holder, key):
            section = kinds.configs.get(next(items, ""), holder)
        else:
            section = next(iter(_sections_of(holder, key)), holder)
    return keys, holder


def _kinds_of(section: type[Section], key: str) -> Kinds | None:
    """The kinds of a key; None of a key without."""
    field = section.model_fields.get(key)
    return next((item for item in field.metadata if isinstance(item, Kinds)), None) if field else None


def _sections_of(section: type[Section], key: str) -> list[type[Section]]:
    """The sections that the value of a key may be."""
    if kinds := _kinds_of(section, key):
        return list(kinds.configs.values())
    field = section.model_fields.get(key)
    return [kind for kind in _classes(field.annotation) if issubclass(kind, Section)] if field else []


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
        if key in without or key in section.places() or (isinstance(extra, dict) and not extra.get("decides", True)):
            continue
        value = getattr(section, key)
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(value, Section):
            nested = decisive(value)
            if type(value) is not type(default) and hasattr(value, "kind"):
                nested["kind"] = value.kind
            if nested or not isinstance(default, Section):
                content[key] = nested
        elif field.is_required() or value != default:
            content[key] = dumped[key]
    return content


def hashed(content: Any) -> str:
    """Hash of a JSON document, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
