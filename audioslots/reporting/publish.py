"""Published results: the runs of a benchmark, copied to be committed, and what the documentation shows of them.

``results/reference/<benchmark>/`` holds all scores and what made them (``archive``), a README.md with the main table
and the conclusions, and at most three figures; no audio. A run enters when it is done, by its identity and the digest
of the code that made it, so that a long benchmark can be published in parts, from several machines.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from audioslots.config.untrained import is_untrained
from audioslots.layout import SCORES, run_folder
from audioslots.reporting.archive import HISTORY, RUNS, Archive, keep, read_files, thinned
from audioslots.reporting.report import report
from audioslots.reporting.runs import is_scored, read_description, seeds_of
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, write_text, written_aside
from audioslots.runtime.stage import Stage
from audioslots.scoring.evaluate import read_scores

BEGIN, END = "<!-- begin: generated from {} -->", "<!-- end -->"
LONGEST = 20  # rows of a table in the documentation
PAGES = ("README.md", "docs/results.md")
BRIEF = ("Variant", "SI-SDRi (dB)", "PESQ", "Below its ceiling (dB)")
SYSTEMS = "conv-tasnet"  # study whose rows the README shows beside those of the first study
FIGURES = ("estimates", "cost", "spectrograms")
CODE = "code.json"
"""File of a published run: digests of the code of its training and of its scoring."""


def publish(results: Path, out: Path, command: str = "") -> Path:
    """Add the scored runs of ``results`` to ``out/<benchmark>``, and write its page again.

    A run that is there already, of the same identity and code, stays as it is. A run that the benchmark does not name
    any more, or whose configuration is another now, is removed, with a line on standard error.

    Args:
        results: folder of a benchmark, ``results/<benchmark>``.
        out: folder of published results.
        command: what a reader types to make them again; by default what is published, or ``make run``.

    Returns:
        The folder written.

    Raises:
        InputError: no run has scores, a run was made by code that is not committed, or another process publishes it.
    """
    benchmark = read_description(results / "benchmark.json")
    folder = out / benchmark["name"]
    with Stage(out, benchmark["name"], {}, ()).locked():
        before = Archive.read(folder) if (folder / RUNS).is_file() else None
        runs, parts = _kept(before, benchmark)
        for variant in benchmark["variants"]:
            for seed in seeds_of(benchmark, variant):
                if not is_scored(results, variant, seed, benchmark):
                    continue
                files = _described(results, variant, seed)
                if _same(runs.get(variant, {}).get(str(seed)), files):
                    continue
                runs.setdefault(variant, {})[str(seed)] = files
                parts[variant, seed] = read_scores(run_folder(results, variant, seed) / SCORES)
        if not parts:
            raise InputError(f"{results}: no run has scores; expected runs of `audioslots evaluate`")
        command = command or (before.command if before else "") or f"make run BENCHMARK={benchmark['name']}"
        keep(Archive(folder, benchmark, runs, pd.concat(parts.values(), ignore_index=True), command))
        _write_page(folder, results / "figures" / "spectrograms.svg")
    return folder


def render(folder: Path) -> None:
    """Write the page and figures of published results again, from their scores."""
    _write_page(Path(folder), None)


def _kept(before: Archive | None, benchmark: Mapping[str, Any]) -> tuple[dict[str, Any], dict[Any, pd.DataFrame]]:
    """The published runs that are still the benchmark's, and their scores."""
    runs: dict[str, Any] = {}
    parts: dict[Any, pd.DataFrame] = {}
    if before is None:
        return runs, parts
    try:
        before.require_same_data(benchmark)
    except InputError as error:
        print(f"{error}; all its runs are removed", file=sys.stderr)
        return runs, parts
    for variant, seeds in before.runs.items():
        expected = benchmark.get("identities", {}).get(variant, {})
        known = [seed for seed in seeds if seed in expected]
        if variant not in benchmark["variants"] or any(
            before.identity(variant, seed) != expected[seed] for seed in known
        ):
            print(
                f"{before.folder}: {variant}: removed: of another configuration than the benchmark's now",
                file=sys.stderr,
            )
            continue
        runs[variant] = dict(seeds)
        parts |= {(variant, int(seed)): before.rows(variant, int(seed)) for seed in seeds}
    return runs, parts


def _described(results: Path, variant: str, seed: int) -> dict[str, Any]:
    """The files of a run as they are published.

    Raises:
        InputError: it was made by code that is not committed.
    """
    folder = run_folder(results, variant, seed)
    files = read_files(folder, needed=not is_untrained(variant))
    for name, stage in (("system.json", "training"), ("evaluation.json", "evaluation")):
        commit = files.get(name, {"commit": "none"}).get("commit", "")
        if not commit or commit.endswith("-dirty"):
            raise InputError(f"{folder}: {stage} by commit {commit!r}; expected code that is committed")
    files.get("config.json", {}).pop("provenance", None)
    if HISTORY in files:
        files[HISTORY] = thinned(files[HISTORY])
    notes = {stage: folder / f"{stage}.stage.json" for stage in ("train", "scores")}
    code = {stage: read_json(path)["code"] for stage, path in notes.items() if path.is_file()}
    if not code and (folder / CODE).is_file():  # of a run that was unpacked
        code = read_json(folder / CODE)
    return files | ({CODE: code} if code else {})


