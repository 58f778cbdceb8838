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
from safetensors.torch import load_file, save_file

from audioslots.runtime.errors import Interrupted
from audioslots.scoring.metrics import SCORE_COLUMNS
from audioslots.scoring.scores import COLUMNS


def test_training_separation_and_evaluation(call: Call, config: Path, rendered: Path) -> None:
    call.good("train", config, "--out", "run", "--device", "cpu")
    assert json.loads(Path("run/system.json").read_text())["command"].startswith("audioslots train config.json")
    recording = next((rendered / "mix_clean").glob("*.wav"))
    written = call.good("separate", recording, "--model", "run", "--out", "estimates", "--device", "cpu").split()
    assert written == [f"estimates/{recording.stem}_s{number}.wav" for number in (1, 2)]
    call.good("evaluate", "--model", "run", "--mixtures", rendered, "--out", "run/scores.parquet", "--device", "cpu")
    scores = pd.read_parquet("run/scores.parquet")
    assert set(scores["variant"]) == {"tiny"} and len(scores) == 2 * 2 * 2
    call.good("separate-set", "--model", "run", "--mixtures", rendered, "--out", "two/estimates", "--device", "cpu")
    call.good("evaluate", "--estimates", "two/estimates", "--mixtures", rendered, "--out", "two/scores.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet("two/scores.parquet"), scores, check_exact=True)


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


def test_mixtures_at_another_rate_are_refused(call: Call, made_corpus: Path, model: Path) -> None:
    call.good("mixtures", "sample", made_corpus / "test-clean", "drawn.csv", "--count", 1)
    arguments = ("--librispeech", made_corpus, "--out", "mixtures", "--rate", 16_000)
    folder = call.good("mixtures", "render", "drawn.csv", *arguments).strip()
    line = call.refused("evaluate", "--model", model, "--mixtures", folder, "--out", "scores.parquet")
    assert "16000 Hz" in line and "8000 Hz" in line and not Path("scores.parquet").exists()


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


def test_shards_of_an_evaluation_leave_the_table_to_the_last_call(call: Call, rendered: Path) -> None:
    command = ("evaluate", "--model", "mixture", "--mixtures", rendered, "--out", "run/scores.parquet")
    for shard in ("2/2", "1/2"):
        call.good(*command, "--shard", shard)
        assert not Path("run/scores.parquet").exists()
    call.good(*command)
    assert len(pd.read_parquet("run/scores.parquet")) == 2 * 2


def test_each_channel_is_separated_and_its_estimates_add_up(call: Call, model: Path) -> None:
    stereo = 0.1 * np.random.default_rng(0).standard_normal((11_025, 2))
    soundfile.write("talk.wav", stereo, 11_025, subtype="FLOAT")
    options = ("--each-channel", "--mixture-consistency", "--float")
    paths = call.good("separate", "talk.wav", "--model", model, "--out", "out", *options).split()
    assert paths == [f"out/talk_c{channel}_s{number}.wav" for channel in (1, 2) for number in (1, 2)]
    estimates = [soundfile.read(path)[0] for path in paths]
    for channel in (0, 1):
        np.testing.assert_allclose(sum(estimates[2 * channel : 2 * channel + 2]), stereo[:, channel], atol=1e-6)


def test_audio_that_cannot_be_read_is_refused(call: Call, model: Path) -> None:
    Path("text.wav").write_text("no audio at all")
    Path("folder.wav").mkdir()
    for name in ("text", "folder"):
        assert f"{name}.wav" in call.refused("separate", f"{name}.wav", "--model", model, "--out", "out")
    assert not Path("out").exists()


def test_no_recording_or_estimate_is_overwritten_by_another(call: Call, model: Path) -> None:
    Path("other").mkdir()
    for name in ("talk.wav", "talk_s1.wav", "other/talk.wav"):
        soundfile.write(name, np.zeros(800), 8000)
    separate, options = ("separate", "talk.wav"), ("--model", model, "--device", "cpu", "--out")
    assert "two of one name" in call.refused(*separate, "other/talk.wav", *options, "out") and not Path("out").exists()
    before = Path("talk_s1.wav").read_bytes()
    assert "talk_s1.wav" in call.refused(*separate, "talk_s1.wav", *options, ".")
    assert Path("talk_s1.wav").read_bytes() == before
    assert len(call.good(*separate, "talk_s1.wav", *options, "out").split()) == 4


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\0\0\0\0\0\0\0{}      ", None])
def test_file_that_holds_no_whole_model_is_refused(call: Call, model: Path, content: bytes | None) -> None:
    if content is None:  # weights that do not fit their config
        weights = load_file(model / "model.safetensors")
        weights.pop(next(iter(weights)))
        save_file(weights, "model.safetensors", metadata={"config": json.dumps(CONFIG)})
    else:
        Path("model.safetensors").write_bytes(content)
    soundfile.write("talk.wav", np.zeros(8000), 8000)
    assert "model.safetensors" in call.refused("separate", "talk.wav", "--model", "model.safetensors", "--out", "out")
    assert not Path("out").exists()


def write_scores(path: str, variant: str, gain_db: float) -> str:
    """Scores made by hand: six speaker pairs, two mixtures each, one seed."""
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for pair, speakers in enumerate([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] * 2):
        for source, speaker in enumerate(speakers, start=1):
            row: dict[str, Any] = dict.fromkeys(SCORE_COLUMNS, float(gain_db + random.normal(0, 0.1)))
            row |= {"benchmark": "made", "variant": variant, "seed": 0, "source": source, "failure": "", "pair": "FF"}
            row |= {"mixture_id": str(pair), "speaker_id": str(speaker), "sex": "F", "duration_s": 3.0}
            rows.append(row | {"stitching": "blind", "permutation": "0,1"})
    pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS).to_parquet(path)
    return path


@pytest.mark.parametrize("form", ["terminal", "md", "tex"])
def test_compare_tells_how_far_a_variant_is_from_the_baseline(call: Call, form: str) -> None:
    scores = [write_scores(f"{name}.parquet", name, gain_db) for name, gain_db in (("plain", 5.0), ("better", 7.0))]
    printed = call.good("compare", *scores, "--baseline", "plain", "--format", form)
    assert "better" in printed and "2.0" in printed
    assert "palin" in call.refused("compare", *scores, "--baseline", "palin")
