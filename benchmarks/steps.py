"""Steps that fit in a given training time, for every variant of a benchmark: its ``overrides`` for equal time.

    python benchmarks/steps.py config/mini-ablations.yaml --seconds 65

One thread, batches of noise: what is timed is the model, forth and back, and the optimiser.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

from audioslots.benchmark import read_benchmark, resolve, variants
from audioslots.config import Resolved
from audioslots.model.weights import build
from audioslots.training.losses import Matched


def seconds_a_step(config: Resolved, steps: int) -> float:
    """Median seconds of an optimiser step."""
    torch.manual_seed(0)
    model, loss = build(config), Matched(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    taken = []
    for _ in range(steps + 1):
        sources = torch.randn(config.training.batch, config.sources, config.chunk)
        started = time.perf_counter()
        optimiser.zero_grad()
        loss(model(sources.sum(dim=1)), sources).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.training.clip)
        optimiser.step()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def main() -> None:
    """Print a line of YAML a variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", type=Path, nargs="?", default=Path("config/mini.yaml"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--steps", type=int, default=8, help="to take the median of")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    benchmark = read_benchmark(arguments.benchmark)
    print("overrides:")
    for name in variants(benchmark):
        config = resolve(benchmark, name, benchmark.seeds[0])
        step = seconds_a_step(config, arguments.steps)
        count = round(arguments.seconds / step / 10) * 10
        own = benchmark.overrides.get(name, {}).get("training", {})
        training = ", ".join(f"{key}: {value}" for key, value in {**own, "steps": count}.items())
        print(f"  {name}: {{training: {{{training}}}}} # {1000 * step:.0f} ms a step", flush=True)


if __name__ == "__main__":
    main()
