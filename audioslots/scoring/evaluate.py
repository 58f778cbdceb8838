"""Score every mixture of a test set in one pass: scores, timing and a few examples to listen to."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from audioslots.runtime.code import commit
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, write_json, written_aside
from audioslots.runtime.stage import Stage
from audioslots.runtime.workers import in_order
from audioslots.scoring.estimates import SavedEstimates, SavedSystem, SeparatedMixture, System, separate_mixture
from audioslots.scoring.examples import choose_examples, write_example
from audioslots.scoring.metrics import BOUNDS, score, score_mixture
from audioslots.scoring.mixtures import TestMixture, digest_mixtures, read_mixtures
from audioslots.scoring.scores import COLUMNS, read_mixture_scores, read_scores

COSTS, EXAMPLES = "evaluation.json", "examples"
"""What is written beside the scores."""


@dataclass(frozen=True)
class EvaluationOptions:
    """How a system is evaluated.

    Attributes:
        benchmark: name, for its column.
        jobs: number of scoring processes.
        mixture_scores: scores.parquet of the variant "mixture" for the same mixtures, whose input scores are reused.
        num_examples: number of mixtures kept as WAV, at most, as ``choose_examples`` chooses them.
        chosen_by: scores.parquet of the system whose scores choose the examples; not given, those made here do, and
            until they are there the disk holds an example of every mixture.
        shard: (n, of): score every ``of``-th mixture from the n-th on, and write no table; shards may run at the same
            time. The same call without it scores the rest and writes the table.
        cost: what the system is known to cost, by the keys of ``untrained.COST``, kept in ``evaluation.json``.
    """

    benchmark: str = ""
    jobs: int = 1
    mixture_scores: Path | None = None
    num_examples: int = 4
    chosen_by: Path | None = None
    shard: tuple[int, int] = (1, 1)
    cost: Mapping[str, float] = field(default_factory=dict)


DEFAULTS = EvaluationOptions()


class _Job(NamedTuple):
    """What a scoring process does with one mixture: write its rows and times to ``part``, its audio to ``example``."""

    item: TestMixture
    separated: SeparatedMixture
    mixture_scores: list[dict[str, Any]] | None
    part: Path
    example: Path | None


def evaluate(system: System | SavedSystem, mixtures: Path, out: Path, options: EvaluationOptions = DEFAULTS) -> None:
    """Separate and score the mixtures of a folder; write the scores, ``evaluation.json`` and ``examples/`` beside them.

    Each mixture is read once, by this process, and scored in one of ``jobs`` processes (see ``workers.in_order``). It
    is the stage ``scores``: what is scored is kept beside the table until that is written, and the same call resumes an
    interrupted evaluation. The scores do not depend on jobs, shards or interruptions, nor on whether the system
    separates now or did so before; ``evaluation.json`` has the seconds that separating took.

    Args:
        system: what separates, or the estimates that it, or any other system, has made of these mixtures.
        mixtures: a finished folder, as of ``read_mixtures``.
        out: scores.parquet, one row per mixture, source and stitching.
        options: see there.

    Raises:
        InputError: the folder is not finished, a file is absent or bad, the rates differ, ``mixture_scores``,
            ``chosen_by`` or the estimates are of other mixtures, the system has fewer estimates than there are
            sources, or as ``Stage.opened``.
    """
    mixtures, out = Path(mixtures), Path(out)
    items = read_mixtures(mixtures)
    inputs = read_mixture_scores(options.mixture_scores, items) if options.mixture_scores else {}
    chosen = None
    if options.chosen_by:
        chosen = list(choose_examples(read_scores(options.chosen_by), options.num_examples))
        if other := sorted(set(chosen) - {item.mixture_id for item in items}):
            raise InputError(f"{options.chosen_by}: scores of other mixtures, {other[0]}; expected those of {mixtures}")
    request = {
        **{"benchmark": options.benchmark, "variant": system.name, "seed": system.seed, "identity": system.identity},
        **{"examples": options.num_examples if chosen is None else chosen, "mixtures": digest_mixtures(mixtures)},
        **({"cost": dict(options.cost)} if options.cost else {}),
    }
    if isinstance(system, SavedEstimates) and system.mixtures != request["mixtures"]:
        raise InputError(f"{system.folder}: estimates of other mixtures; expected those of {mixtures}")
    stage = Stage(out.parent, out.stem, request, (__name__, *system.modules), (out.name, COSTS, EXAMPLES))
    kept = out.with_name(f".{out.stem}.{stage.key}.parts")  # named by what decides its files: none are ever mixed
    parts = [kept / f"{index:06d}.json" for index in range(len(items))]
    described = {"benchmark": options.benchmark, "variant": system.name, "seed": system.seed}
    first, step = options.shard

    def separate() -> Iterator[_Job]:
        pairs = list(zip(items, parts, strict=True))[first - 1 :: step]
        waiting = [(item, part) for item, part in pairs if not part.is_file()]
        for item, part in tqdm(waiting, f"evaluate {system.name}", unit="mixture", disable=None):
            is_example = item.mixture_id in chosen if chosen is not None else options.num_examples > 0
            example = kept / EXAMPLES / item.mixture_id if is_example else None
            yield _Job(item, separate_mixture(system, item), inputs.get(item.mixture_id), part, example)

    with nullcontext(False) if step > 1 else stage.opened() as is_finished:  # shards may run side by side
        if is_finished and out.exists() and (out.parent / COSTS).exists():
            return
        for _ in in_order(partial(_score, described, system.rate), separate(), options.jobs):
            pass
        if step == 1:
            scored = [read_json(part) for part in parts]
            rows = [row for part in scored for row in part["rows"]]
            table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
            _move_examples(kept, choose_examples(table, options.num_examples) if chosen is None else chosen, out.parent)
            _write(out, table, scored, {"cost": dict(options.cost)} if options.cost else {})
            for folder in out.parent.glob(f".{out.stem}.*.parts"):  # those of earlier requests too
                shutil.rmtree(folder, ignore_errors=True)


def _score(described: dict[str, Any], rate: int, job: _Job) -> None:
    """Write the rows of one mixture (by source, then stitching), the seconds they took, and its audio."""
    started = time.perf_counter()
    item, (mixture, sources, estimates, separation_s) = job.item, job.separated
    inputs, audio_s = job.mixture_scores or score_mixture(sources, mixture, rate), len(mixture) / rate
    scores = {
        name: score(estimates[name], sources, mixture, rate, inputs, BOUNDS if name == "oracle" else None)
        for name in sorted(estimates)
    }
    pair = "".join(sorted(item.sexes)) if all(item.sexes) else ""
    described = {**described, "mixture_id": item.mixture_id, "pair": pair, "duration_s": audio_s}
    rows = [
        {**described, "source": number, "speaker_id": speaker, "sex": sex, "stitching": stitching, **each[number - 1]}
        for number, (speaker, sex) in enumerate(zip(item.speakers, item.sexes, strict=True), start=1)
        for stitching, each in scores.items()
    ]
    seconds = {"audio_s": audio_s, "separation_s": separation_s, "scoring_s": time.perf_counter() - started}
    if job.example:
        stitching = min(estimates)  # "blind" comes before "oracle"
        order = scores[stitching][0]["permutation"].split(",")
        write_example(job.example, mixture, sources, [estimates[stitching][int(index)] for index in order], rate)
    write_json(job.part, {"rows": rows, **seconds})


def _move_examples(kept: Path, chosen: Mapping[str, str] | list[str], out: Path) -> None:
    """Move the examples that are chosen from where all are kept to where they stay."""
    for mixture_id in chosen:
        example, place = kept / EXAMPLES / mixture_id, out / EXAMPLES / mixture_id
        if example.exists():  # else it was moved before an interruption
            shutil.rmtree(place, ignore_errors=True)
            place.parent.mkdir(exist_ok=True)
            os.replace(example, place)


def _write(out: Path, table: pd.DataFrame, scored: list[dict[str, Any]], more: dict[str, Any]) -> None:
    """The table, and what it took, in ``evaluation.json``."""
    failures = Counter(reason for cell in table["failure"] for reason in cell.split("; ") if reason)
    total = {key: sum(part[key] for part in scored) for key in ("audio_s", "separation_s", "scoring_s")}
    content = {"commit": commit(), "mixtures": len(scored), "rows": len(table), "failures": dict(failures)}
    content |= total | {"real_time_factor": total["separation_s"] / total["audio_s"]} | more
    write_json(out.parent / COSTS, content)
    with written_aside(out) as aside:
        table.to_parquet(aside, index=False)
