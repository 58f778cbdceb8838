"""The benchmark of separation runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_it_runs_at_a_toy_size() -> None:
    command = [sys.executable, str(ROOT / "perf" / "separation.py"), "--minutes", "0.17"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert len(re.findall(r"0\.17 min  real-time factor +-?\d+\.\d{3} +\d+ MiB", run.stdout)) >= 2
