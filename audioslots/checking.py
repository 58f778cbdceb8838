"""Checking documents that people write: one line that names file and key, what is wrong and what was expected."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audioslots.errors import InputError
from audioslots.files import parsed

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


def read_yaml(path: Path) -> Any:
    """Read one YAML file; raises as ``files.parsed``."""
    return parsed(path, yaml.safe_load, "YAML", yaml.YAMLError)
