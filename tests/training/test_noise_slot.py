"""Training in noise: a slot of its own, or none; what slots cost, against every assignment, and whole runs."""

from __future__ import annotations

import shutil
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import CPU, history, resolved, same, stopped
from torch import Tensor

from audioslots.config.variant import Resolved
from audioslots.data.training.packing import pack
from audioslots.losses import energy_db, si_sdr, snr
from audioslots.models.base import Estimates, level_of
from audioslots.runtime.errors import InputError
from audioslots.separation.separator import Separator
from audioslots.training import trainer
from audioslots.training.objective import Matched, Objective
from audioslots.training.speech import open_noise
from audioslots.training.validation import improvement, validate

few = settings(max_examples=15, deadline=None, derandomize=True)
NOISY: dict[str, Any] = {"task": "sep_noisy", "noise": "noise"}
ALONE: dict[str, Any] = {"task": "enh_single", "sources": 1, "model": {"slots": {"count": 1}}}
OWN: dict[str, Any] = {"slots": {"count": 3}, "noise_slot": True}


@pytest.fixture(scope="module")
def noisy(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed speech, and packed noise beside it."""
    root = tmp_path_factory.mktemp("noisy")
    for part in ("tr", "cv"):
        (root / "wham" / part).mkdir(parents=True)
        random = np.random.default_rng(len(part))
        sf.write(root / "wham" / part / "a.wav", 0.05 * random.standard_normal(64_000), 16_000)
        pack(root / "wham", part, root / "noise" / part, 8000, noise=True)
    for subset in ("train-clean", "dev-clean"):
        shutil.copytree(packed / subset, root / subset)
    return root


def config(data: Path, **values: Any) -> Resolved:
    return resolved(data, **(NOISY | {"noise": str(data / "noise")} | values))


def signal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scene(seed: int, slots: int, batch: int = 3) -> tuple[Estimates, Tensor]:
    """Two sources and noise (B, 3, T), and estimates by slots that hold some of each."""
    sources = 0.05 * signal(batch, 3, 200, seed=seed)
    waveforms = 0.05 * signal(batch, slots, 200, seed=seed + 1)
    waveforms[:, :3] += sources[:, :slots]
    return Estimates(waveforms, level_of(sources.sum(dim=1))), sources


@few
@given(seed=st.integers(0, 2**31), slots=st.sampled_from([3, 4, 5]))
def test_the_last_slot_is_matched_to_the_noise_and_the_rest_as_best_suits(seed: int, slots: int) -> None:
    estimates, sources = scene(seed, slots)
    variant = resolved(Path(), {"loss": "snr"}, model=OWN | {"slots": {"count": slots}}, **NOISY)
    expected = []
    for outputs, heard, level in zip(estimates.waveforms, sources, estimates.level, strict=True):
        outputs, heard = outputs / level, heard / level
        tried = [
            -snr(outputs[way[0]], heard[0])
            - snr(outputs[way[1]], heard[1])
            + sum(energy_db(outputs[slot]) for slot in range(slots - 1) if slot not in way)
            for way in permutations(range(slots - 1), 2)
        ]
        expected.append((torch.stack(tried).min() - snr(outputs[-1], heard[2])) / slots)
    cost = Matched(variant, has_noise=True)(estimates, sources)
    torch.testing.assert_close(cost, torch.stack(expected).mean())


def test_without_a_slot_of_its_own_noise_costs_nothing() -> None:
    estimates, sources = scene(0, 2)
    variant = resolved(Path(), {"loss": "snr"}, **NOISY)
    loss, speech = Matched(variant, has_noise=True), Matched(variant)(estimates, sources[:, :2])
    assert torch.equal(loss(estimates, sources), speech)
    louder = torch.cat([sources[:, :2], 100 * sources[:, 2:]], dim=1)
    assert torch.equal(loss(estimates, louder), speech)


def test_chunks_together_keep_the_noise_in_its_slot_and_a_curriculum_lets_it_grow() -> None:
    estimates, sources = scene(1, 3, batch=4)
    swapped = estimates._replace(waveforms=estimates.waveforms[:, [0, 2, 1]])
    variant = resolved(Path(), {"loss": "snr", "chunks_per_assignment": 2}, model=OWN, **NOISY)
    objective = Objective(variant, group=2, has_noise=True)
    assert objective(estimates, sources, 0) < objective(swapped, sources, 0)
    slow = resolved(Path(), {"loss": "snr", "curriculum": 0.5}, model=OWN, **NOISY)
    heard = Objective(slow, has_noise=True).references(sources, 0)
    torch.testing.assert_close(heard[:, 1:], sources[:, 1:] / 100)
    assert torch.equal(heard[:, 0], sources[:, 0])


def test_validation_scores_the_speech_against_the_whole_mixture(noisy: Path) -> None:
    variant = config(noisy, model=OWN)
    torch.manual_seed(0)
    model = Separator(trainer.init_model(variant).eval(), variant).model
    sources = 0.05 * torch.randn(4, 3, variant.crop)
    with torch.no_grad():
        found = validate(model, Matched(variant, has_noise=True), sources, variant)
        waveforms = model(sources.sum(dim=1)).waveforms
    mixture, speech = sources.sum(dim=1), sources[:, :2]
    expected = improvement(waveforms[:, :2], speech, mixture).mean()
    torch.testing.assert_close(found["validation_si_sdri_db"], expected)
    before = si_sdr(mixture[:, None], speech).mean()
    best = torch.stack([si_sdr(waveforms[:, way], speech).mean(dim=-1) for way in ([0, 1], [1, 0])]).amax(dim=0).mean()
    torch.testing.assert_close(expected, best - before)


@pytest.mark.parametrize("values", [{}, {"model": OWN}, ALONE])
def test_a_run_in_noise_is_resumed_to_the_same_result(
    noisy: Path, tmp_path: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = config(noisy, **values)
    trainer.train(variant, tmp_path / "whole", CPU)
    stopped(7, variant, tmp_path / "stopped", monkeypatch)
    trainer.train(variant, tmp_path / "stopped", CPU)
    same(tmp_path / "whole", tmp_path / "stopped")
    separator, mixture = Separator.load(tmp_path / "whole"), 0.1 * np.random.default_rng(0).standard_normal(5000)
    assert separator.separate(mixture, 8000).shape == (variant.sources, 5000)


def test_clean_speech_and_noise_are_trained_on_apart(noisy: Path, tmp_path: Path) -> None:
    trainer.train(resolved(noisy), tmp_path / "clean", CPU)
    trainer.train(config(noisy), tmp_path / "noisy", CPU)
    assert not history(tmp_path / "clean").equals(history(tmp_path / "noisy"))
    assert config(noisy).identity != resolved(noisy).identity
    assert config(noisy).identity == config(noisy, noise="elsewhere").identity
    assert "task" not in resolved(noisy).content


def test_the_noises_slot_is_no_estimate(noisy: Path) -> None:
    variant = config(noisy, model=OWN)
    torch.manual_seed(0)
    separator = Separator(trainer.init_model(variant).eval(), variant)
    mixture = 0.1 * torch.randn(variant.chunk)
    every = torch.cat(list(separator.stream([mixture])), dim=-1)
    with torch.no_grad():
        found = separator.model(mixture[None]).waveforms[0]
    assert every.shape == (2, variant.chunk) and found.shape == (3, variant.chunk)
    torch.testing.assert_close(every, found[:2])
    with pytest.raises(InputError, match="number of speakers: 3: the model has 2 slots; expected 1 to 2"):
        separator.separate(mixture.numpy(), 8000, num_speakers=3)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"task": "sep_noisy"}, "noise None with task sep_noisy"),
        ({"noise": "noise"}, "noise noise with task sep_clean"),
        ({"model": OWN}, "model.noise_slot with 3 slots, task sep_clean; expected a task with noise, and a slot more"),
        (NOISY | {"model": OWN | {"slots": {"count": 2}}}, "model.noise_slot with 2 slots, task sep_noisy"),
        (NOISY | ALONE | {"separation": {"reconstruction": "ratio"}}, "gives one slot the whole mixture"),
        (NOISY | {**ALONE, "model": {"slots": {"count": 1}, "output": "softmax"}}, "gives one slot the whole mixture"),
        (
            NOISY | {"training": {"loss": "snr", "assignment": "mixit"}, "model": {"slots": {"count": 4}}},
            "training.assignment mixit, mixing dynamic, model.recursive False with task sep_noisy; expected pit",
        ),
        (
            NOISY | {"training": {"loss": "snr", "assignment": "fixed"}, "model": OWN | {"slots": {"count": 4}}},
            "training.assignment fixed with model.noise_slot and 4 slots, .* is the noise's; expected 3 slots",
        ),
        (NOISY | {"training": {"mixing": "static"}}, "training.assignment pit, mixing static"),
    ],
)
def test_what_does_not_go_with_noise_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        resolved(Path(), **values)


def test_noise_of_another_rate_is_named(noisy: Path) -> None:
    with pytest.raises(InputError, match="tr: packed at 8000 Hz; expected rate 16000"):
        open_noise(config(noisy).model_copy(update={"rate": 16_000}), "tr")
    with pytest.raises(InputError, match="expected a folder finished by"):
        open_noise(config(noisy, noise=str(noisy / "none")), "tr")
