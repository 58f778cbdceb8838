"""Training one variant with one seed: a plain loop, stopped and resumed at any step to the same result."""

from __future__ import annotations

import copy
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from audioslots.config.variant import Resolved
from audioslots.data.training.device_mixing import DeviceMixer
from audioslots.data.training.mixing import Mixer
from audioslots.models.audioslots.parts import modules
from audioslots.models.estimates import covered
from audioslots.models.weights import init_checksum, init_model, save_model
from audioslots.runtime.code import commit
from audioslots.runtime.errors import InputError, Interrupted
from audioslots.runtime.files import write_json
from audioslots.runtime.stage import Stage
from audioslots.training.batches import ahead, batches, sequenced
from audioslots.training.checkpoint import load_state, save_state
from audioslots.training.history import Board, Progress
from audioslots.training.objective import Matched, Objective
from audioslots.training.processes import following, is_first, stop_asked
from audioslots.training.schedule import rate_at
from audioslots.training.speech import open_noise, open_speech, training_mixer
from audioslots.training.system import arithmetic, describe, peak_memory
from audioslots.training.validation import sequences, validated

VALIDATION_SEED = 2**32  # beyond any run's seed: all runs are validated on the same mixtures
MAKES = (
    *("checkpoint.pt", "checkpoint.previous.pt", "model.safetensors", "best.safetensors", "last.safetensors"),
    *("history.csv", "skipped.csv", "system.json", "tensorboard"),
)
LOG_EVERY = 20  # steps averaged to one row of history.csv


