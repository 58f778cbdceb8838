"""What a variant and each of its parts take by construction, counted on tensors that have shapes but no values.

So a model that no machine at hand can train is counted as any other. Three things are counted; the parts sum up to the
whole:

- *parameters*;
- *multiply-accumulates* of separating one second of audio, by ``models.compute``;
- *peak training memory*: the most bytes that are alive at one moment of a training step, in 32-bit arithmetic:
  weights, gradients, both moments of AdamW, the batch, activations kept for the backward pass, temporaries. A part is
  charged for its weights and for what is made while it runs, forward or backward. Left out are what the allocator
  rounds up or keeps unused, and the workspaces of kernels (among them what a fused LSTM keeps for the backward pass).
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from audioslots.config.benchmark import read_for_counting, resolve
from audioslots.config.variant import Resolved
from audioslots.models.base import SeparationModel, center_crop, slot_sizes
from audioslots.models.compute import count_multiply_accumulates, multiply_accumulates
from audioslots.reporting.formatting import format_number, format_si
from audioslots.reporting.table import Column, Table
from audioslots.reporting.tables import SLOT_SIZE, slot_size_column
from audioslots.separation.separator import chunks_per_batch
from audioslots.separation.weights import build
from audioslots.training.objective import Matched
from audioslots.training.trainer import LARGEST_NORM

REST = "Spectrogram, output, loss"
SHOWN: dict[str, tuple[str, Callable[[float], str]]] = {
    "parameters": ("Parameters", format_si),
    "macs_per_second": ("MACs per second of audio", format_si),
    "peak_memory_bytes": ("Peak training memory (GiB)", lambda value: format_number(value / 2**30)),
}


@dataclass(frozen=True)
class ModelProfile:
    """What a model takes.

    Attributes:
        parts: one row per part, by its title, the last for what lies in none; the columns of ``SHOWN``.
        training_macs_per_second: multiply-accumulates of training steps, per second of the audio in their batches.
        slot_sizes: as of ``models.base``; {} of a model without slots.
    """

    parts: pd.DataFrame
    training_macs_per_second: float
    slot_sizes: dict[str, int]


def profile_variants(benchmark: Path, names: list[str]) -> Table:
    """The table of a benchmark's variants: the first by its parts, each as a whole.

    Args:
        benchmark: its YAML file; the speech it names need not be there.
        names: variants.

    Raises:
        InputError: the benchmark cannot be read, has no such variant, or its model cannot be counted.
    """
    read = read_for_counting(benchmark)
    rows: list[pd.DataFrame] = []
    for config in [resolve(read, name, read.seeds[0]) for name in names]:
        profile = profile_model(config)
        whole = profile.parts.sum()
        if not rows:
            rows.append(profile.parts.join((profile.parts / whole).add_suffix("_share")))
        title = f"{config.title}, {config.training.batch} chunks of {config.chunk_s:g} s"
        unknown = dict.fromkeys(("slot_size", "spectrogram_size"), float("nan"))
        rows.append(pd.DataFrame(whole.to_dict() | unknown | profile.slot_sizes, index=[title]))
    caption = (
        f"Sizes at {read.rate // 1000} kHz, counted, not measured; in parentheses the part's share of the first model. "
        "MACs: multiply-accumulates of separation, without the STFT. Peak training memory: the most that is alive at "
        "one moment of a step, in 32-bit arithmetic (weights, gradients, the optimiser's moments, activations and "
        f"temporaries), without what the allocator and the kernels add. {SLOT_SIZE}"
    )
    columns = [Column("Part", "part", str, numeric=False)]
    columns += [Column(heading, key, _with_share(key, show), of_row=True) for key, (heading, show) in SHOWN.items()]
    columns.append(slot_size_column())
    return Table("profile", caption, pd.concat(rows).rename_axis("part").reset_index(), columns)


def _with_share(key: str, show: Callable[[float], str]) -> Callable[[Any], str]:
    share = f"{key}_share"
    return lambda row: show(row[key]) + ("" if pd.isna(row[share]) else f" ({format_number(100 * row[share], 1)} %)")


def profile_model(config: Resolved) -> ModelProfile:
    """Count what the model of a variant takes; raises as ``separation.weights.build`` and ``models.compute``."""
    with _Shapes():
        model = build(config)
        titles = {
            path: f"{path.capitalize()}: {getattr(getattr(config.model, path, None), 'kind', config.model.kind)}"
            for path, child in model.named_children()
            if any(True for _ in child.parameters())
        }
        parameters: Counter[str] = Counter()
        for path, parameter in model.named_parameters():
            parameters[_part_of(path, titles)] += parameter.numel()
        by_path = multiply_accumulates(model, config.crop)
        macs = {title: by_path[path] / config.chunk_s for path, title in titles.items()}
        macs[REST] = by_path[""] / config.chunk_s - sum(macs.values())
        sizes = slot_sizes(model, config.crop)
        peak, training_macs = _count_training_step(model, config, titles)
    parts = dict(zip(SHOWN, (parameters, macs, peak), strict=True))
    return ModelProfile(
        pd.DataFrame(parts, index=[*titles.values(), REST]).fillna(0), training_macs / config.chunk_s, sizes
    )


def separation_memory(config: Resolved, device: str = "cuda") -> float:
    """Bytes: the most that is alive at one moment while a kind of device separates recordings, as peak memory above."""
    chunk = round(config.separation.longest_s * config.rate) if config.model.any_length else config.chunk
    with _Shapes(), torch.no_grad():
        model, live = build(config), _Live()
        for tensor in (*model.parameters(), *model.buffers()):
            live.add(tensor, REST)
        with live:
            chunks = torch.zeros(chunks_per_batch(config, chunk, device), chunk + config.crop - config.chunk)
            model(chunks, len(chunks))
    return live.peak.total()


def _part_of(path: str, titles: dict[str, str]) -> str:
    """Title of the part that a parameter or buffer lies in."""
    return titles.get(path.partition(".")[0], REST)


def _count_training_step(
    model: SeparationModel, config: Resolved, titles: dict[str, str]
) -> tuple[Counter[str], float]:
    """Bytes of each part at the peak of one of the trainer's steps, and multiply-accumulates per chunk of its batch."""
    fixed = config.training.model_copy(update={"assignment": "fixed"})  # matching needs values, and next to no memory
    loss = Matched(config.model_copy(update={"training": fixed}), has_noise=bool(config.noise))
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()  # any step but the first finds moments and gradients of the one before
    live = _Live()
    for path, parameter in model.named_parameters():
        for tensor in (parameter, parameter.grad, *optimiser.state[parameter].values()):
            live.add(tensor, _part_of(path, titles))
    for path, buffer in [*model.named_buffers(), *loss.named_buffers()]:
        live.add(buffer, _part_of(path, titles))
    for path, title in titles.items():
        live.follow(model.get_submodule(path), title)
    with live:
        chunks = -(-config.training.batch // config.training.accumulate)
        sources = torch.zeros(chunks, config.signals, config.crop)
        with count_multiply_accumulates(model) as counts:
            value = loss(
                model(sources.sum(dim=1), config.training.chunks_per_assignment), center_crop(sources, config.chunk)
            )
            optimiser.zero_grad()
            value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), LARGEST_NORM)
        optimiser.step()
    return live.peak, counts[""] / chunks


