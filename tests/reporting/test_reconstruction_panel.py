"""The panel of true, decoded and masked spectrograms: of one model, on one scale, and only where there is a pair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from made_results import make

from audioslots.reporting import spectrograms
from audioslots.reporting.report import report

RATE = 8000
VARIANTS = {"masked": 6.0, "plain": 4.0, "phased": 5.0, "other": 3.0}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    made = make(tmp_path / "results", VARIANTS, seeds=(1,), examples=1)
    for path in made.rglob("history.csv"):  # learning curves have no part in it
        path.unlink()
    return made


def tell(results: Path, **configs: Any) -> None:
    """Add to the configs of variants."""
    for variant, more in configs.items():
        path = results / "runs" / variant / "seed1/config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | more))


def of(identity: str, reconstruction: str, **more: Any) -> dict[str, Any]:
    return {"identity": identity, "separation": {"reconstruction": reconstruction, "power": 1.5, **more}}


def chosen(results: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, str], dict, str]:
    """Which variant each column shows, the SI-SDRi it is given, and the page; nothing where there is no figure."""
    seen: dict[str, Any] = {}
    draw = spectrograms.reconstruction

    def reconstruction(folders: dict[str, Path], gains: dict) -> Any:
        seen.update(folders=folders, gains=gains)
        return draw(folders, gains)

    monkeypatch.setattr(spectrograms, "reconstruction", reconstruction)
    page = report(results, results.parent / "out").read_text()
    shown = {kind: folder.parents[2].name for kind, folder in seen.get("folders", {}).items()}
    drawn = [(results.parent / f"out/figures/reconstruction.{kind}").exists() for kind in ("svg", "png")]
    assert drawn == [bool(shown)] * 2
    return shown, seen.get("gains", {}), page


def test_the_first_model_with_both_is_shown_with_its_scores(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(results, masked=of("a", "ratio"), plain=of("a", "direct"), phased=of("a", "misi", misi_iterations=5))
    tell(results, other=of("b", "direct"))
    shown, gains, page = chosen(results, monkeypatch)
    assert list(shown.items()) == [("direct", "plain"), ("ratio", "masked"), ("misi", "phased")]
    rows = pd.read_parquet(results / "runs/masked/seed1/scores.parquet")
    rows = rows[(rows["stitching"] == "blind") & (rows["mixture_id"] == rows["mixture_id"].iloc[0])]
    assert [gains["ratio", k] for k in (1, 2)] == rows["si_sdri_db"].tolist() and len(gains) == 6
    assert "separated by one trained model: “The plain”, “The masked” and “The phased”" in page
    assert page.count("True, decoded and masked spectrograms") == 1


@pytest.mark.parametrize(
    ("plain", "why"),
    [
        (of("b", "direct"), "of another model"),
        (of("a", "ratio"), "masks as well"),
        (of("a", "misi"), "no decoded magnitudes as they are"),
        (of("a", "direct", overlap=0.9), "stitched otherwise"),
        ({}, "its config has no identity"),
    ],
)
def test_without_a_pair_there_is_no_figure(results: Path, monkeypatch: Any, plain: dict[str, Any], why: str) -> None:
    tell(results, masked=of("a", "ratio"), plain=plain)
    shown, _, page = chosen(results, monkeypatch)
    assert not shown and "decoded and masked" not in page, why


def test_a_config_that_says_nothing_of_it_is_direct(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(results, plain={"identity": "a"}, masked={"identity": "a", "separation": {"reconstruction": "ratio"}})
    assert chosen(results, monkeypatch)[0] == {"direct": "plain", "ratio": "masked"}


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Tones of 3 s: the mixture's loudest at full level, a decoded estimate 20 dB and a masked one 40 dB below it."""
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(3 * RATE) / RATE)
    for kind, gain in {"direct": 0.1, "ratio": 0.01}.items():
        (tmp_path / kind).mkdir()
        waves = {"mixture": tone, "s1": tone, "s2": 0.5 * tone, "estimate1": gain * tone, "estimate2": gain * tone}
        for name, wave in waves.items():
            soundfile.write(tmp_path / kind / f"{name}.wav", wave, RATE, subtype="FLOAT")
    return {kind: tmp_path / kind for kind in ("direct", "ratio")}


def test_all_panels_have_the_mixture_s_scale_so_that_lost_energy_is_dark(folders: dict[str, Path]) -> None:
    grid = [axes for axes in spectrograms.reconstruction(folders, {}).axes if axes.images]
    loudest = {(axes.get_subplotspec().rowspan.start, axes.get_subplotspec().colspan.start): axes for axes in grid}
    levels = {place: float(axes.images[0].get_array().max()) for place, axes in loudest.items()}
    below = {(0, 0): 0, (0, 1): 0, (1, 1): 6, (0, 2): 20, (1, 2): 20, (0, 3): 40, (1, 3): 40}  # dB; no second mixture
    assert levels == pytest.approx({place: 1 - db / 70 for place, db in below.items()}, abs=1 / 16)
    assert {axes.images[0].get_clim() for axes in grid} == {(0, 1)}


def test_panels_show_two_seconds_of_the_middle_and_what_each_is(folders: dict[str, Path]) -> None:
    gains = {("direct", 1): -3.14, ("direct", 2): float("nan"), ("ratio", 1): 6.26}
    figure = spectrograms.reconstruction(folders, gains)
    panels = [axes for axes in figure.axes if axes.images]
    assert {tuple(axes.images[0].get_extent()) for axes in panels} == {(0.5, 2.5, 0, 4)}
    titles = [axes.get_title() for axes in panels]
    assert titles == ["", "source 1", "−3.1 dB", "+6.3 dB", "source 2", "source 2", "source 2"]
    headings = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert headings == ["Mixture", "Reference", *list(spectrograms.RECONSTRUCTIONS.values())[:2]]


def test_a_mixture_shorter_than_the_excerpt_is_shown_whole(results: Path) -> None:
    folder = next((results / "runs/masked/seed1/examples").iterdir())
    figure = spectrograms.reconstruction({"direct": folder, "ratio": folder}, {})
    assert figure.axes[0].images[0].get_extent() == [0, 1, 0, 4]
