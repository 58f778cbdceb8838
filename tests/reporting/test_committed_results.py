"""The published results that are committed: of what their configs say now, small, rendered from their own scores."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from audioslots.config.benchmark import read_for_counting
from audioslots.config.summary import summary
from audioslots.config.variant import Resolved
from audioslots.reporting.publish import BEGIN, END, FIGURES, render_results, select_rows, select_sections
from audioslots.reporting.results import Results

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "results" / "reference"
FOLDERS = sorted(path for path in REFERENCE.iterdir() if path.is_dir())
MOST_FILES = 119
each_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)


def config_of(folder: Path) -> Path:
    return ROOT / "config" / f"{folder.name}.yaml"


def find_departures(folder: Path, config: Path) -> list[str]:
    """How published runs differ from what a benchmark's file says now, a line each."""
    published, now = Results.read_published(folder), summary(read_for_counting(config, ablations=ROOT / "ablations"))
    departures = [
        f"{key}: {published.benchmark.get(key)}; {now[key]} by the config"
        for key in ("name", "test_identity", "data_identity")
        if published.benchmark.get(key) != now[key]
    ]
    for run in published.runs:
        if run.variant not in now["variants"]:
            departures.append(f"{run.variant}: not a variant of the benchmark")
        elif run.is_trained:
            expected = now["identities"][run.variant].get(str(run.seed))
            if run.identity is None or run.identity != expected:
                departures.append(f"{run.variant}, seed {run.seed}: {run.identity}; {expected} by the config")
    return departures


def test_every_scale_has_published_results() -> None:
    assert {"mini", "librispeech"} <= {folder.name for folder in FOLDERS}


# --- what the runs are ---------------------------------------------------------------------------------------------


@each_folder
def test_published_runs_are_of_what_the_config_says_now(folder: Path) -> None:
    departures = find_departures(folder, config_of(folder))
    assert not departures, "\n".join([f"{folder.relative_to(ROOT)} holds runs of another configuration:", *departures])


@each_folder
def test_published_configs_have_the_identity_that_they_name_and_committed_code(folder: Path) -> None:
    runs = Results.read_published(folder).runs
    assert runs
    for run in runs:
        commits = [run.files[name]["commit"] for name in ("system.json", "evaluation.json") if name in run.files]
        assert commits and all(re.fullmatch("[0-9a-f]{7,40}", commit) for commit in commits), (run.variant, run.seed)
        if run.is_trained:
            config = Resolved.of(dict(run.config), f"{run.variant}, seed {run.seed}")
            assert (config.name, config.seed, config.run_identity) == (run.variant, run.seed, run.identity)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("steps: 1500", "steps: 1501", "audioslots, seed 0: "),
        ("overlap: 0.75", "overlap: 0.5", "audioslots, seed 0: "),
        ("film-1s: {training: {steps: 1100", "film-1s: {training: {steps: 1101", "film-1s, seed 2: "),
        ("hours: 2.0", "hours: 3.0", "data_identity: "),
        ("count: 60", "count: 70", "test_identity: "),
        ("seeds: [0, 1, 2]", "seeds: [0, 1]", "audioslots, seed 2: "),
        ("studies: [bottleneck, slots,", "studies: [bottleneck,", "slots-4: not a variant of the benchmark"),
        ("without: [", "without: [slot-attention-1, ", "slot-attention-1: not a variant of the benchmark"),
        ("baselines: [mixture]", "baselines: [oracle-irm]", "mixture: not a variant of the benchmark"),
    ],
)
def test_a_config_that_changes_is_noticed(tmp_path: Path, old: str, new: str, says: str) -> None:
    """Beside its learning rates and its other files, as they lie."""
    for path in (ROOT / "config").iterdir():
        shutil.copy(path, tmp_path)
    changed = tmp_path / "mini.yaml"
    text = changed.read_text(encoding="utf-8")
    assert old in text
    changed.write_text(text.replace(old, new, 1), encoding="utf-8")
    departures = find_departures(REFERENCE / "mini", changed)
    assert any(line.startswith(says) for line in departures), departures[:9]


def test_a_learning_rate_that_was_chosen_otherwise_is_noticed(tmp_path: Path) -> None:
    for path in (ROOT / "config").iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "mini-learning-rates.csv").unlink()
    assert find_departures(REFERENCE / "mini", tmp_path / "mini.yaml")


# --- the folders ---------------------------------------------------------------------------------------------------


def test_published_results_are_few_files() -> None:
    assert len([path for path in REFERENCE.rglob("*") if path.is_file()]) <= MOST_FILES


@each_folder
def test_a_published_folder_holds_a_page_scores_runs_and_three_figures_at_most(folder: Path) -> None:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    figures = {f"figures/{name}.svg" for name in FIGURES}
    assert (
        {"README.md", "scores.parquet", "runs.json"} <= found <= {"README.md", "scores.parquet", "runs.json"} | figures
    )
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([^)]*)\)", page)) == found & figures, "links are to the figures that are there"


@each_folder
def test_the_command_on_a_published_page_runs_its_benchmark(folder: Path) -> None:
    """Make says what it would run: the workflow on the config of that name."""
    (command,) = re.findall(r"^Command: `(.+)`", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert command == Results.read_published(folder).command
    make, *arguments = shlex.split(re.sub(r"<[^>]*>", "FOLDER", command))
    assert make == "make"
    listed = ["make", "--dry-run", "--old-file=.venv/.installed", *arguments]
    said = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"--configfile config/{folder.name}.yaml" in said and config_of(folder).is_file()


@pytest.mark.slow
@each_folder
def test_a_published_page_is_rendered_again_as_it_is_committed(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / folder.name)
    (copy / "README.md").unlink()
    render_results(copy)
    for name in ("README.md", "runs.json", "scores.parquet"):
        assert (copy / name).read_bytes() == (folder / name).read_bytes(), name


# --- the documentation ---------------------------------------------------------------------------------------------


@each_folder
def test_documentation_shows_the_published_results(folder: Path) -> None:
    begin = BEGIN.format(folder.relative_to(ROOT).as_posix())
    assert f"{begin}\n{select_sections(folder)}\n{END}" in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_readme_shows_published_results() -> None:
    folder = REFERENCE / "mini"
    begin = BEGIN.format(folder.relative_to(ROOT).as_posix())
    assert f"{begin}\n{select_rows(folder)}\n{END}" in (ROOT / "README.md").read_text(encoding="utf-8")
