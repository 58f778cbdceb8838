"""What a benchmark will ask for before any of it runs: jobs, GPU hours, memory, disk."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch

from audioslots.config.benchmark import (
    Benchmark,
    find_shared_models,
    members,
    read_for_counting,
    resolve,
    untrained,
    variants,
)
from audioslots.config.study import read_study
from audioslots.config.variant import Resolved
from audioslots.models.base import center_crop
from audioslots.profiling.cards import CARDS, EFFICIENCY
from audioslots.profiling.sizes import count, separation_memory
from audioslots.reporting.table import Table
from audioslots.reporting.tables import titled, valued
from audioslots.reporting.words import counted, duration, number, whole
from audioslots.separation.weights import build
from audioslots.training.objective import Matched
from audioslots.training.system import arithmetic

TIMED_STEPS = 5
BACKWARD = 2  # times the forward pass: gradients of what goes in, and of the weights
HOURS = {
    **{"dev-clean": 5.4, "test-clean": 5.4, "dev-other": 5.3, "test-other": 5.1},
    **{"train-clean-100": 100.6, "train-clean-360": 363.6, "train-other-500": 496.7},
}
"""Of LibriSpeech's subsets (Panayotov et al. 2015, table 1)."""
OFFICIAL_ROWS, MIXTURE_S = 3000, 5.4  # of LibriMix's dev and test sets; the mean length of their mixtures in min mode
PCM = 2  # bytes a sample
ESTIMATES = 2 * 4  # the same of a source's estimates: in blind and in oracle order, 32 bits each


@dataclass(frozen=True)
class Plan:
    """What a benchmark asks for.

    Attributes:
        table: a row a variant.
        total: what the whole comes to, in words.
        prices: GPU hours of a row, of each study and of the whole, on cards by name.
    """

    table: Table
    total: str
    prices: Table


def plan(
    benchmark: Path,
    rate: float | None = None,
    studies: list[str] | None = None,
    card: str = "h100",
    efficiency: float = EFFICIENCY,
) -> Plan:
    """Count what a benchmark asks for; nothing is read but its files.

    Args:
        benchmark: its YAML file; the speech it names need not be there.
        rate: multiply-accumulates a second, in 10^12, that the GPUs sustain, as ``sustained`` measures it; instead of
            what is assumed of ``card``.
        studies: instead of the benchmark's own.
        card: of ``CARDS``, whose hours the table and the total give.
        efficiency: share of the cards' data sheets that is assumed.

    Raises:
        InputError: the benchmark cannot be read.
    """
    read = read_for_counting(benchmark, studies)
    known = variants(read)
    same = find_shared_models(known)
    configs = {name: resolve(read, name, read.seeds[0], known) for name in known}
    models = {_model(config): config for config in configs.values()}
    counted = {key: (count(config).sum(), separation_memory(config)) for key, config in models.items()}
    rows = [_row(config, name not in same, read, *counted[_model(config)]) for name, config in configs.items()]
    data = pd.DataFrame(rows, index=list(known))
    hours = pd.DataFrame(index=data.index)  # of a run, by card
    for key, one in CARDS.items():
        rates = [one.rate(config.training.precision, efficiency) for config in configs.values()]
        hours[key] = _gpu_hours(data["operations"], pd.Series(rates, data.index))
    data["gpu_hours_a_run"] = _gpu_hours(data["operations"], rate) if rate else hours[card]
    data["gpu_hours"] = data["gpu_hours_a_run"] * data["runs"]
    trained = int(data.loc[data["steps"] > 0, "runs"].sum())
    separated = int(data["runs"].sum())
    evaluated = separated + len(untrained(read, known))
    packed = 1 + (read.corpus.validation is not None)
    prepared = 1 + packed + (read.corpus.kind == "synthesized")  # test mixtures rendered, speech packed, synthesized
    largest = max(data.to_dict("records"), key=lambda row: row["peak_memory_bytes"])
    on_card = f"on an {CARDS[card].title} at an assumed {100 * efficiency:.0f} % of its data sheet"
    basis = f"at {rate:.3g}·10¹² multiply-accumulates a second" if rate else on_card
    gigabytes = number((data["disk_bytes"].sum() + _data_bytes(read)) / 1e9, 1)
    estimates_bytes = _test_mixtures(read) * MIXTURE_S * read.rate * read.sources * ESTIMATES
    total = (
        f"{read.title}: {trained} trainings, {separated} separations of the test set, {evaluated} evaluations, "
        f"{prepared} jobs for the data and 1 for the report; {number(data['gpu_hours'].sum(), 1)} GPU hours {basis}; "
        f"{gigabytes} GB of disk beside the corpus, and {number(estimates_bytes / 1e9, 1)} GB for the estimates of "
        f"each run while it is scored. A training step of “{largest['title']}” takes the most memory, "
        f"{number(largest['peak_memory_bytes'] / 2**30, 1)} GiB; to separate takes "
        f"{number(data['separation_bytes'].max() / 2**30, 1)} GiB at most."
    )
    caption = (
        "A training step is taken as three passes. Separation of the test set is in the GPU hours, its scoring is not."
    )
    columns = [
        titled(),
        valued("Steps", "steps", whole),
        valued("Peak training memory (GiB)", "peak_memory_bytes", lambda value: number(value / 2**30, 1)),
        valued("GPU time a run", "gpu_hours_a_run", lambda value: duration(3600 * value)),
        valued("Runs", "runs", str),
        valued("GPU hours", "gpu_hours", lambda value: number(value, 1)),
    ]
    return Plan(Table("plan", caption, data, columns), total, _prices(read, data, hours, efficiency))


