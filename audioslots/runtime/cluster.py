"""What the rules ask of a cluster, and whether there is one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

NEEDS_NO_CLUSTER = {
    *("--dry-run", "--dryrun", "--unlock", "--lint", "--report", "--touch", "-t", "--version", "-v"),
    *("--dag", "--rulegraph", "--filegraph", "--summary", "-S", "--detailed-summary", "-D", "--list-rules", "--list"),
    *("-l", "--help", "-h", "--delete-all-output", "--cleanup-metadata"),
}
"""Options with which Snakemake submits nothing; so does ``-n``, by itself or among other letters."""
LONGEST_POLL_S = 200  # between two polls of the plugin: up to 180 s
INSTEAD = "run on this machine instead: make demo, or snakemake --cores all --configfile config/<benchmark>.yaml"


def leave_warnings_to_training() -> None:
    """Ignore SIGUSR1 from here on, and so in every process that is started.

    Slurm's warning before a time limit goes to all processes of a job. Training answers it; Snakemake, which runs
    inside the job too, would die of it, and training with it.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def minutes(first: int) -> Callable[[Any, int], int]:
    """Wall time that a rule asks for: ``first`` minutes per attempt so far, since a training resumes in the next."""
    return lambda wildcards, attempt: first * attempt


def site(name: str, kind: type[bool] | type[float] | type[str] = str) -> Any:
    """A site's setting, from the environment variable AUDIOSLOTS_<name>; false, zero or empty where it is not set.

    Raises:
        SystemExit: it is of another kind; a bool is ``yes`` or ``no``.
    """
    given = os.environ.get(f"AUDIOSLOTS_{name}", "")
    with suppress(ValueError, KeyError):
        if kind is str:
            return given
        return float(given or 0) if kind is float else {"": False, "no": False, "yes": True}[given]
    _end(f"AUDIOSLOTS_{name}: {given}; expected {'yes or no' if kind is bool else 'a number'}")


def runs_nothing(arguments: Sequence[str] | None = None) -> bool:
    """Whether Snakemake's arguments, by default this process's, are of a dry run or the like."""
    given = sys.argv[1:] if arguments is None else arguments
    return any(
        word.partition("=")[0] in NEEDS_NO_CLUSTER or re.fullmatch("-[a-zA-Z]*n[a-zA-Z]*", word) for word in given
    )


def require_slurm(squeue: bool, arguments: Sequence[str] | None = None) -> None:
    """End with one line and status 2 where ``snakemake --profile slurm`` could submit nothing.

    Args:
        squeue: poll squeue for the state of jobs, instead of sacct.
        arguments: Snakemake's, as of ``runs_nothing``; a dry run needs no Slurm.

    Raises:
        SystemExit: Slurm's commands are missing, or the cluster does not answer.
    """
    if runs_nothing(arguments):
        return
    if missing := [program for program in ("sbatch", "squeue", "scancel", "sinfo") if not shutil.which(program)]:
        _end(f"{missing[0]}: no such program; expected Slurm's commands, as on a cluster's login node; {INSTEAD}")
    answer = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True, check=False)
    if answer.returncode:
        reason = answer.stderr.strip().splitlines() or [f"exit status {answer.returncode}"]
        _end(f"sinfo: {reason[-1]}; expected a cluster that answers; {INSTEAD}")
    if squeue:
        _read_job_age_once()


def _read_job_age_once() -> None:
    """Have Snakemake's Slurm plugin read MinJobAge now and never again: how long squeue knows a job that has ended.

    The plugin reads it before every poll. When the controller does not answer just then, it turns to sacct; without an
    accounting database that fails for good, and Snakemake waits for the jobs for ever.

    Raises:
        SystemExit: squeue forgets jobs before the next poll.
    """
    import snakemake_executor_plugin_slurm as slurm  # asks for Slurm's programs as it is imported

    age = slurm.get_min_job_age()
    if age is None or age < LONGEST_POLL_S:
        _end(f"MinJobAge: {age} s; expected {LONGEST_POLL_S} at least, or accounting: AUDIOSLOTS_ACCOUNTING=yes")
    slurm.get_min_job_age = lambda: age


def _end(message: str) -> NoReturn:
    print(f"snakemake: {message}", file=sys.stderr, flush=True)
    raise SystemExit(2)
