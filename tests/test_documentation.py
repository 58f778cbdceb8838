"""The documentation: links that lead somewhere, commands and options that exist, a README of one screen, a citation."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import audioslots
from audioslots.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "results/README.md", "results/reference/README.md", "docs/*.md"]
TEXTS = {path: path.read_text(encoding="utf-8") for name in PAGES for path in sorted(ROOT.glob(name))}
README = TEXTS[ROOT / "README.md"]


def anchors(text: str) -> set[str]:
    """Names of a page's headings, as links to them spell them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if not link.startswith("https://"):
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_readme_is_one_screen_and_lists_every_page() -> None:
    assert len(README.encode()) <= 5 * 1024
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"](docs/{page.name})" not in README] == []


def test_the_code_map_names_files_that_exist() -> None:
    contributing = TEXTS[ROOT / "CONTRIBUTING.md"]
    names = re.findall(r"`((?:audioslots|workflow|perf|tests)/[\w./]*)`", contributing)
    assert len(names) > 20 and [name for name in names if not (ROOT / name).exists()] == []


def test_every_published_benchmark_is_listed() -> None:
    folders = [path.parent.name for path in (ROOT / "results/reference").glob("*/README.md")]
    listed = TEXTS[ROOT / "results/reference/README.md"]
    assert folders and [name for name in folders if f"]({name}/README.md)" not in listed] == []


BLOCKS = [
    block for text in TEXTS.values() for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
]
CALLS = {re.sub(r" \[.*?\]", "", line.partition("  #")[0]) for block in BLOCKS for line in block.splitlines()}


@pytest.mark.parametrize("call", sorted(call for call in CALLS if call.startswith("audioslots ")))
def test_documented_calls_are_of_commands_and_options_that_exist(call: str) -> None:
    command: Any = typer.main.get_command(app)
    words = shlex.split(call)[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(command.name, words)  # raises where one is unknown, missing or of another type


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert str(citation["version"]) == audioslots.__version__ and citation["license"] == "Apache-2.0"
