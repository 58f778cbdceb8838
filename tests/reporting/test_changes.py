"""What each variant changes: settings that differ, in words, and links to runs that are in the page's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from audioslots.reporting.changes import changed
from made_results import make

from audioslots.reporting.report import report

STUDIES = {"decoder": ["plain", "masked"], "all": ["masked", "plain", "stranger"]}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("changes") / "results"
    make(folder, {"plain": 4.0, "masked": 6.0, "stranger": 2.0}, studies=STUDIES)
    base = {"model": {"kind": "audioslots"}, "chunk_s": 1.0, "start": "", "training": {"ema": 0.0, "compile": False}}
    masked = base | {"chunk_s": 0.5, "start": "results/first", "training": {"ema": 0.999, "compile": True}}
    for variant, config in {"plain": base, "masked": masked, "stranger": {}}.items():
        for path in folder.glob(f"runs/{variant}/*/config.json"):
            named = {"name": variant, "title": variant.capitalize(), "seed": 1, "identity": variant, "provenance": {}}
            path.write_text(json.dumps(named | config))
    report(folder, folder)
    return folder


def test_a_setting_that_one_lacks_is_a_change_and_a_name_is_none() -> None:
    own = {"name": "b", "seed": 2, "run_identity": "b", "identity": "b", "slots": {"count": 3, "recurrence": "last"}}
    other = {"name": "a", "seed": 1, "run_identity": "a", "identity": "a", "slots": {"count": 2}, "task": "sep_clean"}
    found = [("task", "sep_clean", None), ("slots.count", 2, 3), ("slots.recurrence", None, "last")]
    assert sorted(changed(own, other)) == sorted(found)
    assert changed(own, own) == []


def test_every_study_says_what_its_variants_change_of_its_own_baseline(results: Path) -> None:
    table = pd.read_csv(results / "tables" / "changes.csv").set_index(["study", "variant"])["changes"]
    words = "chunk_s 1 → 0.5; start – → results/first; training.ema 0 → 0.999; training.compile false → true"
    assert table["Decoder", "masked"] == words and table["Decoder", "plain"] == "–"
    assert table["All", "masked"] == "–"
    assert table["All", "plain"].startswith("chunk_s 0.5 → 1; start results/first → –; ")
    assert table["All", "stranger"] == "another system"


def test_runs_are_linked_where_the_page_holds_them_and_nowhere_else(results: Path, tmp_path: Path) -> None:
    inside, outside = (results / "index.html").read_text(), report(results, tmp_path).read_text()
    for link in ("runs/masked/seed1/config.json", "runs/stranger/seed2/config.json"):
        assert f'href="{link}"' in inside and (results / link).is_file()
    assert "config.json" not in outside and ">Configs<" not in outside and ">Changes<" in outside
