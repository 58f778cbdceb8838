"""Figures: told apart in grey, named in full or cut, and drawn where there is little to draw."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from made_results import scores

from audioslots.reporting import figures, style
from audioslots.stats import comparisons
from audioslots.stats import summaries as statistics

NAMES = [f"v{place}" for place in range(12)]
TITLES = {name: f"Variant $x_{name} & <b>" for name in NAMES}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return pd.concat([scores(name, 5.0 + 0.4 * (place % 4), (1,)) for place, name in enumerate(NAMES)])


@pytest.fixture(scope="module")
def summary(rows) -> pd.DataFrame:
    return statistics.summarise(rows, ["si_sdri_db"])


def test_no_two_series_look_alike_and_neighbours_differ_in_more_than_colour():
    looks = [(line["color"], line["linestyle"], line["marker"]) for line in map(style.line, range(24))]
    assert len(set(looks)) == 24
    for one, other in zip(looks, looks[1:], strict=False):
        assert one[1] != other[1] and one[2] != other[2]


def texts(figure) -> str:
    return "|".join(text.get_text() for text in figure.findobj(match=lambda part: hasattr(part, "get_text")))


def test_estimates_are_in_order_of_the_mean_and_without_a_ceiling_where_none_bounds(summary):
    figure = figures.estimates(summary, TITLES, {"v0": "oracle-psm"})
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(names) == 12 and names[0] in [TITLES[name] for name in ("v3", "v7", "v11")]
    assert "ceiling" not in texts(figure)


def test_a_heat_map_of_many_shows_signs_and_of_few_numbers(rows):
    few = comparisons.pairwise(rows[rows["variant"].isin(NAMES[:3])])
    assert "+0.7" in texts(figures.significance(few, TITLES)) and "−0.7" in texts(figures.significance(few, TITLES))
    many = texts(figures.significance(comparisons.pairwise(rows), TITLES))
    assert "|+|" in many and "|−|" in many and "+0.7" not in many


def test_a_pair_without_scores_leaves_its_cells_empty(rows):
    broken = rows[rows["variant"].isin(NAMES[:3])].copy()
    broken.loc[broken["variant"] == "v0", "si_sdri_db"] = float("nan")
    assert "nan" not in texts(figures.significance(comparisons.pairwise(broken), TITLES))


def test_cost_names_what_nothing_cheaper_beats(summary):
    spent = pd.DataFrame({"variant": NAMES, "macs_per_second": range(100, 1300, 100), "train_s": 60.0})
    named = texts(figures.cost(summary, spent, TITLES))
    assert TITLES["v0"] in named and TITLES["v8"] not in named, "v8 is as good as v0 and dearer"


def test_cost_of_variants_whose_costs_are_unknown_is_drawn(summary):
    spent = pd.DataFrame({"variant": NAMES, "macs_per_second": float("nan"), "train_s": float("nan")})
    assert "multiply-accumulates" in texts(figures.cost(summary, spent, TITLES))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("costs", [(0.0, 60.0, 120.0), (0.0, 0.0, 0.0)])
def test_a_training_of_0_steps_is_left_out_of_logarithmic_axes_without_a_warning(summary, tmp_path, costs):
    few = summary[summary["variant"].isin(NAMES[:3]) & (summary["stitching"] == "blind")]
    spent = pd.DataFrame({"variant": NAMES[:3], "macs_per_second": 100.0, "train_s": costs})
    by_time = figures.cost(few, spent, TITLES).axes[1]
    curves = few.assign(steps=costs, train_s=costs)
    drawn = figures.lengths(curves, TITLES)
    for axes in (by_time, *drawn.axes):
        style.save(axes.figure, tmp_path / "figure.svg")
        marked = [x for line in axes.get_lines() for x in line.get_xdata()]
        assert min(marked, default=1.0) > 0 and bool(marked) == any(costs)
    assert list(drawn.axes[0].get_xticks()) == [steps for steps in costs if steps]


def test_slots_that_repeat_are_named(summary):
    alone = figures.slots(summary, {"v0": 2, "v1": 4}, TITLES)
    assert [label.get_text() for label in alone.axes[0].get_xticklabels()] == ["2", "4"]
    assert TITLES["v0"] not in texts(alone)
    assert TITLES["v0"] in texts(figures.slots(summary, {"v0": 2, "v1": 4, "v2": 4}, TITLES))


def test_a_figure_is_saved_as_svg_png_and_pdf_the_same_every_time_and_its_fonts_are_those_publishers_take(
    summary, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        style.save(figures.estimates(summary, TITLES, {}), tmp_path / name / "estimates.svg")
    for kind in ("svg", "png", "pdf"):
        one, two = ((tmp_path / name / f"estimates.{kind}").read_bytes() for name in ("one", "two"))
        assert one == two and len(one) > 1000, kind
    pdf = (tmp_path / "one" / "estimates.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and b"/Type3" not in pdf and b"/CreationDate" not in pdf
