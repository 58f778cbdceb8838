"""Published results: complete, traceable, without audio, added run by run; their place in the documentation."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from audioslots.cli import main
from audioslots.config.benchmark import read_for_counting, resolve
from audioslots.reporting import publish as module
from audioslots.reporting.breakdown import COUNTED
from audioslots.reporting.publish import (
    BEGIN,
    CODE,
    END,
    publish_results,
    render_results,
    select_sections,
    show_results,
)
from audioslots.reporting.published import unpack_results
from audioslots.reporting.report import report
from audioslots.reporting.results import Results, Run
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, write_json
from tests.reporting.made_results import edit_json, edit_scores, identify, make_results, read_tree

MINI = Path(__file__).resolve().parents[2] / "config" / "mini.yaml"
RUNS = {f"runs/{name}/seed{seed}" for name in ("mask", "magnitude") for seed in (1, 2)}
UNTRAINED = {"runs/mixture/seed0", "runs/oracle-magnitude/seed0"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results whose runs have whole configs."""
    gains = {"mask": 4.0, "magnitude": 1.0}
    results = make_results(tmp_path_factory.mktemp("results") / "made", gains, examples=1)
    for path in results.glob("runs/*/seed*/system.json"):
        edit_json(path, device="a processor", threads=1, commit="abc")
        run = resolve(read_for_counting(MINI), "audioslots", int(path.parent.name.removeprefix("seed")))
        name = path.parent.parent.name
        config = run.document() | {"name": name, "title": f"The {name}", "oracle_bound": "oracle-magnitude"}
        write_json(path.with_name("config.json"), config)
        history = pd.read_csv(path.with_name("history.csv"))
        history["validation_ratio_si_sdri_db"] = history["validation_si_sdri_db"]
        history.to_csv(path.with_name("history.csv"), index=False)
    for path in results.glob("runs/*/seed*/evaluation.json"):
        edit_json(path, commit="def")
    identify(results)
    report(results, results)
    return results


