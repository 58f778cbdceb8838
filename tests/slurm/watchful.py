"""Snakemake, but for one thing: its Slurm plugin looks at jobs every second, however long nothing has happened.

By itself it looks ever less often, which on a cluster is kind, and here is most of what a test would wait for.
"""

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)

if __name__ == "__main__":
    sys.exit(main())
