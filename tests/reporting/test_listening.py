"""What can be heard: complete, small, and named by nothing that a variant's name could spoil."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_results import make
from PIL import Image

from audioslots.reporting import listening, spectrograms
from audioslots.runtime.errors import InputError

TITLES = {"<b>&": "The <b>&", "mask": "The mask"}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("made"), {"<b>&": 4.0, "mask": 6.0}, examples=3)


def heard(results: Path, out: Path) -> list[listening.Example]:
    folders = {variant: results / "runs" / variant / "seed1/examples" for variant in TITLES}
    scores = pd.concat(pd.read_parquet(results / f"runs/{v}/seed1/scores.parquet") for v in TITLES)
    return listening.collect(listening.found(folders), scores, TITLES, out)


def test_every_mixture_has_its_references_and_every_variant_s_estimates(results, tmp_path):
    examples = heard(results, tmp_path)
    assert len(examples) == 3 and examples[0].duration_s == 1.0
    rows = {title: [signal.label for signal in signals] for title, signals in examples[0].rows}
    assert list(rows) == ["Mixture", "References", "The <b>&", "The mask"]
    assert rows["References"] == ["source 1", "source 2"] and rows["The mask"][0].endswith(" dB")
    for _, signals in examples[0].rows:
        for signal in signals:
            assert (tmp_path / signal.audio).stat().st_size > 16_000 and (tmp_path / signal.spectrogram).is_file()
            assert not set(signal.audio) & set("<>& ")


def test_mixtures_stand_in_the_order_in_which_they_were_chosen_with_the_reason(results, tmp_path):
    folders = {"mask": results / "runs/mask/seed1/examples"}
    ids = list(listening.found(folders))
    found = listening.found(folders, [ids[2], "absent"])
    assert list(found) == [ids[2], ids[0], ids[1]]
    scores = pd.read_parquet(results / "runs/mask/seed1/scores.parquet")
    examples = listening.collect(found, scores, TITLES, tmp_path, {ids[2]: "the median"})
    assert [(one.mixture_id, one.why) for one in examples] == [(ids[2], "the median"), (ids[0], ""), (ids[1], "")]


def test_the_audio_is_that_of_the_run(results, tmp_path):
    example = heard(results, tmp_path)[1]
    played = tmp_path / example.rows[3][1][1].audio
    source = results / "runs/mask/seed1/examples" / example.mixture_id / "estimate2.wav"
    assert played.read_bytes() == source.read_bytes()


def test_with_many_variants_fewer_mixtures_are_heard(results, tmp_path, monkeypatch):
    monkeypatch.setattr(listening, "BUDGET_BYTES", 300_000)
    assert len(heard(results, tmp_path)) == 2 and listening.size(tmp_path) < 300_000
    monkeypatch.setattr(listening, "BUDGET_BYTES", 0)
    assert len(heard(results, tmp_path)) == 1, "the first always"


def test_audio_of_an_earlier_report_does_not_stay(results, tmp_path):
    (tmp_path / "audio/9").mkdir(parents=True)
    heard(results, tmp_path)
    assert sorted(path.name for path in (tmp_path / "audio").iterdir()) == ["1", "2", "3"]


def test_an_example_that_lacks_a_signal_is_refused_by_name(results, tmp_path):
    broken = make(tmp_path / "made", {"mask": 6.0}, examples=1)
    path = next(broken.glob("runs/mask/seed1/examples/*/estimate2.wav"))
    path.unlink()
    examples = listening.found({"mask": broken / "runs/mask/seed1/examples"})
    with pytest.raises(InputError, match="estimate2.wav: no such file"):
        listening.collect(examples, pd.read_parquet(broken / "runs/mask/seed1/scores.parquet"), TITLES, tmp_path)


def test_a_spectrogram_shows_low_frequencies_at_the_bottom_and_time_from_the_left(results, tmp_path):
    source = next(results.glob("runs/mask/seed1/examples/*/mixture.wav"))  # a tone that rises from 240 Hz
    spectrograms.save_picture(source, tmp_path / "picture.png")
    picture = np.asarray(Image.open(tmp_path / "picture.png"))
    assert picture.shape[0] == 128 and picture.shape[1] == pytest.approx(8000 / 128, abs=2)
    loudest = picture.argmax(axis=0)
    assert loudest[5] > loudest[-5] > 100, "rows count from the top"


def test_a_panel_shows_masks_that_sum_to_one(results):
    folders = sorted((results / "runs/mask/seed1/examples").iterdir())
    figure = spectrograms.panel({"The mask": folders[0], "again": folders[0]})
    shown = {axes.get_title(): axes.images[0].get_array() for axes in figure.axes if axes.images}
    assert {"Mixture", "Reference 2", "Estimate 1", "Mask 1", "Mask 2"} <= set(shown)
    total = np.asarray(shown["Mask 1"]) + np.asarray(shown["Mask 2"])
    assert total.max() <= 1 and (total > 1 - 2 / 16).mean() > 0.9, "but for rounding, and where there is no sound"
