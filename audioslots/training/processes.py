"""The processes of one run, one device each: how they start, share batches and gradients, and end together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from audioslots.runtime.errors import InputError, Interrupted

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # the last: Slurm's warning before the time limit


class Processes:
    """The processes of a run on one machine. The first starts the others, by the same command with ``LOCAL_RANK`` set.

    Args:
        accelerator: auto, cpu or cuda.
        count: number of processes.

    Attributes:
        device: of this process.
        rank: number of this process, from 0.
        count: see above.
    """

    def __init__(self, accelerator: str, count: int) -> None:
        self.rank, self.count = int(os.environ.get("LOCAL_RANK", 0)), count
        has_gpu = accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available())
        self.device = torch.device("cuda", self.rank) if has_gpu else torch.device("cpu")
        if has_gpu:
            torch.cuda.set_device(self.device)

    def connect(self) -> None:
        """Start the other processes, and wait until all are here."""
        if self.count == 1:
            return
        if self.rank == 0:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
            for rank in range(1, self.count):
                subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=os.environ | {"LOCAL_RANK": str(rank)})
        backend = "nccl" if self.device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, rank=self.rank, world_size=self.count)

    def share(self, model: nn.Module) -> nn.Module:
        """The model, with gradients averaged over the processes."""
        return model if self.count == 1 else DistributedDataParallel(model, broadcast_buffers=False)

    def average(self, value: Tensor) -> Tensor:
        """The mean of a value over the processes."""
        if self.count > 1:
            distributed.all_reduce(value)
        return value / self.count


@contextmanager
def stop_asked() -> Iterator[list[int]]:
    """A list that is empty until SIGTERM, SIGINT or SIGUSR1 arrives."""
    asked: list[int] = []
    before = {name: signal.signal(name, lambda number, _: asked.append(number)) for name in STOP_SIGNALS}
    try:
        yield asked
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def is_first() -> bool:
    """Whether this process is the run's first, which alone writes."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0


@contextmanager
def following() -> Iterator[None]:
    """For every process but the first: end when the first is killed, and leave it to the first to print errors."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except (InputError, Interrupted):
        raise SystemExit(0) from None
