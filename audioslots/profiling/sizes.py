"""Sizes: what a variant and each of its parts cost by construction, counted on tensors that have shapes but no values.

So a model that no machine at hand could train is counted as any other. Three things are counted, and the parts of each
sum up to the whole:

- *parameters*;
- *multiply-accumulates* of separating one second of audio: matrix products, convolutions and attention, no STFT;
- *peak training memory*: the most bytes that live at one moment of a training step, in 32-bit arithmetic: weights,
  gradients, both moments of AdamW, the batch, what forward keeps for backward, and what either holds in passing. A part
  is charged for its weights and for what is made while it runs, forward or backward. Left out are what the allocator
  rounds up or keeps unused, and the scratch memory inside kernels.

For a model with slots the table also says how many numbers a slot holds, and how many a source's spectrogram has.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
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
from audioslots.models.base import center_crop, slot_sizes
from audioslots.models.compute import multiply_accumulates
from audioslots.reporting import tables
from audioslots.reporting.tables import Column, Table, number, scaled
from audioslots.separation.separator import chunks_per_batch
from audioslots.separation.weights import build
from audioslots.training.objective import Matched
from audioslots.training.trainer import LARGEST_NORM

REST = "Spectrogram, output, loss"
SHOWN: dict[str, tuple[str, Callable[[float], str]]] = {
    "parameters": ("Parameters", scaled),
    "macs_per_second": ("MACs a second of audio", scaled),
    "peak_memory_bytes": ("Peak training memory (GiB)", lambda value: number(value / 2**30)),
}


def sizes(benchmark: Path, names: list[str]) -> Table:
    """The table of a benchmark's variants: the first by its parts, each as a whole.

    Args:
        benchmark: its YAML file; the speech it names need not be there.
        names: variants.

    Raises:
        InputError: the benchmark cannot be read, or has no such variant.
    """
    read = read_for_counting(benchmark)
    rows: list[pd.DataFrame] = []
    for config in (resolve(read, name, read.seeds[0]) for name in names):
        counted = count(config)
        whole = counted.sum()
        if not rows:
            rows.append(counted.join((counted / whole).add_suffix("_share")))
        title = f"{config.title}, {config.training.batch} chunks of {config.chunk_s:g} s"
        rows.append(pd.DataFrame(whole.to_dict() | held(config), index=[title]))
    caption = (
        f"Sizes at {read.rate // 1000} kHz, counted, not measured; in brackets the part's share of the first whole. "
        "MACs: multiply-accumulates of separation, without the STFT. Peak training memory: the most that lives at one "
        "moment of a step, in 32-bit arithmetic (weights, gradients, the optimiser's moments, what is kept for the "
        "backward pass and what either pass holds in passing); the allocator and the kernels take their own on top. "
        f"{tables.BOTTLENECK}"
    )
    columns = [Column("Part", "part", lambda row: row["part"], numeric=False)]
    columns += [Column(heading, key, _with_share(key, show)) for key, (heading, show) in SHOWN.items()]
    columns.append(tables.bottleneck())
    return Table("sizes", caption, pd.concat(rows).rename_axis("part").reset_index(), columns)


def _with_share(key: str, show: Callable[[float], str]) -> Callable[[Any], str]:
    share = f"{key}_share"
    return lambda row: show(row[key]) + ("" if pd.isna(row[share]) else f" ({number(100 * row[share], 1)} %)")


def count(config: Resolved) -> pd.DataFrame:
    """Parameters, multiply-accumulates a second of audio and peak training memory (bytes) of each part.

    Returns:
        One row a part, by its title, the last for what lies in none (all of Conv-TasNet); the columns of ``SHOWN``.
    """
    fixed = config.training.model_copy(update={"assignment": "fixed"})  # matching needs values, and next to no memory
    with _Shapes():
        model, loss = (
            build(config),
            Matched(config.model_copy(update={"training": fixed}), has_noise=bool(config.noise)),
        )
        titles = {
            path: f"{path.capitalize()}: {getattr(getattr(config.model, path, None), 'kind', config.model.kind)}"
            for path, child in model.named_children()
            if any(True for _ in child.parameters())
        }
        parameters: Counter[str] = Counter()
        for path, parameter in model.named_parameters():
            parameters[_holder(path, titles)] += parameter.numel()
        counts = [parameters, _multiply_accumulates(model, config, titles), _peak(model, loss, config, titles)]
    return pd.DataFrame(dict(zip(SHOWN, counts, strict=True)), index=[*titles.values(), REST]).fillna(0)


def held(config: Resolved) -> dict[str, float]:
    """What a slot holds: ``numbers_a_slot`` and ``numbers_a_source``, NaN of a model without slots."""
    with _Shapes():
        found = slot_sizes(build(config), config.crop)
    return {key: found.get(key, float("nan")) for key in ("numbers_a_slot", "numbers_a_source")}


def separation_memory(config: Resolved, device: str = "cuda") -> float:
    """Bytes: the most that lives at one moment while recordings are separated on a kind of device.

    Weights, and what the model makes of the chunks that go through it together; ``count`` says what is left out.
    """
    whole = config.model.any_length
    chunk = round(config.separation.longest_s * config.rate) if whole else config.chunk
    with _Shapes(), torch.no_grad():
        model, live = build(config), _Live()
        for tensor in (*model.parameters(), *model.buffers()):
            live.add(tensor, REST)
        with live:
            chunks = torch.zeros(chunks_per_batch(config, chunk, device), chunk + config.crop - config.chunk)
            model(chunks, len(chunks))
    return live.peak.total()


def _holder(path: str, titles: dict[str, str]) -> str:
    """Title of the innermost part that a parameter or buffer lies in."""
    return next((titles[part] for part in sorted(titles, key=len, reverse=True) if path.startswith(f"{part}.")), REST)


def _multiply_accumulates(model: nn.Module, config: Resolved, titles: dict[str, str]) -> dict[str, float]:
    by_path = multiply_accumulates(model, config.crop)
    counted = {REST: by_path[""]}
    for path, title in titles.items():  # outer parts come before inner ones
        counted[title] = by_path[path]
        counted[_holder(path, titles)] -= counted[title]
    return {title: operations / config.chunk_s for title, operations in counted.items()}


def _peak(model: nn.Module, loss: nn.Module, config: Resolved, titles: dict[str, str]) -> Counter[str]:
    """Bytes of each part at the moment of one of the trainer's steps when most live together."""
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()  # any step but the first finds moments and gradients of the one before
    live = _Live()
    for path, parameter in model.named_parameters():
        for tensor in (parameter, parameter.grad, *optimiser.state[parameter].values()):
            live.add(tensor, _holder(path, titles))
    for path, buffer in [*model.named_buffers(), *loss.named_buffers()]:
        live.add(buffer, _holder(path, titles))
    for path, title in titles.items():
        live.follow(model.get_submodule(path), title)
    with live:
        sources = torch.zeros(-(-config.training.batch // config.training.accumulate), config.signals, config.crop)
        value = loss(
            model(sources.sum(dim=1), config.training.chunks_per_assignment),
            center_crop(sources, config.chunk),
        )
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), LARGEST_NORM)
        optimiser.step()
    return live.peak


class _Shapes(FakeTensorMode):
    """Tensors of shapes without values."""

    def __init__(self) -> None:
        super().__init__()
        self.cache_enabled = False  # a remembered operator forgets bytes of its storage that no element is in


class _Live(TorchDispatchMode):
    """Bytes of the storages that are alive, by the part that was running when they were made, and the largest sum."""

    def __init__(self) -> None:
        super().__init__()
        self.running = [REST]  # and, within it, the parts that forward has entered
        self.seen: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.bytes: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()

    def follow(self, module: nn.Module, title: str) -> None:
        def enter(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._made(inputs[0])
            self.running.append(title)

        def leave(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._made(output)
            self.running.pop()

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)

    def _made(self, tensor: Tensor) -> None:
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
