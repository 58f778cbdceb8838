"""A real Slurm on one machine: two nodes with two pretended GPUs each, for as long as one command runs.

    python tests/slurm/cluster.py COMMAND...

Installs Debian's packages where they are missing, starts munge, slurmctld and two slurmd, runs the command, and takes
everything down again, whatever happened meanwhile. Needs root: Slurm's daemons and its one place for slurm.conf do.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo")
DAEMONS = ("slurmctld", "slurmd", "slurmstepd")
NODES = ("n1", "n2")
NAME = "audioslots-test"
ETC = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf")
PLACE = "AUDIOSLOTS_TEST_CLUSTER"  # environment variable: where the running cluster keeps its state
# Of two partitions the second preempts the first. No cgroups: processes are found by their parents. A requeued job may
# start again after five seconds instead of two minutes (cred_expire), a dead node is missed after fifteen.
CONF = """\
ClusterName={name}
SlurmctldHost=localhost
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket,cred_expire=5
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool-%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd-%n.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
GresTypes=gpu
ReturnToService=2
SlurmdTimeout=15
KillWait=5
MinJobAge=1800
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
NodeName=n[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[17001-17002] CPUs=16 RealMemory=100000 Gres=gpu:toy:2
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE PriorityTier=1 State=UP
PartitionName=urgent Nodes=n[1-2] MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF State=UP
"""
# Of a GPU nothing is asked but that it is a character device.
GRES = f"# {NAME}\nName=gpu Type=toy File=/dev/null,/dev/zero\n"


class Refused(Exception):
    """No cluster can be started here."""


class Cluster:
    """The daemons, and what a test does to them. ``place``: the folder of their state, logs and keys."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def start(self) -> None:
        """Write the configuration and start all daemons; returns when both nodes take jobs."""
        ETC.mkdir(exist_ok=True)
        for name, text in zip(FILES, (CONF.format(place=self.place, name=NAME), GRES), strict=True):
            (ETC / name).write_text(text)
        (self.place / "state").mkdir()
        key = self.place / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        places = {"socket": "munge.socket", "key-file": key.name, "pid-file": "munged.pid", "log-file": "munged.log"}
        options = [f"--{option}={self.place / name}" for option, name in (places | {"seed-file": "munge.seed"}).items()]
        background("munged", "--force", *options)
        self.start_controller()
        for node in NODES:
            background("slurmd", "-N", node)
        self.wait_for_nodes()

    def start_controller(self) -> None:
        """Start slurmctld, with the jobs it knew."""
        background("slurmctld")

    def start_node(self, node: str) -> None:
        """Start a node's slurmd, and wait until both nodes take jobs."""
        background("slurmd", "-N", node)
        self.wait_for_nodes()

    def wait_for_nodes(self, seconds: float = 60) -> None:
        """Wait until every node takes jobs.

        Raises:
            TimeoutError: they do not.
        """
        found = ""
        for _ in range(int(seconds * 5)):
            answer = subprocess.run(["sinfo", "-h", "-N", "-p", "main", "-o", "%T"], capture_output=True, text=True)
            found = answer.stdout.split() or answer.stderr
            if len(found) == len(NODES) and set(found) <= {"idle", "mixed", "allocated", "completing"}:
                return
            time.sleep(0.2)
        raise TimeoutError(f"nodes: {found}; expected them to take jobs (logs: {self.place})")

    def kill_controller(self) -> None:
        """Kill slurmctld, as a crash would."""
        end(self.processes("slurmctld"))

    def kill_node(self, node: str) -> None:
        """Kill a node's slurmd and all its jobs, as a power failure would."""
        jobs = subprocess.run(["squeue", "-h", "-w", node, "-o", "%A"], capture_output=True, text=True, check=True)
        keepers = [
            process
            for process in named("slurmstepd")
            if any(f"[{job}." in " ".join(process.cmdline()) for job in jobs.stdout.split())
        ]
        end([*self.processes(f"slurmd-{node}"), *keepers, *(c for k in keepers for c in k.children(recursive=True))])

    def processes(self, daemon: str) -> list[psutil.Process]:
        """The process of ``munged``, ``slurmctld`` or ``slurmd-n1``, if it runs."""
        with suppress(OSError, ValueError, psutil.Error):
            return [psutil.Process(int((self.place / f"{daemon}.pid").read_text()))]
        return []

    def stop(self) -> None:
        """Take everything down: jobs, daemons, configuration."""
        end(self.all_processes())
        end(self.all_processes())  # what they started meanwhile
        for name in FILES:
            (ETC / name).unlink(missing_ok=True)

    def all_processes(self) -> list[psutil.Process]:
        """Daemons, and processes of jobs and of the command, whoever their parent is by now."""
        found = [*self.processes("munged"), *(process for name in DAEMONS for process in named(name))]
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                known = process.environ()
                if known.get("SLURM_CLUSTER_NAME") == NAME or known.get(PLACE) == str(self.place):
                    found.append(process)
        return found

    def left(self) -> list[str]:
        """What should be gone after ``stop``."""
        return [str(process) for process in self.all_processes()] + [
            str(ETC / name) for name in FILES if (ETC / name).exists()
        ]


def named(name: str) -> list[psutil.Process]:
    """Processes of a name."""
    return [process for process in psutil.process_iter(["name"]) if process.info["name"] == name]


def end(processes: Iterable[psutil.Process]) -> None:
    """Kill processes, and wait until they are gone."""
    gone = list(processes)
    for process in gone:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(gone, timeout=10)


def background(*command: str) -> None:
    """Run a command that puts itself into the background.

    Raises:
        Refused: it fails.
    """
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise Refused(f"{' '.join(command)}: {done.stderr.strip()}")


def install() -> None:
    """Get Debian's packages where their programs are missing.

    Raises:
        Refused: this is no place for a cluster.
    """
    if os.geteuid() != 0:
        raise Refused("not root; expected root, as Slurm's daemons do")
    if running := [process for name in DAEMONS for process in named(name)]:
        raise Refused(f"{running[0]}: a Slurm runs here already; expected none")
    for path in (ETC / name for name in FILES):
        if path.exists() and NAME not in path.read_text():
            raise Refused(f"{path}: this machine is part of a cluster; expected none")
    if all(shutil.which(program) for program in PROGRAMS):
        return
    if not shutil.which("apt-get"):
        raise Refused(f"{', '.join(PROGRAMS)}: not all there, and no apt-get; expected Debian, or Slurm installed")
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(["apt-get", *command], env=quiet, capture_output=True, text=True)
        if done.returncode:
            raise Refused(f"apt-get {' '.join(command)}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    for daemon in ("munge", "slurmctld", "slurmd"):  # where a package started its own
        if shutil.which("service"):
            subprocess.run(["service", daemon, "stop"], capture_output=True)
    (ETC / "plugstack.conf").unlink(missing_ok=True)  # Debian's, and empty: nothing is to be left there


def main(command: list[str]) -> int:
    """Run a command with a cluster; its exit status, 1 where something is left, 3 where there can be no cluster."""

    def stopped(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(name, stopped)
    try:
        install()
    except Refused as refused:
        print(f"test-slurm: {refused}", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as place:
        cluster, status = Cluster(Path(place)), 1
        try:
            cluster.start()
            status = subprocess.call(command, env=os.environ | {PLACE: place}, start_new_session=True)
        except (Refused, TimeoutError, OSError) as error:
            print(f"test-slurm: {error}", file=sys.stderr)
            for log in sorted(Path(place).glob("*.log")):
                print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-15:], sep="\n", file=sys.stderr)
        finally:
            for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(name, signal.SIG_IGN)  # taking down is not to be interrupted
            cluster.stop()
            if left := cluster.left():
                print("test-slurm: left behind:", *left, sep="\n  ", file=sys.stderr)
                status = status or 1
    return status


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
