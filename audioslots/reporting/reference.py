"""Reference results: what a finished benchmark's report says, copied to be committed, and shown in the documentation.

No audio is copied: tables, figures, all scores, and what made them, so that a report can be made of it again.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from audioslots.config import Resolved
from audioslots.errors import InputError
from audioslots.files import read_json, write_text, written_aside
from audioslots.reporting.archive import keep
from audioslots.reporting.identities import made_of, record
from audioslots.stage import Stage
from audioslots.untrained import is_untrained

BEGIN, END = "<!-- begin: generated from {} -->", "<!-- end -->"
PARTS = {
    "Costs": ("costs",),
    "Where it does well, and where not": ("pairs", "input", "duration", "speakers", "time"),
}
"""Title -> tables of the page; those that a benchmark does not have are left out."""
LONGEST = 20  # rows of a table in the documentation
PAGES = ("README.md", "docs/results.md")
BRIEF = ("Variant", "SI-SDRi (dB)", "PESQ", "Below its ceiling (dB)")
COPIED = ("tables/*.csv", "tables/*.md", "tables/*.tex", "figures/*.svg")  # the same as PNG would double the size


def publish(results: Path, out: Path, command: str) -> Path:
    """Copy the tables, figures and scores of ``results`` to ``out/<benchmark>``, with a page on what made them.

    Args:
        results: a reported benchmark, ``results/<benchmark>``.
        out: folder of the reference results.
        command: what a reader types to make them again.

    Returns:
        The folder written.

    Raises:
        InputError: the benchmark has not been reported, a run was made by code that is not committed, or another
            process publishes it.
    """
    benchmark = read_json(results / "benchmark.json")
    with Stage(out, benchmark["name"], {}, ()).locked():
        return _published(results, benchmark, out / benchmark["name"], command)


def _published(results: Path, benchmark: dict[str, Any], folder: Path, command: str) -> Path:
    if not (results / "tables" / "main.md").is_file():
        raise InputError(f"{results}: no tables/main.md; expected a benchmark finished by `audioslots report`")
    systems = [read_json(path) for path in sorted(results.glob("runs/*/seed*/system.json"))]
    scored = [read_json(path)["commit"] for path in sorted(results.glob("runs/*/seed*/evaluation.json"))]
    commits = {"training": {system["commit"] for system in systems}, "evaluation": set(scored)}
    for stage, found in commits.items():
        if unclean := [commit for commit in sorted(found) if not commit or commit.endswith("-dirty")]:
            raise InputError(f"{results}: {stage} by commit {unclean[0]!r}; expected code that is committed")
    made_by = {key: sorted({str(system[key]) for system in systems}) for key in ("device", "threads")}
    configs = sorted(results.glob("runs/*/seed*/config.json"))
    runs = [Resolved.read(path) for path in configs if not is_untrained(path.parts[-3])]
    if folder.exists():
        shutil.rmtree(folder)
    for pattern in COPIED:
        for source in sorted(results.glob(pattern)):
            with written_aside(folder / source.relative_to(results)) as aside:
                shutil.copyfile(source, aside)
    keep(results, folder)
    record(folder, command, made_of(benchmark, runs))
    versions = ", ".join(f"{name} {version}" for name, version in sorted(systems[0]["versions"].items()))
    by = ", ".join(f"{stage} {' and '.join(sorted(found))}" for stage, found in commits.items())
    lines = [
        f"# {benchmark['title']}",
        "Generated; change nothing here by hand.",
        f"Command: `{command}`  \nCommit: {by}  \n"
        f"Machine: {', '.join(made_by['device'])}, {', '.join(made_by['threads'])} thread(s) a training  \n"
        f"Versions: {versions}",
        f"Test: {benchmark['test_description']}.  \nTraining: {benchmark['train_description']}.",
    ]
    lines += ["## Conclusions", _table(folder, "conclusions")]
    lines += ["## Results", _table(folder, "main"), "![Estimates with intervals](figures/estimates.svg)"]
    if _has(folder, "counting"):
        lines += ["## How many speakers", _table(folder, "counting")]
    for study in benchmark["studies"]:
        lines += [f"## Study: {study['title']}", study["question"], _table(folder, f"comparison-{study['name']}")]
        lines += [f"![{study['title']}: estimates with intervals](figures/estimates-{study['name']}.svg)"]
    for title, names in PARTS.items():
        lines += [f"## {title}", *(_table(folder, name) for name in names if _has(folder, name))]
    if _has(folder, "published"):  # of clean mixtures alone
        lines += ["## Published elsewhere", _table(folder, "published")]
    drawn = sorted(path.name for path in (folder / "figures").glob("*.svg"))
    lines += ["## Figures", ", ".join(f"[{name.removesuffix('.svg')}](figures/{name})" for name in drawn)]
    write_text(folder / "README.md", "\n\n".join(lines) + "\n")
    return folder


def show(root: Path, folder: Path) -> None:
    """Put a reference folder's results between its marks in the documentation: ``brief`` in the README, else ``shown``.

    Args:
        root: of the repository; ``PAGES`` that lack the marks are left alone.
        folder: in it, of the reference.

    Raises:
        InputError: no page has the marks.
    """
    source = folder.relative_to(root).as_posix()
    pages = [root / name for name in PAGES if (root / name).is_file()]
    marked = [page for page in pages if BEGIN.format(source) in page.read_text(encoding="utf-8")]
    if not marked:
        raise InputError(f"{root}: no {BEGIN.format(source)!r} in {' or '.join(PAGES)}; expected the marks of a table")
    for page in marked:
        put(page, source, brief(folder) if page.name == "README.md" else shown(folder))


def put(page: Path, source: str, content: str) -> None:
    """Put what was generated from ``source`` between its marks in a page.

    Raises:
        InputError: the page lacks the marks.
    """
    begin = BEGIN.format(source)
    text = page.read_text(encoding="utf-8")
    before, mark, rest = text.partition(begin)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise InputError(f"{page}: no {begin!r} followed by {END!r}; expected the marks of the generated table")
    write_text(page, f"{before}{begin}\n{content}\n{end}{after}")


def shown(folder: Path) -> str:
    """The main table of a reference folder, or what its studies found where that would be long; numbers of speakers."""
    rows = (folder / "tables" / "main.md").read_text(encoding="utf-8").count("\n| ")
    names = ["main" if rows <= LONGEST else "conclusions", *(["counting"] if _has(folder, "counting") else [])]
    return "\n\n".join(_table(folder, name) for name in names)


def _has(folder: Path, name: str) -> bool:
    """Whether a reference has a table: that of numbers of speakers, or of long recordings, only some have."""
    return (folder / "tables" / f"{name}.md").is_file()


def _table(folder: Path, name: str) -> str:
    return (folder / "tables" / f"{name}.md").read_text(encoding="utf-8").strip()


def brief(folder: Path) -> str:
    """A few rows and columns of a reference's main table: mixture, first oracle, and variants stitched blindly."""
    lines = [line.strip("| ").split(" | ") for line in _table(folder, "main").splitlines() if line.startswith("|")]
    data = pd.read_csv(folder / "tables" / "main.csv")
    trained = data[data["stitching"] == "blind"]
    kept = data["stitching"].eq("blind") | (data["stitching"].eq("none") & data.index.isin(data.index[:2]))
    places = [lines[0].index(heading) for heading in BRIEF]
    rows = [
        [row[place] for place in places] for row in (lines[0], lines[1], *(lines[2 + row] for row in data.index[kept]))
    ]
    caption = (
        f"Means over {int(trained['n'].iloc[0])} test mixtures and {int(trained['seeds'].iloc[0])} seeds, stitched "
        "blindly, with 95 % intervals. Bold: the best; ≈: not shown to be below it."
    )
    return "\n".join([*("| " + " | ".join(row) + " |" for row in rows), "", caption])
