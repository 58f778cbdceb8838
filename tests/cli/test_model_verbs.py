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
from audioslots.scoring.evaluate import COLUMNS, SCORE_COLUMNS


def made_scores(path: Path, variant: str, gain_db: float) -> Path:
    """Scores made by hand: six speaker pairs, two mixtures each, one seed."""
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for first in range(4):
        for second in range(first + 1, 4):
            for take in range(2):
                for source, speaker in ((1, first), (2, second)):
                    row: dict[str, Any] = dict.fromkeys(SCORE_COLUMNS, float(gain_db + random.normal(0, 0.1)))
                    row |= {"benchmark": "made", "variant": variant, "seed": 0, "source": source, "failure": ""}
                    row |= {"mixture_id": f"{first}_{second}_{take}", "speaker_id": str(speaker), "sex": "F"}
                    rows.append(row | {"pair": "FF", "duration_s": 3.0, "stitching": "blind", "permutation": "0,1"})
    pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS).to_parquet(path)
    return path


def test_training_separation_and_evaluation(call: Call, made_corpus: Path, rendered: Path) -> None:
    for subset in ("train-clean", "dev-clean"):
        call.good("pack", made_corpus / subset, f"packed/{subset}", "--rate", 8000)
    Path("config.json").write_text(json.dumps(CONFIG))
    call.good("train", "config.json", "--out", "run", "--device", "cpu")
    assert json.loads(Path("run/system.json").read_text())["command"].startswith("audioslots train config.json")
    recording = next((rendered / "mix_clean").glob("*.wav"))
    written = call.good("separate", recording, "--model", "run", "--out", "estimates", "--device", "cpu").split()
    assert written == [f"estimates/{recording.stem}_s{number}.wav" for number in (1, 2)]
    call.good("evaluate", "--model", "run", "--mixtures", rendered, "--out", "run/scores.parquet", "--device", "cpu")
    scores = pd.read_parquet("run/scores.parquet")
    assert set(scores["variant"]) == {"tiny"} and len(scores) == 2 * 2 * 2
    call.good("estimate", "--model", "run", "--mixtures", rendered, "--out", "two/estimates", "--device", "cpu")
    call.good("evaluate", "--estimates", "two/estimates", "--mixtures", rendered, "--out", "two/scores.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet("two/scores.parquet"), scores, check_exact=True)


def test_training_that_reads_a_copy_of_its_speech_is_the_same(call: Call, made_corpus: Path, monkeypatch) -> None:
    for subset in ("train-clean", "dev-clean"):
        call.good("pack", made_corpus / subset, f"packed/{subset}", "--rate", 8000)
    Path("config.json").write_text(json.dumps(CONFIG))
    train = ("train", "config.json", "--device", "cpu", "--out")
    call.good(*train, "plain")
    assert not Path("disk").exists()
    call.good(*train, "option", "--scratch", "disk/7/speech")
    copies = {path.stat().st_size: path.stat().st_mtime_ns for path in Path("disk/7/speech").glob("*.i16")}
    assert set(copies) == {
        Path(f"packed/{subset}/speech.i16").stat().st_size for subset in ("train-clean", "dev-clean")
    }
    monkeypatch.setenv("OF_THE_JOB", "disk/7")
    monkeypatch.setenv("AUDIOSLOTS_SCRATCH", "$OF_THE_JOB/speech")
    call.good(*train, "variable")
    assert {path.stat().st_mtime_ns for path in Path("disk/7/speech").glob("*.i16")} == set(copies.values())
    for run in ("option", "variable"):
        assert Path(run, "model.safetensors").read_bytes() == Path("plain/model.safetensors").read_bytes()
        request, expected = (json.loads(Path(one, "train.stage.json").read_text())["request"] for one in (run, "plain"))
        assert request == expected
    monkeypatch.delenv("OF_THE_JOB")
    line = call.refused(*train, "unset")
    assert "--scratch: $OF_THE_JOB/speech: a variable that is not set; expected" in line and not Path("unset").exists()


@pytest.mark.parametrize("form", ["terminal", "md", "tex"])
def test_compare_says_how_far_a_variant_is_from_the_baseline(call: Call, tmp_path: Path, form: str) -> None:
    plain = made_scores(tmp_path / "plain.parquet", "plain", 5.0)
    better = made_scores(tmp_path / "better.parquet", "better", 7.0)
    printed = call.good("compare", plain, better, "--baseline", "plain", "--format", form)
    assert "better" in printed and "2.0" in printed
    assert "palin" in call.refused("compare", plain, better, "--baseline", "palin")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"trainnig": {"steps": 2}}, "trainnig: unknown key; did you mean 'training'?"),
        ({"training": {"stesp": 2}}, "training.stesp: unknown key; did you mean 'steps'?"),
        ({"training": {"steps": -1}}, "training.steps: "),
        ({"rate": 44_100}, "rate: "),
        ({"train": "elsewhere"}, "elsewhere"),
    ],
)
def test_bad_config_is_named_and_nothing_is_trained(call: Call, wrong: dict[str, Any], says: str) -> None:
    Path("config.json").write_text(json.dumps(CONFIG | wrong))
    line = call.refused("train", "config.json", "--out", "run", "--device", "cpu")
    assert says in line and ("config.json" in line or "train" in wrong)
    assert not Path("run").exists()


