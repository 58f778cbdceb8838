"""Names and titles of systems that need no training."""

from __future__ import annotations

import pytest

from audioslots.config.untrained import BASELINES, Oracle, is_untrained, parse, title


@pytest.mark.parametrize(
    ("name", "oracle", "words"),
    [
        ("oracle-psm", Oracle("psm"), "Oracle: phase-sensitive mask"),
        ("oracle-psm-512-256", Oracle("psm", None, (512, 256)), "Oracle: phase-sensitive mask, STFT 512/256"),
        ("oracle-ratio-1.5", Oracle("ratio", 1.5), "Oracle: true magnitudes as ratio masks, power 1.5"),
        (
            "oracle-misi-5-256-64",
            Oracle("misi", 5, (256, 64)),
            "Oracle: true magnitudes, MISI, iterations: 5, STFT 256/64",
        ),
    ],
)
def test_a_name_says_kind_number_and_stft(name: str, oracle: Oracle, words: str) -> None:
    assert parse(name) == oracle
    assert oracle.name == name
    assert title(name) == oracle.title == words
    assert is_untrained(name)


@pytest.mark.parametrize(
    "name",
    ["audioslots", *(f"oracle-{rest}" for rest in ("", "banana", "ratio", "psm-3", "psm-512", "ratio-0", "misi-2.5"))],
)
def test_other_names_are_no_untrained_systems(name: str) -> None:
    assert parse(name) is title(name) is None and not is_untrained(name)


def test_every_baseline_has_a_title_of_its_own() -> None:
    titles = {title(name) for name in (*BASELINES, "external-sepformer")}
    assert None not in titles and len(titles) == len(BASELINES) + 1
