"""`snakemake --profile slurm` on a real Slurm, with things going wrong: the scores are those of an undisturbed run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import yaml
from cluster import PLACE, Cluster
from downloads import BENCHMARK, serving
from running import ROOT, environment
from running import clone as copied

pytestmark = pytest.mark.slurm

RUN = "results/smoke/runs/audioslots/seed0"
TARGET = f"{RUN}/scores.parquet"
STEPS = 400
FEW = ["--set-threads", "train=1", "evaluate=1", "evaluate_mixture=1", "evaluate_oracle=1", "synthesize=2", "pack=1"]
WATCHFUL = [str(ROOT / "tests" / "slurm" / "watchful.py"), "--max-status-checks-per-second", "2"]
SHORT_LIMIT = ["--set-resources", "train:runtime=3*attempt-1", "train:slurm_extra='--signal=USR1@20'"]


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    if PLACE not in os.environ:
        pytest.skip("no cluster: `make test-slurm` starts one")
    return Cluster(Path(os.environ[PLACE]))


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fresh clone would hold."""
    return copied(tmp_path_factory.mktemp("clone"))


class Snakemake:
    """`snakemake --profile slurm` in a clone, working in a folder of its own."""

    def __init__(
        self, clone: Path, folder: Path, *arguments: str, program: Sequence[str] = WATCHFUL, **known: str
    ) -> None:
        self.log = folder / f"snakemake{len(list(folder.glob('snakemake*.log')))}.log"
        self.process = subprocess.Popen(
            [sys.executable, *program, "--profile", "slurm", "--directory", str(folder), *arguments],
            cwd=clone,
            env=environment(clone) | known,
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait(self, seconds: float = 900) -> int:
        """Exit status."""
        return self.process.wait(seconds)

    def good(self) -> None:
        """Wait until it has ended well."""
        try:
            assert self.wait() == 0, self.log.read_text()[-4000:]
        finally:
            self.kill()

    def kill(self) -> None:
        """End it and its children, if it still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Workplace:
    """A folder with the smoke test's data and mixture's scores, to train and score one variant in; what disturbs it."""

    def __init__(self, clone: Path, smoke: Path, folder: Path) -> None:
        self.clone, self.folder, self.run = clone, folder, folder / RUN
        self.started: list[Snakemake] = []
        self.held: list[psutil.Process] = []
        config = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
        config["variant"]["training"] |= {"steps": STEPS, "validate_every": STEPS // 2}
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        for part in ("data", Path(RUN).parents[1] / "mixture"):
            shutil.copytree(smoke / part, folder / part)

    def snakemake(self, *arguments: str, program: Sequence[str] = WATCHFUL) -> Snakemake:
        """Start it for the scores of that variant."""
        config = ["--configfile", str(self.folder / "config.yaml")]
        run = Snakemake(self.clone, self.folder, *config, *FEW, *arguments, "--", TARGET, program=program)
        self.started.append(run)
        return run

    def until(self, true: Callable[[], Any], seconds: float = 300) -> Any:
        """Wait for something, and return it; the run must not end before."""
        for _ in range(int(seconds * 20)):
            if found := true():
                return found
            assert self.started[-1].process.poll() is None, self.started[-1].log.read_text()[-4000:]
            time.sleep(0.05)
        raise TimeoutError(self.started[-1].log.read_text()[-4000:])

    def in_training(self) -> str:
        """Wait until the middle of the training, and hold it there, on however fast a machine; its Slurm job.

        What Slurm does to end a job begins with SIGCONT: a held process ends as one that runs.
        """
        self.until(lambda: (self.run / "checkpoint.pt").exists())
        self.held = holding(self.run / ".train.lock")
        for process in self.held:
            process.suspend()
        assert self.held and not (self.run / "model.safetensors").exists(), "it was to be in training still"
        return self.until(lambda: next(iter(jobs("train", "RUNNING")), None))

    def go_on(self) -> None:
        """Let a training that is held go on, where it is there still."""
        for process in self.held:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def said(self, what: str) -> bool:
        """Whether any Snakemake here, or a job whose log it shows, has said so."""
        return any(what in run.log.read_text() for run in self.started)


def holding(file: Path) -> list[psutil.Process]:
    """The processes that have a file open."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(opened.path == str(file) for opened in process.open_files()):
                found.append(process)
    return found


def warned(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether a signal waits for a process that is held, or has let it go on."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True  # it has gone on, to its end
    waiting = re.findall(r"^S\w*Pnd:\s*(\w+)$", status, re.MULTILINE)
    return "State:\tT" not in status or any(int(mask, 16) >> (number - 1) & 1 for mask in waiting)


def jobs(rule: str, state: str) -> list[str]:
    """Slurm's ids of the jobs of a rule in a state."""
    lines = subprocess.run(["squeue", "-h", "-t", state, "-o", "%A %k"], capture_output=True, text=True).stdout
    return [line.split()[0] for line in lines.splitlines() if f"rule_{rule}" in line]


def shown(*what: str) -> str:
    """What `scontrol show` prints."""
    return subprocess.run(["scontrol", "show", *what], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="session")
def smoke(cluster: Cluster, clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the smoke test was run through the profile, on fewer processors than a cluster has.

    What its jobs asked for is kept in ``jobs.txt``: Slurm forgets a job some time after its end.
    """
    folder = tmp_path_factory.mktemp("smoke")
    Snakemake(clone, folder, "--configfile", "config/smoke.yaml", *FEW).good()
    (folder / "jobs.txt").write_text(shown("jobs", "-o"))
    return folder


@pytest.fixture(scope="session")
def undisturbed(clone: Path, smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a training that nothing happened to."""
    place = Workplace(clone, smoke, tmp_path_factory.mktemp("undisturbed") / "work")
    place.snakemake().good()
    return place.run


@pytest.fixture
def place(clone: Path, smoke: Path, tmp_path: Path) -> Iterator[Workplace]:
    """Where nothing is trained yet."""
    place = Workplace(clone, smoke, tmp_path / "work")
    yield place
    place.go_on()
    for run in place.started:
        run.kill()
    subprocess.run(["scancel", "--user=root"], check=False, timeout=60)
    for _ in range(100):
        if not jobs("", "RUNNING,PENDING,COMPLETING"):
            break
        time.sleep(0.2)


def assert_same(run: Path, undisturbed: Path) -> None:
    """The same scores and weights to the bit, every row of history, and no lock or half a file left."""
    scores = [pd.read_parquet(folder / "scores.parquet") for folder in (run, undisturbed)]
    pd.testing.assert_frame_equal(*scores, check_exact=True)
    for name in ("model.safetensors", "config.json"):
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes(), name
    columns = ["step", "loss", "learning_rate", "validation_si_sdri_db"]
    histories = [pd.read_csv(folder / "history.csv")[columns] for folder in (run, undisturbed)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert not [path for path in run.rglob("*") if ".tmp" in path.name or path.name == ".lock"]


def test_smoke_goes_through_the_profile_and_asks_for_what_the_rules_say(smoke: Path) -> None:
    assert "Smoke" in (smoke / "results/smoke/index.html").read_text(encoding="utf-8")
    asked = (smoke / "jobs.txt").read_text()
    commented = re.findall(r"^(.*\bComment=rule_(\w+?)(?:_wildcards_\S+)?(?:\s.*)?)$", asked, re.MULTILINE)
    by_rule: dict[str, str] = {rule: job for job, rule in commented}
    for rule in ("train", "separate"):
        assert re.search(r"TresPerJob=gres.gpu:1\b", by_rule[rule]), by_rule[rule]
    assert "gpu" not in by_rule["evaluate"], "none is held while scoring"
    assert "gpu" not in by_rule["pack"] and "MinMemoryNode=8000M" in by_rule["pack"]
    assert "TimeLimit=2-00:00:00" in by_rule["train"] and "MinMemoryNode=16000M" in by_rule["train"]
    assert not {"resolve", "describe", "sample"} & by_rule.keys(), "small rules run on the login node"
    assert {"synthesize", "render_test_clean", "evaluate_mixture", "evaluate_oracle", "report"} <= by_rule.keys()


def test_the_literal_command_takes_site_settings_from_the_environment(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIOSLOTS_GRES", "gpu:toy:1")
    monkeypatch.setenv("AUDIOSLOTS_GPU_PARTITION", "urgent")
    monkeypatch.setenv("AUDIOSLOTS_TRAIN_HOURS", "1.5")
    place.snakemake(program=["-m", "snakemake"])
    job = place.in_training()
    assert all(setting in shown("job", job) for setting in ("Partition=urgent", "TimeLimit=01:30:00", "gres:gpu:toy:1"))


def test_what_is_not_given_is_downloaded_by_the_login_node(clone: Path, made_corpus: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text()) | BENCHMARK | {"seeds": [0]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with serving(made_corpus, tmp_path / "site") as (site, known):
        known["PYTHONPATH"] += f"{os.pathsep}{clone}"
        site.behaviours[:] = ["cut", "cut", "cut"]
        Snakemake(clone, tmp_path, "--configfile", str(tmp_path / "config.yaml"), *FEW, **known).good()
    assert len(site.asked) == 7, "three archives and a table, three of them in two parts"
    assert "Smoke" in (tmp_path / "results/smoke/index.html").read_text(encoding="utf-8")
    assert "rule_download" not in shown("jobs", "-o")


def test_cancelled_training_is_run_again(place: Workplace, undisturbed: Path) -> None:
    run = place.snakemake()
    subprocess.run(["scancel", place.in_training()], check=True)
    run.good()
    assert place.said("stopped after step")
    assert_same(place.run, undisturbed)


def test_training_out_of_time_is_warned_and_goes_on(place: Workplace, undisturbed: Path) -> None:
    run = place.snakemake(*SHORT_LIMIT)
    place.in_training()
    place.until(lambda: all(warned(process, signal.SIGUSR1) for process in place.held))
    place.go_on()
    run.good()
    assert place.said("stopped after step")
    assert_same(place.run, undisturbed)


def test_jobs_of_a_node_that_died_run_on_another(place: Workplace, cluster: Cluster, undisturbed: Path) -> None:
    run = place.snakemake()
    job = place.in_training()
    (node,) = re.findall(r"\bNodeList=(n\d)\b", shown("job", job))
    cluster.kill_node(node)
    try:
        run.good()
    finally:
        cluster.start_node(node)
    assert_same(place.run, undisturbed)


def test_controller_may_be_away_for_a_minute(place: Workplace, cluster: Cluster, undisturbed: Path) -> None:
    run = place.snakemake()
    place.in_training()
    cluster.kill_controller()
    place.go_on()
    time.sleep(60)
    cluster.start_controller()
    run.good()
    assert_same(place.run, undisturbed)


def test_controller_may_be_away_when_a_job_is_to_be_submitted(
    place: Workplace, cluster: Cluster, undisturbed: Path
) -> None:
    run = place.snakemake()
    place.until(lambda: "Building DAG" in run.log.read_text())
    cluster.kill_controller()
    place.until(lambda: "Trying to restart job" in run.log.read_text())
    cluster.start_controller()
    run.good()
    assert_same(place.run, undisturbed)


def test_duplicate_of_a_job_that_still_runs_waits_for_it(place: Workplace, undisturbed: Path) -> None:
    run = place.snakemake()
    first = place.in_training()
    run.kill()
    assert place.snakemake("--unlock").wait() == 0
    run = place.snakemake()
    second = place.until(lambda: set(jobs("train", "RUNNING")) - {first})
    log = place.run / "train.log"
    place.until(lambda: log.exists() and "waiting for another process" in log.read_text())
    assert first in jobs("train", "RUNNING"), "the first was to be running still"
    place.go_on()
    run.good()
    assert second and not place.said("Error in rule")
    assert_same(place.run, undisturbed)


def test_preempted_training_is_started_again(place: Workplace, undisturbed: Path) -> None:
    run = place.snakemake()
    job = place.in_training()
    subprocess.run(["sbatch", "-p", "urgent", "-N2", "--gpus=4", "-o", "/dev/null", "--wrap", "sleep 5"], check=True)
    place.until(lambda: job not in jobs("train", "RUNNING"))
    run.good()
    assert "Restarts=1" in shown("job", job)
    assert_same(place.run, undisturbed)


def test_ctrl_c_cancels_the_jobs_and_the_same_command_goes_on(place: Workplace, undisturbed: Path) -> None:
    run = place.snakemake()
    place.in_training()
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.wait() != 0
    place.snakemake().good()
    assert (place.run / "system.json").exists() and not jobs("train", "RUNNING")
    assert_same(place.run, undisturbed)
