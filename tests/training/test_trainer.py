"""Training: stopped anywhere it ends the same, it learns, and it never trains on speakers it is scored on."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_run
import torch
from tiny_run import CPU
from torch import Tensor

from audioslots.config.variant import Resolved
from audioslots.data.training.packing import Speech
from audioslots.losses import si_sdr
from audioslots.runtime.errors import InputError, Interrupted
from audioslots.runtime.files import read_json
from audioslots.separation.weights import load_model
from audioslots.training import trainer
from audioslots.training.processes import STOP_SIGNALS
from audioslots.training.schedule import rate_at
from audioslots.training.trainer import Trainer

STEPS = 6
SHORT = {"steps": STEPS, "batch": 2, "validate_every": 3}
REPEATABLE = [
    *("step", "loss", "learning_rate"),
    *("validation_loss", "validation_si_sdri_db", "validation_ratio_si_sdri_db"),
]


def resolved(packed: Path, training: dict[str, Any] | None = None, **values: Any) -> Resolved:
    """The tiny variant, for six steps."""
    return tiny_run.resolved(packed, SHORT | (training or {}), **values)


def train(config: Resolved, out: Path) -> Trainer:
    run = Trainer(config, out, CPU)
    run.train("audioslots train")
    return run


def history(out: Path) -> list[list[str]]:
    return pd.read_csv(out / "history.csv", dtype=str, keep_default_na=False)[REPEATABLE].to_numpy().tolist()


def at_step(step: int, act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do something right after the given number of steps, as the outside world might."""
    original = Trainer._step

    def with_surprise(self: Trainer, sources: Tensor) -> float:
        learning_rate = original(self, sources)
        if self.progress.step == step:
            act()
        return learning_rate

    monkeypatch.setattr(Trainer, "_step", with_surprise)


@pytest.fixture(scope="module")
def undisturbed(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a training that nobody disturbed."""
    out = tmp_path_factory.mktemp("undisturbed")
    train(resolved(packed), out)
    return out


def same(out: Path, undisturbed: Path) -> None:
    """Weights, optimiser and history are equal to the bit."""
    assert (out / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()
    assert history(out) == history(undisturbed)
    ours, theirs = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (out, undisturbed))
    torch.testing.assert_close(ours["optimiser"], theirs["optimiser"], atol=0, rtol=0)


def test_a_finished_run_holds_what_the_report_reads(packed: Path, undisturbed: Path) -> None:
    table = pd.read_csv(undisturbed / "history.csv")
    assert list(table) == [
        *("step", "loss", "learning_rate", "seconds", "audio_seconds_per_second", "validation_loss"),
        *("validation_si_sdri_db", "validation_ratio_si_sdri_db", "occupied_slots"),
        *("data_wait_share", "skipped_steps"),
        *("gradient_norm_encoder", "gradient_norm_slots", "gradient_norm_decoder"),
    ]
    assert table["step"].tolist() == [3, 6]
    assert np.isfinite(table).all(axis=None)
    system = json.loads((undisturbed / "system.json").read_text())
    expected = {"steps": 6, "train_subset": "train-clean", "train_speakers": 6, "command": "audioslots train"}
    assert {key: system[key] for key in expected} == expected
    assert system["audio_s"] == pytest.approx(6 * 2 * 0.1)
    assert system["train_hours"] == pytest.approx(Speech.open(packed / "train-clean").hours, abs=1e-4)
    model, config = load_model(undisturbed)
    assert config == resolved(packed)
    assert system["parameters"] == sum(weight.numel() for weight in model.parameters())
    for key in ("macs_per_second", "wall_s", "peak_memory_bytes", "threads"):
        assert system[key] > 0, key
    assert {"versions", "device", "commit"} <= set(system)


def test_the_same_config_trains_to_the_same_bits_and_another_seed_to_others(packed, undisturbed, tmp_path) -> None:
    torch.rand(7)  # what was drawn before does not matter
    train(resolved(packed), tmp_path / "again")
    same(tmp_path / "again", undisturbed)
    train(resolved(packed, seed=2), tmp_path / "other")
    assert history(tmp_path / "other") != history(undisturbed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_run_stopped_by_a_signal_and_resumed_equals_an_undisturbed_one(
    packed, undisturbed, tmp_path, monkeypatch, step: int, number: signal.Signals
) -> None:
    with monkeypatch.context() as disturbed:
        at_step(step, lambda: signal.raise_signal(number), disturbed)
        with pytest.raises(Interrupted, match=f"stopped after step {step} of 6; repeat the command"):
            train(resolved(packed), tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    torch.rand(3)
    assert train(resolved(packed), tmp_path).progress.step == STEPS
    same(tmp_path, undisturbed)


def test_a_run_killed_between_checkpoints_and_resumed_equals_an_undisturbed_one(packed, tmp_path, monkeypatch) -> None:
    config = resolved(packed, {"checkpoint_every": 2})

    def kill() -> None:
        raise MemoryError

    with monkeypatch.context() as disturbed:
        at_step(5, kill, disturbed)
        with pytest.raises(MemoryError):
            train(config, tmp_path / "killed")
    resumed = Trainer(config, tmp_path / "killed", CPU)
    assert resumed.progress.step == 4
    resumed.train()
    train(config, tmp_path / "undisturbed")
    same(tmp_path / "killed", tmp_path / "undisturbed")


def test_a_signal_in_the_last_step_lets_the_run_finish(packed, undisturbed, tmp_path, monkeypatch) -> None:
    at_step(STEPS, lambda: signal.raise_signal(signal.SIGTERM), monkeypatch)
    train(resolved(packed), tmp_path)
    same(tmp_path, undisturbed)


def test_signals_are_handled_as_before_once_training_is_over(packed: Path, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    train(resolved(packed, {"steps": 1}), tmp_path)
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_a_finished_run_trained_again_takes_no_step_and_keeps_its_weights(packed, undisturbed, tmp_path, monkeypatch):
    train(resolved(packed), tmp_path)
    monkeypatch.setattr(Trainer, "_step", lambda self, sources: pytest.fail("a step was taken"))
    train(resolved(packed), tmp_path)
    same(tmp_path, undisturbed)


def test_a_finished_run_whose_outputs_were_removed_has_them_back(packed, undisturbed, tmp_path) -> None:
    """The workflow removes a run's outputs before it calls the trainer again; the checkpoint stays."""
    out = tmp_path / "run"
    shutil.copytree(undisturbed, out)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.name != "system.json"}
    costs = read_json(out / "system.json")
    for name in ("history.csv", "model.safetensors", "system.json"):
        (out / name).unlink()
    train(resolved(packed), out)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.name != "system.json"} == before
    measured = ("wall_s", "peak_memory_bytes", "commit")
    assert {key: read_json(out / "system.json")[key] for key in measured} == {key: costs[key] for key in measured}


