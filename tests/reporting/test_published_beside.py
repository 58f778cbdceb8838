"""Published runs beside a user's: a new variant is compared with what others have run, only on the same data."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from audioslots.reporting.publish import publish_results
from audioslots.reporting.report import report
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json
from tests.reporting.conftest import stub_figures
from tests.reporting.made_results import edit_json, identify, make_results, read_report, read_tree

GAINS = {"base": 4.0, "mask": 6.0, "wide": 5.0, "narrow": 4.5, "new": 7.0, "base-x0.5": 3.0, "new-x0.5": 5.0}
STUDIES = {"decoder": ["base", "mask", "new"], "encoder": ["wide", "narrow"], "old": ["base", "mask"]}
NEW = ("new", "new-x0.5")

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs, with those of the new variant, as if one user had made them."""
    folder = make_results(tmp_path_factory.mktemp("whole") / "made", GAINS, studies=STUDIES)
    edit_json(folder / "benchmark.json", lengths={name: {"0.5": f"{name}-x0.5"} for name in ("base", "new")})
    identify(folder)
    with stub_figures():
        report(folder, folder)
    return folder


@pytest.fixture(scope="module")
def published(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What others published before the benchmark had the new variant."""
    others = shutil.copytree(whole, tmp_path_factory.mktemp("others") / "made")
    described = read_json(others / "benchmark.json")
    described["variants"] = [name for name in described["variants"] if name not in NEW]
    described["studies"][0]["variants"].remove("new")
    described["identities"] = {name: seeds for name, seeds in described["identities"].items() if name not in NEW}
    edit_json(others / "benchmark.json", **described)
    with stub_figures():
        return publish_results(others, tmp_path_factory.mktemp("published"), "make made")


@pytest.fixture
def user(whole: Path, tmp_path: Path) -> Path:
    """Results of a user, who has run the mixture and the new variant."""
    folder = tmp_path / "user"
    for name in (*NEW, "mixture"):
        shutil.copytree(whole / "runs" / name, folder / "runs" / name)
    shutil.copy(whole / "benchmark.json", folder)
    return folder


def read_titles(out: Path, table: str = "main") -> dict[str, str]:
    return read_report(out, table).set_index("variant")["title"].to_dict()


def test_a_new_variant_is_compared_with_published_runs_which_are_marked(whole, published, user, tmp_path) -> None:
    """Only in the studies that the user has runs of, and nothing is written among the runs."""
    before, out = (read_tree(published), read_tree(user)), tmp_path / "out"
    page = report(user, out, published).read_text(encoding="utf-8")
    assert (read_tree(published), read_tree(user)) == before
    marked = {"base": "The base (published)", "mask": "The mask (published)", "new": "The new"}
    assert read_titles(out) == marked | {"mixture": "The mixture", "oracle-magnitude": "The oracle-magnitude"}
    assert "The base (published)" in page and "Does the decoder matter?" in page
    assert (
        read_report(out, "conclusions")["study"].tolist() == ["Decoder"] == [*set(read_report(out, "changes")["study"])]
    )
    assert not [path for name in ("encoder", "old") for path in out.glob(f"*/*-{name}.*")]
    compared, expected = (read_report(place, "comparison-decoder").set_index("variant") for place in (out, whole))
    same = ["difference", "low", "high", "p", "p_holm", "n", "seeds", "difference_x0.5", "difference_equal_time"]
    pd.testing.assert_frame_equal(compared[same], expected[same], check_exact=True)
    assert compared.loc["new", "n"] == 30 and compared.loc["new", "difference"] == pytest.approx(3, abs=0.5), "paired"


def test_a_variant_that_the_user_has_run_is_the_users_and_not_marked(published, user, tmp_path) -> None:
    mask = identify(make_results(tmp_path / "other", {"mask": 1.0}))
    shutil.copytree(mask / "runs" / "mask", user / "runs" / "mask")
    report(user, tmp_path / "out", published)
    row = read_report(tmp_path / "out", "main").set_index(["variant", "stitching"]).loc[("mask", "blind")]
    assert row["title"] == "The mask" and row["si_sdri_db"] == pytest.approx(1, abs=0.5)
    assert read_titles(tmp_path / "out")["base"] == "The base (published)"


def test_a_published_run_of_another_configuration_is_left_out_with_a_line(published, user, tmp_path, capsys) -> None:
    """As where the user has changed the scale: a name is one variant."""
    identities = read_json(user / "benchmark.json")["identities"]
    identities["mask"] = {seed: "of the user's scale" for seed in identities["mask"]}
    edit_json(user / "benchmark.json", identities=identities)
    report(user, tmp_path / "out", published)
    assert "mask" not in read_titles(tmp_path / "out")
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(", left out")[0] for line in lines] == [f"{published}: mask, seed {k}" for k in (1, 2)]


# --- refused -------------------------------------------------------------------------------------------------------


def refuse(user: Path, out: Path, published: Path) -> str:
    with pytest.raises(InputError) as error:
        report(user, out, published)
    assert "\n" not in str(error.value) and not out.exists()
    return str(error.value)


@pytest.mark.parametrize("key", ["test_identity", "data_identity"])
def test_published_runs_of_other_data_are_refused_by_folder_and_key(published, user, tmp_path, key) -> None:
    theirs = read_json(user / "benchmark.json")[key]
    edit_json(user / "benchmark.json", **{key: "another"})
    message = f"{published}: {key} is {theirs}; expected another, that of made"
    assert refuse(user, tmp_path / "out", published) == message


def test_published_runs_of_other_mixtures_are_refused(published, user, tmp_path) -> None:
    for path in user.glob("runs/*/*/scores.parquet"):
        rows = pd.read_parquet(path)
        rows[rows["mixture_id"] != rows["mixture_id"].iloc[0]].to_parquet(path)
    message = f"{published}: scores of other test mixtures; expected the same mixtures and sources"
    assert refuse(user, tmp_path / "out", published) == message


@pytest.mark.parametrize("gap_db", [0.01, -0.01, 1e-5])
def test_mixtures_of_the_same_name_with_other_audio_are_refused(published, user, tmp_path, gap_db: float) -> None:
    path = user / "runs" / "mixture" / "seed0" / "scores.parquet"
    rows = pd.read_parquet(path)
    rows.loc[5, "si_sdr_db"] += gap_db
    rows.to_parquet(path)
    if abs(gap_db) < 1e-3:  # rounding on another machine
        assert report(user, tmp_path / "out", published).is_file()
        return
    name = re.escape(rows.loc[5, "mixture_id"])
    message = f"{published}: input SI-SDR of mixture {name} differs by 0.01 dB; expected the same audio"
    assert re.fullmatch(message, refuse(user, tmp_path / "out", published))


def test_a_folder_without_published_results_is_refused(user, tmp_path) -> None:
    assert "scores.parquet: no such file" in refuse(user, tmp_path / "out", tmp_path / "nothing")
