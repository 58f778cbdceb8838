"""Training in processes that are killed: ``python training_process.py CONFIG OUT SIGNAL KILLS [WORKERS...]``.

SIGNAL is a signal's name, sent at random moments of the training, or ``writing``: SIGKILL inside the writing of a
checkpoint. It prints, as JSON, how the processes ended and which steps they were at.
"""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from audioslots.config.variant import Resolved
from audioslots.runtime.errors import Interrupted
from audioslots.training import checkpoint, trainer

SLOW_DISK_S = 0.02
A_STEP_S = 0.02  # about


def started(config: Resolved, out: Path, workers: int, writing: bool) -> tuple[int, int]:
    """Fork a process that trains, since importing it anew takes longer than the training.

    Returns:
        The process, and a pipe that tells the number of each step as it begins (``writing``: as its checkpoint does).
    """
    reading, telling = os.pipe()
    process = os.fork()
    if process:
        os.close(telling)
        return process, reading
    try:
        told = (checkpoint.torch, "save") if writing else (trainer.Trainer, "_step")
        original = getattr(*told)

        def tell(first: Any, *rest: Any) -> Any:
            step = first["progress"]["step"] if writing else first.progress.step
            os.write(telling, struct.pack("i", step))
            return original(first, *rest)

        setattr(*told, tell)
        if writing:
            sync = os.fsync
            checkpoint.os.fsync = lambda file: (time.sleep(SLOW_DISK_S), sync(file))  # type: ignore[assignment]
        trainer.train(config, out, trainer.Machine("cpu", workers=workers))
    except Interrupted:
        os._exit(75)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def told(reading: int) -> int:
    """The next step that a process tells of; -1 where it has ended."""
    word = os.read(reading, 4)
    return struct.unpack("i", word)[0] if word else -1


def main(config: Resolved, out: Path, number: str, kills: int, workers: list[int]) -> dict[str, Any]:
    """Train undisturbed; then another run that is ended ``kills`` times, and goes on each time."""
    writing = number == "writing"
    process, reading = started(config, out / "undisturbed", 1, False)
    assert ended(process) == 0
    os.close(reading)
    # Counted in steps, that a machine which is busy now and idle then does not end the run between two kills.
    most, pause = (3, 5 * SLOW_DISK_S) if writing else (config.training.steps // kills - 7, A_STEP_S)
    moments, endings, found = random.Random(number), [], []
    for kill in range(kills):
        process, reading = started(config, out / "killed", workers[kill % len(workers)], writing)
        step = [told(reading) for _ in range(moments.randint(1, most))][-1]
        time.sleep(moments.uniform(0, pause))
        os.kill(process, signal.SIGKILL if writing else signal.Signals[number])
        endings.append(ended(process))
        while (later := told(reading)) >= 0:  # it had begun while the signal was on its way
            step = later
        os.close(reading)
        state = checkpoint.load_state(out / "killed/checkpoint.pt", config.content)
        found.append((step, state["progress"]["step"] if state else 0))
    process, reading = started(config, out / "killed", workers[0], False)
    return {"last": ended(process), "endings": endings, "found": found}


if __name__ == "__main__":
    arguments = sys.argv[1:]
    configured = Resolved.read(Path(arguments[0]))
    numbers = [int(word) for word in arguments[4:]] or [1]
    print(json.dumps(main(configured, Path(arguments[1]), arguments[2], int(arguments[3]), numbers)))
