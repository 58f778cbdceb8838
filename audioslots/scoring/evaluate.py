"""Score every mixture of a test set, separated on the way or before: scores, timing and a few examples to listen to."""

from __future__ import annotations

import shutil
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from audioslots.runtime.code import commit
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, write_json, written_aside
from audioslots.runtime.stage import Stage
from audioslots.runtime.workers import in_order
from audioslots.scoring import examples as listening
from audioslots.scoring.estimates import Estimated, Kept, System, separated
from audioslots.scoring.metrics import COUNTED, LATER, OVER_TIME, columns, score, score_mixture
from audioslots.scoring.mixtures import TestMixture, Waveforms, digests, read_mixtures

Scored = tuple[list[dict[str, Any]], float]
"""Rows of a mixture, and the seconds they took."""

SCORE_COLUMNS = columns()
INPUT_COLUMNS = [name for name in SCORE_COLUMNS if name.startswith("input_")]
COLUMNS = {
    **{"benchmark": "str", "variant": "str", "seed": "int64", "mixture_id": "str", "source": "int64"},
    **{"speaker_id": "str", "sex": "str", "pair": "str", "duration_s": "float64", "stitching": "str"},
    **dict.fromkeys(SCORE_COLUMNS, "float64"),
    **dict.fromkeys((*OVER_TIME, *COUNTED), "float64"),
    **{"permutation": "str", "failure": "str"},
}
"""Columns of scores.parquet, in their order, with their types."""
RENAMED = ("own_output", "assignment_accuracy")
"""A metric's name in scores of earlier versions, and its name now."""
BESIDE = ("evaluation.json", "examples")


@dataclass(frozen=True)
class Job:
    """What a scoring process needs for one mixture."""

    estimates: dict[str, Waveforms]
    sources: Waveforms
    mixture: Waveforms
    rate: int
    mixture_scores: list[dict[str, Any]] | None


def evaluate(
    system: System | Kept,
    mixtures: Path,
    out: Path,
    benchmark: str = "",
    jobs: int = 1,
    mixture_scores: Path | None = None,
    examples: int = 4,
    shard: tuple[int, int] = (1, 1),
    chosen_by: Path | None = None,
    cost: Mapping[str, float] | None = None,
) -> None:
    """Separate and score the mixtures of a folder; write the scores, ``evaluation.json`` and ``examples/`` beside them.

    Separation runs in this process, scoring beside it in ``jobs`` processes (see ``workers.in_order``). It is the
    stage ``scores``: what is scored is kept beside the table until that is written, and the same call resumes an
    interrupted evaluation. The scores do not depend on jobs, shards or interruptions, nor on whether the system
    separates now or ``estimate`` had it do so before; ``evaluation.json`` has the seconds that separating took.

    Args:
        system: what separates, or the estimates that it, or any other system, has made of these mixtures.
        mixtures: a finished folder ``.../wav8k/min/<split>``; the mixture list and speakers are in ``../metadata``.
        out: scores.parquet, a row a mixture, source and stitching.
        benchmark: name of the benchmark, for its column.
        jobs: number of scoring processes.
        mixture_scores: scores.parquet of the variant "mixture" for the same mixtures, whose input scores are reused.
        examples: number of mixtures kept as WAV, at most, as ``scoring.examples`` chooses and writes them.
        shard: (n, of): score every ``of``-th mixture from the n-th on, and write no table; shards may run at the same
            time. The same call without it scores the rest and writes the table.
        chosen_by: scores.parquet of the system whose scores choose the examples; not given, the scores made here do.
        cost: what the system is known to cost, by the keys of ``untrained.COST``, kept in ``evaluation.json``.

    Raises:
        InputError: the folder is not finished, a file is absent or bad, the rates differ, ``mixture_scores``,
            ``chosen_by`` or the estimates are of other mixtures, the system has fewer estimates than there are
            sources, or as ``Stage.opened``.
    """
    mixtures, out = Path(mixtures), Path(out)
    listed = read_mixtures(mixtures)
    inputs = _read_mixture_scores(mixture_scores, listed) if mixture_scores else {}
    heard = list(listening.chosen(read_scores(chosen_by), examples)) if chosen_by else None
    places = {item.mixture_id: place for place, item in enumerate(listed)}
    if heard and (other := [mixture_id for mixture_id in heard if mixture_id not in places]):
        raise InputError(f"{chosen_by}: scores of other mixtures, {other[0]}; expected those of {mixtures}")
    told = {"cost": dict(cost)} if cost else {}
    request = {
        **{"benchmark": benchmark, "variant": system.name, "seed": system.seed, "identity": system.identity},
        **{"examples": examples if heard is None else heard, "mixtures": digests(mixtures)},
        **told,
    }
    if isinstance(system, Estimated) and system.mixtures != request["mixtures"]:
        raise InputError(f"{system.folder}: estimates of other mixtures; expected those of {mixtures}")
    stage = Stage(out.parent, out.stem, request, (__name__, *system.modules), (out.name, *BESIDE))
    kept = out.with_name(f".{out.stem}.{stage.key}.parts")  # named by what decides its files: none are ever mixed
    first, step = shard
    with nullcontext(False) if step > 1 else stage.opened() as finished:  # shards may run side by side
        if finished and all((out.parent / name).exists() for name in (out.name, BESIDE[0])):
            return
        waiting = [index for index in range(first - 1, len(listed), step) if not _part(kept, index).is_file()]
        scoring: deque[tuple[int, Job, float]] = deque()

        def separate() -> Iterator[Job]:
            for index in tqdm(waiting, desc=f"evaluate {system.name}", unit="mixture", disable=None):
                item = listed[index]
                mixture, sources, estimates, separation_s = separated(system, item)
                job = Job(estimates, sources, mixture, system.rate, inputs.get(item.mixture_id))
                scoring.append((index, job, separation_s))
                yield job

        for rows, scoring_s in in_order(score_job, separate(), jobs):
            index, job, separation_s = scoring.popleft()
            item, audio_s = listed[index], len(job.mixture) / job.rate
            described = [{**_described(system, benchmark, item, job, row["source"]), **row} for row in rows]
            seconds = {"audio_s": audio_s, "separation_s": separation_s, "scoring_s": scoring_s}
            write_json(_part(kept, index), {"rows": described, **seconds})
        if step == 1:
            parts = [read_json(_part(kept, index)) for index in range(len(listed))]
            table = _table(parts)
            for mixture_id in list(listening.chosen(table, examples)) if heard is None else heard:
                mixture, sources, estimates, _ = separated(system, listed[places[mixture_id]])
                stitching = min(estimates)  # "blind" comes before "oracle"
                rows = [row for row in parts[places[mixture_id]]["rows"] if row["stitching"] == stitching]
                ordered = [estimates[stitching][int(index)] for index in rows[0]["permutation"].split(",")]
                listening.write(out.parent / "examples" / mixture_id, mixture, sources, ordered, system.rate)
            _write(out, table, parts, told)
            for folder in out.parent.glob(f".{out.stem}.*.parts"):  # those of earlier requests too
                shutil.rmtree(folder, ignore_errors=True)


