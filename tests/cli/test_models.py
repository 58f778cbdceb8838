"""Training, separating, scoring, comparing: bad input is one line and status 2; good input works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from calling import CONFIG, Call

from audioslots.runtime.errors import Interrupted


def test_training_separation_and_evaluation(call: Call, config: Path, rendered: Path) -> None:
    call.good("train", config, "--out", "run", "--device", "cpu")
    assert json.loads(Path("run/system.json").read_text())["command"].startswith("audioslots train config.json")
    recording = next((rendered / "mix_clean").glob("*.wav"))
    written = call.good("separate", recording, "--model", "run", "--out", "estimates", "--device", "cpu").split()
    assert written == [f"estimates/{recording.stem}_s{number}.wav" for number in (1, 2)]
    call.good("evaluate", "--model", "run", "--mixtures", rendered, "--out", "run/scores.parquet", "--device", "cpu")
    mixture = ("evaluate", "--model", "mixture", "--mixtures", rendered, "--out", "mixture.parquet")
    scores = pd.read_parquet("run/scores.parquet")
    assert set(scores["variant"]) == {"tiny"} and len(scores) == 2 * 2 * 2
    call.good("separate-set", "--model", "run", "--mixtures", rendered, "--out", "two/estimates", "--device", "cpu")
    call.good("evaluate", "--estimates", "two/estimates", "--mixtures", rendered, "--out", "two/scores.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet("two/scores.parquet"), scores, check_exact=True)
    for shard in ("2/2", "1/2"):
        call.good(*mixture, "--shard", shard)
        assert not Path("mixture.parquet").exists(), "a last call writes the table"
    call.good(*mixture)
    compared = ("compare", "run/scores.parquet", "mixture.parquet", "--baseline")
    assert "tiny" in call.good(*compared, "mixture")
    assert "mixtrue" in call.refused(*compared, "mixtrue")
    assert "tiny" in call.good("rank", "run/scores.parquet", "--out", "ranked.csv") and Path("ranked.csv").exists()


def test_training_that_reads_a_copy_of_its_speech_is_the_same(
    call: Call, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = ("train", config, "--device", "cpu", "--out")
    call.good(*train, "plain")
    call.good(*train, "option", "--scratch", "disk/7/speech")
    copies = {path: path.stat().st_mtime_ns for path in Path("disk/7/speech").glob("*.i16")}
    assert len(copies) == 2
    monkeypatch.setenv("OF_THE_JOB", "disk/7")
    monkeypatch.setenv("AUDIOSLOTS_SCRATCH", "$OF_THE_JOB/speech")
    call.good(*train, "variable")
    assert copies == {path: path.stat().st_mtime_ns for path in Path("disk/7/speech").glob("*.i16")}
    for run in ("option", "variable"):
        assert Path(run, "model.safetensors").read_bytes() == Path("plain/model.safetensors").read_bytes()
    monkeypatch.delenv("OF_THE_JOB")
    line = call.refused(*train, "unset")
    assert "--scratch: $OF_THE_JOB/speech: a variable that is not set; expected" in line and not Path("unset").exists()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"trainnig": {"steps": 2}}, "trainnig: unknown key; did you mean 'training'?"),
        ({"training": {"stesp": 2}}, "training.stesp: unknown key; did you mean 'steps'?"),
        ({"training": {"steps": -1}}, "training.steps: "),
        ({"train": "elsewhere"}, "elsewhere"),
    ],
)
def test_bad_config_is_named_and_nothing_is_trained(call: Call, wrong: dict[str, Any], says: str) -> None:
    Path("config.json").write_text(json.dumps(CONFIG | wrong))
    line = call.refused("train", "config.json", "--out", "run", "--device", "cpu")
    assert says in line and ("config.json" in line or "train" in wrong)
    assert not Path("run").exists()


def test_training_that_was_stopped_ends_with_a_status_of_its_own(
    call: Call, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise Interrupted("run: stopped after step 3 of 10; repeat the command to resume")

    monkeypatch.setattr("audioslots.training.trainer.Trainer", stopped)
    ended = call("train", config, "--out", "run")
    message = "audioslots: run: stopped after step 3 of 10; repeat the command to resume\n"
    assert (ended.status, ended.err) == (75, message)


@pytest.mark.parametrize("command", ["train", "separate"])
def test_device_that_is_not_there_is_refused(call: Call, config: Path, model: Path, command: str) -> None:
    soundfile.write("talk.wav", np.zeros(8000), 8000)
    given = {"train": [config], "separate": ["talk.wav", "--model", model]}[command]
    assert "--device: gpu9" in call.refused(command, *given, "--out", "out", "--device", "gpu9")


@pytest.mark.parametrize("name", ["orcale-psm", "results/runs/absent"])
def test_name_of_no_system_is_refused(call: Call, rendered: Path, name: str) -> None:
    line = call.refused("evaluate", "--model", name, "--mixtures", rendered, "--out", "out/scores.parquet")
    assert name in line and "oracle-psm" in line and not Path("out").exists()


def test_a_run_is_scored_as_a_variant_of_other_separation(call: Call, rendered: Path, model: Path) -> None:
    Path("other.json").write_text(json.dumps(CONFIG | {"name": "other", "separation": {"overlap": 0.25}}))
    as_other = ("--mixtures", rendered, "--separation-config", "other.json")
    scored = ("--out", "other/scores.parquet")
    call.good("evaluate", "--model", model, *as_other, *scored, "--device", "cpu")
    assert set(pd.read_parquet("other/scores.parquet")["variant"]) == {"other"}
    for system in (("--model", "mixture"), ("--estimates", "estimates")):
        assert f"--separation-config: {system[1]} has none" in call.refused("evaluate", *system, *as_other, *scored)
    call.good("separate-set", "--model", model, *as_other, "--out", "estimates", "--device", "cpu")
    call.good("evaluate", "--estimates", "estimates", "--mixtures", rendered, "--out", "two/scores.parquet")
    one, two = (pd.read_parquet(f"{name}/scores.parquet") for name in ("other", "two"))
    pd.testing.assert_frame_equal(two, one, check_exact=True)


def test_no_recording_or_estimate_is_overwritten_by_another(call: Call, model: Path) -> None:
    Path("other").mkdir()
    for name in ("talk.wav", "talk_s1.wav", "other/talk.wav"):
        soundfile.write(name, np.zeros(800), 8000)
    separate, options = ("separate", "talk.wav"), ("--model", model, "--device", "cpu", "--out")
    assert (
        "inputs of one name" in call.refused(*separate, "other/talk.wav", *options, "out") and not Path("out").exists()
    )
    before = Path("talk_s1.wav").read_bytes()
    assert "talk_s1.wav" in call.refused(*separate, "talk_s1.wav", *options, ".")
    assert Path("talk_s1.wav").read_bytes() == before
    assert len(call.good(*separate, "talk_s1.wav", *options, "out").split()) == 4


@pytest.mark.parametrize(
    ("name", "out", "reason"),
    [
        ("a" * 240, "out", "file name too long"),
        ("talk", "talk.wav/out", "not a directory"),
        ("talk", "/proc/x", "no such file"),
    ],
)
def test_a_place_that_is_refused_is_one_line(call: Call, model: Path, name: str, out: str, reason: str) -> None:
    for path in (f"{name}.wav", "talk.wav"):
        soundfile.write(path, np.zeros(800), 8000)
    separate = ("separate", f"{name}.wav", "--model", model, "--device", "cpu", "--out", out)
    assert reason in call.refused(*separate).lower()
