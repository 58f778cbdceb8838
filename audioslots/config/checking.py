"""Checking documents that people write: one line that names file and key, what is wrong and what was expected."""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audioslots.runtime.errors import InputError
from audioslots.runtime.files import parsed

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=60)]


class Section(BaseModel):
    """Base of every part of a config: unknown keys are errors, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def nearest(word: str, valid: list[str]) -> str:
    """The valid words closest to a misspelt one, for an error message."""
    close = difflib.get_close_matches(word, valid, n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected one of {sorted(valid)}"


AnySection = TypeVar("AnySection", bound=Section)


def checked(model: type[AnySection], document: Any, source: str) -> AnySection:
    """Validate a document, turning pydantic's list of errors into one line that names file and key."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = f"unknown key; {nearest(str(first['loc'][-1]), _keys_beside(model, first['loc']))}"
        elif "input" in first and not isinstance(first["input"], dict):
            message = f"{message} (found {first['input']!r})"
        raise InputError(f"{source}: {key}: {message}") from None


def _keys_beside(model: type[Section], location: tuple[int | str, ...]) -> list[str]:
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        nested = [kind for kind in _classes(field.annotation) if issubclass(kind, Section)] if field else []
        if not nested:
            return list(model.model_fields)
        model = nested[0]
    return list(model.model_fields)


def _classes(annotation: Any) -> list[type]:
    if isinstance(annotation, type):
        return [annotation]
    return [kind for part in getattr(annotation, "__args__", ()) for kind in _classes(part)]


def label(default: Any = ..., description: str = "", **limits: Any) -> Any:
    """A key that names or places something: it changes no result and is no part of an identity (``decisive``)."""
    return Field(default, description=description, json_schema_extra={"decides": False}, **limits)


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
        if isinstance(value, Section):
            if nested := decisive(value):
                content[key] = nested
        elif field.is_required() or value != field.get_default(call_default_factory=True):
            content[key] = dumped[key]
    return content


def hashed(content: Any) -> str:
    """Hash of a JSON document, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read_yaml(path: Path) -> Any:
    """Read one YAML file; raises as ``files.parsed``."""
    return parsed(path, yaml.safe_load, "YAML", yaml.YAMLError)
