"""Every kind of output learns one fixed batch by heart: what a decoder can say is heard in the waveforms."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from audioslots.baselines.oracles import open_baseline
from audioslots.config.variant import Variant
from audioslots.data.training.mixing import Mixer
from audioslots.data.training.packing import Speech, pack
from audioslots.losses import si_sdr
from audioslots.models import build
from audioslots.models.audioslots.outputs import OUTPUTS
from audioslots.training.matching import match
from audioslots.training.objective import Matched

CHUNK, WINDOW, HOP = 4000, 256, 128  # samples; half a second at 8 kHz
STEPS = 200
LEAST_DB = {"magnitude": 10.0, "sigmoid": 10.0, "softmax": 10.0, "complex": 15.0}


@pytest.fixture(scope="module")
def sources(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """Four chunks of two speakers, (4, 2, T), mixed as training does."""
    packed = tmp_path_factory.mktemp("packed")
    pack(made_corpus, "train-clean", packed, 8000)
    return torch.from_numpy(Mixer(Speech.open(packed), 2, CHUNK, seed=0).batch(0, 4))


def improvement(waveforms: Tensor, sources: Tensor) -> float:
    """Mean SI-SDRi of estimates (B, K, T), each source given the one that suits it best, dB."""
    ratios = si_sdr(waveforms[:, None], sources[:, :, None])
    best = ratios.gather(2, match(-ratios)[..., None]).squeeze(-1)
    return float((best - si_sdr(sources.sum(dim=1, keepdim=True), sources)).mean())


@pytest.fixture(scope="module")
def fitted(sources: Tensor) -> Callable[[str], float]:
    """SI-SDRi on the batch, dB, after ``STEPS`` steps on it, by kind of output."""

    @cache
    def fit(output: str) -> float:
        document = {
            "model": {
                **{"width": 64, "mlp": 128, "output": output, "spectrogram": {"window": WINDOW, "hop": HOP}},
                "encoder": {"kind": "frames", "layers": 1, "kernel": 5},
                "slots": {"layers": 1},
                "decoder": {"kind": "film", "layers": 1, "kernel": 5},
            },
            "training": {"loss": "si_sdr"},
        }
        variant = Variant.model_validate(document)
        torch.manual_seed(0)
        model, loss, mixture = build(variant.model, CHUNK, 8000), Matched(variant), sources.sum(dim=1)
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(STEPS):
            optimiser.zero_grad()
            loss(model(mixture), sources).backward()
            optimiser.step()
        with torch.no_grad():
            return improvement(model(mixture).waveforms, sources)

    return fit


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_output_overfits_one_batch(output: str, fitted: Callable[[str], float]) -> None:
    assert fitted(output) > LEAST_DB[output]


def test_the_complex_mask_alone_passes_well_beyond_the_mixtures_phase(
    sources: Tensor, fitted: Callable[[str], float]
) -> None:
    """A real mask learned through the inverse STFT may pass the oracle, which is best only point by point; not far."""
    oracle = open_baseline(f"oracle-psm-{WINDOW}-{HOP}", 8000)
    masked = [torch.from_numpy(oracle.by_stitching(part.sum(dim=0).numpy(), part.numpy())["none"]) for part in sources]
    ceiling = improvement(torch.stack(masked), sources)
    assert fitted("complex") > ceiling + 2.5
    assert all(fitted(output) < ceiling + 2.5 for output in OUTPUTS if output != "complex")
