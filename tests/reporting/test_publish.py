"""Published results: complete, traceable, without audio, added to run by run; what the documentation shows of them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import made_results
import pandas as pd
import pyarrow.parquet as pq
import pytest
from audioslots.reporting.archive import Archive, unpack
from audioslots.reporting.counting import COUNTED

from audioslots.cli import main
from audioslots.config.benchmark import read_for_counting, resolve
from audioslots.reporting import publish as module
from audioslots.reporting.publish import BEGIN, BRIEF, CODE, END, PAGES, brief, publish, render, show, shown
from audioslots.reporting.report import report
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, write_json

MINI = Path(__file__).resolve().parents[2] / "config" / "mini.yaml"
RUNS = {"runs/mask/seed1", "runs/mask/seed2", "runs/magnitude/seed1", "runs/magnitude/seed2"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results whose runs have whole configs."""
    results = made_results.make(tmp_path_factory.mktemp("results") / "made", {"mask": 4.0, "magnitude": 1.0})
    for path in results.glob("runs/*/seed*/system.json"):
        made_results.edit(path, versions={"torch": "2"}, device="a processor", threads=1, commit="abc")
        run = resolve(read_for_counting(MINI), "audioslots", int(path.parent.name.removeprefix("seed")))
        name, separation = path.parent.parent.name, run.separation.model_dump() | {"reconstruction": "direct"}
        config = run.document() | {"name": name, "title": f"The {name}", "separation": separation}
        write_json(path.with_name("config.json"), config | {"ceiling": "oracle-magnitude"})
    for path in results.glob("runs/*/seed*/evaluation.json"):
        made_results.edit(path, commit="def")
    made_results.identify(results)
    report(results, results)
    return results


