"""Training that starts from the weights of another run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny_run import CPU, history, resolved, same, stopped

from audioslots.config.variant import Resolved
from audioslots.models.audioslots.recurrence import RECURRENCES
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json
from audioslots.separation.weights import init_model, load_model
from audioslots.training import trainer


def trained(packed: Path, out: Path, **values: Any) -> Resolved:
    config = resolved(packed, {"steps": 4}, **values)
    trainer.train(config, out, CPU)
    return config


def init_of(run: Path) -> dict[str, Any]:
    """What ``resolve`` says of a run that training starts from."""
    model = str(run / "model.safetensors")
    return {"init_from": {"variant": "first"}, "init_model": model, "init_identity": "first"}


def test_the_first_step_is_from_the_weights_of_the_other_run(packed: Path, tmp_path: Path) -> None:
    trained(packed, tmp_path / "seed1")
    config = resolved(packed, {"steps": 1, "learning_rate": 1e-12, "warmup": 0}, **init_of(tmp_path / "seed1"))
    trainer.train(config, tmp_path / "tuned", CPU)
    first, _ = load_model(tmp_path / "seed1")
    tuned, header = load_model(tmp_path / "tuned")
    for name, weight in first.state_dict().items():
        torch.testing.assert_close(tuned.state_dict()[name], weight, atol=1e-9, rtol=0)
    assert header.init_model == str(tmp_path / "seed1" / "model.safetensors") and header.init_identity == "first"
    scratch = resolved(packed, {"steps": 1, "learning_rate": 1e-12, "warmup": 0})
    trainer.train(scratch, tmp_path / "scratch", CPU)
    other, _ = load_model(tmp_path / "scratch")
    assert any(not torch.allclose(other.state_dict()[name], weight) for name, weight in first.state_dict().items())
    assert (
        scratch.identity != config.identity
        and config.content["init_identity"] == "first"
        and "init_identity" not in scratch.content
    )


def test_no_steps_keep_the_weights_validate_them_and_cost_nothing(packed: Path, tmp_path: Path) -> None:
    trained(packed, tmp_path / "first")
    config = resolved(packed, {"steps": 0}, **init_of(tmp_path / "first"))
    for _ in range(2):  # the second time there is nothing to do
        trainer.train(config, tmp_path / "kept", CPU)
    first, kept = (load_model(tmp_path / name)[0].state_dict() for name in ("first", "kept"))
    assert all(torch.equal(kept[name], weight) for name, weight in first.items())
    rows, before = history(tmp_path / "kept"), history(tmp_path / "first")
    assert list(rows["step"]) == ["0"] and rows["loss"].isna().all()
    validated = [name for name in rows if name.startswith("validation")]
    pd.testing.assert_series_equal(rows.iloc[-1][validated], before.iloc[-1][validated], check_names=False)
    system = read_json(tmp_path / "kept" / "system.json")
    assert (system["steps"], system["audio_s"], system["wall_s"]) == (0, 0, 0)


def test_no_steps_need_weights(packed: Path) -> None:
    with pytest.raises(InputError, match="training.steps 0 without init_from; expected 1 or more"):
        resolved(packed, {"steps": 0})


def test_it_resumes_from_its_own_checkpoint(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(packed, tmp_path / "first")
    config = resolved(packed, **init_of(tmp_path / "first"))
    trainer.train(config, tmp_path / "whole", CPU)
    stopped(8, config, tmp_path / "parted", monkeypatch)
    trainer.train(config, tmp_path / "parted", CPU)
    same(tmp_path / "whole", tmp_path / "parted")
    assert history(tmp_path / "whole").equals(history(tmp_path / "parted"))


def test_other_weights_under_the_same_name_are_another_request(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(packed, tmp_path / "first")
    config = resolved(packed, {"steps": 2}, **init_of(tmp_path / "first"))
    trainer.train(config, tmp_path / "tuned", CPU)
    trained(packed, tmp_path / "second", seed=2)
    (tmp_path / "second" / "model.safetensors").replace(tmp_path / "first" / "model.safetensors")
    with pytest.raises(InputError, match="init_sha256"):
        trainer.train(config, tmp_path / "tuned", CPU)


def test_chunks_may_be_longer_where_the_weights_fit(packed: Path, tmp_path: Path) -> None:
    trained(packed, tmp_path / "short")
    longer = resolved(packed, {"steps": 0}, **init_of(tmp_path / "short"), chunk_s=0.2)
    trainer.train(longer, tmp_path / "longer", CPU)
    short, model = (load_model(tmp_path / name)[0] for name in ("short", "longer"))
    assert all(torch.equal(model.state_dict()[name], weight) for name, weight in short.state_dict().items())
    assert model(0.1 * torch.randn(1, 1600)).waveforms.shape == (1, 2, 1600)
    unfolded = {"model": {"decoder": {"kind": "unfolded"}}}
    trained(packed, tmp_path / "unfolded", **unfolded)
    with pytest.raises(InputError, match=r"init_from: .*has other weights \("):
        init_model(resolved(packed, **init_of(tmp_path / "unfolded"), chunk_s=0.2, **unfolded))


@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_recurrent_weights_are_random_where_the_other_run_has_none(
    packed: Path, tmp_path: Path, recurrence: str
) -> None:
    trained(packed, tmp_path / "first", model={"slots": {"count": 2}})
    config = resolved(
        packed,
        {"steps": 2, "chunks_per_assignment": 2, "adjacent": True, "batch": 4},
        **init_of(tmp_path / "first"),
        model={"recurrence": recurrence},
    )
    first, model = load_model(tmp_path / "first")[0].state_dict(), init_model(config).state_dict()
    assert all(torch.equal(model[name], weight) for name, weight in first.items())
    drawn = model.keys() - first.keys()
    assert drawn and all(name.startswith("recurrence.") for name in drawn)
    trainer.train(config, tmp_path / "carried", CPU)
    with pytest.raises(InputError, match=r"has other weights \(.*recurrence"):
        init_model(resolved(packed, **init_of(tmp_path / "carried"), model={"slots": {"count": 2}}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": {"slots": {"count": 3}}, "training": {"loss": "snr"}}, r"has other weights \(.*slots"),
        ({"model": {"width": 32}}, r"has other weights \("),
        ({"model": {"spectrogram": {"hop": 32}}}, "has spectrogram .*; expected the variant's"),
        (
            {"model": {"kind": "conv_tasnet"}, "training": {"loss": "snr"}},
            "has model audioslots; expected the variant's, conv_tasnet",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(packed: Path, tmp_path: Path, values: dict, words: str) -> None:
    trained(packed, tmp_path / "first")
    training = values.pop("training", {})
    with pytest.raises(InputError, match=f"init_from: .*{words}"):
        init_model(resolved(packed, training, **init_of(tmp_path / "first"), **values))


def test_weights_that_are_not_there_are_named(packed: Path, tmp_path: Path) -> None:
    config = resolved(packed, **init_of(tmp_path / "seed1"))
    with pytest.raises(InputError, match="init_from: .*seed1/model.safetensors: no such file; expected a model"):
        trainer.train(config, tmp_path / "tuned", CPU)
    assert not (tmp_path / "tuned" / "model.safetensors").exists()
