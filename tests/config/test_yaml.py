"""YAML is read strictly: no key twice, and no words or times that become other values."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioslots.runtime.errors import InputError
from audioslots.schema import read_yaml


def read(tmp_path: Path, text: str) -> object:
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    return read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("seeds: [0]\nname: a\nseeds: [1]\n", 3, "seeds"),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", 4, "b"),
        ("- {a: 1, a: 2}\n", 1, "a"),
        ("a: &x {b: 1}\nc: {<<: *x, d: 1, d: 2}\n", 2, "d"),
    ],
)
def test_a_key_that_is_given_twice_is_named_with_its_line(text: str, line: int, key: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"a\.yaml: .*line {line}: key '{key}' is given twice"):
        read(tmp_path, text)


def test_a_merged_key_may_be_replaced(tmp_path: Path) -> None:
    assert read(tmp_path, "a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}\n") == {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("on", "on"), ("no", "no"), ("Yes", "Yes"), ("1:30", "1:30"), ("0x1f", "0x1f"), ("1_000", "1_000")),
        *(("true", True), ("False", False), ("12", 12), ("-3", -3), ("1.5", 1.5), ("2e-4", 2.0e-4), ("null", None)),
        *(("010", 10), ("2026-12-01", "2026-12-01")),
    ],
)
def test_words_and_times_stay_texts(text: str, value: object, tmp_path: Path) -> None:
    found = read(tmp_path, f"a: {text}\n")
    assert found == {"a": value} and type(found["a"]) is type(value)  # type: ignore[index]
