"""Figures: series differ in grey, titles are full or cut, and little data are drawn too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from audioslots.reporting import figures
from audioslots.reporting.spectrograms import draw_masks, save_picture
from audioslots.reporting.style import save_figure, style_line
from audioslots.stats.comparisons import compare_all_pairs
from audioslots.stats.summaries import summarise
from tests.reporting.made_results import make_results, make_scores

NAMES = [f"v{place}" for place in range(12)]
TITLES = {name: f"Variant $x_{name} & <b>" for name in NAMES}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return pd.concat([make_scores(name, 5.0 + 0.4 * (place % 4), (1,)) for place, name in enumerate(NAMES)])


@pytest.fixture(scope="module")
def summary(rows: pd.DataFrame) -> pd.DataFrame:
    return summarise(rows)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """Of tones that rise from 240 Hz."""
    return next(make_results(tmp_path, {"mask": 6.0}, examples=1).glob("runs/mask/seed1/examples/*"))


def collect_texts(figure: Figure) -> str:
    return "|".join(text.get_text() for text in figure.findobj(match=lambda part: hasattr(part, "get_text")))


def test_no_two_series_look_alike_and_neighbours_differ_in_more_than_colour() -> None:
    looks = [(line["color"], line["linestyle"], line["marker"]) for line in map(style_line, range(24))]
    assert len(set(looks)) == 24
    for one, other in zip(looks, looks[1:], strict=False):
        assert one[1] != other[1] and one[2] != other[2]


def test_estimates_are_in_order_of_the_mean_and_without_a_bound_where_there_is_none(summary: pd.DataFrame) -> None:
    figure = figures.draw_estimates(summary, TITLES, {"v0": "oracle-psm"})
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(names) == 12 and names[0] in [TITLES[name] for name in ("v3", "v7", "v11")]
    assert "bound" not in collect_texts(figure)


def test_a_heat_map_of_many_shows_signs_and_of_few_numbers(rows: pd.DataFrame) -> None:
    few = rows[rows["variant"].isin(NAMES[:3])].copy()
    text = collect_texts(figures.draw_significance(compare_all_pairs(few), TITLES))
    assert "+0.7" in text and "−0.7" in text
    many = collect_texts(figures.draw_significance(compare_all_pairs(rows), TITLES))
    assert "|+|" in many and "|−|" in many and "+0.7" not in many
    few.loc[few["variant"] == "v0", "si_sdri_db"] = float("nan")
    assert "nan" not in collect_texts(figures.draw_significance(compare_all_pairs(few), TITLES))


def test_the_pareto_front_is_named(summary: pd.DataFrame) -> None:
    costs = pd.DataFrame({"variant": NAMES, "macs_per_second": range(100, 1300, 100), "train_s": 60.0})
    named = collect_texts(figures.draw_costs(summary, costs, TITLES))
    assert TITLES["v0"] in named and TITLES["v8"] not in named, "v8 is as good as v0 and costs more"
    unknown = costs.assign(macs_per_second=float("nan"), train_s=float("nan"))
    assert "multiply-accumulates" in collect_texts(figures.draw_costs(summary, unknown, TITLES))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seconds", [(0.0, 60.0, 120.0), (0.0, 0.0, 0.0)])
def test_a_training_of_0_steps_is_left_out_of_logarithmic_axes(summary, tmp_path, seconds) -> None:
    few = summary[summary["variant"].isin(NAMES[:3]) & (summary["stitching"] == "blind")]
    costs = pd.DataFrame({"variant": NAMES[:3], "macs_per_second": 100.0, "train_s": seconds})
    curves = few.assign(steps=seconds, train_s=seconds)
    lengths = figures.draw_lengths(curves, TITLES)
    assert list(lengths.axes[0].get_xticks()) == [steps for steps in seconds if steps]
    assert len(lengths.legends[0].get_texts()) == 3, "each variant once for both panels"
    save_figure(tmp_path / "lengths", ("svg",), figures.draw_lengths, curves, TITLES)
    for axes in (figures.draw_costs(few, costs, TITLES).axes[1], *lengths.axes):
        marked = [x for line in axes.get_lines() for x in line.get_xdata()]
        assert min(marked, default=1.0) > 0 and bool(marked) == any(seconds)


def test_files_are_the_same_every_time_and_have_the_fonts_that_publishers_take(summary, tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_figure(tmp_path / name, ("svg", "pdf"), figures.draw_estimates, summary, TITLES, {})
    for kind in ("svg", "pdf"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    pdf = (tmp_path / "one.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and b"/Type3" not in pdf and b"/CreationDate" not in pdf


def test_a_spectrogram_shows_low_frequencies_at_the_bottom_and_time_from_the_left(example: Path) -> None:
    save_picture(example / "mixture.wav", example / "picture.png")
    picture = np.asarray(Image.open(example / "picture.png"))
    assert picture.shape[0] == 128 and picture.shape[1] == pytest.approx(8000 / 128, abs=2)
    loudest = picture.argmax(axis=0)
    assert loudest[5] > loudest[-5] > 100, "rows count from the top"


def test_masks_sum_to_one(example: Path) -> None:
    figure = draw_masks({"The mask": example, "again": example})
    shown = {axes.get_title(): axes.images[0].get_array() for axes in figure.axes if axes.images}
    assert {"Mixture", "Reference 2", "Estimate 1", "Mask 1", "Mask 2"} <= set(shown)
    total = np.asarray(shown["Mask 1"]) + np.asarray(shown["Mask 2"])
    assert total.max() <= 1 and (total > 1 - 2 / 16).mean() > 0.9, "but for rounding, and where there is no sound"