@pytest.fixture(scope="module")
def ready(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(made, tmp_path_factory.mktemp("published"), "make made")


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy of the results, to be changed."""
    ignored = shutil.ignore_patterns("tables", "figures", "audio", "examples", "index.html")
    return shutil.copytree(made, tmp_path / "results" / "made", ignore=ignored)


@pytest.fixture
def folder(ready: Path, tmp_path: Path) -> Path:
    """A copy of the published results, to be changed."""
    return shutil.copytree(ready, tmp_path / "published" / "made")


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish without the page, which takes a second."""
    monkeypatch.setattr(module, "_write_page", lambda folder, panel: None)


def without_panel(folder: Path) -> dict[str, bytes]:
    """The files of published results, as they are where there is no audio to draw spectrograms of."""
    files = made_results.files_of(folder)
    del files["figures/spectrograms.svg"]
    return files | {"README.md": files["README.md"].replace(b"\n\n![spectrograms](figures/spectrograms.svg)", b"")}


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


# --- what is published ---------------------------------------------------------------------------------------------


def test_the_page_says_what_made_the_runs_and_the_folder_holds_all_scores_and_no_audio(made: Path, ready: Path) -> None:
    page = (ready / "README.md").read_text(encoding="utf-8")
    for fact in ("`make made`", "training abc; evaluation def", "a processor", "torch 2", "two synthesized speakers"):
        assert fact in page
    for name in ("main", "conclusions"):
        assert (made / "tables" / f"{name}.md").read_text(encoding="utf-8").strip() in page
    assert "“The magnitude” is worse by" in page
    for link in re.findall(r"\]\(((?:figures|tables)/[^)]*)\)", page):
        assert (ready / link).is_file(), link
    kept, rows = (pd.read_parquet(place / "scores.parquet") for place in (ready, made))
    pd.testing.assert_frame_equal(kept, rows, check_exact=True)
    sizes = [(place / "scores.parquet").stat().st_size for place in (ready, made)]
    assert sizes[0] < sizes[1] and pq.ParquetFile(ready / "scores.parquet").schema_arrow == (
        pq.ParquetFile(made / "scores.parquet").schema_arrow
    )


def test_a_page_scores_runs_and_three_figures_are_all_that_is_published(ready: Path) -> None:
    figures = {f"figures/{name}.svg" for name in ("estimates", "cost", "spectrograms")}
    assert set(made_results.files_of(ready)) == {"README.md", "scores.parquet", "runs.json"} | figures
    assert [path.name for path in ready.parent.iterdir()] == ["made"], "no lock is left"


def test_published_runs_are_described_as_their_folders_describe_them(made: Path, ready: Path) -> None:
    archive = Archive.read(ready)
    assert archive.command == "make made" and archive.benchmark == read_json(made / "benchmark.json")
    assert {f"runs/{name}/seed{seed}" for name, seeds in archive.runs.items() for seed in seeds} == RUNS | {
        "runs/mixture/seed0",
        "runs/oracle-magnitude/seed0",
    }
    for run in RUNS:
        _, variant, seed = run.split("/")
        files = archive.runs[variant][seed.removeprefix("seed")]
        config = read_json(made / run / "config.json")
        assert config.pop("provenance") and files["config.json"] == config
        assert archive.identity(variant, seed.removeprefix("seed")) == config["run_identity"]
        for name in ("system.json", "evaluation.json"):
            assert files[name] == read_json(made / run / name)
        assert files[CODE] == {"train": "train by made", "scores": "scores by made"}


def test_spectrograms_that_were_drawn_where_there_is_audio_are_published_and_stay_without_it(
    made: Path, ready: Path, folder: Path
) -> None:
    drawn = (made / "figures" / "spectrograms.svg").read_bytes()
    assert (ready / "figures" / "spectrograms.svg").read_bytes() == drawn
    render(folder)
    assert made_results.files_of(folder) == made_results.files_of(ready)


def test_runs_of_code_that_is_not_committed_are_not_published(results: Path, folder: Path) -> None:
    before = made_results.files_of(folder)
    for name, stage in (("system.json", "training"), ("evaluation.json", "evaluation")):
        path = results / "runs" / "mask" / "seed2" / name
        committed = read_json(path)["commit"]
        for commit in ("abc-dirty", ""):
            made_results.edit(path, commit=commit)
            with pytest.raises(InputError, match=f"seed2: {stage} by commit '{commit}'; expected code that is commit"):
                publish(results, folder.parent, "make made")
        made_results.edit(path, commit=committed)
    assert made_results.files_of(folder) == before


def test_results_without_scores_are_not_published(tmp_path: Path, results: Path) -> None:
    for path in results.glob("runs/*/*/scores.parquet"):
        path.unlink()
    with pytest.raises(InputError, match="made: no run has scores; expected runs of `audioslots evaluate`"):
        publish(results, tmp_path / "out", "make made")
    assert not (tmp_path / "out").exists()


# --- added to run by run -------------------------------------------------------------------------------------------


def test_runs_are_published_in_parts_from_several_folders(
    ready: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The seeds and variants that are done first, then the others from another machine, make the same whole."""
    rest = shutil.copytree(results, tmp_path / "rest" / "made")
    for run in ("mask/seed1", "mask/seed2", "mixture/seed0"):
        shutil.rmtree(rest / "runs" / run)
    for run in ("magnitude/seed1", "magnitude/seed2", "oracle-magnitude/seed0"):
        shutil.rmtree(results / "runs" / run)
    out = tmp_path / "out"
    half = publish(results, out, "make made")
    assert set(pd.read_parquet(half / "scores.parquet")["variant"]) == {"mixture", "mask"}
    publish(rest, out, "make made")
    assert made_results.files_of(half) == without_panel(ready)
    assert lines(capsys) == []


@pytest.mark.usefixtures("unrendered")
def test_a_run_that_is_published_already_keeps_its_bytes(results: Path, folder: Path) -> None:
    """The same identity and code scored again: other seconds, and on another machine other last bits."""
    before = made_results.files_of(folder)
    made_results.edit(results / "runs" / "mask" / "seed1" / "evaluation.json", real_time_factor=9.0)
    scores = results / "runs" / "mask" / "seed1" / "scores.parquet"
    rows = pd.read_parquet(scores)
    rows.assign(si_sdri_db=rows["si_sdri_db"] + 1e-9).to_parquet(scores)
    publish(results, folder.parent, "make made")
    assert made_results.files_of(folder) == before


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize("stage", ["train", "scores"])
def test_a_run_of_other_code_replaces_that_run_only(results: Path, folder: Path, stage: str) -> None:
    before = Archive.read(folder)
    run = results / "runs" / "mask" / "seed1"
    made_results.edit(run / f"{stage}.stage.json", code="other")
    for path in (run / "scores.parquet", results / "runs" / "mask" / "seed2" / "scores.parquet"):
        rows = pd.read_parquet(path)
        rows.assign(si_sdri_db=rows["si_sdri_db"] + 1).to_parquet(path)
    publish(results, folder.parent, "make made")
    after = Archive.read(folder)
    assert after.runs["mask"]["1"][CODE][stage] == "other" and after.runs["mask"]["2"] == before.runs["mask"]["2"]
    risen = after.scores["si_sdri_db"] - before.scores["si_sdri_db"]
    replaced = (after.scores["variant"] == "mask") & (after.scores["seed"] == 1)
    assert len(after.scores) == len(before.scores)
    assert risen[replaced].to_numpy() == pytest.approx(1) and (risen[~replaced] == 0).all()


@pytest.mark.usefixtures("unrendered")
def test_variants_that_changed_or_that_the_benchmark_does_not_name_are_removed_with_a_line_each(
    results: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs that are there of the new configuration take their place; those of the old one, on disk too, do not."""
    described = read_json(results / "benchmark.json")
    identities = {"mask": {"1": "now another", "2": "now another, seed 2"}, "new": {"1": "new, 1", "2": "new, 2"}}
    studies = [{**described["studies"][0], "baseline": "mask", "variants": ["mask", "new"]}]
    named = {"variants": ["mixture", "mask", "new"], "identities": identities, "studies": studies}
    write_json(results / "benchmark.json", described | named)
    made_results.edit(results / "runs" / "mask" / "seed1" / "config.json", run_identity="now another")
    publish(results, folder.parent, "make made")
    archive = Archive.read(folder)
    assert {name: set(seeds) for name, seeds in archive.runs.items()} == {"mixture": {"0"}, "mask": {"1"}}
    assert set(archive.scores["variant"]) == {"mixture", "mask"}
    assert archive.identity("mask", 1) == "now another"
    *removed, left_out = sorted(lines(capsys), key=lambda line: "left out" in line)
    assert [line.partition(": of another")[0] for line in sorted(removed)] == [
        f"{folder}: {name}: removed" for name in ("magnitude", "mask", "oracle-magnitude")
    ]
    assert left_out.startswith(f"{results / 'runs' / 'mask' / 'seed2'}: mask, seed 2, left out: of another")


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize("key", ["test_identity", "data_identity"])
def test_runs_of_other_data_are_all_removed_those_that_are_not_trained_too(
    results: Path, folder: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made_results.edit(results / "benchmark.json", **{key: "another"})
    shutil.rmtree(results / "runs" / "mask")
    publish(results, folder.parent, "make made")
    assert set(Archive.read(folder).runs) == {"mixture", "oracle-magnitude", "magnitude"}
    assert Archive.read(folder).benchmark[key] == "another"
    (line,) = lines(capsys)
    assert line.startswith(f"{folder}: {key} is the ") and line.endswith("; all its runs are removed")


# --- laid out again ------------------------------------------------------------------------------------------------


def test_unpacked_runs_are_reported_to_the_same_tables_and_published_to_the_same_bytes(
    made: Path, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = tmp_path / "again"
    monkeypatch.setattr("sys.argv", ["audioslots", "results", "unpack", str(ready), "--out", str(again)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    described = {"config.json", "system.json", "evaluation.json", "history.csv", "scores.parquet"}
    laid_out = {str(path.relative_to(made)) for path in made.glob("runs/*/seed*/*") if path.name in described}
    found = {str(path.relative_to(again)) for path in again.glob("runs/*/seed*/*")}
    assert {name for name in found if not name.endswith(CODE)} == laid_out
    for out, source in (("of-unpacked", again), ("of-published", ready)):
        report(source, tmp_path / out)
    compared = [path.relative_to(made) for part in ("tables/*", "figures/*.svg") for path in made.glob(part)]
    of_audio = {"spectrograms.svg", "reconstruction.svg"}
    assert len(compared) > 30
    for path in compared:
        for other in ("of-unpacked", "of-published") if path.name not in of_audio else ():
            assert (made / path).read_bytes() == (tmp_path / other / path).read_bytes(), path
    assert made_results.files_of(publish(again, tmp_path / "anew", "make made")) == without_panel(ready)


def test_a_published_history_has_the_validated_rows_the_first_and_the_last_as_they_were(
    made: Path, ready: Path, tmp_path: Path
) -> None:
    unpack(ready, tmp_path / "again")
    run = Path("runs") / "mask" / "seed1" / "history.csv"
    whole, kept = ((place / run).read_text().splitlines() for place in (made, tmp_path / "again"))
    wanted = [row for row in whole[1:-1] if not row.endswith(",")]
    assert kept == [whole[0], *wanted, whole[-1]] and len(kept) < len(whole)


def test_unpacking_adds_to_runs_that_are_there_and_replaces_none(ready: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    own = out / "runs" / "mask" / "seed2"
    own.mkdir(parents=True)
    (own / "scores.parquet").write_bytes(b"the user's own")
    write_json(out / "benchmark.json", {"seeds": [1, 2, 3]})
    assert {str(path.relative_to(out)) for path in unpack(ready, out)} == (RUNS - {"runs/mask/seed2"}) | {
        "runs/mixture/seed0",
        "runs/oracle-magnitude/seed0",
    }
    assert read_json(out / "benchmark.json") == {"seeds": [1, 2, 3]}
    assert made_results.files_of(own) == {"scores.parquet": b"the user's own"}
    before = made_results.files_of(out)
    assert unpack(ready, out) == [] and made_results.files_of(out) == before


def test_published_results_without_scores_or_without_a_run_are_not_unpacked(folder: Path, tmp_path: Path) -> None:
    kept = read_json(folder / "runs.json")
    del kept["runs"]["mask"]["2"]
    write_json(folder / "runs.json", kept)
    with pytest.raises(InputError, match=r"runs\.json: no seed 2 of 'mask'; expected every run of scores\.parquet"):
        unpack(folder, tmp_path / "again")
    write_json(folder / "runs.json", {"runs": {}})
    with pytest.raises(InputError, match=r"runs\.json: damaged; expected the keys benchmark and runs"):
        unpack(folder, tmp_path / "again")
    (folder / "scores.parquet").unlink()
    with pytest.raises(InputError, match=r"scores\.parquet: no such file"):
        unpack(folder, tmp_path / "again")
    assert not (tmp_path / "again").exists()


# --- what the documentation shows ----------------------------------------------------------------------------------


def test_only_the_marked_parts_of_the_pages_are_replaced_in_the_readme_by_fewer_rows(
    folder: Path, tmp_path: Path
) -> None:
    begin = BEGIN.format(folder.relative_to(tmp_path).as_posix())
    (tmp_path / "docs").mkdir()
    for name in PAGES:
        (tmp_path / name).write_text(f"before\n{begin}\nold\n{END}\nafter\n")
    show(tmp_path, folder)
    for name, content in zip(PAGES, (brief(folder), shown(folder)), strict=True):
        assert (tmp_path / name).read_text() == f"before\n{begin}\n{content}\n{END}\nafter\n"
    whole = {line.split(" | ")[0]: line for line in shown(folder).splitlines() if line.startswith("|")}
    rows = [line.strip("| ").split(" | ") for line in brief(folder).splitlines() if line.startswith("|")]
    assert rows[0] == list(BRIEF) and {len(row) for row in rows} == {len(BRIEF)}
    assert len(rows) == 2 + 4 < len(whole) + 2, "mixture, its oracle, and two variants stitched blindly"
    for name, si_sdri, *_ in rows[2:]:
        assert f"| {name} | " in shown(folder) and f" | {si_sdri} | " in shown(folder)
    assert "12 test mixtures" not in brief(folder) and "30 test mixtures and 2 seeds" in brief(folder)
    assert "![" not in shown(folder), "figures are on the published page only"


def test_a_long_table_is_left_to_the_published_page(folder: Path) -> None:
    row = "| The mask | blind | 1.00 |\n"
    page = (folder / "README.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text(page.replace("| The mixture |", f"{row * module.LONGEST}| The mixture |"))
    assert "“The magnitude” is worse by" in shown(folder) and row not in shown(folder)


def test_numbers_of_speakers_are_shown_where_they_differ(results: Path, tmp_path: Path) -> None:
    for path in results.glob("runs/m[ai]*/seed*/scores.parquet"):
        rows = pd.read_parquet(path)
        rows = rows[(rows["mixture_id"] != rows["mixture_id"].iloc[0]) | (rows["source"] == 1)]  # one of one speaker
        counted = rows[rows["stitching"] == "blind"].assign(stitching=COUNTED, outputs=2.0)
        pd.concat([rows.assign(outputs=float("nan")), counted]).to_parquet(path)
    shutil.rmtree(results / "runs" / "oracle-magnitude")
    folder = publish(results, tmp_path / "published", "make counted")
    page = (folder / "README.md").read_text(encoding="utf-8")
    _, _, counting = page.partition("## How many speakers\n\n")
    counting, following, main = counting.partition("\n\n## Results\n\n")
    assert following and "1 (1) and 2 (29) speakers" in counting and "| The mask |" in counting
    assert shown(folder) == f"{main.partition(chr(10) * 2 + '![')[0]}\n\n{counting}"


def test_pages_without_marks_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(InputError, match="marks of a table"):
        show(tmp_path, folder)
    (tmp_path / "README.md").write_text(BEGIN.format("published/made"))
    with pytest.raises(InputError, match="marks of the generated table"):
        show(tmp_path, folder)
