"""What a benchmark costs, before any of it runs: jobs, GPU hours, memory, disk."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

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
from audioslots.models.base import center_crop
from audioslots.profiling.gpus import EFFICIENCY, GPUS
from audioslots.profiling.model_profile import profile_model, separation_memory
from audioslots.reporting.formatting import format_count, format_duration, format_number
from audioslots.reporting.table import TITLE, Column, Table
from audioslots.separation.weights import build
from audioslots.training.objective import Matched
from audioslots.training.system import arithmetic

TIMED_STEPS = 5
HOURS = {
    **{"dev-clean": 5.4, "test-clean": 5.4, "dev-other": 5.3, "test-other": 5.1},
    **{"train-clean-100": 100.6, "train-clean-360": 363.6, "train-other-500": 496.7},
}
"""Of LibriSpeech's subsets (Panayotov et al. 2015, table 1)."""
OFFICIAL_ROWS, MIXTURE_S = 3000, 5.4  # of LibriMix's dev and test sets; the mean length of their mixtures in min mode
PCM = 2  # bytes per sample
ESTIMATES = 2 * 4  # bytes per sample of a source's estimates: in blind and in oracle order, 32 bits each
STATES = 2 * 3 + 1  # copies of the weights on disk: two checkpoints of weights and both moments, and the model


@dataclass(frozen=True)
class Cost:
    """What a benchmark costs.

    Attributes:
        variants: one row per variant.
        gpu_hours: of a row, of each study and of the whole, on GPUs by name.
        summary: the sum in words.
    """

    variants: Table
    gpu_hours: Table
    summary: str


@dataclass(frozen=True)
class Assumptions:
    """How fast the GPUs are.

    Attributes:
        gpu: of ``GPUS``, whose hours the table of variants and the summary give.
        efficiency: share of the data sheets' rates that training sustains.
        rate: multiply-accumulates that training sustains, 10^12/s, instead of that share; ``measure_rate`` measures it.
    """

    gpu: str = "h100"
    efficiency: float = EFFICIENCY
    rate: float | None = None


def estimate_cost(benchmark: Path, studies: list[str] | None = None, assumptions: Assumptions = Assumptions()) -> Cost:
    """Count what a benchmark costs; nothing is read but its files.

    Args:
        benchmark: its YAML file; the speech it names need not be there.
        studies: instead of the benchmark's own.
        assumptions: about the GPUs.

    Raises:
        InputError: the benchmark cannot be read.
    """
    read = read_for_counting(benchmark, studies)
    known = variants(read)
    shared = find_shared_models(known)
    profiles: dict[tuple[str, float], tuple[pd.Series, float, float]] = {}
    mixtures = _count_test_mixtures(read)
    rows = []
    for name in known:
        config = resolve(read, name, read.seeds[0], known)
        key = (config.identity, config.separation.longest_s)  # how chunks are stitched changes no size
        if key not in profiles:
            profile = profile_model(config)
            profiles[key] = profile.parts.sum(), profile.training_macs_per_second, separation_memory(config)
        sums, training_macs, separation_bytes = profiles[key]
        settings, runs = config.training, len(read.seeds_of(name))
        steps = 0 if name in shared else settings.steps
        test_s = mixtures * MIXTURE_S / (1 - config.separation.overlap)
        macs = training_macs * steps * settings.batch * config.chunk_s + sums["macs_per_second"] * test_s
        rates = {key: gpu.rate(settings.precision, assumptions.efficiency) for key, gpu in GPUS.items()}
        row = {
            "title": config.title,
            "steps": steps,
            "peak_memory_bytes": sums["peak_memory_bytes"],
            "separation_bytes": separation_bytes,
            "gpu_hours_per_run": macs / (assumptions.rate or rates[assumptions.gpu]) / 1e12 / 3600,
            "runs": runs,
            "disk_bytes": runs * 4 * sums["parameters"] * STATES,
        }
        rows.append(row | {key: runs * macs / rate / 1e12 / 3600 for key, rate in rates.items()})
    data = pd.DataFrame(rows, index=list(known))
    data["gpu_hours"] = data["gpu_hours_per_run"] * data["runs"]
    columns = [
        TITLE,
        Column("Steps", "steps", format_count),
        Column("Peak training memory (GiB)", "peak_memory_bytes", lambda value: format_number(value / 2**30, 1)),
        Column("GPU time per run", "gpu_hours_per_run", lambda value: format_duration(3600 * value)),
        Column("Runs", "runs", str),
        Column("GPU hours", "gpu_hours", lambda value: format_number(value, 1)),
    ]
    caption = "GPU hours: training, forward and backward, and separation of the test set, but not its scoring."
    table = Table("cost", caption, data.drop(columns=list(GPUS)), columns)
    evaluations = int(data["runs"].sum()) + len(untrained(read, known))
    return Cost(table, _sum_by_study(read, data, assumptions), _summarise(read, data, evaluations, assumptions))


