"""Streaming with carried slots: neither blocks nor batches of chunks change what is said."""

from __future__ import annotations

import pytest
import torch
from made_separator import recording, tiny

from audioslots.config.variant import Resolved
from audioslots.models.audioslots.recurrence import RECURRENCES
from audioslots.separation import separate
from audioslots.separation.separate import Separator
from audioslots.separation.weights import build


def carrying(carry: str) -> Separator:
    document = tiny().config.model_dump()
    document["model"]["recurrence"] = carry
    document["training"] |= {"chunks_per_assignment": 2, "adjacent": True, "adjacent_overlap": 0.5}
    config = Resolved.of(document, "tiny")
    torch.manual_seed(0)
    return Separator(build(config).eval(), config)


@pytest.mark.parametrize("carry", RECURRENCES)
@pytest.mark.parametrize("seconds", [0.1, 0.3])
def test_blocks_and_batches_change_nothing(monkeypatch: pytest.MonkeyPatch, carry: str, seconds: float) -> None:
    separator, mixture = carrying(carry), torch.from_numpy(recording(1.0, 8000)[:, 0]).float()
    whole, _ = separator.estimates(mixture)
    monkeypatch.setattr(separate, "BATCH_S", {"cpu": seconds, "other": seconds})
    pieces = torch.cat(list(separator.stream(mixture.split(777))), dim=-1)
    torch.testing.assert_close(pieces, whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("carry", RECURRENCES)
def test_nothing_is_carried_from_one_recording_to_the_next(carry: str) -> None:
    separator = carrying(carry)
    first, second = (torch.from_numpy(recording(seconds, 8000)[:, 0]).float() for seconds in (0.7, 0.5))
    before, _ = separator.estimates(second)
    separator.estimates(first)
    list(separator.stream([first]))
    assert torch.equal(separator.estimates(second)[0], before)
