"""The trainer's steps on a GPU that is not there: tensors that have a device and a shape, and no values.

What a GPU would refuse is refused here too: tensors of two devices in one operation, types that do not fit. Where the
host would wait for the device is counted. Not seen: the backward pass, which has no step of its own to take without a
driver; each parameter is given a gradient of its shape instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import resolved
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from audioslots.config.variant import Resolved
from audioslots.losses import LOSSES
from audioslots.models.audioslots.outputs import OUTPUTS
from audioslots.models.audioslots.recurrence import RECURRENCES
from audioslots.schema import KINDS
from audioslots.separation.weights import init_model
from audioslots.training import trainer
from audioslots.training.matching import match
from audioslots.training.processes import Processes
from audioslots.training.trainer import Machine, Trainer

CUDA = torch.device("cuda")
aten = torch.ops.aten


class Gpu(FakeTensorMode):
    """A device without values; ``waits`` are the operations for which the host waits for it."""

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True, allow_fallback_kernels=False)  # batches are real, on the host
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        on_device = any(isinstance(one, Tensor) and one.device.type == "cuda" for one in args)
        if func in (aten._local_scalar_dense.default, aten.equal.default) and on_device:
            self.waits.append(str(func))
            return 0
        if func is aten._thnn_fused_gru_cell.default:  # its shapes are not known without a driver
            return torch.empty_like(args[2]), args[2].new_empty(len(args[2]), 5 * args[2].shape[-1])
        made = super().__torch_dispatch__(func, types, args, kwargs)
        to_host = on_device and isinstance(made, Tensor) and made.device.type == "cpu"
        if to_host and func.namespace == "aten" and not (kwargs or {}).get("non_blocking"):
            self.waits.append(str(func))
        return made


def moved(module: nn.Module, device: Any = None, memory_format: torch.memory_format | None = None) -> nn.Module:
    """``Module.to``, which cannot exchange the values of parameters that have none."""
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is not None and (device is not None and tensor.device.type != torch.device(device).type):
                    raise AssertionError(f"{name} is on {tensor.device}; expected {device}")
                if tensor is not None and memory_format is not None and tensor.dim() == 4:
                    held[name] = nn.Parameter(tensor.detach().contiguous(memory_format=memory_format))
    return module


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    """What a ``Trainer`` made inside takes for a GPU."""
    mode = Gpu()

    def processes(accelerator: str, count: int) -> Processes:
        made = Processes("cpu", count)
        made.device = CUDA
        return made

    def on_device(config: Resolved) -> nn.Module:
        with CUDA:
            return init_model(config)

    def on_device_too(kind: type[nn.Module]) -> Callable[..., nn.Module]:
        def made(*given: Any, **named: Any) -> nn.Module:
            with CUDA:
                return kind(*given, **named)

        return made

    def tolist(tensor: FakeTensor) -> Any:
        mode.waits.append("tolist")
        return np.zeros(tensor.shape).tolist()

    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    monkeypatch.setattr(trainer, "Processes", processes)
    monkeypatch.setattr(trainer, "init_model", on_device)
    for kind in (trainer.Matched, trainer.Objective):
        monkeypatch.setattr(trainer, kind.__name__, on_device_too(kind))
    monkeypatch.setattr(nn.Module, "to", moved)

    def copied(tensor: FakeTensor, memo: dict[int, Any]) -> Tensor:
        """A copy of a tensor without values; PyTorch's own takes the whole mode along."""
        return memo.setdefault(id(tensor), tensor.detach().clone())

    monkeypatch.setattr(FakeTensor, "__deepcopy__", copied, raising=False)
    monkeypatch.setattr(FakeTensor, "tolist", tolist)
    monkeypatch.setattr(FakeTensor, "numpy", lambda tensor: np.zeros(tensor.shape), raising=False)
    with mode:
        yield mode


