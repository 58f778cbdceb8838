"""Training speed: seconds of audio a second, AudioSlots against torchaudio's Conv-TasNet, in one run on one device.

All are trained by the same loss (negative SI-SDR of the better order), the same optimiser and the same data path, on
chunks of 0.5 s at 8 kHz of made speech, in float32. Medians of three, taken in turns. On a GPU the paper's size is
measured too, and the share of peak arithmetic: of the rate of a large matrix product, measured in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from crops import made_corpus
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from audioslots.config.variant import Variant
from audioslots.data.training.mixing import Mixer
from audioslots.data.training.packing import Speech, pack
from audioslots.losses import si_sdr
from audioslots.separation.weights import MODELS
from audioslots.training.batches import batches
from audioslots.training.matching import match

RATE, CHUNK = 8_000, 4_000
ROUNDS = 3
MINI = {
    "spectrogram": {"window": 512, "hop": 256},
    "encoder": {"kind": "frames", "width": 128, "layers": 2, "mlp": 256, "kernel": 5},
    "decoder": {"width": 16, "layers": 2},
}
CONV_TASNET = {"model": "conv_tasnet", "training": {"loss": "si_sdr"}}
SMALL = {"filters": 128, "features": 64, "hidden": 128, "layers": 6, "stacks": 2}


class System:
    """A model in training, a step at a time.

    Args:
        variant: what is trained.
        device: cpu or cuda.
    """

    def __init__(self, variant: dict[str, Any], device: str) -> None:
        checked = Variant.model_validate(variant)
        self.model = model = MODELS[checked.model](checked, CHUNK).to(device)
        self.optimiser = torch.optim.AdamW(model.parameters(), 1e-4)
        self.parameters = sum(parameter.numel() for parameter in model.parameters())

    def loss(self, sources: Tensor) -> Tensor:
        """Negative SI-SDR, dB, of sources (B, S, T)."""
        estimates = self.model(sources.sum(dim=1)).waveforms
        ratios = si_sdr(estimates[:, None], sources[:, :, None])
        return -ratios.gather(2, match(-ratios)[..., None]).mean()

    def step(self, sources: Tensor) -> None:
        """One step of the optimiser."""
        self.optimiser.zero_grad()
        loss = self.loss(sources)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimiser.step()
        loss.item()

    def operations(self, sources: Tensor) -> int:
        """Floating-point operations of a step, forward and backward: matrix products, convolutions, attention."""
        counter = FlopCounterMode(display=False)
        with sdpa_kernel(SDPBackend.MATH), counter:
            self.loss(sources[:1]).backward()
        return counter.get_total_flops() * len(sources)


def systems(device: str) -> Iterator[tuple[str, System]]:
    """What is compared; the last two are the peer."""
    mask = {"kind": "film", "output": "sigmoid", "layers": 2}
    yield "AudioSlots, mask (mini)", System(MINI | {"decoder": mask}, device)
    yield "AudioSlots, magnitude (mini)", System(MINI, device)
    if device != "cpu":
        yield "AudioSlots (the paper's size)", System({}, device)
    yield "Conv-TasNet, small", System(CONV_TASNET | {"conv_tasnet": SMALL}, device)
    yield "Conv-TasNet, published", System(CONV_TASNET, device)


def timed(system: System, mixer: Mixer, batch: int, steps: int, device: str) -> tuple[float, float]:
    """Seconds a step, and the share of it spent waiting for data; the first step is not counted."""
    waited, began = 0.0, 0.0
    made = batches(mixer, range(steps + 1), range(batch), 2, device != "cpu")
    for step in range(steps + 1):
        asked = time.perf_counter()
        if step == 1:
            began, waited = asked, 0.0
        sources = next(made)
        waited += time.perf_counter() - asked
        system.step(sources.to(device, non_blocking=True))
    wall = time.perf_counter() - began
    return wall / steps, waited / wall


def peak(device: str, dtype: torch.dtype = torch.float32, size: int = 8192) -> float:
    """Floating-point operations a second of a large matrix product."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(20):
        a @ b
    torch.cuda.synchronize()
    return 20 * 2 * size**3 / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=8, help="chunks a step")
    parser.add_argument("--steps", type=int, default=5, help="steps of one measurement")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        made_corpus(root / "speech")
        pack(root / "speech", "train-clean-100", root / "packed", RATE)
        mixer = Mixer(Speech.open(root / "packed"), 2, CHUNK, 0)
        compared = dict(systems(given.device))
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in compared}
        for _ in range(ROUNDS):
            for name, system in compared.items():
                measured[name].append(timed(system, mixer, given.batch, given.steps, given.device))
        first = torch.from_numpy(mixer.batch(0, given.batch)).to(given.device)
        operations = {name: system.operations(first) for name, system in compared.items()}
    device = torch.cuda.get_device_name() if given.device != "cpu" else f"CPU, {torch.get_num_threads()} threads"
    print(f"Training, {given.batch} chunks of 0.5 s at 8 kHz a step, float32, {device}, medians of {ROUNDS}")
    fastest = peak(given.device) if given.device != "cpu" else None
    slowest = statistics.median(seconds for seconds, _ in measured["Conv-TasNet, published"])
    for name, rounds in measured.items():
        seconds, waited = (statistics.median(values) for values in zip(*rounds, strict=True))
        line = (
            f"  {name:<30} {compared[name].parameters / 1e6:6.2f} M parameters  {given.batch * 0.5 / seconds:9.1f} s/s"
        )
        line += f"  {slowest / seconds:6.1f} x  data wait {waited:6.2%}"
        print(line + (f"  share of peak {operations[name] / seconds / fastest:5.1%}" if fastest else ""))
    if fastest is None:
        print("  (the share of peak arithmetic is measured on a GPU only, and none is used)")


if __name__ == "__main__":
    main()
