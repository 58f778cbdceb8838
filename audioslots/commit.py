"""The commit of the code that runs: what a result is traced back to."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def commit() -> str:
    """The commit of the code that runs, with ``-dirty`` where files were changed.

    Outside a checkout it is AUDIOSLOTS_COMMIT of the environment, which the image sets, or empty.
    """
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    folder = Path(__file__).resolve().parent
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("AUDIOSLOTS_COMMIT", "")
