"""Where results lie: pure paths, relative to the folder that the workflow runs in."""

from __future__ import annotations

from pathlib import Path

RESULTS = Path("results")
REFERENCE = RESULTS / "reference"
"""Published results, a folder per benchmark."""
MODEL, SCORES = "model.safetensors", "scores.parquet"


def results_of(benchmark: str) -> Path:
    """The results folder of a benchmark, ``results/<benchmark>``."""
    return RESULTS / benchmark


def run_folder(results: Path, variant: str, seed: int | str) -> Path:
    """Where the files of a run lie in the results of its benchmark."""
    return results / "runs" / variant / f"seed{seed}"
