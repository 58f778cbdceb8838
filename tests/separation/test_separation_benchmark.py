"""The benchmark of separation runs, and says what separation as it comes costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_it_runs_at_a_toy_size() -> None:
    command = [sys.executable, str(ROOT / "perf" / "separation.py"), "--minutes", "0.17", "--peer-minutes"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert re.search(r"a chunk at a time: algorithmic delay 500 ms, real-time factor \d+\.\d{3}; several", run.stdout)