@pytest.mark.parametrize("name", ["orcale-psm", "mixtures", "results/runs/absent"])
def test_name_of_no_system_is_refused(call: Call, rendered: Path, name: str) -> None:
    line = call.refused("evaluate", "--model", name, "--mixtures", rendered, "--out", "out/scores.parquet")
    assert name in line and "oracle-psm" in line
    assert not Path("out").exists()


def test_mixtures_at_another_rate_are_refused(call: Call, made_corpus: Path, model: Path) -> None:
    call.good("mixtures", "draw", made_corpus / "test-clean", "drawn.csv", "--count", 1)
    arguments = ("--librispeech", made_corpus, "--out", "mixtures", "--rate", 16_000)
    folder = call.good("mixtures", "render", "drawn.csv", *arguments).strip()
    line = call.refused("evaluate", "--model", model, "--mixtures", folder, "--out", "scores.parquet")
    assert "16000 Hz" in line and "8000 Hz" in line
    assert not Path("scores.parquet").exists()


def test_a_run_is_scored_as_a_variant_of_other_separation(call: Call, rendered: Path, model: Path) -> None:
    Path("other.json").write_text(json.dumps(CONFIG | {"name": "other", "separation": {"overlap": 0.25}}))
    to = ("--mixtures", rendered, "--config", "other.json", "--out", "other/scores.parquet")
    call.good("evaluate", "--model", model, *to, "--device", "cpu")
    assert set(pd.read_parquet("other/scores.parquet")["variant"]) == {"other"}
    assert "--config: mixture has none" in call.refused("evaluate", "--model", "mixture", *to)
    assert "--config: estimates has none" in call.refused("evaluate", "--estimates", "estimates", *to)
    as_other = to[:4]
    call.good("estimate", "--model", model, *as_other, "--out", "estimates", "--device", "cpu")
    call.good("evaluate", "--estimates", "estimates", *to[:2], "--out", "two/scores.parquet")
    known, found = (pd.read_parquet(f"{name}/scores.parquet") for name in ("other", "two"))
    pd.testing.assert_frame_equal(found, known, check_exact=True)


def test_what_is_no_audio_is_refused(call: Call, model: Path) -> None:
    Path("text.wav").write_text("no audio at all")
    Path("folder.wav").mkdir()
    for name in ("text", "folder", "absent"):
        assert f"{name}.wav" in call.refused("separate", f"{name}.wav", "--model", model, "--out", "out")
    assert not Path("out").exists()


