"""The pre-norm Transformer layer that encoder, slots and decoder share."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn


@model_validator(mode="after")
def check_kernel(config: Any) -> Any:
    """Validator of sections with a ``kernel``: it is odd, or 0."""
    if config.kernel and config.kernel % 2 == 0:
        raise ValueError(f"kernel {config.kernel} is even; expected an odd number, or 0")
    return config


class Attention(nn.Module):
    """Multi-head attention; scores are scaled by 1 / sqrt(width of one head)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Linear(width, width)
        self.keys_values = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Queries (B, Q, W) attend to context (B, C, W) -> (B, Q, W)."""
        q = self.queries(queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, Q, W / H)
        k, v = self.keys_values(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.out(attended.transpose(1, 2).flatten(-2))


class Layer(nn.Module):
    """Self-attention, then optionally cross-attention or a depth-wise convolution over tokens, then an MLP.

    Args:
        width: features of a token, W.
        heads: attention heads.
        mlp: hidden units of the MLP.
        cross: attend to a context as well.
        kernel: tokens seen by the depth-wise convolution, odd; 0 for none. It needs tokens in order of time.
    """

    def __init__(self, width: int, heads: int, mlp: int, *, cross: bool = False, kernel: int = 0) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width) if cross else None
        self.cross = Attention(width, heads) if cross else None
        self.convolution_norm = nn.LayerNorm(width) if kernel else None
        self.convolution = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width) if kernel else None
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, mlp), nn.GELU(), nn.Linear(mlp, width))

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        """Tokens (B, N, W), context (B, C, W) or None -> tokens (B, N, W)."""
        normed = self.attention_norm(tokens)
        tokens = tokens + self.attention(normed, normed)
        if self.cross is not None and self.cross_norm is not None and context is not None:
            tokens = tokens + self.cross(self.cross_norm(tokens), context)
        if self.convolution is not None and self.convolution_norm is not None:
            tokens = tokens + self.convolution(self.convolution_norm(tokens).transpose(1, 2)).transpose(1, 2)
        return tokens + self.mlp(self.mlp_norm(tokens))

    @property
    def added(self) -> list[nn.Module]:
        """The layers whose outputs are added to the tokens, but for the convolution."""
        attentions = [self.attention, *([] if self.cross is None else [self.cross])]
        return [*(attention.out for attention in attentions), self.mlp[-1]]


def sinusoids(positions: int, width: int) -> Tensor:
    """Sine and cosine features of positions 0 .. positions - 1: (positions, width), in -1..1 (Vaswani et al. 2017)."""
    rates = torch.exp(torch.arange(0, width, 2) * (-torch.log(torch.tensor(10_000.0)) / width))
    angles = torch.arange(positions)[:, None] * rates[None]
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)[:, :width]