@pytest.fixture(scope="module")
def published(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_results(made, tmp_path_factory.mktemp("published"), "make made")


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy of the results, to be changed."""
    ignored = shutil.ignore_patterns("tables", "figures", "audio", "examples", "index.html")
    return shutil.copytree(made, tmp_path / "results" / "made", ignore=ignored)


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy of the published results, to be changed."""
    return shutil.copytree(published, tmp_path / "published" / "made")


@pytest.fixture
def without_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish without the page, which takes a second."""
    monkeypatch.setattr(module, "render_results", lambda folder: None)


def without_panel(folder: Path) -> dict[str, bytes]:
    """The files of published results, as they are where there is no audio to draw spectrograms of."""
    files = read_tree(folder)
    del files["figures/spectrograms.svg"]
    return files | {"README.md": files["README.md"].replace(b"\n\n![spectrograms](figures/spectrograms.svg)", b"")}


def read_runs(folder: Path) -> dict[tuple[str, int], Run]:
    return {(run.variant, run.seed): run for run in Results.read_published(folder).runs}


def read_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


# --- what is published ---------------------------------------------------------------------------------------------


def test_the_page_states_the_provenance_and_the_folder_holds_all_scores_and_no_audio(made, published) -> None:
    page = (published / "README.md").read_text(encoding="utf-8")
    for fact in (
        "`make made`",
        "training: abc",
        "evaluation: def",
        "a processor",
        "torch 2",
        "two synthesized speakers",
    ):
        assert fact in page
    for name in ("main", "conclusions"):
        assert (made / "tables" / f"{name}.md").read_text(encoding="utf-8").strip() in page
    figures = {f"figures/{name}.svg" for name in ("estimates", "cost", "spectrograms")}
    assert set(re.findall(r"\]\((figures/[^)]*)\)", page)) == figures
    assert set(read_tree(published)) == {"README.md", "scores.parquet", "runs.json"} | figures
    assert [path.name for path in published.parent.iterdir()] == ["made"], "no lock is left"
    kept, rows = (place / "scores.parquet" for place in (published, made))
    pd.testing.assert_frame_equal(pd.read_parquet(kept), pd.read_parquet(rows), check_exact=True)
    assert kept.stat().st_size < rows.stat().st_size
    assert pq.ParquetFile(kept).schema_arrow == pq.ParquetFile(rows).schema_arrow


def test_published_runs_are_described_as_their_folders_describe_them(made: Path, published: Path) -> None:
    results = Results.read_published(published)
    assert results.command == "make made" and results.benchmark == read_json(made / "benchmark.json")
    runs = {f"runs/{variant}/seed{seed}": run for (variant, seed), run in read_runs(published).items()}
    assert set(runs) == RUNS | UNTRAINED
    for place in RUNS:
        config = read_json(made / place / "config.json")
        assert config.pop("provenance") and runs[place].config == config
        for name in ("system.json", "evaluation.json"):
            assert runs[place].files[name] == read_json(made / place / name)
        assert runs[place].files[CODE] == {"train": "train by made", "scores": "scores by made"}


def test_a_page_is_rendered_again_as_it_was(made: Path, published: Path, folder: Path) -> None:
    """With the spectrograms that were drawn where there is audio."""
    drawn = (made / "figures" / "spectrograms.svg").read_bytes()
    assert (published / "figures" / "spectrograms.svg").read_bytes() == drawn
    (folder / "README.md").unlink()
    render_results(folder)
    assert read_tree(folder) == read_tree(published)


@pytest.mark.parametrize("commit", ["abc-dirty", ""])
@pytest.mark.parametrize(("name", "stage"), [("system.json", "training"), ("evaluation.json", "evaluation")])
def test_runs_of_code_that_is_not_committed_are_refused(results, folder, name: str, stage: str, commit: str) -> None:
    before = read_tree(folder)
    edit_json(results / "runs" / "mask" / "seed2" / name, commit=commit)
    with pytest.raises(InputError, match=f"seed2: {stage} by commit '{commit}'; expected committed code"):
        publish_results(results, folder.parent, "make made")
    assert read_tree(folder) == before


def test_results_without_scores_are_refused(tmp_path: Path, results: Path) -> None:
    for path in results.glob("runs/*/*/scores.parquet"):
        path.unlink()
    with pytest.raises(InputError, match="made: no run of the benchmark has scores"):
        publish_results(results, tmp_path / "out", "make made")
    assert not (tmp_path / "out").exists()


# --- added run by run ----------------------------------------------------------------------------------------------


def test_runs_are_published_piecewise_from_several_folders(published, results, tmp_path, capsys) -> None:
    """The runs that are done first, then the others from another machine, make the same whole."""
    rest = shutil.copytree(results, tmp_path / "rest" / "made")
    first = ("mask/seed1", "mask/seed2", "mixture/seed0")
    for run in first:
        shutil.rmtree(rest / "runs" / run)
    for run in ("magnitude/seed1", "magnitude/seed2", "oracle-magnitude/seed0"):
        shutil.rmtree(results / "runs" / run)
    half = publish_results(results, tmp_path / "out", "make made")
    assert {f"{name}/seed{seed}" for name, seed in read_runs(half)} == set(first)
    publish_results(rest, tmp_path / "out", "make made")
    assert read_tree(half) == without_panel(published)
    assert read_lines(capsys) == []


@pytest.mark.usefixtures("without_page")
def test_a_run_that_is_published_already_keeps_its_bytes(results: Path, folder: Path) -> None:
    """The same identity and code scored again: other seconds, and on another machine other last bits."""
    before = read_tree(folder)
    run = results / "runs" / "mask" / "seed1"
    edit_json(run / "evaluation.json", real_time_factor=9.0)
    edit_scores(results, "mask/seed1", si_sdri_db=pd.read_parquet(run / "scores.parquet")["si_sdri_db"] + 1e-9)
    publish_results(results, folder.parent, "make made")
    assert read_tree(folder) == before


@pytest.mark.usefixtures("without_page")
@pytest.mark.parametrize("stage", ["train", "scores"])
def test_a_run_of_other_code_replaces_only_that_run(results: Path, folder: Path, stage: str) -> None:
    before = read_runs(folder)
    edit_json(results / "runs" / "mask" / "seed1" / f"{stage}.stage.json", code="other")
    edit_scores(results, "mask/*", si_sdri_db=9.0)
    publish_results(results, folder.parent, "make made")
    after = read_runs(folder)
    assert after["mask", 1].files[CODE][stage] == "other" and (after["mask", 1].scores["si_sdri_db"] == 9.0).all()
    for run in set(before) - {("mask", 1)}:
        assert after[run].files == before[run].files
        pd.testing.assert_frame_equal(after[run].scores, before[run].scores)


@pytest.mark.usefixtures("without_page")
def test_variants_that_changed_or_left_the_benchmark_are_removed_with_a_line_each(results, folder, capsys) -> None:
    """Runs of the new configuration replace them; those of the old one, on disk too, do not."""
    described = read_json(results / "benchmark.json")
    identities = {"mask": {"1": "now another", "2": "now another, seed 2"}, "new": {"1": "new, 1", "2": "new, 2"}}
    studies = [{**described["studies"][0], "baseline": "mask", "variants": ["mask", "new"]}]
    edit_json(results / "benchmark.json", variants=["mixture", "mask", "new"], identities=identities, studies=studies)
    edit_json(results / "runs" / "mask" / "seed1" / "config.json", run_identity="now another")
    publish_results(results, folder.parent, "make made")
    runs = read_runs(folder)
    assert set(runs) == {("mixture", 0), ("mask", 1)} and runs["mask", 1].identity == "now another"
    places = [line.partition(": of another")[0] for line in read_lines(capsys)]
    removed = [f"{folder}: {name}: removed" for name in ("magnitude", "mask", "oracle-magnitude")]
    left_out = f"{results / 'runs' / 'mask' / 'seed2'}: mask, seed 2, left out"
    assert sorted(places) == sorted([*removed, left_out])


@pytest.mark.usefixtures("without_page")
@pytest.mark.parametrize("key", ["test_identity", "data_identity"])
def test_runs_of_other_data_are_all_removed_with_those_of_untrained_systems(results, folder, key: str, capsys) -> None:
    edit_json(results / "benchmark.json", **{key: "another"})
    shutil.rmtree(results / "runs" / "mask")
    publish_results(results, folder.parent, "make made")
    assert {name for name, _ in read_runs(folder)} == {"mixture", "oracle-magnitude", "magnitude"}
    assert Results.read_published(folder).benchmark[key] == "another"
    (line,) = read_lines(capsys)
    assert line.startswith(f"{folder}: {key} is the ") and line.endswith("; all its runs are removed")


# --- unpacked ------------------------------------------------------------------------------------------------------


def test_unpacked_runs_are_reported_to_the_same_tables_and_published_to_the_same_bytes(
    made: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = tmp_path / "again"
    monkeypatch.setattr("sys.argv", ["audioslots", "results", "unpack", str(published), "--out", str(again)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    described = {"config.json", "system.json", "evaluation.json", "history.csv", "scores.parquet"}
    unpacked = {str(path.relative_to(again)) for path in again.glob("runs/*/seed*/*") if path.name != CODE}
    original = {str(path.relative_to(made)) for path in made.glob("runs/*/seed*/*") if path.name in described}
    assert unpacked == original
    for out, source in (("of-unpacked", again), ("of-published", published)):
        report(source, tmp_path / out)
        for path in (*made.glob("tables/*"), *made.glob("figures/[!s]*.svg")):
            same = tmp_path / out / path.relative_to(made)
            assert same.read_bytes() == path.read_bytes(), path
    assert read_tree(publish_results(again, tmp_path / "twice", "make made")) == without_panel(published)


def test_a_published_history_has_the_validated_rows_the_first_and_the_last_as_they_were(made, published) -> None:
    whole = (made / "runs" / "mask" / "seed1" / "history.csv").read_text().splitlines()
    kept = read_runs(published)["mask", 1].files["history.csv"].splitlines()
    validated = [row for row in whole[1:-1] if not row.endswith(",")]
    assert kept == [whole[0], *validated, whole[-1]] and len(kept) < len(whole)


def test_unpacking_replaces_no_run_that_is_there(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    own = out / "runs" / "mask" / "seed2"
    own.mkdir(parents=True)
    (own / "scores.parquet").write_bytes(b"the user's own")
    write_json(out / "benchmark.json", {"seeds": [1, 2, 3]})
    unpacked = {str(path.relative_to(out)) for path in unpack_results(published, out)}
    assert unpacked == (RUNS | UNTRAINED) - {"runs/mask/seed2"}
    assert read_json(out / "benchmark.json") == {"seeds": [1, 2, 3]}
    assert read_tree(own) == {"scores.parquet": b"the user's own"}
    before = read_tree(out)
    assert unpack_results(published, out) == [] and read_tree(out) == before


@pytest.mark.parametrize("damage", ["no scores", "no keys", "no run"])
def test_damaged_published_results_are_not_unpacked(folder: Path, tmp_path: Path, damage: str) -> None:
    kept = read_json(folder / "runs.json")
    if damage == "no scores":
        (folder / "scores.parquet").unlink()
        message = r"scores\.parquet: no such file"
    elif damage == "no keys":
        write_json(folder / "runs.json", {"runs": {}})
        message = r"runs\.json: damaged; expected the keys benchmark and runs"
    else:
        del kept["runs"]["mask"]["2"]
        write_json(folder / "runs.json", kept)
        message = r"runs\.json: no seed 2 of 'mask'; expected every run of scores\.parquet"
    with pytest.raises(InputError, match=message):
        unpack_results(folder, tmp_path / "again")
    assert not (tmp_path / "again").exists()


# --- in the documentation ------------------------------------------------------------------------------------------


def test_only_the_marked_text_of_a_page_is_replaced(folder: Path, tmp_path: Path) -> None:
    begin = BEGIN.format(folder.relative_to(tmp_path).as_posix())
    page = tmp_path / "docs/results.md"
    page.parent.mkdir()
    page.write_text(f"before\n{begin}\nold\n{END}\nafter\n")
    show_results(tmp_path, folder)
    content = select_sections(folder)
    assert page.read_text() == f"before\n{begin}\n{content}\n{END}\nafter\n"
    assert "30 test mixtures and 2 seeds" in content and "![" not in content


def test_a_long_table_is_left_to_the_published_page(folder: Path) -> None:
    row = "| The mask | blind | 1.00 |\n"
    page = (folder / "README.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text(page.replace("| The mixture |", f"{row * module.LONGEST}| The mixture |"))
    assert "Worse: “The magnitude” (" in select_sections(folder) and row not in select_sections(folder)


def test_numbers_of_speakers_are_shown_where_they_differ(results: Path, tmp_path: Path) -> None:
    for path in results.glob("runs/m[ai]*/seed*/scores.parquet"):
        rows = pd.read_parquet(path)
        rows = rows[(rows["mixture_id"] != rows["mixture_id"].iloc[0]) | (rows["source"] == 1)]  # one of one speaker
        counted = rows[rows["stitching"] == "blind"].assign(stitching=COUNTED, outputs=2.0)
        pd.concat([rows.assign(outputs=float("nan")), counted]).to_parquet(path)
    shutil.rmtree(results / "runs" / "oracle-magnitude")
    text = select_sections(publish_results(results, tmp_path / "published", "make counted"))
    main, counting = (text.index(words) for words in ("30 test mixtures", "1 (1) and 2 (29) speakers"))
    assert main < counting and "| The mask |" in text[counting:]


@pytest.mark.parametrize(("text", "message"), [("", "marks of a table"), (BEGIN, "marks of the generated table")])
def test_pages_without_marks_are_refused(folder: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/results.md").write_text(text.format("published/made"))
    with pytest.raises(InputError, match=message):
        show_results(tmp_path, folder)
