"""The cluster of the tests goes as it came, whatever happens meanwhile. To be run while none is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from cluster import ETC, FILES, NAME, PLACE, named

pytestmark = pytest.mark.slurm

CLUSTER = [sys.executable, str(Path(__file__).with_name("cluster.py"))]
DAEMONS = ("munged", "slurmctld", "slurmd", "slurmstepd")


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Skip where a cluster could not be started; afterwards nothing of one may be left."""
    if PLACE in os.environ:
        pytest.skip("a cluster is there already")
    if os.geteuid() != 0:
        pytest.skip("not root")
    before = running()
    yield
    assert running() == before
    assert not [name for name in FILES if (ETC / name).exists()]


def running() -> set[int]:
    """Daemons, and whatever was started by a command on a cluster."""
    found = {process.pid for name in DAEMONS for process in named(name)}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            known = process.environ()
            found |= {process.pid} if PLACE in known or known.get("SLURM_CLUSTER_NAME") == NAME else set()
    return found


def test_status_of_the_command_is_passed_on() -> None:
    done = subprocess.run([*CLUSTER, "sh", "-c", "sinfo -h -o %D && exit 7"], capture_output=True, text=True)
    assert done.returncode == 7 and "2" in done.stdout, done.stderr


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_in_the_middle_leaves_no_job_no_process_and_no_file(tmp_path: Path, name: str) -> None:
    job = f"sbatch -o /dev/null --wrap 'touch {tmp_path}/job; sleep 600'; setsid sleep 600 & sleep 600"
    with subprocess.Popen([*CLUSTER, "sh", "-c", job], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        for _ in range(600):
            if (tmp_path / "job").exists():
                break
            time.sleep(0.1)
        assert named("slurmstepd"), "the job runs"
        process.send_signal(getattr(signal, name))
        assert process.wait(60) == 128 + getattr(signal, name)


def test_the_configuration_of_another_cluster_is_left_alone() -> None:
    ETC.mkdir(exist_ok=True)
    conf = ETC / "slurm.conf"
    conf.write_text("ClusterName=another\n")
    try:
        done = subprocess.run([*CLUSTER, "true"], capture_output=True, text=True)
        assert done.returncode == 3 and "part of a cluster" in done.stderr
        assert conf.read_text() == "ClusterName=another\n"
    finally:
        conf.unlink()
