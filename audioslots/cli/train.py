"""Commands before and in training: profile, cost, train, select-lr."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option, Typer

from audioslots.cli.options import Device, torch_device
from audioslots.profiling.gpus import EFFICIENCY, GPUS

train = Typer()

Page = Annotated[Path | None, Option(help="Documentation page whose generated table to replace.")]
Benchmark = Annotated[Path, Argument(help="YAML file of a benchmark, such as config/libri2mix.yaml.")]


@train.command("train")
def train_variant(
    config: Annotated[Path, Argument(help="Resolved config of a variant: config.json.")],
    out: Annotated[Path, Option(help="Run folder to write.")],
    device: Device = "auto",
    num_devices: Annotated[int, Option(min=1, help="Number of processes that share each batch, one GPU each.")] = 1,
    workers: Annotated[int, Option(min=1, help="Number of threads that make batches; changes no result.")] = 2,
    tensorboard: Annotated[bool, Option("--tensorboard", help="Write TensorBoard logs too.")] = False,
    scratch: Annotated[
        str,
        Option(
            envvar="AUDIOSLOTS_SCRATCH",
            metavar="FOLDER",
            help="Folder on this machine's disk, for a copy of the speech.",
        ),
    ] = "",
) -> None:
    """Train one variant with one seed. Repeat the command to resume."""
    from audioslots.config.variant import Resolved
    from audioslots.runtime.scratch import expanded
    from audioslots.training.trainer import Machine, train

    folder = expanded(scratch) if scratch else None
    resolved = Resolved.read(config)
    torch_device(device, num_devices)
    machine = Machine(device, num_devices, workers, tensorboard, folder)
    train(resolved, out, machine, command=shlex.join(["audioslots", *sys.argv[1:]]))


@train.command("select-lr")
def select_learning_rates(
    folder: Annotated[Path, Argument(help="Runs per variant and factor: results/<benchmark>/learning_rates.")],
    out: Annotated[Path, Option(help="CSV file to write.")],
) -> None:
    """Select each variant's learning rate by validation."""
    from audioslots.reporting.selection import select_learning_rates as select

    print(select(folder, out).to_text())


@train.command("profile")
def profile_variants(
    benchmark: Benchmark,
    variant: Annotated[list[str], Argument(help="Names of variants; the first one is profiled part by part.")],
    page: Page = None,
) -> None:
    """Count parameters, multiply-accumulates and training memory. Nothing is trained."""
    from audioslots.profiling import model_profile
    from audioslots.reporting.publish import replace_marked

    table = model_profile.profile_variants(benchmark, variant)
    if page is not None:
        replace_marked(page, benchmark.as_posix(), table.to_markdown().strip())
    print(table.to_text())


@train.command("cost")
def estimate_cost(
    benchmark: Benchmark,
    gpu: Annotated[Literal[tuple(GPUS)], Option(help="GPU to assume.")] = "h100",  # type: ignore[valid-type]
    efficiency: Annotated[float, Option(min=0.01, max=1.0, help="Share of the data-sheet rate.")] = EFFICIENCY,
    rate: Annotated[float | None, Option(min=1e-6, help="Rate to assume, 10^12 multiply-accumulates/s.")] = None,
    measure: Annotated[int, Option(min=0, help="Chunks per training step that measures the rate on --device.")] = 0,
    device: Device = "auto",
    study: Annotated[list[str] | None, Option(help="Study, instead of the benchmark's; may be repeated.")] = None,
    page: Page = None,
) -> None:
    """Count a benchmark's jobs, GPU hours, memory and disk. Nothing is run."""
    from audioslots.profiling import cost
    from audioslots.reporting.publish import replace_marked

    if measure:
        rate = cost.measure_rate(benchmark, measure, torch_device(device))
        print(f"measured: {rate:.3g}·10¹² multiply-accumulates per second")
    estimated = cost.estimate_cost(benchmark, study, cost.Assumptions(gpu, efficiency, rate))
    gpu_hours = [] if rate else [estimated.gpu_hours]
    if page is not None:
        text = [estimated.summary, *(table.to_markdown().strip() for table in gpu_hours)]
        replace_marked(page, f"the cost of {benchmark.as_posix()}", "\n\n".join(text))
    print(estimated.variants.to_text(), *(table.to_text() for table in gpu_hours), estimated.summary, sep="\n\n")