def _summarise(read: Benchmark, data: pd.DataFrame, evaluations: int, assumptions: Assumptions) -> str:
    """Jobs, GPU hours, disk and memory in words."""
    # test mixtures rendered, speech packed, synthesized
    prepared = 2 + (read.corpus.validation is not None) + read.corpus.is_synthesized
    largest = data.sort_values("peak_memory_bytes").iloc[-1]
    basis = f"on an {GPUS[assumptions.gpu].title} at an assumed {100 * assumptions.efficiency:.0f} % of its data sheet"
    if assumptions.rate:
        basis = f"at {assumptions.rate:.3g}·10¹² multiply-accumulates per second"
    gigabytes = (data["disk_bytes"].sum() + _count_data_bytes(read)) / 1e9
    estimates = _count_test_mixtures(read) * MIXTURE_S * read.rate * read.sources * ESTIMATES / 1e9
    return (
        f"{read.title}: {data.loc[data['steps'] > 0, 'runs'].sum()} trainings, {data['runs'].sum()} separations of the "
        f"test set, {evaluations} evaluations, {prepared} jobs for the data and 1 for the report; "
        f"{format_number(data['gpu_hours'].sum(), 1)} GPU hours {basis}; {format_number(gigabytes, 1)} GB of disk "
        f"beside the corpus, and {format_number(estimates, 1)} GB for the estimates of each run while it is scored. "
        "Largest training step: "
        f"“{largest['title']}”, {format_number(largest['peak_memory_bytes'] / 2**30, 1)} GiB; separation takes at most "
        f"{format_number(data['separation_bytes'].max() / 2**30, 1)} GiB."
    )


def _sum_by_study(read: Benchmark, data: pd.DataFrame, assumptions: Assumptions) -> Table:
    """GPU hours by GPU: of the baseline's row, of each study by itself, and of the whole."""
    parts = {f"One row, “{data['title'].iloc[0]}”": [data.index[0]]}
    for name in read.studies:
        parts[f"Study: {read_study(name, read.place.ablations).title}"] = list(members(read, name)[0])
    parts["All studies"] = list(data.index)
    hours = pd.DataFrame([{"part": part, **data.loc[names][list(GPUS)].sum()} for part, names in parts.items()])
    columns = [Column("GPU hours", "part", str, numeric=False)]
    columns += [Column(gpu.title, key, lambda value: format_number(value, 1)) for key, gpu in GPUS.items()]
    caption = (
        f"{format_count(len(read.seeds), 'seed')}. Assumed: {100 * assumptions.efficiency:.0f} % of the data sheets' "
        "rates of dense matrix products in the precision of the training. A study includes its "
        "baseline, which it may share."
    )
    return Table("gpu-hours", caption, hours, columns)


def _count_test_mixtures(benchmark: Benchmark) -> int:
    return OFFICIAL_ROWS if benchmark.test.rows == "official" else benchmark.test.count


def _count_data_bytes(benchmark: Benchmark) -> float:
    """Packed speech and rendered test mixtures with their sources; LibriSpeech itself is there already."""
    corpus = benchmark.corpus
    if corpus.is_synthesized:
        packed_hours = corpus.hours
    else:
        packed_hours = sum(HOURS.get(subset, 0) for subset in (corpus.train, corpus.validation) if subset)
    mixtures_s = _count_test_mixtures(benchmark) * MIXTURE_S
    return (packed_hours * 3600 + mixtures_s * (1 + benchmark.sources)) * benchmark.rate * PCM


def measure_rate(benchmark: Path, chunks: int, device: str) -> float:
    """Multiply-accumulates that training the benchmark's baseline sustains here, 10^12/s, in its precision.

    The median of a few steps on noise.

    Args:
        benchmark: its YAML file.
        chunks: batch; the config's, where the memory holds it.
        device: cpu or cuda.

    Raises:
        InputError: the benchmark cannot be read.
    """
    read = read_for_counting(benchmark)
    known = variants(read)
    config = resolve(read, next(iter(known)), read.seeds[0], known)
    macs = profile_model(config).training_macs_per_second * chunks * config.chunk_s
    model, loss = build(config).to(device), Matched(config, has_noise=bool(config.noise)).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    sources = torch.randn(chunks, config.signals, config.crop, device=device)
    arithmetic(config.training.precision)
    half = config.training.precision == "bf16-mixed"
    seconds = []
    for _ in range(TIMED_STEPS + 1):
        started = time.perf_counter()
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=half):
            estimates = model(sources.sum(dim=1), config.training.chunks_per_assignment)
            value = loss(estimates, center_crop(sources, config.chunk))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        value.item()  # waits for the device
        seconds.append(time.perf_counter() - started)
    return macs / median(seconds[1:]) / 1e12
