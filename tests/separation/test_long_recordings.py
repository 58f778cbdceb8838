"""A recording of hours, through the command line: in little memory, and all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_separator import tiny

from audioslots.separation.weights import save_model

ROOT = Path(__file__).resolve().parents[2]
GIB = 1 << 30
# Its own peak, as the system knows it: what getrusage says of a child counts the parent that it was forked from.
SEPARATED = """
from pathlib import Path
from audioslots.cli import main
try:
    main()
finally:
    print(Path("/proc/self/status").read_text())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
def test_three_hours_are_separated_in_less_than_a_gibibyte(tmp_path: Path) -> None:
    separator = tiny(chunk_s=2.0, separation={"overlap": 0.25})
    save_model(tmp_path / "model.safetensors", separator.model, separator.config)
    rng = np.random.default_rng(0)
    minute = (0.1 * rng.standard_normal(60 * separator.rate)).astype(np.float32)
    with soundfile.SoundFile(tmp_path / "talk.wav", "w", separator.rate, 1, "PCM_16") as file:
        for number in range(180):
            file.write(minute * (0.2 + 0.8 * np.sin(number) ** 2))
    command = ["separate", "talk.wav", "--model", "model.safetensors", "--out", "out", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-c", SEPARATED, *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    most = next(line for line in done.stdout.splitlines() if line.startswith("VmHWM:"))
    assert int(most.split()[1]) * 1024 < GIB
    for number in (1, 2):
        with soundfile.SoundFile(tmp_path / "out" / f"talk_s{number}.wav") as file:
            assert file.frames == 3 * 3600 * separator.rate
            file.seek(-separator.rate, soundfile.SEEK_END)
            assert np.abs(file.read()).max() > 1e-3
