"""GPUs by name: what their data sheets promise, and what share of it a training is taken to sustain."""

from __future__ import annotations

from dataclasses import dataclass

EFFICIENCY = 0.3
"""Share of a data sheet's rate that training is assumed to sustain; docs/gpu.md says why. Nothing has measured it."""


@dataclass(frozen=True)
class Card:
    """A GPU.

    Attributes:
        title: its name.
        memory_gib: of the card.
        tflops: precision of a training -> 10^12 operations a second of dense matrix products, of the data sheet; a
            multiply-accumulate is two.
    """

    title: str
    memory_gib: int
    tflops: dict[str, float]

    def rate(self, precision: str, efficiency: float = EFFICIENCY) -> float:
        """Multiply-accumulates a second, in 10^12, that it is taken to sustain."""
        return efficiency * self.tflops[precision] / 2


CARDS = {
    "a100": Card("A100", 80, {"32-true": 19.5, "tf32": 156.0, "bf16-mixed": 312.0}),
    "h100": Card("H100", 80, {"32-true": 66.9, "tf32": 494.7, "bf16-mixed": 989.4}),
    "h200": Card("H200", 141, {"32-true": 66.9, "tf32": 494.7, "bf16-mixed": 989.4}),
    "rtx4090": Card("RTX 4090", 24, {"32-true": 82.6, "tf32": 82.6, "bf16-mixed": 165.2}),
}
"""SXM forms where there are several; NVIDIA's data sheets, without sparsity."""