def _part(folder: Path, index: int) -> Path:
    """File of what an evaluation has found of one mixture, until the table is written."""
    return folder / f"{index:06d}.json"


def _table(scored: list[dict[str, Any]]) -> pd.DataFrame:
    """The parts of all mixtures, in their order, as one table."""
    return pd.DataFrame([row for part in scored for row in part["rows"]], columns=list(COLUMNS)).astype(COLUMNS)


def _write(out: Path, table: pd.DataFrame, scored: list[dict[str, Any]], beside: dict[str, Any]) -> None:
    """The table, and what it took, in ``evaluation.json``."""
    failures = Counter(reason for cell in table["failure"] for reason in cell.split("; ") if reason)
    total = {key: sum(part[key] for part in scored) for key in ("audio_s", "separation_s", "scoring_s")}
    write_json(
        out.parent / "evaluation.json",
        {
            "commit": commit(),
            "mixtures": len(scored),
            **total,
            "real_time_factor": total["separation_s"] / total["audio_s"],
            "rows": len(table),
            "failures": dict(failures),
            **beside,
        },
    )
    with written_aside(out) as aside:
        table.to_parquet(aside, index=False)


def score_job(job: Job) -> Scored:
    """Rows of one mixture (by source, then stitching), and the seconds they took."""
    started = time.perf_counter()
    inputs = job.mixture_scores or score_mixture(job.sources, job.mixture, job.rate)
    by_stitching = {
        stitching: score(estimates, job.sources, job.mixture, job.rate, inputs)
        for stitching, estimates in sorted(job.estimates.items())
    }
    rows = [
        {"source": index + 1, "stitching": stitching, **scores[index]}
        for index in range(len(job.sources))
        for stitching, scores in by_stitching.items()
    ]
    return rows, time.perf_counter() - started


def _described(system: System | Kept, benchmark: str, item: TestMixture, job: Job, source: int) -> dict[str, Any]:
    """The columns that say what a row is about."""
    return {
        "benchmark": benchmark,
        "variant": system.name,
        "seed": system.seed,
        "mixture_id": item.mixture_id,
        "speaker_id": item.speakers[source - 1],
        "sex": item.sexes[source - 1],
        "pair": "".join(sorted(item.sexes)) if all(item.sexes) else "",
        "duration_s": len(job.mixture) / job.rate,
    }


def read_scores(path: Path) -> pd.DataFrame:
    """Read a scores.parquet of this version or an earlier one.

    Columns that the earlier version lacks are missing in every row; those that it named otherwise are renamed.

    Raises:
        InputError: the file is absent, unreadable, or lacks another column.
    """
    try:
        table = pd.read_parquet(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a scores.parquet") from None
    except (OSError, ValueError) as error:  # pyarrow's errors are subclasses of these
        raise InputError(f"{path}: not readable ({error}); expected scores in Parquet") from None
    table = table.rename(columns=lambda column: str(column).replace(*RENAMED))
    if "failure" in table:
        table["failure"] = table["failure"].str.replace(*RENAMED, regex=False)
    if missing := [column for column in COLUMNS if column not in table and column not in LATER]:
        raise InputError(f"{path}: no column {missing[0]}; expected the columns {', '.join(COLUMNS)}")
    for column in LATER:
        if column not in table:
            table.insert(list(COLUMNS).index(column), column, float("nan"))
    return table


def _read_mixture_scores(path: Path, listed: list[TestMixture]) -> dict[str, list[dict[str, Any]]]:
    """Mixture id -> the input scores of its sources, as ``score_mixture`` returns them."""
    table = read_scores(path)
    if set(table["variant"]) != {"mixture"}:
        raise InputError(f"{path}: not the scores of the variant mixture; expected its scores.parquet")
    wanted = [(item.mixture_id, number + 1) for item in listed for number in range(len(item.speakers))]
    if wanted != list(zip(table["mixture_id"], table["source"], strict=True)):
        raise InputError(f"{path}: scores of other mixtures; expected those of the {len(listed)} mixtures evaluated")
    scores: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        inputs: dict[str, Any] = {column: row[column] for column in INPUT_COLUMNS}
        inputs["input_sdr_db"] = row["sdr_db"]
        inputs["failure"] = "; ".join(part for part in row["failure"].split("; ") if part.startswith("input_"))
        scores.setdefault(str(row["mixture_id"]), []).append(inputs)
    return scores
