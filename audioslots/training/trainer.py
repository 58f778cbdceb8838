"""Training one variant with one seed: a plain loop, stopped and resumed at any step to the same result."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.utils._pytree import tree_map_only
from tqdm import tqdm

from audioslots.config.variant import Resolved
from audioslots.data.training.mixing import Mixer
from audioslots.models import modules_of
from audioslots.models.base import Estimates, center_crop
from audioslots.runtime.code import commit
from audioslots.runtime.errors import InputError, Interrupted
from audioslots.runtime.files import write_json
from audioslots.runtime.stage import Stage
from audioslots.separation.weights import init_checksum, init_model, save_model
from audioslots.training.batches import batches, split_crops
from audioslots.training.checkpoint import load_state, save_state
from audioslots.training.history import Board, Progress
from audioslots.training.objective import Matched, Objective
from audioslots.training.processes import Processes, following, is_first, stop_asked
from audioslots.training.schedule import rate_at
from audioslots.training.speech import open_noise, open_speech, training_mixer
from audioslots.training.system import arithmetic, describe, peak_memory
from audioslots.training.validation import validate

VALIDATION_SEED = 2**32  # beyond any run's seed: all runs are validated on the same mixtures
MAKES = (
    *("checkpoint.pt", "checkpoint.previous.pt", "model.safetensors"),
    *("history.csv", "skipped.csv", "system.json", "tensorboard"),
)
LOG_EVERY = 20  # steps averaged to one row of history.csv
CHECKPOINT_S = 600  # between checkpoints, at most
LARGEST_NORM = 5.0  # of the gradient, which is clipped to it
MOST_SKIPPED = 10  # steps left out for a loss or gradient that is not finite, before the run stops


@dataclass(frozen=True)
class Machine:
    """What a run is computed on; it changes the result by rounding at most, ``workers`` not at all.

    Attributes:
        accelerator: auto, cpu or cuda.
        devices: processes, a device each; each takes its share of every batch.
        workers: threads that make batches.
        tensorboard: show the history in TensorBoard too.
        scratch: folder on its own disk to read copies of the speech from.
    """

    accelerator: str = "auto"
    devices: int = 1
    workers: int = 2
    tensorboard: bool = False
    scratch: Path | None = None


class Trainer:
    """One run.

    Args:
        config: the resolved variant.
        out: run folder.
        machine: what it is computed on.

    Raises:
        InputError: data missing or of another rate, speakers shared between training and validation, a checkpoint of
            another config, a batch that the processes cannot share evenly.
    """

    def __init__(self, config: Resolved, out: Path, machine: Machine = Machine()) -> None:
        self.config, self.out, self.settings, self.workers = config, Path(out), config.training, machine.workers
        devices, group = machine.devices, self.settings.chunks_per_assignment
        if self.settings.batch % (devices * group):
            raise InputError(
                f"--num-devices: {devices} cannot share training.batch {self.settings.batch} in whole groups of "
                f"chunks_per_assignment {group}; expected a divisor of {self.settings.batch // group}"
            )
        if machine.accelerator != "cpu" and devices > max(1, torch.cuda.device_count()):
            raise InputError(
                f"--num-devices: {devices} of {torch.cuda.device_count()} GPUs; expected no more than there are"
            )
        self.speech, held_out = open_speech(config, machine.scratch)
        self.processes = Processes(machine.accelerator, devices)
        self.device = self.processes.device
        arithmetic(self.settings.precision)
        torch.manual_seed(config.seed)
        self.mixer = training_mixer(config, self.speech, machine.scratch)
        noise = open_noise(config, "cv", machine.scratch)
        validation = Mixer(held_out, config.sources, config.crop_samples, VALIDATION_SEED, noise=noise)
        mixtures = max(1, self.settings.validation_mixtures // self.settings.adjacent_chunks)
        self.validation = self._split(torch.from_numpy(validation.batch(0, mixtures)))
        model = init_model(config).to(self.device)
        if self.device.type == "cuda":  # as its convolutions want their weights
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = Objective(config, group, config.may_be_silent, bool(noise)).to(self.device)
        self.validation_loss = Matched(config, has_noise=bool(noise)).to(self.device)
        decay = self.settings.weight_decay  # the rate is set at every step
        optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=decay, fused=True)
        self.waiting: list[Tensor] = []  # what the last steps have measured, on the device still
        self.parts = {name: part for name, part in model.named_children() if any(True for _ in part.parameters())}
        state = load_state(self.out / "checkpoint.pt", config.content)
        self.progress = Progress(**state["progress"]) if state else Progress(commit=commit())
        self.board = Board(self.out, self.progress.step) if machine.tensorboard and is_first() else None
        if state is not None:
            model.load_state_dict(state["model"])
            optimiser.load_state_dict(state["optimiser"])
        self.processes.connect()  # from here on, all processes are at the same place
        self.trained, self.model, self.optimiser = model, self.processes.share(model), optimiser
        self.started = time.perf_counter() - self.progress.seconds

    def train(self, command: str = "") -> None:
        """Train from the last checkpoint to ``training.steps``; then write the model, the history and the costs.

        Raises:
            Interrupted: on SIGTERM, SIGUSR1 or Ctrl-C, after a checkpoint.
            InputError: loss or gradient were not finite too often.
        """
        progress, settings = self.progress, self.settings
        written = all((self.out / name).is_file() for name in ("history.csv", "model.safetensors", "system.json"))
        if progress.step == settings.steps and written:
            return
        disable = None if is_first() else True
        bar = tqdm(None, str(self.out), settings.steps, initial=progress.step, unit="step", disable=disable)
        self.saved = time.perf_counter()
        with bar, stop_asked() as asked:
            if not settings.steps:
                self._log(0.0, self.validate(), bar)
            for sources in self._batches():
                learning_rate = self._step(sources.to(self.device, non_blocking=True))
                bar.update()
                last = progress.step == settings.steps
                validates = last or progress.step % settings.validate_every == 0
                if validates or progress.step % LOG_EVERY == 0:
                    self._read()
                    self._log(learning_rate, self.validate() if validates else {}, bar)
                stop = self._agreed(bool(asked))
                if last or stop or self._due():
                    self.save()
                if stop and not last:
                    reached = f"stopped after step {progress.step} of {settings.steps}"
                    raise Interrupted(f"{self.out}: {reached}; repeat the command to resume")
        if is_first():
            self._finish(command)

    def _batches(self) -> Iterator[Tensor]:
        """This process' share of each batch that is left to train on; the time spent waiting for it is noted."""
        share = self.settings.batch // self.settings.adjacent_chunks // self.processes.count
        items = range(self.processes.rank * share, (self.processes.rank + 1) * share)
        pinned = self.device.type == "cuda"
        steps = range(self.progress.step, self.settings.steps)
        made = batches(self.mixer, steps, items, self.workers, pinned)
        while True:
            began = time.perf_counter()
            if (sources := next(made, None)) is None:
                return
            self.progress.waited_s += time.perf_counter() - began
            yield sources

    def _step(self, sources: Tensor) -> float:
        """One optimiser step on sources (B, S, L); returns its learning rate."""
        progress, settings, rank = self.progress, self.settings, self.processes.rank
        torch.manual_seed((self.config.seed << 31) + (progress.step << 8) + rank)  # of what the model may draw
        learning_rate = rate_at(progress.step, settings.learning_rate, settings.warmup, settings.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        sources = self.objective.references(self._split(sources), progress.step)
        self.optimiser.zero_grad()
        loss = sources.new_zeros(())
        for number, piece in enumerate(pieces := sources.chunk(settings.accumulate), start=1):
            is_last = number == len(pieces) or self.processes.count == 1
            with nullcontext() if is_last else self.model.no_sync():  # type: ignore[operator]
                estimates = self._separate(piece.sum(dim=1))
                part = self.objective(estimates, center_crop(piece, self.config.chunk), progress.step)
                part = part * (len(piece) / len(sources))
                part.backward()
            loss += part.detach()
        weights = (part.parameters() for part in self.parts.values())
        norms = [get_total_norm([weight.grad for weight in some if weight.grad is not None]) for some in weights]
        norm = clip_grad_norm_(self.trained.parameters(), LARGEST_NORM)
        measured = torch.stack([self.processes.average(loss), norm, *norms])
        is_skipped = 1 - measured[:2].isfinite().all().float()
        self.optimiser.found_inf = is_skipped  # type: ignore[attr-defined]  # AdamW then leaves the step out
        self.optimiser.step()
        self.waiting.append(measured)
        progress.step += 1
        return learning_rate

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16-mixed")

    def _separate(self, mixture: Tensor) -> Estimates:
        """Estimates of mixtures (B, T) in 32 bits, computed in the run's precision."""
        with self._autocast():
            estimates = self.model(mixture, self.settings.chunks_per_assignment)
        return tree_map_only(Tensor, lambda value: value.float() if value.is_floating_point() else value, estimates)

    def _split(self, sources: Tensor) -> Tensor:
        """Crops (B, S, L) as the chunks that the model reads, adjacent ones as neighbours."""
        return split_crops(sources, self.config.crop, self.config.hop)

    def _read(self) -> None:
        """Wait for the device, and take down what the steps since the last time have measured there."""
        values = torch.stack(self.waiting).tolist() if self.waiting else []
        self.waiting, self.progress.seconds = [], time.perf_counter() - self.started
        for step, row in enumerate(values, start=self.progress.step - len(values)):
            found = dict(zip(("loss", "norm", *self.parts), row, strict=True))
            if math.isfinite(found["loss"]) and math.isfinite(found["norm"]):
                by_part = {f"gradient_norm_{name}": found[name] for name in self.parts}
                self.progress.pending.append({"loss": found["loss"], **by_part})
            else:
                self._skipped(step, found["loss"], found["norm"])

    def _skipped(self, step: int, loss: float, norm: float) -> None:
        """Write down which batch a step was of that the optimiser left out."""
        progress, seed = self.progress, self.config.seed
        row = {"seed": seed, "step": step, "items": f"0-{self.settings.batch - 1}"}
        progress.skipped.append(row | {"loss": loss, "gradient_norm": norm})
        if is_first():
            progress.write(self.out)
        if len(progress.skipped) > MOST_SKIPPED:
            what = f"gradient of step {step}, seed {seed}, has the norm {norm}"
            if not math.isfinite(loss):
                what = f"loss of step {step}, seed {seed}, is {loss}"
            raise InputError(
                f"{self.out}: the {what}; expected a finite number: try a lower training.learning_rate "
                f"({len(progress.skipped)} steps were skipped: skipped.csv)"
            )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Means of ``VALIDATED`` on the validation mixtures."""
        model = self.trained
        model.eval()
        sums: Counter[str] = Counter()
        for sources in self.validation.split(self.settings.batch):
            with self._autocast():
                means = validate(model, self.validation_loss, sources.to(self.device), self.config)
            sums.update({key: float(value) * len(sources) for key, value in means.items()})
        model.train()
        return {key: value / len(self.validation) for key, value in sums.items()}

    def _log(self, learning_rate: float, means: dict[str, float], bar: tqdm) -> None:
        """Close a row of history, and show it."""
        progress, validation = self.progress, means.get("validation_si_sdri_db", math.nan)
        row = progress.log(learning_rate, self.settings.batch * self.config.chunk_s, means)
        if validation > progress.best_si_sdri_db:
            progress.best_si_sdri_db = validation
        best = f"{progress.best_si_sdri_db:+.2f} dB" if math.isfinite(progress.best_si_sdri_db) else "-"
        bar.set_postfix_str(f"loss={row['loss']:.4g}, best_si_sdri={best}")
        if self.board is not None:
            self.board.show(row)

    def _agreed(self, asked: bool) -> bool:
        """Whether any process was asked to stop: all stop after the same step."""
        if self.processes.count == 1:
            return asked
        return bool(self.processes.average(torch.tensor(float(asked), device=self.device)))

    def _due(self) -> bool:
        late = time.perf_counter() - self.saved >= CHECKPOINT_S
        return late or self.progress.step % self.settings.checkpoint_every == 0

    def save(self) -> None:
        """Write the checkpoint, and the history so far for who looks in on a long run."""
        self._read()
        if not is_first():
            return
        self.progress.peak_memory_bytes = max(self.progress.peak_memory_bytes, peak_memory(self.device))
        state = {
            "config": self.config.content,
            "progress": asdict(self.progress),
            "model": self.trained.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        save_state(self.out / "checkpoint.pt", state)
        self.progress.write(self.out)
        self.saved = time.perf_counter()

    def _finish(self, command: str) -> None:
        progress = self.progress
        progress.write(self.out)
        save_model(self.out / "model.safetensors", self.trained, self.config)
        measured = {
            "wall_s": round(progress.seconds, 3),
            "peak_memory_bytes": progress.peak_memory_bytes,
            "occupied_slots": progress.history[-1]["occupied_slots"],
            "commit": progress.commit,
            "command": command,
        }
        described = describe(self.config, self.trained, self.speech, self.device)
        write_json(self.out / "system.json", described | measured)


def train(config: Resolved, out: Path, machine: Machine = Machine(), command: str = "") -> None:
    """Train a run to its end: the stage ``train`` of its folder. It resumes from its checkpoint.

    Args:
        config: the resolved variant.
        out: run folder.
        machine: what it is computed on.
        command: what was called, for ``system.json``.

    Raises:
        InputError: as ``Stage.opened`` and ``Trainer``.
        Interrupted: as ``Trainer.train``.
    """
    if not is_first():
        with following():
            Trainer(config, out, machine).train()
        return
    settings, code = config.content | init_checksum(config), ("audioslots.training.trainer", *modules_of(config.model))
    with Stage(Path(out), "train", settings, code, MAKES, keeps=("checkpoint.pt",)).opened():
        for name in ("checkpoint", "model"):
            for leftover in Path(out).glob(f".{name}.*.tmp.*"):  # of a run killed while it wrote
                leftover.unlink()
        Trainer(config, out, machine).train(command)
