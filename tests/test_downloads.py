"""A benchmark that is given no speech and no metadata: the workflow downloads them, whatever the server does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pandas as pd
import pytest
from downloads import BENCHMARK, serving
from running import REPORT, ROOT, command, dry_run, environment, write_config


@pytest.mark.parametrize("name", ["libri2mix", "librispeech"])
def test_with_nothing_given_downloads_come_before_all_other_jobs(name: str, tmp_path: Path) -> None:
    config = ["--configfile", str(ROOT / f"config/{name}.yaml"), "--config", "studies=[conv-tasnet]"]
    plan = dry_run(tmp_path, *config)
    jobs = plan.jobs
    subsets = {"libri2mix": ["train-clean-360", "dev-clean"], "librispeech": ["train-clean-100"]}[name] + ["test-clean"]
    assert (jobs["download"], jobs["download_metadata"], jobs["select"]) == (len(subsets), 1, 1)
    assert jobs["pack"] == len(subsets) - 1 and jobs["train"] >= 3 and jobs["report"] == 1
    said = {"train-clean-360": 23.0, "train-clean-100": 6.4, "dev-clean": 0.3, "test-clean": 0.3}
    for subset in subsets:
        line = f"download {subset} of LibriSpeech into data/LibriSpeech: {said[subset]} GB, and as much while it is"
        assert line in plan.output
    assert not list(tmp_path.glob("data*"))


@pytest.mark.slow
def test_the_benchmark_runs_though_the_server_cuts_off_and_lies(made_corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    config = write_config(folder / "tiny.yaml", **BENCHMARK)
    with serving(made_corpus, tmp_path / "site") as (site, known):

        def run(*arguments: str) -> str:
            asked = command(folder, "--configfile", str(config), *arguments)
            done = subprocess.run(asked, cwd=folder, env=environment() | known, capture_output=True, text=True)
            assert (done.returncode == 0) == (not arguments), done.stderr[-REPORT:]
            return done.stdout + done.stderr

        right = site.files["/train-clean-100.tar.gz"]
        site.files["/train-clean-100.tar.gz"] = right[:-1] + b"x"
        said = run("--keep-going")
        assert "train-clean-100.tar.gz: its SHA-256 is" in said and "what was received is removed" in said
        speech = folder / "data" / "LibriSpeech"
        assert (speech / "test-clean.done").exists() and not (speech / "train-clean-100.done").exists()
        assert not (speech / "train-clean-100").exists()
        site.files["/train-clean-100.tar.gz"] = right
        site.behaviours[:] = ["cut", "503", "cut"]
        before = len(site.asked)
        run()
        ranges = [asked for path, asked in site.asked[before:] if path == "/train-clean-100.tar.gz"]
        assert len(ranges) == 4 and ranges[0] is None and None not in ranges[1:], "it goes on where it was cut off"
        assert {path for path, _ in site.asked[before:]} == {"/train-clean-100.tar.gz"}, "what is there stays"
    scores = pd.read_parquet(folder / "results/tiny/scores.parquet")
    assert scores["mixture_id"].nunique() == 2 and {"mixture", "audioslots"} <= set(scores["variant"])
    assert dry_run(folder, "--configfile", str(config)).jobs == {}