class Trainer:
    """One run.

    The result depends on none of ``accelerator`` ... ``workers`` but by rounding, and on ``workers`` not at all.

    Args:
        config: the resolved variant.
        out: run folder.
        accelerator: Lightning Fabric's: auto, cpu, cuda.
        devices: processes, a device each; each takes its share of every batch.
        strategy: Lightning Fabric's: auto, ddp.
        workers: threads that make batches.
        board: show the history in TensorBoard too.
        mix_on_device: keep the speech in the device's memory and mix it there.

    Raises:
        InputError: data missing or of another rate, speakers shared between training and validation or test, a
            checkpoint of another config, a batch that the processes cannot share evenly.
    """

    def __init__(
        self,
        config: Resolved,
        out: Path,
        accelerator: str = "auto",
        devices: int = 1,
        strategy: str = "auto",
        workers: int = 2,
        board: bool = False,
        mix_on_device: bool = False,
    ) -> None:
        self.config, self.out, self.settings, self.workers = config, Path(out), config.training, workers
        if self.settings.batch % devices:
            raise InputError(
                f"--devices: {devices} cannot share training.batch {self.settings.batch}; expected a divisor of it"
            )
        joined = self.settings.chunks_per_assignment
        if self.settings.batch // devices % joined:
            raise InputError(
                f"--devices: {devices} would part the {joined} chunks of training.chunks_per_assignment; expected a "
                f"divisor of {self.settings.batch // joined}"
            )
        if accelerator != "cpu" and devices > max(1, torch.cuda.device_count()):
            raise InputError(
                f"--devices: {devices} of {torch.cuda.device_count()} GPUs; expected no more than there are"
            )
        self.speech, held_out = open_speech(config)
        self.fabric = Fabric(  # which starts processes here, whatever Slurm says of tasks
            accelerator=accelerator,
            strategy=DDPStrategy(broadcast_buffers=False) if strategy == "ddp" or devices > 1 else strategy,
            devices=devices,
            precision="bf16-mixed" if self.settings.precision == "bf16-mixed" else "32-true",
            plugins=[LightningEnvironment()],
        )
        arithmetic(self.settings.precision)
        self.fabric.seed_everything(config.seed, verbose=False)
        self.mixer = training_mixer(config, self.speech)
        self.device_mixer = DeviceMixer(self.mixer, self.fabric.device) if mix_on_device else None
        noise = open_noise(config, "cv")
        validation = Mixer(held_out, config.sources, config.heard, VALIDATION_SEED, noise=noise)
        mixtures = max(1, self.settings.validation_mixtures // self.settings.sequence)
        self.validation = self._sequenced(torch.from_numpy(validation.batch(0, mixtures)))
        model = init_model(config)
        if self.fabric.device.type == "cuda":  # as its convolutions want their weights
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = Objective(config, joined, config.silences, bool(noise)).to(self.fabric.device)
        self.validation_loss = Matched(config, noisy=bool(noise)).to(self.fabric.device)
        decay = self.settings.weight_decay  # the rate is set at every step
        optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=decay, fused=True)
        self.waiting: list[Tensor] = []  # what the last steps have measured, on the device still
        self.parts = {name: part for name, part in model.named_children() if any(True for _ in part.parameters())}
        if self.settings.compile:
            for part in self.parts.values():
                part.compile()
        state = load_state(self.out / "checkpoint.pt", config.content)
        self.progress = Progress(**state["progress"]) if state else Progress(commit=commit())
        self.board = Board(self.out, self.progress.step) if board and is_first() else None
        self.fabric.launch()  # from here on, all processes are at the same place
        self.model, self.optimiser = self.fabric.setup(model, optimiser)
        self.average: AveragedModel | None = None
        if self.settings.ema:
            self.average = AveragedModel(self.model.module, multi_avg_fn=get_ema_multi_avg_fn(self.settings.ema))
        self.best: dict[str, Tensor] | None = None
        if state is not None:
            self.model.module.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.best = state["best"]
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
        disable = None if self.fabric.is_global_zero else True
        bar = tqdm(None, str(self.out), settings.steps, initial=progress.step, unit="step", disable=disable)
        self.saved = time.perf_counter()
        with bar, stop_asked() as asked:
            if not settings.steps:
                self._log(0.0, self.validate(), bar)
            for sources in self._batches():
                learning_rate = self._step(self.fabric.to_device(sources))
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
        if self.fabric.is_global_zero:
            self._finish(command)

    def _batches(self) -> Iterator[Tensor]:
        """This process' share of each batch that is left to train on; the time spent waiting for it is noted."""
        share = self.settings.batch // self.settings.sequence // self.fabric.world_size
        items = range(self.fabric.global_rank * share, (self.fabric.global_rank + 1) * share)
        pinned = self.fabric.device.type == "cuda"
        steps = range(self.progress.step, self.settings.steps)
        if self.device_mixer is None:
            made = batches(self.mixer, steps, items, self.workers, pinned)
        else:
            mixed, drawn = self.device_mixer.mixed, self.device_mixer.drawn
            made = map(mixed, ahead(self.workers, lambda step: drawn(step, items), steps))
        while True:
            began = time.perf_counter()
            if (sources := next(made, None)) is None:
                return
            self.progress.waited_s += time.perf_counter() - began
            yield sources

    def _step(self, sources: Tensor) -> float:
        """One optimiser step on sources (B, S, L); returns its learning rate."""
        progress, settings, rank = self.progress, self.settings, self.fabric.global_rank
        torch.manual_seed((self.config.seed << 31) + (progress.step << 8) + rank)  # of what the model may draw
        learning_rate = rate_at(progress.step, settings.learning_rate, settings.warmup, settings.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        sources = self.objective.references(self._sequenced(sources), progress.step)
        self.optimiser.zero_grad()
        loss = sources.new_zeros(())
        for number, piece in enumerate(pieces := sources.chunk(settings.accumulate), start=1):
            with self.fabric.no_backward_sync(self.model, enabled=number < len(pieces)):
                estimates = self.model(piece.sum(dim=1), *sequences(self.config, self.settings.chunks_per_assignment))
                part = self.objective(estimates, covered(piece, self.config.chunk), progress.step)
                part = part * (len(piece) / len(sources))
                self.fabric.backward(part)
            loss += part.detach()
        weights = (part.parameters() for part in self.parts.values())
        norms = [get_total_norm([weight.grad for weight in some if weight.grad is not None]) for some in weights]
        norm = self.fabric.clip_gradients(self.model, self.optimiser, max_norm=settings.clip, error_if_nonfinite=False)
        mean = self.fabric.all_reduce(loss.clone(), reduce_op="mean")
        assert isinstance(norm, Tensor) and isinstance(mean, Tensor)
        measured = torch.stack([mean, norm, *norms])
        self.optimiser.optimizer.found_inf = 1 - measured[:2].isfinite().all().float()  # then it leaves the step out
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.model.module)
        self.waiting.append(measured)
        progress.step += 1
        return learning_rate

    def _sequenced(self, sources: Tensor) -> Tensor:
        """Crops (B, S, L) as the chunks that the model reads, those of a sequence side by side."""
        return sequenced(sources, self.config.crop, self.config.hop)

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
        if self.fabric.is_global_zero:
            progress.write(self.out)
        if len(progress.skipped) > self.settings.skips:
            what = f"gradient of step {step}, seed {seed}, has the norm {norm}"
            if not math.isfinite(loss):
                what = f"loss of step {step}, seed {seed}, is {loss}"
            raise InputError(
                f"{self.out}: the {what}; expected a finite number: try a lower training.learning_rate "
                f"({len(progress.skipped)} steps were left out: skipped.csv)"
            )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Means of ``VALIDATED`` on the validation mixtures."""
        model = self.kept
        model.eval()
        sums: Counter[str] = Counter()
        for sources in self.validation.split(self.settings.batch):
            with self.fabric.autocast():
                found = validated(model, self.validation_loss, self.fabric.to_device(sources), self.config)
            sums.update({key: float(value) * len(sources) for key, value in found.items()})
        model.train()
        return {key: value / len(self.validation) for key, value in sums.items()}

    @property
    def kept(self) -> nn.Module:
        """The model that is validated and kept: of the averaged weights, where they are averaged."""
        model = self.model.module if self.average is None else self.average.module
        assert isinstance(model, nn.Module)
        return model

    def _log(self, learning_rate: float, means: dict[str, float], bar: tqdm) -> None:
        """Close a row of history, show it, and keep the weights where they are the best so far."""
        progress, validation = self.progress, means.get("validation_si_sdri_db", math.nan)
        row = progress.log(learning_rate, self.settings.batch * self.config.chunk_s, means)
        if validation > progress.best_si_sdri_db:
            progress.best_si_sdri_db = validation
            self.best = {name: weight.cpu().clone() for name, weight in self.kept.state_dict().items()}
        shown = f"{progress.best_si_sdri_db:+.2f} dB" if math.isfinite(progress.best_si_sdri_db) else "-"
        bar.set_postfix_str(f"loss={row['loss']:.4g}, best_si_sdri={shown}")
        if self.board is not None:
            self.board.show(row)

    def _agreed(self, asked: bool) -> bool:
        """Whether any process was asked to stop: all stop after the same step."""
        if self.fabric.world_size == 1:
            return asked
        return bool(self.fabric.all_reduce(torch.tensor(float(asked), device=self.fabric.device), reduce_op="sum"))

    def _due(self) -> bool:
        late = time.perf_counter() - self.saved >= 60 * self.settings.checkpoint_minutes
        return late or self.progress.step % self.settings.checkpoint_every == 0

    def save(self) -> None:
        """Write the checkpoint, and the history so far for who looks in on a long run."""
        self._read()
        if not self.fabric.is_global_zero:
            return
        self.progress.peak_memory_bytes = max(self.progress.peak_memory_bytes, peak_memory(self.fabric.device))
        state = {
            "config": self.config.content,
            "progress": asdict(self.progress),
            "model": self.model.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "best": self.best,
        }
        save_state(self.out / "checkpoint.pt", state)
        self.progress.write(self.out)
        self.saved = time.perf_counter()

    def _finish(self, command: str) -> None:
        progress, last, best = self.progress, self.kept, copy.deepcopy(self.kept)
        progress.write(self.out)
        if self.best is not None:
            best.load_state_dict(self.best)
        model, other = (last, best) if self.settings.keep == "last" else (best, last)
        save_model(self.out / ("best.safetensors" if other is best else "last.safetensors"), other, self.config)
        save_model(self.out / "model.safetensors", model, self.config)
        measured = {
            "wall_s": round(progress.seconds, 3),
            "peak_memory_bytes": progress.peak_memory_bytes,
            "occupied_slots": progress.history[-1]["occupied_slots"],
            "commit": progress.commit,
            "command": command,
        }
        described = describe(self.config, best, self.speech, self.fabric.device)  # a copy, and so not compiled
        write_json(self.out / "system.json", described | measured)


def train(config: Resolved, out: Path, *machine: Any, command: str = "") -> None:
    """Train a run to its end: the stage ``train`` of its folder. It resumes from its checkpoint.

    ``machine`` is as of ``Trainer``. Raises as ``Stage.opened``, ``Trainer`` and ``Trainer.train`` do.
    """
    if not is_first():
        with following():
            Trainer(config, out, *machine).train()
        return
    asked, made_by = config.content | init_checksum(config), ("audioslots.training.trainer", *modules(config))
    with Stage(Path(out), "train", asked, made_by, MAKES, keeps=("checkpoint.pt",)).opened():
        for name in ("checkpoint", "model", "best", "last"):
            for leftover in Path(out).glob(f".{name}.*.tmp.*"):  # of a run killed while it wrote
                leftover.unlink()
        Trainer(config, out, *machine).train(command)
