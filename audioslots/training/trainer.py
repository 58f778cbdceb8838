"""Training one variant with one seed: a plain loop, stopped and resumed at any step to the same result."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from audioslots.commit import commit
from audioslots.config import Resolved
from audioslots.data.mixing import Mixer
from audioslots.data.packing import Speech
from audioslots.data.static import StaticMixer
from audioslots.errors import InputError, Interrupted
from audioslots.files import write_json, written_aside
from audioslots.model.weights import build, save_model
from audioslots.training.checkpoint import load_state, save_state
from audioslots.training.losses import Matched, si_sdr
from audioslots.training.matching import match
from audioslots.training.system import describe, peak_memory

VALIDATION_SEED = 2**32  # beyond any run's seed: all runs are validated on the same mixtures
OCCUPIED = 0.01  # share of the mixture's energy from which a slot counts as occupied
LOG_EVERY = 20  # steps averaged to one row of history.csv


@dataclass
class Progress:
    """How far a run is: what a checkpoint holds beside model and optimiser."""

    step: int = 0
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    commit: str = ""
    losses: list[float] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)

    def log(self, learning_rate: float, audio_s: float, validation: float, occupied: float) -> None:
        """Close one row of history: the mean loss since the last, and how fast it went."""
        before = self.history[-1] if self.history else {"step": 0, "seconds": 0.0}
        rate = audio_s * (self.step - before["step"]) / max(self.seconds - before["seconds"], 1e-9)
        self.history.append(
            {
                "step": self.step,
                "loss": sum(self.losses) / len(self.losses),
                "learning_rate": learning_rate,
                "seconds": round(self.seconds, 3),
                "audio_seconds_per_second": round(rate, 2),
                "validation_si_sdri_db": validation,
                "occupied_slots": occupied,
            }
        )
        self.losses = []


class Trainer:
    """One run.

    Args:
        config: the resolved variant.
        out: run folder.
        accelerator: Lightning Fabric's: auto, cpu, cuda.
        anew: set a checkpoint of another config aside and begin at step 0, instead of refusing it.

    Raises:
        InputError: data missing or of another rate, speakers shared between training and validation or test, a
            checkpoint of another config.
    """

    def __init__(self, config: Resolved, out: Path, accelerator: str = "auto", anew: bool = False) -> None:
        self.config, self.out, self.settings = config, Path(out), config.training
        self.speech, held_out = open_speech(config)
        self.fabric = Fabric(accelerator=accelerator, devices=1, precision=self.settings.precision)
        self.fabric.seed_everything(config.seed, verbose=False)
        self.mixer = training_mixer(config, self.speech)
        validation = Mixer(held_out, config.sources, config.chunk, VALIDATION_SEED)
        self.validation = torch.from_numpy(validation.batch(0, self.settings.validation_mixtures))
        model = build(config)
        self.loss = Matched(config).to(self.fabric.device)
        optimiser = torch.optim.AdamW(
            model.parameters(),
            lr=self.settings.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=self.settings.weight_decay,
            fused=True,
        )
        self.progress = Progress(commit=commit())
        self.model, self.optimiser = self.fabric.setup(model, optimiser)
        state = load_state(self.out / "checkpoint.pt", config.identity, anew)
        if state is not None:
            self.progress = Progress(**state["progress"])
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])

    def train(self, command: str = "") -> None:
        """Go on from the last checkpoint to ``training.steps``; then write the model, the history and the costs.

        Raises:
            Interrupted: on SIGTERM or Ctrl-C, after a checkpoint.
            InputError: the loss is not finite.
        """
        progress, settings = self.progress, self.settings
        written = all((self.out / name).is_file() for name in ("history.csv", "model.safetensors", "system.json"))
        if progress.step == settings.steps and written:
            return
        started = time.perf_counter() - progress.seconds
        bar = tqdm(total=settings.steps, initial=progress.step, desc=self.out.as_posix(), unit="step", disable=None)
        with bar, stop_asked() as stop:
            for sources in batches(self.mixer, progress.step, settings.steps, settings.batch):
                learning_rate = self._step(self.fabric.to_device(sources))
                progress.seconds = time.perf_counter() - started
                bar.update()
                last = progress.step == settings.steps
                if last or progress.step % settings.validate_every == 0:
                    score, occupied = self.validate()
                    progress.log(learning_rate, settings.batch * self.config.chunk_s, score, occupied)
                    bar.set_postfix(validation=f"{score:+.2f} dB")
                elif progress.step % LOG_EVERY == 0:
                    progress.log(learning_rate, settings.batch * self.config.chunk_s, math.nan, math.nan)
                if last or stop or progress.step % settings.checkpoint_every == 0:
                    self.save()
                if stop and not last:
                    raise Interrupted(
                        f"{self.out}: stopped after step {progress.step} of {settings.steps}; run again to go on"
                    )
        self._finish(command)

    def _step(self, sources: Tensor) -> float:
        """One optimiser step on sources (B, S, T); returns its learning rate."""
        progress, settings = self.progress, self.settings
        learning_rate = rate_at(progress.step, settings.learning_rate, settings.warmup, settings.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        loss = self.loss(self.model(sources.sum(dim=1)), sources)
        if not torch.isfinite(loss):
            raise InputError(
                f"{self.out}: the loss of step {progress.step}, seed {self.config.seed}, is {loss.item()}; expected a "
                "finite number: try a lower training.learning_rate"
            )
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        self.fabric.clip_gradients(self.model, self.optimiser, max_norm=settings.clip)
        self.optimiser.step()
        progress.step += 1
        progress.losses.append(loss.item())
        return learning_rate

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        """Mean SI-SDRi, dB, and occupied slots, on single chunks of held-out speakers.

        Each source is given the slot that suits it best.
        """
        self.model.eval()
        improvements, occupied = [], []
        for sources in self.validation.split(self.settings.batch):
            sources = self.fabric.to_device(sources)
            mixture = sources.sum(dim=1)
            waveforms = self.model(mixture).waveforms
            ratios = si_sdr(waveforms[:, None], sources[:, :, None])  # (B, S, K)
            matched = ratios.gather(2, match(-ratios)[..., None]).squeeze(-1)
            improvements.append(matched - si_sdr(mixture[:, None], sources))
            occupied.append(occupancy(waveforms, mixture))
        self.model.train()
        return float(torch.cat(improvements).mean()), float(torch.cat(occupied).mean())

    def save(self) -> None:
        """Write the checkpoint, and the history so far for who looks in on a long run."""
        self.progress.peak_memory_bytes = max(self.progress.peak_memory_bytes, peak_memory(self.fabric.device))
        state = {
            "identity": self.config.identity,
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        save_state(self.out / "checkpoint.pt", state)
        self._write_history()

    def _write_history(self) -> None:
        with written_aside(self.out / "history.csv") as aside:
            pd.DataFrame(self.progress.history).to_csv(aside, index=False)

    def _finish(self, command: str) -> None:
        self._write_history()
        save_model(self.out / "model.safetensors", self.model.module, self.config)
        progress = self.progress
        measured = {
            "wall_s": round(progress.seconds, 3),
            "peak_memory_bytes": progress.peak_memory_bytes,
            "occupied_slots": progress.history[-1]["occupied_slots"],
            "commit": progress.commit,
            "command": command,
        }
        described = describe(self.config, self.model.module, self.speech, self.fabric.device)
        write_json(self.out / "system.json", described | measured)


def occupancy(waveforms: Tensor, mixture: Tensor) -> Tensor:
    """How many of the slots (B, K, T) hold more energy than -20 dB of the mixture (B, T)'s: (B,)."""
    energy = waveforms.square().sum(dim=-1)
    return (energy > OCCUPIED * mixture.square().sum(dim=-1, keepdim=True)).sum(dim=-1).float()


