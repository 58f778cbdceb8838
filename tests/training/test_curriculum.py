"""The curriculum: sources grow to their level, and then stay as they were mixed."""

from __future__ import annotations

import pytest
import torch

from audioslots.training.schedule import grown

SOURCES = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("step", "level_db"), [(0, -40.0), (25, -30.0), (50, -20.0), (99, -0.4)])
def test_all_sources_but_the_first_are_quieter_by_as_many_db_a_step(step: int, level_db: float) -> None:
    found = grown(SOURCES, step, 100)
    assert torch.equal(found[:, 0], SOURCES[:, 0])
    torch.testing.assert_close(found[:, 1:], SOURCES[:, 1:] * 10 ** (level_db / 20))


@pytest.mark.parametrize(("step", "until"), [(100, 100), (101, 100), (0, 0)])
def test_afterwards_and_without_a_curriculum_they_are_as_mixed(step: int, until: float) -> None:
    assert grown(SOURCES, step, until) is SOURCES