def run(config: Resolved, out: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """A trainer whose backward pass gives every parameter a gradient of its shape."""
    made = Trainer(config, out, Machine("cuda"))

    def backward(loss: Tensor) -> None:
        assert loss.device.type == "cuda" and loss.dtype == torch.float32 and loss.requires_grad
        for parameter in made.model.parameters():
            parameter.grad = torch.empty_like(parameter)

    monkeypatch.setattr(Tensor, "backward", backward)
    return made


def stepped(trained: Trainer, steps: int = 2) -> None:
    """Take some steps, on batches that come from the host."""
    for _ in range(steps):
        crops, config = trained.settings.batch // trained.settings.adjacent_chunks, trained.config
        sources = torch.zeros(crops, config.speakers, config.crop_samples)
        trained._step(sources.to(trained.device))


def cases() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name, training and model of every part, loss and way of training."""
    small = {"broadcast": {"width": 16}, "broadcast_cnn": {"width": 16, "layers": 3}, "resnet": {"blocks": [1, 1]}}
    for decoder in KINDS["decoder"].configs:
        yield decoder, {}, {"decoder": {"kind": decoder, **small.get(decoder, {})}}
    for output in OUTPUTS:
        yield output, {}, {"output": output}
    for encoder, slots in product(KINDS["encoder"].configs, KINDS["slots"].configs):
        yield (
            f"{encoder}-{slots}",
            {},
            {"encoder": {"kind": encoder, **small.get(encoder, {})}, "slots": {"kind": slots}},
        )
    for loss in LOSSES:
        yield loss, {"loss": loss}, {}
    yield "more slots", {"loss": "snr"}, {"slots": {"count": 6}}
    yield "conv-tasnet", {"loss": "snr"}, {"kind": "conv_tasnet"}
    yield "fixed order", {"assignment": "fixed"}, {}
    turns = {"loss": "squared", "ratio": 0.1, "single_speaker_fraction": 0.5, "chunks_per_assignment": 2}
    yield "ratio, single speakers", turns, {}
    yield "context, shared assignment", {"chunks_per_assignment": 2}, {"context_s": 0.096}
    for recurrence in RECURRENCES:
        adjacent = {"chunks_per_assignment": 4, "adjacent": True, "batch": 8}
        yield f"recurrence, {recurrence}", adjacent, {"recurrence": recurrence}
    for share in (0.0, 1.0):
        mixit = {"loss": "snr", "assignment": "mixit", "supervised": share, "chunks_per_assignment": 2}
        yield f"mixit, {share:.0%} supervised", mixit, {"slots": {"count": 4}}
    yield "refined", {}, {"refinement_iterations": 3, "context_s": 0.096}
    yield "accumulated", {"accumulate": 2}, {}
    yield "curriculum", {"curriculum": 0.9}, {}
    yield "32 bits", {"precision": "32-true"}, {}


CASES = {name: (training, model) for name, training, model in cases()}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_no_step_waits_for_the_device(
    name: str, packed: Path, gpu: Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, model = CASES[name]
    trained = run(resolved(packed, {"precision": "bf16-mixed", **training}, model), tmp_path, monkeypatch)
    stepped(trained)
    assert gpu.waits == []
    trained._read()  # once in 20 steps, and before a checkpoint
    assert gpu.waits == ["tolist"]
    assert trained.progress.step == len(trained.progress.pending) == 2


def test_what_waits_and_what_is_on_the_wrong_device_is_found(gpu: Gpu) -> None:
    on_device = torch.zeros(4, device="cuda")
    with pytest.raises(RuntimeError, match="different devices|same device|device"):
        on_device + torch.zeros(4)
    for wait in (float, bool, lambda one: one.cpu()):
        gpu.waits.clear()
        wait(on_device.sum())
        assert len(gpu.waits) == 1


def test_convolutions_have_their_weights_laid_out_as_a_gpu_wants_them(
    packed: Path, gpu: Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = run(resolved(packed, model={"encoder": {"kind": "resnet", "blocks": [1, 1]}}), tmp_path, monkeypatch)
    weights = [weight for weight in trained.model.parameters() if weight.dim() == 4 and weight.shape[1] > 1]
    assert weights and all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_the_assignment_of_three_sources_to_more_slots_waits_for_the_host_once(gpu: Gpu) -> None:
    matched = match(torch.zeros(2, 3, 4, device="cuda"))  # SciPy's
    assert matched.shape == (2, 3) and matched.device.type == "cuda"
    assert len(gpu.waits) == 1