def open_speech(config: Resolved) -> tuple[Speech, Speech]:
    """Open the training and the held-out speech, and make sure that they share no speaker with each other or the test.

    Raises:
        InputError: a folder is missing or of another rate, or speakers are shared.
    """
    speech = Speech.open(Path(config.train))
    if config.validation is None:
        speech, held_out = speech.hold_out(config.held_out_speakers)
    else:
        held_out = Speech.open(Path(config.validation))
    for packed, folder in ((speech, config.train), (held_out, config.validation or config.train)):
        if packed.rate != config.rate:
            raise InputError(f"{folder}: packed at {packed.rate} Hz; expected rate {config.rate}")
    apart = {"validation": set(held_out.speakers), "test": speakers_of(config.test)}
    for name, speakers in apart.items():
        if shared := speakers & set(speech.speakers):
            raise InputError(
                f"{config.train}: speaker {min(shared)} is in the {name} set too; expected speakers of its own"
            )
    return speech, held_out


def training_mixer(config: Resolved, speech: Speech) -> Mixer:
    """What draws the training mixtures."""
    settings = config.training
    if settings.mixing == "static":
        return StaticMixer(speech, config.sources, config.chunk, config.seed, size=settings.batch)
    return Mixer(speech, config.sources, config.chunk, config.seed, settings.speed, settings.even_speakers)


def speakers_of(mixtures: str | None) -> set[str]:
    """Speakers of a rendered mixtures folder; none where none is given."""
    if mixtures is None:
        return set()
    folder = Path(mixtures)
    info = folder.parent / "metadata" / f"info_{folder.name}.csv"
    if not info.is_file():
        raise InputError(f"{info}: no such file; expected it from `audioslots mixtures render`")
    table = pd.read_csv(info, dtype=str)
    return set(table.filter(regex=r"^speaker_\d+_ID$").to_numpy().ravel())


def rate_at(step: int, peak: float, warmup: int, steps: int) -> float:
    """Learning rate of a step: linear to ``peak`` over ``warmup`` steps, then a cosine to zero at ``steps``."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def batches(mixer: Mixer, first: int, end: int, size: int) -> Iterator[Tensor]:
    """Sources (size, S, T) of steps ``first`` .. ``end`` - 1; the next is mixed while the last is trained on."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(mixer.batch, first, size)
        for step in range(first, end):
            sources = pending.result()
            if step + 1 < end:
                pending = pool.submit(mixer.batch, step + 1, size)
            yield torch.from_numpy(sources)


@contextmanager
def stop_asked() -> Iterator[list[int]]:
    """A list that is empty until SIGTERM or SIGINT arrives."""
    asked: list[int] = []
    before = {name: signal.signal(name, lambda number, _: asked.append(number)) for name in _STOP_SIGNALS}
    try:
        yield asked
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
