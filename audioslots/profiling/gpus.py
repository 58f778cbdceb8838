"""GPUs by name: the rates on their data sheets, and the share that training is assumed to sustain."""

from __future__ import annotations

from dataclasses import dataclass

EFFICIENCY = 0.3
"""Share of a data sheet's rate that training is assumed to sustain; docs/gpu.md says why. Nothing has measured it."""


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        title: its name.
        tflops: precision of a training -> dense matrix products on the data sheet, 10^12 operations/s; a
            multiply-accumulate is two.
    """

    title: str
    tflops: dict[str, float]

    def rate(self, precision: str, efficiency: float = EFFICIENCY) -> float:
        """Multiply-accumulates that training is assumed to sustain, 10^12/s."""
        return efficiency * self.tflops[precision] / 2


GPUS = {
    "a100": Gpu("A100", {"32-true": 19.5, "tf32": 156.0, "bf16-mixed": 312.0}),
    "h100": Gpu("H100", {"32-true": 66.9, "tf32": 494.7, "bf16-mixed": 989.4}),
    "h200": Gpu("H200", {"32-true": 66.9, "tf32": 494.7, "bf16-mixed": 989.4}),
    "rtx4090": Gpu("RTX 4090", {"32-true": 82.6, "tf32": 82.6, "bf16-mixed": 165.2}),
}
"""SXM forms where there are several; NVIDIA's data sheets, without sparsity."""
