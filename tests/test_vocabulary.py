"""Words to avoid: literal translations, private terms and retired names. The field's term stands beside each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from audioslots.cli.app import app
from audioslots.config.benchmark import Benchmark
from audioslots.config.variant import Variant
from audioslots.schema import Kinds, Section

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/*.md", "config/*.md", "results/**/*.md", "audioslots/weights/*.md", "slurm/*.md")

AVOID = {
    r"let through|modulated": "FiLM",
    r"paper's design": "bottleneck model, or the paper's parts",
    r"\bown[_ ]output": "assignment accuracy",
    r"\bceilings?\b": "oracle bound",
    r"references' order|oracle order": "oracle stitching",
    r"\btwins?\b": "variants that share weights",
    r"\bspare slots?\b": "extra slots",
    r"\bbudgets?\b": "training lengths",
    r"\bsettled\b|not converged": "conclusive, inconclusive",
    r"\bcarried slots|carry slots": "recurrent slots",
    r"\bexistence\b": "presence",
    r"\bin turn\b": "recursive",
    r"\banew\b": "again, from scratch",
    r"\b(heard|hears)\b": "trains on, reads",
    r"\bstart_of\b|\bstart_at\b": "init_from",
    r"\bshared? (the mixture )?out\b": "ratio mask",
    r"\bnumbers? a slot\b|numbers_a_": "slot size",
    r"\b(tokens?|steps?|rows?|files?|seeds?|kinds?|mixtures?) an? (slot|step|run|seed|source|mixture)\b": "per",
    r"16 bits? come": "bf16 matches fp32",
    r"\bdoes well\b|does it well": "breakdown by condition",
    r"\btold\b|\btells\b": "reports, given",
    r"no difference (is )?shown|not shown to differ": "inconclusive, equivalent",
    r"\bcosts nothing\b|for nothing\b": "is free",
    r"\bmade by\b": "produced by, trained by, of",
    r"\bvoices?\b": "speakers",
    r"\bgoes on\b|\bgo on\b": "continues, resumes",
    r"\blies in\b|\blie in\b": "is in",
    r"\bwhat is not there\b|what that costs": "missing data, the cost",
    r"--fresh\b|--card\b|--unpack\b|\bestimate-set\b": "the present option",
    r"\btime-frequency points?\b": "time-frequency bins",
    r"\b(asks|knows|wants)\b (whether|how|what|for)": "requires, has",
}
"""Regular expression -> what to write."""


def find(text: str) -> list[str]:
    """The words to avoid in a text, code blocks and generated identifiers left out."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", " ", text, flags=re.DOTALL)
    return [f"{match[0]!r}: {use}" for bad, use in AVOID.items() for match in re.finditer(bad, prose, re.IGNORECASE)]


def pages() -> Iterator[Path]:
    for pattern in PAGES:
        yield from (
            path for path in sorted(ROOT.glob(pattern)) if path.name != "CHANGELOG.md" and ".venv" not in path.parts
        )


def describe(section: type[Section], path: str = "") -> Iterator[tuple[str, str]]:
    """Names and descriptions of a section's keys and of all sections in it."""
    for key, field in section.model_fields.items():
        yield f"{path}{key}", f"{key} {field.description or ''}"
        kinds = next((part for part in field.metadata if isinstance(part, Kinds)), None)
        nested = list(kinds.configs.values()) if kinds else [field.annotation]
        for each in nested:
            if isinstance(each, type) and issubclass(each, Section):
                yield from describe(each, f"{path}{key}.")


def commands(command: Any, name: str = "audioslots") -> Iterator[tuple[str, str]]:
    """Help texts of a command and of all commands in it."""
    options = " ".join(getattr(option, "help", None) or "" for option in command.params)
    yield name, f"{command.help or ''} {options}"
    for key, each in getattr(command, "commands", {}).items():
        if not each.hidden:
            yield from commands(each, f"{name} {key}")


def captions() -> Iterator[tuple[str, str]]:
    """Captions of tables and figures, and conclusions, as the code spells them."""
    for path in sorted((ROOT / "audioslots/reporting").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        yield path.name, " ".join(part for part in parts if isinstance(part, str) and " " in part)


def studies() -> Iterator[tuple[str, str]]:
    """Titles, questions and comments of studies and benchmarks."""
    for path in sorted([*ROOT.glob("ablations/*.yaml"), *ROOT.glob("config/*.yaml")]):
        yield path.name, path.read_text(encoding="utf-8")


def test_the_list_is_short_and_finds_what_it_names() -> None:
    assert len(AVOID) <= 40
    assert find("The slots are drawn anew, 4 tokens a slot; `anew` in code") == [
        "'anew': again, from scratch",
        "'tokens a slot': per",
    ]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_are_in_plain_words(page: Path) -> None:
    assert find(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [*commands(typer.main.get_command(app)), *describe(Variant), *describe(Benchmark), *studies(), *captions()],
)
def test_help_keys_and_titles_are_in_plain_words(name: str, text: str) -> None:
    assert find(text) == [], name


def test_titles_stand_alone_in_40_characters() -> None:
    for path in sorted(ROOT.glob("ablations/*.yaml")):
        study = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, variant in study["variants"].items():
            assert len(variant.get("title", "")) <= 40, f"{path.name}: {name}"