def _gpu_hours(operations: pd.Series, rate: float | pd.Series) -> pd.Series:
    """Hours of multiply-accumulates at a rate of 10^12 a second."""
    return operations / (rate * 1e12) / 3600


def _model(config: Resolved) -> tuple[str, float]:
    """What decides the size of a model and of what it separates at a time; how chunks are stitched does not."""
    return config.identity, config.separation.longest_s


def _row(config: Resolved, is_trained: bool, benchmark: Benchmark, sums: pd.Series, memory: float) -> dict[str, Any]:
    """What one variant takes; ``operations`` are the multiply-accumulates of a run.

    Args:
        config: of the variant.
        is_trained: whether it has no twin that is.
        benchmark: that it is of.
        sums: of what ``count`` says of it.
        memory: what ``separation_memory`` says of it.
    """
    settings, runs = config.training, len(benchmark.seeds_of(config.name))
    heard_s = settings.steps * settings.batch * config.chunk_s if is_trained else 0
    test_s = _test_mixtures(benchmark) * MIXTURE_S / (1 - config.separation.overlap)
    copies = 2 * 3 + 1  # two checkpoints of weights and moments; the model
    return {
        "title": config.title,
        "steps": settings.steps if is_trained else 0,
        "peak_memory_bytes": sums["peak_memory_bytes"],
        "separation_bytes": memory,
        "operations": sums["macs_per_second"] * ((1 + BACKWARD) * heard_s + test_s),
        "runs": runs,
        "disk_bytes": runs * 4 * sums["parameters"] * copies,
    }


def _prices(read: Benchmark, data: pd.DataFrame, hours: pd.DataFrame, efficiency: float) -> Table:
    """GPU hours by card: of the baseline's row, of each study by itself, and of the whole. ``hours`` are of a run."""
    rows = hours.mul(data["runs"], axis=0)
    first = data.index[0]
    parts = {f"One row, “{data.loc[first, 'title']}”": [first]}
    parts |= {
        f"Study: {read_study(name, read.place.ablations).title}": list(members(read, name)[0]) for name in read.studies
    }
    parts["All of it"] = list(rows.index)
    priced = pd.DataFrame([{"part": part, **rows.loc[names].sum()} for part, names in parts.items()])
    columns = [valued("GPU hours", "part", str, numeric=False)]
    columns += [valued(one.title, key, lambda value: number(value, 1)) for key, one in CARDS.items()]
    caption = (
        f"Of {counted(len(read.seeds), 'seed')}. Assumed: {100 * efficiency:.0f} % of what the data sheets promise for "
        "dense matrix products in the precision of the training. A study is priced by itself; its baseline is shared."
    )
    return Table("prices", caption, priced, columns)


def _test_mixtures(benchmark: Benchmark) -> int:
    return OFFICIAL_ROWS if benchmark.test.rows == "official" else benchmark.test.count


def _data_bytes(benchmark: Benchmark) -> float:
    """Packed speech and rendered test mixtures with their sources; LibriSpeech itself is there already."""
    corpus = benchmark.corpus
    if corpus.kind == "synthesized":
        packed_hours = corpus.hours
    else:
        packed_hours = sum(HOURS.get(subset, 0) for subset in (corpus.train, corpus.validation) if subset)
    mixtures_s = _test_mixtures(benchmark) * MIXTURE_S
    return (packed_hours * 3600 + mixtures_s * (1 + benchmark.sources)) * benchmark.rate * PCM


def sustained(benchmark: Path, chunks: int, device: str) -> float:
    """Multiply-accumulates a second, in 10^12, of training the benchmark's baseline here, in the config's precision.

    The median of a few steps on noise.

    Args:
        benchmark: its YAML file.
        chunks: chunks a step; as many as the config's batch, where the memory holds them.
        device: cpu or cuda.

    Raises:
        InputError: the benchmark cannot be read.
    """
    read = read_for_counting(benchmark)
    known = variants(read)
    config = resolve(read, next(iter(known)), read.seeds[0], known)
    operations = count(config).sum()["macs_per_second"] * (1 + BACKWARD) * chunks * config.chunk_s
    model, loss = build(config).to(device), Matched(config, has_noise=bool(config.noise)).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    sources = torch.randn(chunks, config.signals, config.crop, device=device)
    arithmetic(config.training.precision)
    half = config.training.precision == "bf16-mixed"
    seconds = []
    for _ in range(TIMED_STEPS + 1):
        started = time.perf_counter()
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=half):
            value = loss(
                model(sources.sum(dim=1), config.training.chunks_per_assignment),
                center_crop(sources, config.chunk),
            )
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        value.item()  # waits for the device
        seconds.append(time.perf_counter() - started)
    return operations / median(seconds[1:]) / 1e12