def test_a_checkpoint_of_another_config_is_refused(packed: Path, tmp_path: Path, monkeypatch) -> None:
    with monkeypatch.context() as disturbed:
        at_step(2, lambda: signal.raise_signal(signal.SIGTERM), disturbed)
        with pytest.raises(Interrupted):
            train(resolved(packed), tmp_path)
    with pytest.raises(InputError, match=r"checkpoint\.pt: belongs to another config"):
        Trainer(resolved(packed, {"learning_rate": 2e-3}), tmp_path, CPU)
    (tmp_path / "checkpoint.previous.pt").unlink(missing_ok=True)
    (tmp_path / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot be read"):
        Trainer(resolved(packed), tmp_path, CPU)


def test_the_model_hears_the_sum_of_the_sources_and_nothing_else(packed: Path, tmp_path: Path) -> None:
    run, heard = Trainer(resolved(packed), tmp_path, CPU), []
    run.trained.register_forward_pre_hook(lambda module, inputs: heard.append(inputs))
    sources = torch.from_numpy(run.mixer.batch(0, 2))
    run._step(sources)
    ((mixture, sequence),) = heard
    assert sequence == 1
    assert torch.equal(mixture, sources.sum(dim=1))


def test_validation_is_the_mean_improvement_of_the_better_order_on_the_same_mixtures_for_every_run(
    packed: Path, tmp_path: Path
) -> None:
    runs = [Trainer(resolved(packed, seed=seed), tmp_path, CPU) for seed in (1, 2)]
    assert torch.equal(runs[0].validation, runs[1].validation)
    sources = runs[0].validation
    mixture = sources.sum(dim=1)
    with torch.no_grad():
        estimates = runs[0].trained(mixture).waveforms
    orders = [si_sdr(estimates[:, order], sources).mean(dim=1) for order in ([0, 1], [1, 0])]
    expected = torch.stack(orders).max(dim=0).values - si_sdr(mixture[:, None], sources).mean(dim=1)
    assert runs[0].validate()["validation_si_sdri_db"] == pytest.approx(float(expected.mean()), abs=1e-4)
    assert runs[0].model.training


@pytest.mark.parametrize(
    ("parts", "least_db"),
    [
        ({}, 5.0),
        ({"decoder": {"kind": "broadcast", "layers": 2, "width": 32}, "output": "magnitude"}, 1.0),
    ],
)
@pytest.mark.parametrize("loss", ["si_sdr", "squared"])
def test_training_fits_one_batch(packed, tmp_path, monkeypatch, loss: str, parts: dict, least_db: float) -> None:
    config = resolved(packed, {"loss": loss, "steps": 80, "learning_rate": 1e-2, "validate_every": 80}, model=parts)
    run = Trainer(config, tmp_path, CPU)
    sources = torch.from_numpy(run.mixer.batch(0, 2))

    def fixed(mixer: Any, steps: range, *_: Any) -> Iterator[Tensor]:
        yield from [sources] * len(steps)

    monkeypatch.setattr(trainer, "batches", fixed)
    run.validation = sources
    run.train()
    losses, score = [row["loss"] for row in run.progress.history], run.progress.history[-1]["validation_si_sdri_db"]
    assert losses[-1] < losses[0] - (2.0 if loss == "si_sdr" else 0.2 * losses[0])
    assert score > least_db


@pytest.mark.parametrize("slots", [2, 4])
def test_a_loss_that_is_not_finite_ends_the_run_with_a_line_that_says_so(packed, tmp_path, slots, monkeypatch) -> None:
    monkeypatch.setattr(trainer, "MOST_SKIPPED", 0)
    config = resolved(packed, {"loss": "snr"}, model={"slots": {"count": slots}})
    run = Trainer(config, tmp_path, CPU)
    with torch.no_grad():
        next(run.model.parameters()).fill_(torch.nan)
    with pytest.raises(InputError, match=r"the loss of step 0, seed 1, is nan; expected a finite number"):
        run.train()
    assert not (tmp_path / "model.safetensors").exists()


def test_speakers_shared_with_validation_are_refused(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train-clean: speaker 101 is in the validation set too"):
        Trainer(resolved(packed, validation=str(packed / "train-clean")), tmp_path, CPU)


def test_without_a_validation_set_speakers_are_held_out_of_training(packed: Path, tmp_path: Path) -> None:
    speech, held_out = trainer.open_speech(resolved(packed, validation=None, held_out_speakers=2))
    assert len(held_out.speakers) == 2
    assert not set(speech.speakers) & set(held_out.speakers)
    assert len(speech.speakers) == 4
    with pytest.raises(InputError, match="held_out_speakers: 5 of 6 speakers"):
        Trainer(resolved(packed, validation=None, held_out_speakers=5), tmp_path, CPU)


def test_speech_that_is_missing_or_of_another_rate_is_named(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent: no manifest.json"):
        Trainer(resolved(packed, train=str(tmp_path / "absent")), tmp_path, CPU)
    with pytest.raises(InputError, match="train-clean: packed at 8000 Hz; expected rate 16000"):
        Trainer(resolved(packed, rate=16_000), tmp_path, CPU)


def test_the_learning_rate_warms_up_in_a_line_and_falls_in_a_cosine_to_zero() -> None:
    rates = [rate_at(step, 2.0, warmup=4, steps=20) for step in range(21)]
    assert rates[:5] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])
    assert rates[12] == pytest.approx(1.0)
    assert rates[20] == pytest.approx(0.0)
    assert all(after < before for before, after in zip(rates[4:], rates[5:], strict=False))
    assert rate_at(0, 2.0, warmup=0, steps=20) == 2.0
    assert rate_at(5, 2.0, warmup=10, steps=6) == pytest.approx(1.2)


def test_every_step_is_trained_at_its_learning_rate(packed: Path, undisturbed: Path) -> None:
    rates = pd.read_csv(undisturbed / "history.csv")["learning_rate"]
    assert rates.tolist() == pytest.approx([rate_at(step, 1e-3, 2, STEPS) for step in (2, 5)])


def test_batches_come_in_order_whatever_step_they_start_at(packed: Path, tmp_path: Path) -> None:
    mixer = Trainer(resolved(packed), tmp_path, CPU).mixer
    for step, batch in enumerate(trainer.batches(mixer, range(3, 6), range(2)), 3):
        assert np.array_equal(batch.numpy(), mixer.batch(step, 2))


def test_a_batch_in_pieces_trains_the_same_to_rounding(packed: Path, tmp_path: Path) -> None:
    losses = []
    for pieces, shares in {1: [5], 2: [3, 2], 9: [1, 1, 1, 1, 1]}.items():
        passes: list[int] = []
        run = Trainer(resolved(packed, {"batch": 5, "accumulate": pieces}), tmp_path / str(pieces), CPU)

        def trained_on(_: Any, given: tuple[Any, Tensor, int], __: Tensor, seen: list[int] = passes) -> None:
            if torch.is_grad_enabled():  # else it is validated
                seen.append(len(given[1]))

        run.objective.register_forward_hook(trained_on)
        run.train()
        assert passes == shares * run.settings.steps
        losses.append(pd.read_csv(tmp_path / str(pieces) / "history.csv")["loss"])
    for other in losses[1:]:
        np.testing.assert_allclose(losses[0], other, atol=1e-3)


def test_training_in_bfloat16_gives_finite_float32_weights(packed: Path, tmp_path: Path) -> None:
    config = resolved(packed, {"precision": "bf16-mixed", "loss": "snr"}, model={"slots": {"count": 4}})
    run = train(config, tmp_path)
    assert all(torch.isfinite(weight).all() for weight in run.model.parameters())
    assert {weight.dtype for weight in load_model(tmp_path)[0].parameters()} == {torch.float32}