class _Shapes(FakeTensorMode):
    """Tensors of shapes without values."""

    def __init__(self) -> None:
        super().__init__()
        self.cache_enabled = False  # a remembered operator forgets bytes of its storage that no element is in

    def __deepcopy__(self, memo: Any) -> _Shapes:
        return self  # a copied layer has its tensors in the same mode


class _Live(TorchDispatchMode):
    """Bytes of the storages that are alive, by the part that was running when they were made, and the largest sum."""

    def __init__(self) -> None:
        super().__init__()
        self.running = [REST]  # and, within it, the parts that forward has entered
        self.seen: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.bytes: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()

    def follow(self, module: nn.Module, title: str) -> None:
        """Charge to ``title`` what is made while the module runs."""

        def enter(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._charge_gradient(inputs[0])
            self.running.append(title)

        def leave(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._charge_gradient(output)
            self.running.pop()

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)

    def _charge_gradient(self, tensor: Tensor) -> None:
        """Once backward has this tensor's gradient, it is in the part that made it: the first that brings it here."""
        maker = self.running[-1]
        if tensor.requires_grad and not tensor._backward_hooks:
            tensor.register_hook(lambda _: self.running.__setitem__(-1, maker))

    def add(self, tensor: Tensor, title: str) -> None:
        """Count a tensor's storage for as long as it lives, unless it is counted already."""
        storage = tensor.untyped_storage()
        if storage not in self.seen:
            self.seen[storage] = True
            self.bytes[title] += storage.nbytes()
            weakref.finalize(storage, self.bytes.subtract, {title: storage.nbytes()})

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self.add(tensor, self.running[-1])
        if self.bytes.total() > self.peak.total():
            self.peak = self.bytes.copy()
        return made