def test_channels_are_separated_each_by_itself_and_add_up(call: Call, model: Path) -> None:
    stereo = 0.1 * np.random.default_rng(0).standard_normal((11_025, 2))
    soundfile.write("talk.wav", stereo, 11_025, subtype="FLOAT")
    options = ("--each-channel", "--mixture-consistency", "--float")
    paths = call.good("separate", "talk.wav", "--model", model, "--out", "out", *options).split()
    assert paths == [f"out/talk_c{channel}_s{number}.wav" for channel in (1, 2) for number in (1, 2)]
    estimates = [soundfile.read(path)[0] for path in paths]
    for channel in (0, 1):
        np.testing.assert_allclose(sum(estimates[2 * channel : 2 * channel + 2]), stereo[:, channel], atol=1e-6)


def test_shards_of_an_evaluation_leave_the_table_to_the_last_call(call: Call, rendered: Path) -> None:
    command = ("evaluate", "--model", "mixture", "--mixtures", rendered, "--out", "run/scores.parquet")
    for shard in ("2/2", "1/2"):
        call.good(*command, "--shard", shard)
        assert not Path("run/scores.parquet").exists()
    call.good(*command)
    assert len(pd.read_parquet("run/scores.parquet")) == 2 * 2


def test_recordings_of_one_name_never_overwrite_each_other(call: Call, model: Path) -> None:
    for folder in ("one", "two"):
        Path(folder).mkdir()
        soundfile.write(f"{folder}/talk.wav", np.zeros(800), 8000)
    assert "talk" in call.refused("separate", "one/talk.wav", "two/talk.wav", "--model", model, "--out", "out")
    assert not Path("out").exists()


def test_a_recording_is_never_replaced_by_the_estimate_of_another(call: Call, model: Path) -> None:
    for name in ("talk.wav", "talk_s1.wav"):
        soundfile.write(name, np.zeros(800), 8000)
    before = Path("talk_s1.wav").read_bytes()
    both = ("separate", "talk.wav", "talk_s1.wav", "--model", model, "--device", "cpu", "--out")
    assert "talk_s1.wav" in call.refused(*both, ".") and Path("talk_s1.wav").read_bytes() == before
    assert len(call.good(*both, "out").split()) == 4


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\0\0\0\0\0\0\0{}      "])
def test_what_is_no_model_is_refused(call: Call, content: bytes) -> None:
    Path("model.safetensors").write_bytes(content)
    soundfile.write("talk.wav", np.zeros(8000), 8000)
    assert "model.safetensors" in call.refused("separate", "talk.wav", "--model", "model.safetensors", "--out", "out")
    assert not Path("out").exists()


def test_model_whose_weights_do_not_fit_its_config_is_refused(call: Call, model: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    weights.pop(next(iter(weights)))
    save_file(weights, "lacking.safetensors", metadata={"config": json.dumps(CONFIG)})
    soundfile.write("talk.wav", np.zeros(8000), 8000)
    assert "lacking.safetensors" in call.refused("separate", "talk.wav", "--model", "lacking.safetensors", "--out", "o")


def test_device_that_is_not_there_is_refused(call: Call, model: Path) -> None:
    soundfile.write("talk.wav", np.zeros(8000), 8000)
    assert "--device" in call.refused("separate", "talk.wav", "--model", model, "--out", "out", "--device", "gpu9")


def test_device_that_is_not_there_is_refused_for_training(call: Call, made_corpus: Path) -> None:
    for subset in ("train-clean", "dev-clean"):
        call.good("pack", made_corpus / subset, f"packed/{subset}", "--rate", 8000)
    Path("config.json").write_text(json.dumps(CONFIG))
    assert "gpu9" in call.refused("train", "config.json", "--out", "run", "--device", "gpu9")


def test_training_that_was_stopped_ends_with_a_status_of_its_own(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise Interrupted("run: stopped after step 3 of 10; repeat the command to resume")

    monkeypatch.setattr("audioslots.training.trainer.Trainer", stopped)
    Path("config.json").write_text(json.dumps(CONFIG))
    ended = call("train", "config.json", "--out", "run")
    message = "audioslots: run: stopped after step 3 of 10; repeat the command to resume\n"
    assert (ended.status, ended.err) == (75, message)
