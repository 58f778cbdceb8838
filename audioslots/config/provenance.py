"""Hyper-parameters, and where the value of each is from: the paper, a second-hand source, or this project."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from audioslots.config.checking import Section


def hyper(
    default: Any,
    description: str,
    *,
    paper: Any = None,
    secondary: Any = None,
    decides: bool = True,
    **limits: Any,
) -> Any:
    """A hyper-parameter, with the value the paper or a second-hand source gives for it where one is known.

    ``provenance`` derives each value's word from these: the word cannot disagree with the value. One that does not
    ``decides`` changes no result and is no part of an identity (``checking.decisive``).
    """
    known = {"paper": paper, "secondary": secondary}
    return Field(default, description=description, json_schema_extra={"known": known, "decides": decides}, **limits)


def provenance(section: Section, prefix: str = "") -> dict[str, str]:
    """For every hyper-parameter, ``paper``, ``secondary`` or ``ours``: the source that gives this very value."""
    words: dict[str, str] = {}
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(field.json_schema_extra, dict) and "known" in field.json_schema_extra:
            known: Any = field.json_schema_extra["known"]
            given = {word: source for word, source in known.items() if source is not None}
            words[prefix + key] = next((word for word, source in given.items() if source == value), "ours")
        elif isinstance(value, Section):
            words |= provenance(value, f"{prefix}{key}.")
    return words
