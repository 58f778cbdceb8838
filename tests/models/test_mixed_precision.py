"""Mixed precision: every output, slot module, decoder and loss, forward and backward, in bfloat16."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from made_models import built, mixtures, resolved

from audioslots.config.architecture import kinds
from audioslots.losses import LOSSES
from audioslots.models.audioslots.outputs import OUTPUTS
from audioslots.training.objective import Matched

PARTS: list[dict[str, Any]] = [
    {"slots": module, "decoder": decoder, "output": output}
    for module, decoder, output in product(kinds("slots"), kinds("decoders"), OUTPUTS)
]


@pytest.mark.parametrize("chosen", PARTS, ids=lambda chosen: "-".join(chosen.values()))
def test_every_part_and_loss_trains_in_16_bits_near_what_it_does_in_32(chosen: dict[str, Any]) -> None:
    model, sources = built(count=2, **chosen), torch.stack([mixtures(2, 0), mixtures(2, 1)], dim=1)
    variant = resolved(count=2)
    for loss in LOSSES:
        training = variant.training.model_copy(update={"loss": loss})
        cost = Matched(variant.model_copy(update={"training": training}))
        values = []
        for half in (False, True):
            model.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                estimates = model(sources.sum(dim=1))
                assert estimates.waveforms.dtype == estimates.compressed.dtype == torch.float32
                value = cost(estimates, sources)
            value.backward()
            gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
            assert gradients and all(bool(gradient.isfinite().all()) for gradient in gradients)
            values.append(value.item())
        assert values[1] == pytest.approx(values[0], rel=0.05, abs=0.5 if "sdr" in loss or "snr" in loss else 0.02)