def _same(known: Mapping[str, Any] | None, files: Mapping[str, Any]) -> bool:
    """Whether a published run is of the same identity and code as one that was made here."""
    if known is None or CODE not in files:
        return False
    identities = [one.get("config.json", {}).get("run_identity") for one in (known, files)]
    return identities[0] == identities[1] and known.get(CODE) == files[CODE]


def _write_page(folder: Path, panel: Path | None) -> None:
    """Write README.md and the figures of published results, from their scores.

    Args:
        folder: of published results.
        panel: spectrograms that were drawn where there is audio; what is published stays where there are none.
    """
    archive = Archive.read(folder)
    benchmark = archive.benchmark
    with tempfile.TemporaryDirectory() as place:
        page = Path(place)
        report(folder, page)
        tables = {path.stem: path.read_text(encoding="utf-8").strip() for path in page.glob("tables/*.md")}
        drawn = {path.stem: path for path in page.glob("figures/*.svg")}
        if panel is not None and panel.is_file():
            drawn["spectrograms"] = panel
        for name in FIGURES:
            if name in drawn:
                with written_aside(folder / "figures" / f"{name}.svg") as aside:
                    shutil.copyfile(drawn[name], aside)
    files = [run for seeds in archive.runs.values() for run in seeds.values()]
    systems = [run["system.json"] for run in files if "system.json" in run]

    def each(records: list[dict[str, Any]], key: str) -> str:
        return ", ".join(sorted({str(record[key]) for record in records if record.get(key) not in (None, "")}))

    evaluations = [run["evaluation.json"] for run in files if "evaluation.json" in run]
    versions = sorted({f"{name} {version}" for one in systems for name, version in one.get("versions", {}).items()})
    lines = [
        f"# {benchmark['title']}",
        "Generated by `audioslots results publish`; change nothing here by hand.",
        f"Command: `{archive.command}`  \nCommit: training {each(systems, 'commit')}; evaluation "
        f"{each(evaluations, 'commit')}  \nMachine: {each(systems, 'device')}; {each(systems, 'threads')} thread(s) "
        f"per training  \nVersions: {', '.join(versions)}",
        f"Test: {benchmark['test_description']}.  \nTraining: {benchmark['train_description']}.",
    ]
    if "conclusions" in tables:
        lines += ["## Conclusions", tables["conclusions"]]
    if "counting" in tables:
        lines += ["## How many speakers", tables["counting"]]
    lines += ["## Results", tables["main"]]
    lines += [f"![{name}](figures/{name}.svg)" for name in FIGURES if (folder / "figures" / f"{name}.svg").is_file()]
    write_text(folder / "README.md", "\n\n".join(lines) + "\n")


def show(root: Path, folder: Path) -> None:
    """Put published results between their marks in the documentation: ``brief`` in the README, else ``shown``.

    Args:
        root: of the repository; ``PAGES`` that lack the marks are left alone.
        folder: in it, of the published results.

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
    """The main table of published results, or the conclusions where that would be long; numbers of speakers."""
    sections = _sections(folder)
    rows = sections["Results"].count("\n| ")
    names = ["Results" if rows <= LONGEST else "Conclusions", "How many speakers"]
    return "\n\n".join(_without_figures(sections[name]) for name in names if name in sections)


def brief(folder: Path) -> str:
    """A few rows and columns of a main table: mixture, first oracle, and the systems stitched blindly."""
    archive = Archive.read(folder)
    lines = [
        line.strip("| ").split(" | ") for line in _sections(folder)["Results"].splitlines() if line.startswith("|")
    ]
    first = archive.benchmark["studies"][0]
    shown = [first, *(study for study in archive.benchmark["studies"] if study["name"] == SYSTEMS)]
    titles = [_title(archive, name) for study in shown for name in (study["baseline"], *study["variants"])]
    heading, rule, rows = lines[0], lines[1], lines[2:]
    name, stitching = (heading.index(word) for word in ("Variant", "Stitching"))
    untrained = [row for row in rows if row[stitching] == "–"][:2]
    trained = [row for row in rows if row[stitching] == "blind" and row[name] in titles]
    places = [heading.index(word) for word in BRIEF]
    kept = ["| " + " | ".join(row[place] for place in places) + " |" for row in (heading, rule, *untrained, *trained)]
    scores = archive.scores[archive.scores["variant"].isin([first["baseline"], *first["variants"]])]
    seeds = scores.groupby("variant")["seed"].nunique()
    numbers = " to ".join(map(str, dict.fromkeys([seeds.min(), seeds.max()])))
    caption = (
        f"Means over {scores['mixture_id'].nunique()} test mixtures and {numbers} seeds, stitched "
        "blindly, with 95 % intervals. Bold: the best of all variants of the benchmark; ≈: not shown to be below it."
    )
    return "\n".join([*kept, "", caption])


def _title(archive: Archive, variant: str) -> str:
    runs = archive.runs.get(variant, {})
    return next((run["config.json"]["title"] for run in runs.values()), variant)


def _sections(folder: Path) -> dict[str, str]:
    """The sections of a page of published results, by heading."""
    parts = re.split(r"^## (.+)\n", (folder / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {title: content.strip() for title, content in zip(parts[1::2], parts[2::2], strict=True)}


def _without_figures(text: str) -> str:
    return re.sub(r"\n\n!\[.*", "", text, flags=re.DOTALL)
