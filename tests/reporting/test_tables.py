"""Tables: the same numbers in every format, every character escaped, unknown values empty."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audioslots.reporting import formatting
from audioslots.reporting.table import TIE, Table
from audioslots.reporting.tables import (
    compare_configs,
    tabulate_comparison,
    tabulate_costs,
    tabulate_literature,
    tabulate_results,
)
from audioslots.scoring.metrics import REPORTED
from audioslots.stats.comparisons import compare_with_baseline
from audioslots.stats.summaries import summarise
from tests.reporting.made_results import make_scores

HOSTILE = (
    "<script>alert(1)</script>",
    "a & b_%",
    "x|y `z` [u](javascript:v)",
    r"\input{x} $1^2~# {",
    "[brackets]\n\nbreak",
)


def make_costs(*variants: str) -> pd.DataFrame:
    columns = "seeds parameters macs_per_second real_time_factor delay_ms steps slots occupied_slots train_speakers"
    unknown = dict.fromkeys([*columns.split(), "slot_size", "spectrogram_size"], np.nan)
    known = {"train_subset": "train-clean", "train_hours": 2.5, "train_s": 3725, "device": "cpu", "threads": 2}
    return pd.DataFrame({"variant": variants}).assign(**unknown, **known, peak_memory_bytes=3 * 2**20)


def make_main(*names: str, edit=lambda frame: frame, **options: Any) -> Table:
    frames = [make_scores("oracle-magnitude", 12.0, (0,), ("none",))]
    frames += [make_scores(name, 5.0 + place) for place, name in enumerate(names)]
    summary = summarise(edit(pd.concat(frames, ignore_index=True)), list(REPORTED))
    titles = {name: f"The {name}" for name in (*names, "oracle-magnitude")}
    arguments = {"bounds": dict.fromkeys(names, "oracle-magnitude"), "members": {}} | options
    return tabulate_results(summary, make_costs(*names), titles, **arguments)


def show(table: Table, row: int) -> list[str]:
    return [cell.text for cell in table.cells()[row]]


def test_the_main_table_has_a_row_per_variant_and_stitching_with_the_numbers_of_the_summary() -> None:
    table = make_main("a", "b")
    rows = [tuple(row) for row in table.data[["variant", "stitching"]].to_numpy()]
    assert rows == [("oracle-magnitude", "none"), *((name, way) for name in "ba" for way in ("blind", "oracle"))]
    row = table.data.iloc[1]
    assert show(table, 1)[2] == f"{row.si_sdri_db:.2f} [{row.si_sdri_db_low:.2f}, {row.si_sdri_db_high:.2f}]"
    assert row.gap_to_oracle_db == pytest.approx(table.data.iloc[0].si_sdri_db - row.si_sdri_db)
    assert np.isnan(table.data.iloc[0].gap_to_oracle_db)
    baseline_first = make_main("a", "b", baselines=["a"]).data["variant"].drop_duplicates().tolist()
    assert baseline_first == ["oracle-magnitude", "a", "b"]


def test_best_and_tied_are_marked_among_blind_rows() -> None:
    table = make_main("a", "b", edit=lambda frame: frame.assign(pesq=1.5))
    bold = [sum(cell.bold for cell in row) for row in table.cells()]
    assert sum(bold[1::2]) == 6 and bold[0] == bold[2] == bold[4] == 0
    assert [text[4][:2] for text in (show(table, k) for k in range(5))].count(TIE) == 1
    assert "≈ 1.50" in table.to_markdown() and r"$\approx$ 1.50" in table.to_latex()


def test_missing_values_are_named_in_the_caption_and_counted_in_the_row() -> None:
    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        row = frame[(frame["variant"] == "a") & (frame["stitching"] == "blind")].index[0]
        frame.loc[row, ["pesq", "failure"]] = [np.nan, "pesq: no utterance"]
        return frame.assign(stoi=np.nan)

    table = make_main("a", edit=edit)
    assert "Undefined for up to 60 scores per row: PESQ and STOI." in table.caption
    assert [show(table, row)[-1] for row in range(3)] == ["0", "1", "0"]
    assert {show(table, row)[5] for row in range(3)} == {formatting.EMPTY}, "a metric that no row has"
    assert "Undefined" not in make_main("a").caption


def test_a_metric_that_earlier_scores_lack_is_empty_and_not_named_as_missing() -> None:
    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[frame["variant"] == "a", "assignment_accuracy"] = np.nan
        return frame

    table = make_main("a", "b", edit=edit)
    (place,) = [place for place, column in enumerate(table.columns) if column.key == "assignment_accuracy"]
    assert "Undefined" not in table.caption
    assert [show(table, row)[place] == formatting.EMPTY for row in range(1, 5)] == [False, False, True, True]
    earlier = make_main("a", edit=lambda frame: frame.assign(assignment_accuracy=np.nan))
    assert "assignment_accuracy" not in [column.key for column in earlier.columns]


def test_views_per_study_are_offered_where_there_are_several() -> None:
    table = make_main("a", "b", members={"First": ["a"], "Second": ["a", "b"]})
    expected = {"Without oracle stitching": 3, "All rows": 5, "Study: First": 1, "Study: Second": 2}
    assert {name: sum(rows) for name, rows in table.views.items()} == expected


def test_csv_holds_the_numbers_in_full(tmp_path: Path) -> None:
    table = make_main("a & b_%")
    table.save(tmp_path)
    read = pd.read_csv(tmp_path / "main.csv", keep_default_na=False, na_values=[""])
    assert read["si_sdri_db"].tolist() == table.data["si_sdri_db"].tolist()
    assert {"n", "seeds", "failures", "pesq_low", "stoi_high", "train_hours"} <= set(read)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name: str) -> None:
    table = make_main(name)
    lines = table.to_markdown().splitlines()
    assert len(lines) == 2 + 2 + 3
    assert {len(row.replace(r"\|", "").split("|")) for row in lines[2:]} == {14}
    assert "<script" not in "".join(lines[2:]) and "](" not in "".join(lines[2:]).replace(r"\](", "")
    latex = table.to_latex()
    rows = latex[latex.index("\\midrule") : latex.index("\\bottomrule")].splitlines()[1:]
    assert len(rows) == 3
    for row in rows:
        assert row.replace(r"\&", "").count("&") == 11
        assert not set(row.replace(r"\textbackslash{}", "").replace("$-$", "")) & set("<>^~")
        assert r"\input" not in row


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    tables = [make_main(*HOSTILE), make_main(*HOSTILE, *(f"v{k}" for k in range(20)))]
    packages = r"\usepackage[utf8]{inputenc}\usepackage{booktabs,longtable}"
    body = "\n".join(table.to_latex() for table in tables)
    source = rf"\documentclass{{article}}{packages}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "all.tex").write_text(source)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="latin-1")
    assert done.returncode == 0, done.stdout[-2000:]


def test_a_comparison_shows_the_same_on_the_terminal() -> None:
    frame = compare_with_baseline(pd.concat([make_scores("base", 5.0), make_scores("idea\x1b[31m", 7.0)]), "base")
    text = tabulate_comparison(frame, "comparison", "base").to_text()
    head, rule, row = text.splitlines()
    assert head.split()[0] == "Variant" and set(rule) == {"─"}
    assert "better" in row and "< 0.001" in row and "\x1b" not in text
    nothing = tabulate_comparison(compare_with_baseline(make_scores("base", 5.0), "base"), "comparison", "base")
    assert nothing.cells() == [] and "0 comparisons" in nothing.caption and nothing.to_latex()


def test_costs_leave_unknown_values_empty() -> None:
    row = show(tabulate_costs(make_costs("a"), {"a": "A"}), 0)
    assert row == ["A", *["–"] * 4, "1 h 02 min", "–", "train-clean", "2.5", "–", "–", "–", "3", "cpu, 2 threads"]
    costs = make_costs("a").assign(slots=4, occupied_slots=2.04, slot_size=[1536], spectrogram_size=[4369])
    row = show(tabulate_costs(costs, {"a": "A"}), 0)
    assert "2.0 of 4" in row and "1,536 / 4,369 [1 / 2.8]" in row


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formatting.format_number(-1.234), "−1.23"),
        (formatting.format_number(-0.001), "0.00"),
        (formatting.format_number(0.5, 1, sign=True), "+0.5"),
        (formatting.format_count(1800, "step"), "1,800 steps"),
        (formatting.format_si(1_049_600), "1.05 M"),
        (formatting.format_si(999_999), "1 M"),
        (formatting.format_duration(245), "4 min 05 s"),
        (formatting.format_p(0.0004), "< 0.001"),
        (formatting.format_p(float("nan")), "–"),
    ],
)
def test_numbers_read_well(text: str, expected: str) -> None:
    assert text == expected


def test_changes_are_settings_and_no_names() -> None:
    new = {"name": "b", "seed": 2, "run_identity": "b", "identity": "b", "slots": {"count": 3, "recurrence": "last"}}
    old = {"name": "a", "seed": 1, "run_identity": "a", "identity": "a", "slots": {"count": 2}, "task": "sep_clean"}
    changes = [("task", "sep_clean", None), ("slots.count", 2, 3), ("slots.recurrence", None, "last")]
    assert sorted(compare_configs(new, old)) == sorted(changes)
    assert compare_configs(new, new) == []


def test_the_literature_has_sources_in_order_and_no_figure_of_the_paper() -> None:
    table = tabulate_literature()
    data = table.data
    assert data[["system", "trained_on", "rate_hz", "si_sdri_db", "read_in"]].notna().all(axis=None)
    assert data["url"].str.startswith("https://").all() and set(data["rate_hz"]) == {8000, 16000}
    splits = data["trained_on"].map({"train-100": 0, "train-360": 1, "not stated": 2})
    keys = list(zip(data["rate_hz"], splits, data["si_sdri_db"], strict=True))
    assert splits.notna().all() and keys == sorted(keys) and not data.duplicated().any()
    assert not data["system"].str.contains("AudioSlots").any() and re.search("lists no figure of it", table.caption)
