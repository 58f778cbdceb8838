"""Published runs beside a user's: a new variant is compared with what others have run, on the same data only."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import made_results
import pandas as pd
import pytest

from audioslots.cli import main
from audioslots.reporting import style
from audioslots.reporting.publish import publish
from audioslots.reporting.report import report
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json

GAINS = {"base": 4.0, "mask": 6.0, "wide": 5.0, "narrow": 4.5, "new": 7.0, "base-x0.5": 3.0, "new-x0.5": 5.0}
STUDIES = {"decoder": ["base", "mask", "new"], "encoder": ["wide", "narrow"], "old": ["base", "mask"]}
LENGTHS = {name: {"0.5": f"{name}-x0.5"} for name in ("base", "new")}
NEW = ("new", "new-x0.5")
UNTRAINED = ("mixture", "oracle-magnitude")


@pytest.fixture(scope="module", autouse=True)
def without_figures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "save", made_results.write_no_figure)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs, those of the new variant too, as if one had made them."""
    folder = tmp_path_factory.mktemp("whole") / "made"
    made_results.make(folder, GAINS, examples=0, studies=STUDIES)
    made_results.edit(folder / "benchmark.json", lengths=LENGTHS)
    made_results.identify(folder)
    report(folder, folder)
    return folder


@pytest.fixture(scope="module")
def published(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What others have run and published, before the benchmark had the new variant."""
    others = shutil.copytree(whole, tmp_path_factory.mktemp("others") / "made")
    described = read_json(others / "benchmark.json")
    described["variants"] = [name for name in described["variants"] if name not in NEW]
    described["studies"][0]["variants"].remove("new")
    described["identities"] = {name: of for name, of in described["identities"].items() if name not in NEW}
    made_results.edit(others / "benchmark.json", **described)
    return publish(others, tmp_path_factory.mktemp("published"), "make made")


@pytest.fixture
def user(whole: Path, tmp_path: Path) -> Path:
    """Results of a user, who has run the mixture and the new variant."""
    folder = tmp_path / "user"
    for name in (*NEW, "mixture"):
        shutil.copytree(whole / "runs" / name, folder / "runs" / name)
    shutil.copy(whole / "benchmark.json", folder)
    return folder


def table(out: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(out / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


def titles(out: Path, name: str) -> dict[str, str]:
    shown = table(out, name)
    return dict(zip(shown["variant"], shown["title"], strict=True))


def test_a_new_variant_is_compared_with_published_runs_which_are_marked(whole, published, user, tmp_path) -> None:
    page = report(user, tmp_path / "out", published).read_text(encoding="utf-8")
    marked = {"base": "The base (published)", "mask": "The mask (published)", "new": "The new"}
    untrained = {"mixture": "The mixture", "oracle-magnitude": "The oracle-magnitude"}
    assert titles(tmp_path / "out", "main") == marked | untrained
    assert titles(tmp_path / "out", "comparison-decoder") == {"mask": marked["mask"], "new": "The new"}
    for words in ("Does the decoder matter?", "The base (published)", "The mask (published)"):
        assert words in page
    found, expected = (table(place, "comparison-decoder").set_index("variant") for place in (tmp_path / "out", whole))
    same = ["difference", "low", "high", "p", "p_holm", "n", "seeds", "difference_x0.5", "difference_equal_time"]
    pd.testing.assert_frame_equal(found[same], expected[same], check_exact=True)
    assert found.loc["new", "n"] == 30 and found.loc["new", "difference"] == pytest.approx(3, abs=0.5), "paired"


def test_studies_that_the_user_has_no_run_of_are_not_shown(published, user, tmp_path) -> None:
    """Not even one whose every variant is there for another study's sake."""
    report(user, tmp_path / "out", published)
    assert table(tmp_path / "out", "conclusions")["study"].tolist() == ["Decoder"]
    assert set(table(tmp_path / "out", "changes")["study"]) == {"Decoder"}
    for kind in ("tables", "figures"):
        assert not [path for name in ("encoder", "old") for path in (tmp_path / "out" / kind).glob(f"*-{name}.*")]


def test_published_runs_at_shorter_lengths_are_in_the_curves(published, user, tmp_path) -> None:
    report(user, tmp_path / "out", published)
    lengths = table(tmp_path / "out", "lengths")
    assert lengths["variant"].tolist() == ["base", "base", "new", "new"]


def test_a_variant_that_the_user_has_run_is_the_user_s_and_not_marked(published, user, tmp_path) -> None:
    mask = made_results.make(tmp_path / "other", {"mask": 1.0}, examples=0)
    made_results.identify(mask)
    shutil.copytree(mask / "runs" / "mask", user / "runs" / "mask")
    report(user, tmp_path / "out", published)
    found = table(tmp_path / "out", "main").set_index(["variant", "stitching"]).loc[("mask", "blind")]
    assert found["title"] == "The mask" and found["si_sdri_db"] == pytest.approx(1, abs=0.5)
    assert titles(tmp_path / "out", "main")["base"] == "The base (published)"


def test_nothing_is_written_among_the_published_runs_nor_among_the_user_s(
    published, user, tmp_path, monkeypatch, capsys
) -> None:
    before = made_results.files_of(published), made_results.files_of(user)
    command = ["audioslots", "report", str(user), "--out", str(tmp_path / "out"), "--published", str(published)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code and capsys.readouterr().err == ""
    assert (made_results.files_of(published), made_results.files_of(user)) == before
    assert (tmp_path / "out" / "index.html").is_file()


def test_a_published_run_of_another_configuration_is_left_out_with_a_line(published, user, tmp_path, capsys) -> None:
    """As where the user has changed the scale: a name is one variant."""
    identities = read_json(user / "benchmark.json")["identities"]
    identities["mask"] = {seed: "of the user's scale" for seed in identities["mask"]}
    made_results.edit(user / "benchmark.json", identities=identities)
    report(user, tmp_path / "out", published)
    assert "mask" not in titles(tmp_path / "out", "main")
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"{published}: mask, seed {seed}, left out: of another configuration than the benchmark's now"
        for seed in (1, 2)
    ]


# --- refused -------------------------------------------------------------------------------------------------------


def refused(user: Path, out: Path, published: Path) -> str:
    with pytest.raises(InputError) as error:
        report(user, out, published)
    assert "\n" not in str(error.value) and not out.exists()
    return str(error.value)


@pytest.mark.parametrize("key", ["test_identity", "data_identity"])
def test_published_runs_of_other_data_are_refused_by_folder_and_key(published, user, tmp_path, key) -> None:
    theirs = read_json(user / "benchmark.json")[key]
    made_results.edit(user / "benchmark.json", **{key: "another"})
    assert refused(user, tmp_path / "out", published) == (
        f"{published}: {key} is {theirs}; expected another, that of made"
    )


def test_published_runs_of_other_mixtures_are_refused(published, user, tmp_path) -> None:
    for path in user.glob("runs/*/*/scores.parquet"):
        rows = pd.read_parquet(path)
        rows[rows["mixture_id"] != rows["mixture_id"].iloc[0]].to_parquet(path)
    words = f"{published}: scores of other test mixtures; expected the same mixtures and sources"
    assert refused(user, tmp_path / "out", published) == words


@pytest.mark.parametrize("off_db", [0.01, -0.01])
def test_published_runs_of_mixtures_of_the_same_name_with_other_audio_are_refused(
    published, user, tmp_path, off_db
) -> None:
    path = user / "runs" / "mixture" / "seed0" / "scores.parquet"
    rows = pd.read_parquet(path)
    rows.loc[5, "si_sdr_db"] += off_db
    rows.to_parquet(path)
    said = refused(user, tmp_path / "out", published)
    name = re.escape(rows.loc[5, "mixture_id"])
    assert re.fullmatch(
        f"{published}: input SI-SDR of mixture {name} differs by 0.01 dB; expected the same audio", said
    )


def test_last_bits_of_another_machine_are_no_other_audio(published, user, tmp_path) -> None:
    path = user / "runs" / "mixture" / "seed0" / "scores.parquet"
    rows = pd.read_parquet(path)
    rows.assign(si_sdr_db=rows["si_sdr_db"] + 1e-5).to_parquet(path)
    assert report(user, tmp_path / "out", published).is_file()


def test_a_folder_that_holds_nothing_published_is_refused(user, tmp_path) -> None:
    assert "scores.parquet: no such file" in refused(user, tmp_path / "out", tmp_path / "nothing")
