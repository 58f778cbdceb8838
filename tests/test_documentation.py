"""The documentation: a README of one screen, links that lead somewhere, verbs and options that exist, a citation."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from audioslots.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md", "results/reference/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
README_BYTES = 7 * 1024


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as links to them spell them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= README_BYTES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith("https://"):
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_every_page_and_every_reference_is_listed() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"](docs/{page.name})" not in readme] == []
    listed = (ROOT / "results" / "reference" / "README.md").read_text(encoding="utf-8")
    folders = [path.parent.name for path in (ROOT / "results" / "reference").glob("*/README.md")]
    assert folders and [name for name in folders if f"]({name}/README.md)" not in listed] == []


def test_files_that_the_readme_names_exist() -> None:
    """The newcomer's questions: each answer is a file."""
    named = re.findall(r"`([\w/]+(?:/|\.py))`", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    for name in named:
        inside = ("", "audioslots", "audioslots/scoring")  # a row of the map may go on within a folder
        assert any((ROOT / folder / name).exists() for folder in inside), name


def commands() -> Iterator[tuple[str, str]]:
    """(Page, command) of every line in a block of shell commands that calls `audioslots`."""
    for page in filter(Path.is_file, PAGES):  # another test names one that is absent
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                if line.startswith("audioslots "):
                    yield page.name, re.sub(r" \[.*?\]", "", line.partition("  #")[0])


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_documented_calls_are_of_verbs_and_options_that_exist(page: str, command: str) -> None:
    words, verb = shlex.split(command)[1:], typer.main.get_command(app)
    called: Any = verb
    while hasattr(called, "commands"):
        called = called.commands[words.pop(0)]
    called.make_context(called.name, words)  # raises where one is unknown, missing or of another type


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = (
        project.get("version") or re.findall(r'__version__ = "(.+)"', (ROOT / "audioslots/__init__.py").read_text())[0]
    )
    assert str(cited["version"]) == version and cited["license"] == "Apache-2.0"
    assert [paper["authors"][0]["family-names"] for paper in cited["references"]] == ["Reddy"]
