"""What a reference was made of, and whether its benchmark's files still say the same.

``made_of.json`` in a reference folder names the seeds, studies and untrained systems, and of every trained variant the
identity for each seed, what that identity hashes, and how its model is put to use (``separation``, no part of it).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audioslots.benchmark import read_for_counting, resolve, variants
from audioslots.config import Resolved
from audioslots.files import read_json, write_json
from audioslots.stage import flat
from audioslots.summary import summary

NAME = "made_of.json"
ABSENT = "nothing"


def made_of(described: dict[str, Any], runs: Iterable[Resolved]) -> dict[str, Any]:
    """What results are made of: a benchmark's ``summary``, and its trained variants, one for each seed."""
    found: dict[str, Any] = {}
    for run in runs:
        content = {key: value for key, value in run.content.items() if key != "seed"}
        made = {"identity": {}, "content": content, "separation": run.separation.content}
        found.setdefault(run.name, made)["identity"][f"seed {run.seed}"] = run.identity
    return {
        "seeds": described["seeds"],
        "test": described["test_description"],
        "studies": {study["name"]: [study["baseline"], *study["variants"]] for study in described["studies"]},
        "untrained": [name for name in described["variants"] if name not in found],
        "variants": found,
    }


def record(folder: Path, command: str, made: dict[str, Any]) -> None:
    """Write ``made_of`` results into their reference folder, with the command that makes them again."""
    write_json(folder / NAME, {"command": command, **made})


def by_config(config: Path) -> dict[str, Any]:
    """What results of a benchmark's file would be ``made_of`` now.

    Raises:
        InputError: the file or a study is absent or wrong.
    """
    benchmark = read_for_counting(config)
    known = variants(benchmark)
    runs = [resolve(benchmark, name, seed, known=known) for name in known for seed in benchmark.seeds]
    return made_of(summary(benchmark), runs)


def differences(folder: Path, config: Path) -> list[str]:
    """Where a reference is not of what its benchmark's file says now: a line each, then what to run; [] where it is.

    Identities are named only where all that they hash is alike, but not the code that hashes it.

    Raises:
        InputError: as ``by_config``; the reference does not say what it is made of.
    """
    document = read_json(folder / NAME)
    command = document.pop("command")
    found, now = flat(document), flat(by_config(config))
    keys = [key for key in {**found, **now} if found.get(key, ABSENT) != now.get(key, ABSENT)]
    telling = [key for key in keys if ".identity." not in key] or keys
    lines = [f"{key}: {found.get(key, ABSENT)} in the reference, {now.get(key, ABSENT)} by {config}" for key in telling]
    if lines:
        lines.append(f"run: {command}; audioslots reference results/{folder.name} --command {command!r}")
    return lines
