"""What each variant changes: the keys of its config that are not its baseline's, and where its runs lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from audioslots.reporting.runs import Run
from audioslots.reporting.table import Table
from audioslots.reporting.tables import titled, valued
from audioslots.reporting.words import EMPTY
from audioslots.runtime.stage import flat

_NAMES = ("benchmark", "ceiling", "data_identity", "identity", "name", "provenance", "run_identity", "seed", "title")
_CAPTION = (
    "What each variant changes of the one its study compares with: keys of its config, the value there, and its own. "
    "The first row of a study is what is compared with."
)


def changed(config: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(Key, the baseline's value, the variant's) of every setting that differs, names and identities apart.

    Args:
        config: of the variant, as ``config.json`` holds it; a key inside a section is named ``section.key``.
        baseline: of the variant compared with. A key that one of them lacks is None there.
    """
    own, other = (flat({key: value for key, value in of.items() if key not in _NAMES}) for of in (config, baseline))
    keys = [key for key in {**other, **own} if own.get(key) != other.get(key)]
    return [(key, other.get(key), own.get(key)) for key in keys]


def changes(runs: Sequence[Run], studies: Sequence[Mapping[str, Any]], out: Path) -> Table:
    """The table of what each variant changes, a row a variant of a study, with links to its runs on the page.

    Args:
        runs: of a benchmark, all seeds.
        studies: of ``benchmark.json``: title, baseline, variants.
        out: folder of the page; runs that are not in it are not linked.
    """
    of: dict[str, list[Run]] = {}
    for run in runs:
        of.setdefault(run.variant, []).append(run)
    rows, links = [], []
    for study in studies:
        baseline = of[study["baseline"]][0]
        for name in dict.fromkeys([study["baseline"], *study["variants"]]):
            run = of[name][0]
            of_ours = ("model" in run.config) == ("model" in baseline.config)
            words = _words(changed(run.config, baseline.config)) if of_ours else "another system"
            rows.append({"study": study["title"], "variant": name, "title": run.title, "changes": words})
            links.append([(f"seed {run.seed}", link) for run in of[name] if (link := _link(run, out))])
    columns = [titled(), *(valued(key.capitalize(), key, str, numeric=False) for key in ("study", "changes"))]
    data = pd.DataFrame(rows, columns=["study", "variant", "title", "changes"])
    return Table("changes", _CAPTION, data, columns, links=links if any(links) else ())


def _words(found: Sequence[tuple[str, Any, Any]]) -> str:
    return "; ".join(f"{key} {_value(before)} → {_value(now)}" for key, before, now in found) or EMPTY


def _value(value: Any) -> str:
    """A value as a benchmark's file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return EMPTY if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)


def _link(run: Run, out: Path) -> str:
    """The path from the page to a run's config, "" where it is not in the page's folder."""
    config = (run.folder / "config.json").resolve()
    inside = config.is_file() and config.is_relative_to(out.resolve())
    return config.relative_to(out.resolve()).as_posix() if inside else ""
