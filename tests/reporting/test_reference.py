"""Reference results: complete, traceable, without audio, reported again from their scores; what the README shows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import made_results
import pandas as pd
import pyarrow.parquet as pq
import pytest

from audioslots.benchmark import read_for_counting, resolve
from audioslots.cli import main
from audioslots.errors import InputError
from audioslots.files import read_json, write_json
from audioslots.reporting.archive import unpack
from audioslots.reporting.identities import NAME, by_config, differences, record
from audioslots.reporting.reference import BEGIN, BRIEF, END, PAGES, brief, publish, show, shown
from audioslots.reporting.report import report

ROOT = Path(__file__).resolve().parents[2]
MINI = ROOT / "config" / "mini.yaml"
REFERENCES = sorted((ROOT / "results" / "reference").glob("*/tables/main.md"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = made_results.make(tmp_path_factory.mktemp("results") / "made", {"mask": 4.0, "magnitude": 1.0})
    for path in results.glob("runs/*/seed*/system.json"):
        write_json(
            path,
            read_json(path) | {"versions": {"torch": "2"}, "device": "a processor", "threads": 1, "commit": "abc"},
        )
        run = resolve(read_for_counting(MINI), "audioslots", int(path.parent.name.removeprefix("seed")))
        name, separation = path.parent.parent.name, run.separation.model_dump() | {"reconstruction": "direct"}
        made = run.document() | {"name": name, "title": f"The {name}", "separation": separation}
        write_json(path.with_name("config.json"), made | {"ceiling": "oracle-magnitude"})
    for path in results.glob("runs/*/seed*/evaluation.json"):
        write_json(path, read_json(path) | {"commit": "def"})
    report(results, results)
    return results


def test_reference_says_what_made_it_and_holds_all_scores_and_no_audio(results: Path, tmp_path: Path) -> None:
    folder = publish(results, tmp_path, "make reference")
    page = (folder / "README.md").read_text()
    for fact in ("`make reference`", "training abc, evaluation def", "a processor", "torch 2"):
        assert fact in page
    for name in ("main", "conclusions", "comparison-decoder", "costs", "pairs", "input", "speakers", "published"):
        assert (folder / "tables" / f"{name}.md").read_text().strip() in page
    assert "“The magnitude” is worse by" in page
    for link in re.findall(r"\]\(((?:figures|tables)/[^)]*)\)", page):
        assert (folder / link).is_file(), link
    kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert kinds == {".csv", ".md", ".tex", ".svg", ".json", ".parquet"}
    kept, rows = (pd.read_parquet(place / "scores.parquet") for place in (folder, results))
    pd.testing.assert_frame_equal(kept, rows, check_exact=True)
    sizes = [(place / "scores.parquet").stat().st_size for place in (folder, results)]
    assert sizes[0] < sizes[1] and pq.ParquetFile(folder / "scores.parquet").schema_arrow == (
        pq.ParquetFile(results / "scores.parquet").schema_arrow
    )


def test_scores_of_clean_mixtures_are_published_elsewhere_and_none_in_noise(results: Path, tmp_path: Path) -> None:
    noisy = shutil.copytree(results, tmp_path / "noisy", ignore=shutil.ignore_patterns("tables", "figures", "audio"))
    write_json(noisy / "benchmark.json", read_json(noisy / "benchmark.json") | {"task": "sep_noisy"})
    page = report(noisy, noisy).read_text()
    folder = publish(noisy, tmp_path / "reference", "make reference")
    assert "Published elsewhere" not in page + (folder / "README.md").read_text()
    assert "Published elsewhere" in (results / "index.html").read_text()


def test_reference_says_what_its_runs_are(results: Path, tmp_path: Path) -> None:
    made = read_json(publish(results, tmp_path, "make reference") / NAME)
    assert made["command"] == "make reference" and made["seeds"] == [1, 2]
    assert made["untrained"] == ["mixture", "oracle-magnitude"] and list(made["variants"]) == ["magnitude", "mask"]
    for name, variant in made["variants"].items():
        runs = {seed: read_json(results / f"runs/{name}/seed{seed}/config.json") for seed in (1, 2)}
        assert variant["identity"] == {f"seed {seed}": run["identity"] for seed, run in runs.items()}
        assert variant["content"]["training"]["steps"] == runs[1]["training"]["steps"]
        assert variant["separation"] | {"spare": "drop", "quiet_db": 0.0, "voice_weight": 0.0} == runs[1]["separation"]


def test_an_unpacked_reference_is_reported_to_the_same_tables_and_published_to_the_same_scores(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, again = publish(results, tmp_path / "reference", "make reference"), tmp_path / "again"
    monkeypatch.setattr("sys.argv", ["audioslots", "reference", "--unpack", str(folder), "--out", str(again)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    laid_out = {path.relative_to(results).as_posix() for path in results.glob("runs/*/seed*/*") if path.is_file()}
    assert {path.relative_to(again).as_posix() for path in again.glob("runs/*/seed*/*")} == laid_out
    report(again, again)
    compared = [path.relative_to(results) for part in ("tables/*", "figures/*.svg") for path in results.glob(part)]
    of_audio = {"spectrograms.svg", "reconstruction.svg"}
    assert len(compared) > 30
    for path in compared:
        if path.name not in of_audio:
            assert (results / path).read_bytes() == (again / path).read_bytes(), path
    anew = publish(again, tmp_path / "anew", "make reference")
    for name in ("scores.parquet", "runs.json", NAME):
        assert (anew / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_kept_history_has_the_validated_rows_the_first_and_the_last_as_they_were(
    results: Path, tmp_path: Path
) -> None:
    unpack(publish(results, tmp_path / "reference", "make reference"), tmp_path / "again")
    run = Path("runs") / "mask" / "seed1" / "history.csv"
    whole, kept = ((place / run).read_text().splitlines() for place in (results, tmp_path / "again"))
    wanted = [row for row in whole[1:-1] if not row.endswith(",")]
    assert kept == [whole[0], *wanted, whole[-1]] and len(kept) < len(whole)


def test_unpacking_adds_to_runs_that_are_there_and_replaces_none(results: Path, tmp_path: Path) -> None:
    folder, out = publish(results, tmp_path / "reference", "make reference"), tmp_path / "again"
    (out / "runs" / "mask" / "seed3").mkdir(parents=True)
    write_json(out / "benchmark.json", {"seeds": [1, 2, 3]})
    assert len(unpack(folder, out)) == 6
    assert read_json(out / "benchmark.json") == {"seeds": [1, 2, 3]} and (out / "runs/mask/seed3").is_dir()
    with pytest.raises(InputError, match="seed0: is there already; expected results without this run"):
        unpack(folder, out)


def test_a_reference_without_scores_or_without_a_run_cannot_be_unpacked(results: Path, tmp_path: Path) -> None:
    folder = publish(results, tmp_path / "reference", "make reference")
    kept = read_json(folder / "runs.json")
    del kept["runs"]["mask"]["2"]
    write_json(folder / "runs.json", kept)
    with pytest.raises(InputError, match=r"runs\.json: no seed 2 of 'mask'; expected every run of scores\.parquet"):
        unpack(folder, tmp_path / "again")
    (folder / "scores.parquet").unlink()
    with pytest.raises(InputError, match=r"scores\.parquet: no such file"):
        unpack(folder, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_tables_of_an_earlier_reference_do_not_stay(results: Path, tmp_path: Path) -> None:
    folder = publish(results, tmp_path, "make reference")
    (folder / "tables" / "old.md").write_text("old")
    assert not (publish(results, tmp_path, "make reference") / "tables" / "old.md").exists()


def test_runs_of_code_that_is_not_committed_are_no_reference(results: Path, tmp_path: Path) -> None:
    path = next(iter(sorted(results.glob("runs/*/seed*/system.json"))))
    before = read_json(path)
    write_json(path, before | {"commit": "abc-dirty"})
    with pytest.raises(InputError, match="training by commit 'abc-dirty'; expected code that is committed"):
        publish(results, tmp_path, "make reference")
    write_json(path, before)


def test_unreported_results_are_no_reference(tmp_path: Path) -> None:
    write_json(tmp_path / "benchmark.json", {"name": "made"})
    with pytest.raises(InputError, match=r"no tables/main\.md"):
        publish(tmp_path, tmp_path / "out", "make reference")


def test_only_the_marked_parts_of_the_pages_are_replaced_in_the_readme_by_fewer_rows(
    results: Path, tmp_path: Path
) -> None:
    folder = publish(results, tmp_path / "reference", "make reference")
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


def test_numbers_of_speakers_are_shown_where_they_differ(results: Path, tmp_path: Path) -> None:
    counted = tmp_path / "counted"
    shutil.copytree(results, counted)
    (counted / "tables" / "counting.md").write_text("Numbers of speakers that are found.\n")
    folder = publish(counted, tmp_path / "reference", "make counted")
    page = (folder / "README.md").read_text()
    assert "## How many speakers\n\nNumbers of speakers that are found.\n\n## Study" in page
    main = (folder / "tables" / "main.md").read_text().strip()
    assert shown(folder) == f"{main}\n\nNumbers of speakers that are found."


def test_pages_without_marks_are_refused(results: Path, tmp_path: Path) -> None:
    folder = publish(results, tmp_path / "reference", "make reference")
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(InputError, match="marks of a table"):
        show(tmp_path, folder)
    (tmp_path / "README.md").write_text(BEGIN.format("reference/made"))
    with pytest.raises(InputError, match="marks of the generated table"):
        show(tmp_path, folder)


@pytest.mark.parametrize("table", REFERENCES, ids=lambda path: path.parts[-3])
def test_documentation_shows_the_committed_reference(table: Path) -> None:
    folder = table.parents[1]
    begin = BEGIN.format(folder.relative_to(ROOT).as_posix())
    assert f"{begin}\n{shown(folder)}\n{END}" in (ROOT / "docs" / "results.md").read_text()


@pytest.mark.parametrize("name", ["mini", "librispeech-systems"])
def test_readme_shows_the_references_of_the_demo_and_on_real_speech(name: str) -> None:
    folder = ROOT / "results" / "reference" / name
    begin = BEGIN.format(folder.relative_to(ROOT).as_posix())
    assert f"{begin}\n{brief(folder)}\n{END}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("table", REFERENCES, ids=lambda path: path.parts[-3])
def test_the_committed_reference_is_of_what_its_config_says(table: Path) -> None:
    folder = table.parents[1]
    found = differences(folder, ROOT / "config" / f"{folder.name}.yaml")
    assert not found, "\n".join([f"{folder.relative_to(ROOT)} is of other runs than its config:", *found])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("steps: 1800", "steps: 1801", "variants.audioslots.content.training.steps: 1800 in the reference, 1801 by"),
        ("overlap: 0.75", "overlap: 0.5", "variants.audioslots.separation.overlap: 0.75 in the reference, 0.5 by"),
        ("hours: 2.0", "hours: 3.0", "variants.audioslots.content.data_identity: "),
        ("seeds: [0, 1, 2]", "seeds: [0, 1, 2, 3]", "seeds: [0, 1, 2] in the reference, [0, 1, 2, 3] by"),
        ("count: 60", "count: 70", "test: "),
        ("studies: [audioslots]", "studies: [chunk]", "studies.chunk: nothing in the reference, ['audioslots', "),
        (
            "studies: [audioslots]",
            "studies: [chunk]",
            "variants.features.content.encoder.kind: frames in the reference, no",
        ),
        ("baselines: [mixture]", "baselines: [mixture, oracle-irm]", "untrained: "),
    ],
)
def test_a_reference_of_other_runs_says_what_differs_and_what_to_run(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    record(tmp_path, "make demo", by_config(MINI))
    assert differences(tmp_path, MINI) == []
    changed, text = tmp_path / "mini.yaml", MINI.read_text(encoding="utf-8")
    assert old in text
    changed.write_text(text.replace(old, new), encoding="utf-8")
    found = differences(tmp_path, changed)
    assert any(line.startswith(says) for line in found[:-1]), found
    assert not any(".identity." in line for line in found), "what is hashed tells more than the hash"
    assert found[-1].startswith("run: make demo; audioslots reference results/")


def test_an_identity_that_is_hashed_otherwise_is_named(tmp_path: Path) -> None:
    made = by_config(MINI)
    made["variants"]["features"]["identity"]["seed 1"] = "0123456789abcdef"
    record(tmp_path, "make demo", made)
    (line, _) = differences(tmp_path, MINI)
    assert line.startswith("variants.features.identity.seed 1: 0123456789abcdef in the reference, ")


def test_there_is_a_reference() -> None:
    assert REFERENCES, "results/reference holds no benchmark; expected the one that `make reference` writes"
