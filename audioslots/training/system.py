"""What a run is computed on and by which arithmetic, and what it cost: the content of ``system.json``."""

from __future__ import annotations

import platform
import resource
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from audioslots import __version__
from audioslots.config.variant import Resolved
from audioslots.data.training.packing import Speech
from audioslots.models.base import SeparationModel, slot_sizes
from audioslots.models.compute import multiply_accumulates, training_multiply_accumulates

PACKAGES = ("torch", "torchaudio", "numpy", "scipy", "soundfile")


def describe(config: Resolved, model: SeparationModel, speech: Speech, device: torch.device) -> dict[str, Any]:
    """Versions and machine of a finished run, and what its costs are by construction."""
    settings = config.training
    return {
        "versions": {
            "python": platform.python_version(),
            "audioslots": __version__,
            **{name: version(name) for name in PACKAGES},
        },
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "macs_per_second": multiply_accumulates(model, config.crop)[""] / config.chunk_s,
        "training_macs_per_second": training_multiply_accumulates(model, config.crop) / config.chunk_s,
        "slots": config.model.num_slots,
        **({"network": network} if (network := config.model.provenance()) else {}),
        **slot_sizes(model, config.crop),
        "steps": settings.steps,
        "train_subset": speech.subset,
        "train_hours": round(speech.hours, 4),
        "train_speakers": len(speech.speakers),
        "audio_s": settings.steps * settings.batch * config.chunk_s,
    }


def arithmetic(precision: str) -> None:
    """Let a GPU's tensor cores round what they multiply in 32 bits, or not: a setting of the whole process.

    In mixed precision they may: what is left in 32 bits there is less exact than the rest anyway.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "32-true"


def peak_memory(device: torch.device) -> int:
    """Largest memory so far, bytes: the GPU's where there is one, else the process' resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def processor() -> str:
    """The processor's name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
