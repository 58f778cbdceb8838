"""Multiply-accumulates of any network, counted operator by operator while it runs; tensors without values suffice.

Counted are products of matrices, convolutions, recurrent layers and attention, masked or not. A product of complex
numbers counts as four real ones; a complex convolution as three, because torch computes it as three real ones.
Elementwise arithmetic (biases among it), norms, softmax and Fourier transforms are free. The count does not depend on
the kernel: an LSTM of cuDNN counts as its matrix products do, and fused attention likewise (recomputed scores do not
count). Kernels that bypass torch's dispatcher (a Triton or C++ kernel without a registered operator) are not seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary

from audioslots.runtime.errors import InputError

aten = torch.ops.aten


def _matrix_product(output: Tensor, left: Tensor, right: Tensor, *_: Any, **__: Any) -> int:
    """(..., M, K) x (..., K, N)."""
    return left.numel() * right.shape[-1]


def _added_product(output: Tensor, added: Tensor, left: Tensor, right: Tensor, *_: Any, **__: Any) -> int:
    return _matrix_product(output, left, right)


def _vector_product(output: Tensor, left: Tensor, *_: Any, **__: Any) -> int:
    """(M, K) x (K,), or (K,) x (K,)."""
    return left.numel()


def _convolution(output: Tensor, signal: Tensor, weight: Tensor, *options: Any) -> int:
    """(B, C, T, ...) * (C', C / groups, taps, ...): every tap at every output; if transposed, at every input."""
    positions = signal.shape if options[4] else output.shape
    return weight.numel() * positions[0] * prod(positions[2:])


def _convolution_backward(output: Any, gradient: Tensor, signal: Tensor, weight: Tensor, *options: Any) -> int:
    """As much as forward for each of the gradients of signal and weight that is asked for."""
    return sum(options[-1][:2]) * _convolution(gradient, signal, weight, *options)


def _recurrent_layers(output: Any, signal: Tensor, *weights: Any) -> int:
    """(..., C): every weight matrix (biases have one dimension) at every step, of all layers and directions."""
    steps = signal.numel() // signal.shape[-1]
    return steps * sum(w.numel() for w in tree_leaves(weights[:3]) if isinstance(w, Tensor) and w.ndim == 2)


def _attention(output: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """(..., L, D), (..., S, D), (..., S, V): scores and weighted values, causal or not."""
    return query.numel() // query.shape[-1] * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _multi_head_attention(
    output: Any, query: Tensor, key: Tensor, value: Tensor, width: int, heads: int, *options: Any, **__: Any
) -> int:
    """(B, L, W), (B, S, W): four projections around the attention of all heads."""
    scores = 2 * query.numel() * key.shape[1]
    return 2 * width * (query.numel() + key.numel()) + scores


def _transformer_layer(output: Tensor, signal: Tensor, width: int, heads: int, *weights: Any, **__: Any) -> int:
    """(B, L, W): self-attention and a feed-forward network."""
    matrices = sum(w.numel() for w in weights[:16] if isinstance(w, Tensor) and w.ndim == 2)
    return signal.numel() // width * matrices + 2 * signal.numel() * signal.shape[1]


def _backward(forward: Callable[..., int], skip: int = 0) -> Callable[..., int]:
    """Twice the forward pass; ``skip`` counts the arguments before those of the forward pass."""
    return lambda output, *args, **options: 2 * forward(output, *args[skip:], **options)


def _by_torch(formula: Callable[..., int]) -> Callable[..., int]:
    """A formula of torch's own counter, which counts multiplications and additions."""
    return lambda output, *args, **options: formula(*args, **options, out_val=output) // 2


FORMULAS: dict[Any, Callable[..., int]] = {
    **{operator: _by_torch(formula) for operator, formula in flop_registry.items()},
    **dict.fromkeys([aten.mm, aten.bmm], _matrix_product),
    **dict.fromkeys([aten.addmm, aten.baddbmm, aten.addbmm, aten._addmm_activation], _added_product),
    **dict.fromkeys([aten.mv, aten.dot, aten.vdot], _vector_product),
    aten.addmv: lambda output, added, left, *_, **__: left.numel(),
    **dict.fromkeys([aten.convolution, aten._convolution, aten.convolution_overrideable], _convolution),
    aten.convolution_backward: _convolution_backward,
    **dict.fromkeys([aten.mkldnn_rnn_layer, aten._cudnn_rnn], _recurrent_layers),
    **dict.fromkeys([aten.mkldnn_rnn_layer_backward, aten._cudnn_rnn_backward], _backward(_recurrent_layers)),
    aten._native_multi_head_attention: _multi_head_attention,
    aten._transformer_encoder_layer_fwd: _transformer_layer,
}
"""Operator -> its multiply-accumulates, a function of its output and its arguments; an adapter may add its own."""
for _kind in ("flash_attention", "flash_attention_for_cpu", "efficient_attention", "cudnn_attention"):
    FORMULAS[getattr(aten, f"_scaled_dot_product_{_kind}")] = _attention
    FORMULAS[getattr(aten, f"_scaled_dot_product_{_kind}_backward")] = _backward(_attention, skip=1)

FREE = frozenset(
    # copies and rearrangements
    "to_copy copy unsafe_view unsafe_split unsafe_split_with_sizes cat stack repeat flip roll rot90 constant_pad_nd "
    "reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d tril triu diag_embed pixel_shuffle im2col "
    "col2im zeros_like ones_like empty_like full_like rand_like randn_like new_empty new_empty_strided new_zeros "
    "new_ones new_full select slice diagonal unfold zero fill upsample_nearest1d upsample_nearest2d upsample_linear1d "
    "upsample_bilinear2d upsample_bicubic2d local_scalar_dense is_same_size "
    # selections
    "embedding embedding_dense embedding_renorm embedding_bag embedding_bag_forward_only index index_select gather "
    "index_put index_put_impl index_add index_copy scatter scatter_add masked_select take sort topk "
    # elementwise, where torch has no tag for it
    "abs masked_fill leaky_relu elu glu hardtanh hardsigmoid hardswish softplus prelu_kernel gelu silu mish "
    "log_sigmoid_forward log_sigmoid complex polar bernoulli native_dropout softmax log_softmax safe_softmax "
    "softmax_backward_data log_softmax_backward_data cumsum cumprod "
    # norms
    "native_layer_norm native_group_norm native_batch_norm native_batch_norm_legit batch_norm "
    "native_batch_norm_legit_no_training cudnn_batch_norm fused_rms_norm weight_norm_interface".split()
)
"""Names of further operators without multiply-accumulates, forward, backward or in place."""


def _is_free(operator: OpOverload) -> bool:
    tags = {torch.Tag.pointwise, torch.Tag.reduction}
    name = operator._schema.name.partition("::")[2].strip("_").removesuffix("_backward")
    has_name = operator.namespace == "aten" and name in FREE
    return has_name or operator.namespace == "prim" or operator.is_view or not tags.isdisjoint(operator.tags)


class _Operators(TorchDispatchMode):
    """Counts what runs inside it; ``running`` are the paths of the modules that forward is in, outermost first."""

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.running: list[str] = []
        self.weights: WeakIdKeyDictionary = WeakIdKeyDictionary()  # storages of parameters and what derives from them
        for parameter in model.parameters():
            self.weights[parameter.untyped_storage()] = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        is_operator = isinstance(func, OpOverload)  # else of higher order, which runs other operators unseen
        formula = FORMULAS.get(func._overloadpacket if is_operator else func)
        if not formula and is_operator and func.namespace != "prim":
            with self:  # in inference mode, composite operators come here whole
                output = func.decompose(*args, **kwargs)
            if output is not NotImplemented:
                return output
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf.ndim]
        derived = [tensor.untyped_storage() in self.weights for tensor in inputs]
        if not formula and not (is_operator and _is_free(func)):
            has_weight = any(is_weight and tensor.ndim > 1 for tensor, is_weight in zip(inputs, derived, strict=True))
            if has_weight or not is_operator:
                raise InputError(
                    f"model part {''.join(self.running[-1:])!r}: operator {func} takes a weight and has no formula for "
                    "its cost; add one to audioslots.models.compute.FORMULAS"
                )
        output = func(*args, **kwargs)
        outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if formula:
            count = formula(output, *args, **kwargs) * (4 if any(tensor.is_complex() for tensor in outputs) else 1)
            self.counts.update(dict.fromkeys(["", *self.running], count))
        elif derived and all(derived):
            for tensor in outputs:
                self.weights[tensor.untyped_storage()] = True
        return output


