"""Published results, a folder of ``results/reference``: checked to fit a benchmark, and unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audioslots.config.untrained import MIXTURE
from audioslots.layout import SCORES, run_folder
from audioslots.reporting.results import DESCRIPTION, HISTORY, Results
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import write_json, write_text, written_aside
from audioslots.runtime.stage import Stage

INPUT_TOLERANCE_DB = 1e-3  # between machines, of the input SI-SDR of the same mixtures


def require_same_data(published: Results, benchmark: Mapping[str, Any]) -> None:
    """Check that published runs are comparable with a benchmark's: the same speech and the same test mixtures.

    Raises:
        InputError: they are of other data.
    """
    for key in ("test_identity", "data_identity"):
        theirs, ours = published.benchmark.get(key), benchmark.get(key)
        if theirs != ours:
            raise InputError(f"{published.folder}: {key} is {theirs}; expected {ours}, that of {benchmark['name']}")


def require_same_mixtures(published: Results, own: Results) -> None:
    """Check published test mixtures against one's own, by the scores of the unprocessed mixture where both have them.

    Raises:
        InputError: other mixtures, or the same names with other audio.
    """
    inputs = [run.scores for results in (published, own) for run in results.runs if run.variant == MIXTURE]
    if len(inputs) < 2:
        return
    theirs, ours = (rows.set_index(["mixture_id", "source"])["si_sdr_db"].sort_index() for rows in inputs)
    if not theirs.index.equals(ours.index):
        raise InputError(f"{published.folder}: scores of other test mixtures; expected the same mixtures and sources")
    gaps = (theirs - ours).abs().sort_values(ascending=False, na_position="last").reset_index()
    if (gap := gaps["si_sdr_db"].iloc[0]) > INPUT_TOLERANCE_DB:
        difference = f"input SI-SDR of mixture {gaps['mixture_id'].iloc[0]} differs by {gap:.3g} dB"
        raise InputError(f"{published.folder}: {difference}; expected the same audio")


def find_published_runs(folder: str | None, benchmark: Mapping[str, Any]) -> dict[str, set[int]]:
    """Variant -> seeds of the published runs that have a benchmark's identities; {} without a folder.

    Args:
        folder: of published results.
        benchmark: content of ``benchmark.json``.

    Raises:
        InputError: the published results are of other data, or damaged.
    """
    seeds: dict[str, set[int]] = {}
    if folder is not None:
        published = Results.read_published(Path(folder))
        require_same_data(published, benchmark)
        for run in published.runs:
            if run.identity and run.identity == benchmark["identities"].get(run.variant, {}).get(str(run.seed)):
                seeds.setdefault(run.variant, set()).add(run.seed)
    return seeds


def unpack_results(folder: Path, out: Path) -> list[Path]:
    """Write published runs as a results folder; runs and benchmark.json that ``out`` has already stay.

    Returns:
        The run folders written.

    Raises:
        InputError: as ``Results.read_published``.
    """
    published = Results.read_published(folder)
    written = []
    with Stage(out, "report", {}, ()).locked():
        for run in published.runs:
            place = run_folder(out, run.variant, run.seed)
            if (place / SCORES).exists():
                continue
            for name, content in run.files.items():
                (write_text if name == HISTORY else write_json)(place / name, content)
            with written_aside(place / SCORES) as aside:
                run.scores.to_parquet(aside, index=False)
            written.append(place)
        if not (out / DESCRIPTION).is_file():
            write_json(out / DESCRIPTION, published.benchmark)
    return written