@contextmanager
def count_multiply_accumulates(model: nn.Module) -> Iterator[Counter[str]]:
    """Count what runs inside: the multiply-accumulates of each module by its path, its submodules included; "" is all.

    What runs backward counts too, but only to "".

    Raises:
        InputError: an operator takes a weight of ``model`` (a parameter of two or more dimensions, or what is derived
            from parameters only), and has no formula.
    """
    operators, paths = _Operators(model), {module: path for path, module in model.named_modules()}

    def enter(module: nn.Module, _: Any) -> None:
        operators.running.append(paths.get(module, ""))

    def leave(*_: Any) -> None:
        operators.running.pop()

    hooks = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        with operators:
            yield operators.counts
    finally:
        for hook in hooks:
            hook.remove()


def multiply_accumulates(model: nn.Module, samples: int) -> Counter[str]:
    """Multiply-accumulates of one forward pass over one mixture, in evaluation mode.

    Args:
        model: takes mixtures (B, T).
        samples: T.

    Returns:
        As of ``count_multiply_accumulates``, which says what raises.
    """
    with _in_mode(model, training=False), torch.no_grad(), count_multiply_accumulates(model) as counts:
        model(torch.zeros(1, samples, device=next(model.parameters()).device))
    return counts


def training_multiply_accumulates(model: nn.Module, samples: int) -> int:
    """Multiply-accumulates of a training step for each mixture of its batch: forward and backward, without the loss.

    About three times the forward pass, less what needs no gradient. Arguments and errors are those of
    ``multiply_accumulates``.
    """
    with _in_mode(model, training=True), torch.enable_grad(), count_multiply_accumulates(model) as counts:
        output = model(torch.zeros(1, samples, device=next(model.parameters()).device))
        outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.requires_grad]
        torch.autograd.backward(outputs, [torch.ones_like(tensor) for tensor in outputs])
    return counts[""]


@contextmanager
def _in_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Train or evaluate a model; afterwards modes, gradients, buffers and random generators are as before."""
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    modes = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    model.train(training).zero_grad()
    try:
        with torch.random.fork_rng(list(devices)):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, gradient in gradients:
            parameter.grad = gradient
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
