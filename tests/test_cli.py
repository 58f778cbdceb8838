"""The command line: bad input is one line and status 2, never a traceback, never half an output; good input works."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from audioslots.cli import main
from audioslots.config import Resolved
from audioslots.errors import Interrupted
from audioslots.model.audioslots import AudioSlots
from audioslots.model.weights import save_model
from audioslots.scoring.evaluate import COLUMNS, SCORE_COLUMNS

CONFIG: dict[str, Any] = {
    "name": "tiny",
    "benchmark": "made",
    "seed": 0,
    "rate": 8000,
    "sources": 2,
    "train": "packed/train-clean",
    "validation": "packed/dev-clean",
    "held_out_speakers": 0,
    "data_identity": "made",
    "chunk_s": 0.25,
    "spectrogram": {"window": 128, "hop": 64},
    "encoder": {"kind": "frames", "width": 16, "layers": 1, "heads": 2, "mlp": 16},
    "slots": {"layers": 1},
    "decoder": {"width": 16, "layers": 1},
    "training": {"steps": 2, "batch": 2, "validation_mixtures": 2},
}


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


class Call:
    """The command line in this process: ``call("pack", ...)``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> Ended:
        self.monkeypatch.setattr(sys, "argv", ["audioslots", *map(str, arguments)])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self.capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    def good(self, *arguments: object) -> str:
        ended = self(*arguments)
        assert ended.status == 0, ended.err
        return ended.out

    def refused(self, *arguments: object) -> str:
        """The one line that says why."""
        ended = self(*arguments)
        assert ended.status == 2, ended
        assert ended.err.startswith("audioslots: ") and ended.err.count("\n") == 1 and ended.err.endswith("\n"), ended
        return ended.err


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    monkeypatch.chdir(tmp_path)
    return Call(monkeypatch, capsys)


@pytest.fixture
def corpus(made_corpus: Path, tmp_path: Path) -> Path:
    """A copy of the made corpus' test subset, to be damaged."""
    shutil.copytree(made_corpus / "test-clean", tmp_path / "corpus" / "test-clean")
    shutil.copy(made_corpus / "SPEAKERS.TXT", tmp_path / "corpus")
    return tmp_path / "corpus"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with an untrained model."""
    config = Resolved.model_validate(CONFIG)
    torch.manual_seed(0)
    run = tmp_path_factory.mktemp("run")
    save_model(run / "model.safetensors", AudioSlots(config, config.chunk), config)
    return run


@pytest.fixture(scope="module")
def rendered(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished folder of two mixtures, as ``evaluate`` wants it."""
    from audioslots.data.metadata import draw, write_metadata
    from audioslots.data.rendering import render

    folder = tmp_path_factory.mktemp("rendered")
    write_metadata(draw(made_corpus, "test-clean", 2, 2, 0), folder / "metadata.csv")
    return render(folder / "metadata.csv", made_corpus, folder, 8000, "min")


def truncate(corpus: Path) -> Path:
    path = sorted(corpus.rglob("*.flac"))[3]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# --- good paths ----------------------------------------------------------------------------------------------------


def test_from_corpus_to_mixtures_and_packed_speech(call: Call, made_corpus: Path, tmp_path: Path) -> None:
    assert "no problem found" in call.good("corpus", "check", made_corpus)
    printed = call.good("mixtures", "draw", made_corpus / "test-clean", "drawn.csv", "--count", 3, "--seed", 4)
    assert "mixtures: 3" in printed
    assert json.loads(Path("drawn.json").read_text())["mixtures"] == 3
    assert call.good("corpus", "check", made_corpus, "--against", "drawn.csv")
    arguments = ("mixtures", "render", "drawn.csv", "--librispeech", made_corpus, "--out", "mixtures", "--rate", 8000)
    folder = Path(call.good(*arguments).strip())
    assert folder == Path("mixtures/Libri2Mix/wav8k/min/test")
    assert [len(list((folder / name).glob("*.wav"))) for name in ("mix_clean", "s1", "s2")] == [3, 3, 3]
    assert call.good(*arguments).strip() == str(folder)  # finished: verified, left alone
    for _ in range(2):
        call.good("pack", made_corpus / "dev-clean", "packed", "--rate", 8000)
    assert files(tmp_path / "packed") == ["index.csv", "manifest.json", "speech.i16"]


def test_official_rows_are_kept_where_their_sources_are(call: Call, made_corpus: Path, corpus: Path) -> None:
    call.good("mixtures", "draw", made_corpus / "test-clean", "drawn.csv", "--count", 6)
    missing = pd.read_csv("drawn.csv")["source_1_path"][0]
    (corpus / missing).unlink()
    call.good("mixtures", "select", "drawn.csv", "kept.csv", "--librispeech", corpus)
    kept = pd.read_csv("kept.csv")
    assert 0 < len(kept) < 6 and missing not in kept.to_numpy()
    shutil.rmtree(corpus / "test-clean")
    assert "no row has all its sources" in call.refused(
        *("mixtures", "select", "drawn.csv", "none.csv", "--librispeech", corpus)
    )
    assert not Path("none.csv").exists()


def test_training_separation_and_evaluation(call: Call, made_corpus: Path, rendered: Path) -> None:
    for subset in ("train-clean", "dev-clean"):
        call.good("pack", made_corpus / subset, f"packed/{subset}", "--rate", 8000)
    Path("config.json").write_text(json.dumps(CONFIG | {"test": str(rendered)}))
    call.good("train", "config.json", "--out", "run", "--device", "cpu")
    assert json.loads(Path("run/system.json").read_text())["command"].startswith("audioslots train config.json")
    recording = next((rendered / "mix_clean").glob("*.wav"))
    written = call.good("separate", recording, "--model", "run", "--out", "estimates", "--device", "cpu").split()
    assert written == [f"estimates/{recording.stem}_s{number}.wav" for number in (1, 2)]
    call.good("evaluate", "--model", "run", "--mixtures", rendered, "--out", "run/scores.parquet", "--device", "cpu")
    scores = pd.read_parquet("run/scores.parquet")
    assert set(scores["variant"]) == {"tiny"} and len(scores) == 2 * 2 * 2


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


@pytest.mark.parametrize("form", ["terminal", "md", "tex"])
def test_compare_says_how_far_a_variant_is_from_the_baseline(call: Call, tmp_path: Path, form: str) -> None:
    plain = made_scores(tmp_path / "plain.parquet", "plain", 5.0)
    better = made_scores(tmp_path / "better.parquet", "better", 7.0)
    printed = call.good("compare", plain, better, "--baseline", "plain", "--format", form)
    assert "better" in printed and "2.0" in printed
    assert "palin" in call.refused("compare", plain, better, "--baseline", "palin")


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bogus"], "bogus"),
        (["corpus", "bogus"], "bogus"),
        (["pack", "--bogus", "1"], "--bogus"),
        (["pack", "speech"], "out"),
        (["pack", "speech", "out", "--rate", "fast"], "--rate"),
        (["mixtures", "draw", "a", "b.csv", "--count", "0"], "--count"),
        (["corpus", "synthesize", "a", "--speakers", "1", "--hours", "1"], "speakers"),
        (["corpus", "synthesize", "a", "--speakers", "12", "--hours", "nan"], "hours"),
        (["corpus", "synthesize", "a", "--speakers", "12", "--hours", "1", "--seed", "-1"], "seed"),
        (["mixtures", "render", "a.csv", "--librispeech", "b", "--out", "c", "--rate", "8000", "--mode", "mid"], "mid"),
        (["evaluate", "--model", "mixture", "--mixtures", "a", "--out", "b", "--jobs", "0"], "--jobs"),
        (["evaluate", "--model", "mixture", "--mixtures", "a", "--out", "b", "--shard", "3/2"], "--shard"),
        (["evaluate", "--model", "mixture", "--mixtures", "a", "--out", "b", "--shard", "0/2"], "--shard"),
    ],
)
def test_usage_error_is_one_line(call: Call, arguments: list[str], says: str) -> None:
    assert says in call.refused(*arguments).lower()
    assert files(Path()) == []


def test_negative_seed_is_refused(call: Call, made_corpus: Path) -> None:
    line = call.refused("mixtures", "draw", made_corpus / "test-clean", "out.csv", "--count", 2, "--seed", -1)
    assert "seed" in line
    assert files(Path()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["corpus", "check", "absent"],
        ["corpus", "check", "present", "--against", "absent"],
        ["mixtures", "draw", "absent/test-clean", "out/drawn.csv", "--count", "2"],
        ["mixtures", "select", "absent", "out/kept.csv", "--librispeech", "present"],
        ["mixtures", "render", "absent", "--librispeech", "present", "--out", "out", "--rate", "8000"],
        ["pack", "absent/train-clean", "out", "--rate", "8000"],
        ["train", "absent", "--out", "out"],
        ["separate", "present/talk.wav", "--model", "absent", "--out", "out"],
        ["evaluate", "--model", "mixture", "--mixtures", "absent", "--out", "out/scores.parquet"],
        ["compare", "absent", "--baseline", "plain"],
        ["report", "absent", "--out", "out"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_input_that_is_not_there_is_named(call: Call, corpus: Path, arguments: list[str]) -> None:
    corpus.rename("present")
    assert "absent" in call.refused(*arguments)
    assert not Path("out").exists()


def test_truncated_speech_is_named_and_leaves_nothing_finished(call: Call, corpus: Path) -> None:
    call.good("mixtures", "draw", corpus / "test-clean", "drawn.csv", "--count", 6)
    damaged = truncate(corpus)
    assert damaged.name in call("corpus", "check", corpus).out
    assert "1 problems" in call.refused("corpus", "check", corpus)
    assert str(damaged) in call.refused("pack", corpus / "test-clean", "packed", "--rate", 8000)
    assert files(Path("packed")) == ["unfinished.csv", "unfinished.i16"]
    render = ("mixtures", "render", "drawn.csv", "--librispeech", corpus, "--out", "mixtures", "--rate", 8000)
    used = pd.read_csv("drawn.csv").filter(like="_path").to_numpy().ravel()
    assert damaged.relative_to(corpus).as_posix() in used
    for _ in range(2):  # what an interrupted run left is no excuse
        assert str(damaged) in call.refused(*render, "--mode", "max")
    assert "manifest.json" not in files(Path("mixtures"))
    assert not [name for name in files(Path("mixtures")) if ".tmp" in name]


def test_row_without_its_file_is_named_before_anything_is_rendered(call: Call, corpus: Path) -> None:
    call.good("mixtures", "draw", corpus / "test-clean", "drawn.csv", "--count", 3)
    missing = pd.read_csv("drawn.csv")["source_2_path"][1]
    (corpus / missing).unlink()
    line = call.refused("mixtures", "render", "drawn.csv", "--librispeech", corpus, "--out", "mixtures", "--rate", 8000)
    assert "row 2" in line and missing in line
    assert not Path("mixtures").exists()


@pytest.mark.parametrize("rate", [0, -8000, 11_025, 44_100])
def test_rate_that_is_neither_8000_nor_16000_is_refused(call: Call, made_corpus: Path, rate: int) -> None:
    assert str(rate) in call.refused("pack", made_corpus / "dev-clean", "packed", "--rate", rate)
    assert not Path("packed").exists()
    call.good("mixtures", "draw", made_corpus / "test-clean", "drawn.csv", "--count", 2)
    render = ("mixtures", "render", "drawn.csv", "--librispeech", made_corpus, "--out", "mixtures", "--rate", rate)
    assert str(rate) in call.refused(*render)
    assert not Path("mixtures").exists()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"trainnig": {"steps": 2}}, "trainnig: unknown key; did you mean 'training'?"),
        ({"training": {"stesp": 2}}, "training.stesp: unknown key; did you mean 'steps'?"),
        ({"training": {"steps": 0}}, "training.steps: "),
        ({"rate": 44_100}, "rate: "),
        ({"train": "elsewhere"}, "elsewhere"),
    ],
)
def test_bad_config_is_named_and_nothing_is_trained(call: Call, wrong: dict[str, Any], says: str) -> None:
    Path("config.json").write_text(json.dumps(CONFIG | wrong))
    line = call.refused("train", "config.json", "--out", "run", "--device", "cpu")
    assert says in line and ("config.json" in line or "train" in wrong)
    assert not Path("run").exists()


def test_speakers_of_the_test_mixtures_are_never_trained_on(call: Call, made_corpus: Path, rendered: Path) -> None:
    for subset in ("test-clean", "dev-clean"):
        call.good("pack", made_corpus / subset, f"packed/{subset}", "--rate", 8000)
    Path("config.json").write_text(json.dumps(CONFIG | {"train": "packed/test-clean", "test": str(rendered)}))
    assert "is in the test set too" in call.refused("train", "config.json", "--out", "run", "--device", "cpu")
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


def test_what_is_no_audio_is_refused(call: Call, model: Path) -> None:
    Path("text.wav").write_text("no audio at all")
    Path("folder.wav").mkdir()
    for name in ("text", "folder", "absent"):
        assert f"{name}.wav" in call.refused("separate", f"{name}.wav", "--model", model, "--out", "out")
    assert not Path("out").exists()


def test_channels_are_separated_each_by_itself_and_add_up(call: Call, model: Path) -> None:
    stereo = 0.1 * np.random.default_rng(0).standard_normal((11_025, 2))
    soundfile.write("talk.wav", stereo, 11_025, subtype="FLOAT")
    options = ("--each-channel", "--sum-consistent", "--float")
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


@pytest.mark.parametrize("verb", ["draw", "render", "pack", "train", "separate", "evaluate", "report"])
def test_output_that_cannot_be_written_is_named(
    call: Call, made_corpus: Path, rendered: Path, model: Path, verb: str
) -> None:
    """A file stands where a folder is wanted: refused for every user, root too."""
    Path("file").write_text("mine")
    call.good("mixtures", "draw", made_corpus / "test-clean", "drawn.csv", "--count", 1)
    if verb == "train":
        for subset in ("train-clean", "dev-clean"):
            call.good("pack", made_corpus / subset, f"packed/{subset}", "--rate", 8000)
        Path("config.json").write_text(json.dumps(CONFIG))
    if verb == "report":
        Path("results").mkdir()
    soundfile.write("talk.wav", np.zeros(8000), 8000)
    arguments: dict[str, list[object]] = {
        "draw": ["mixtures", "draw", made_corpus / "test-clean", "file/drawn.csv", "--count", 1],
        "render": ["mixtures", "render", "drawn.csv", "--librispeech", made_corpus, "--rate", 8000, "--out", "file/x"],
        "pack": ["pack", made_corpus / "dev-clean", "file/x", "--rate", 8000],
        "train": ["train", "config.json", "--out", "file/run", "--device", "cpu"],
        "separate": ["separate", "talk.wav", "--model", model, "--out", "file/x"],
        "evaluate": ["evaluate", "--model", "mixture", "--mixtures", rendered, "--out", "file/scores.parquet"],
        "report": ["report", "results", "--out", "file/x"],
    }
    call.refused(*arguments[verb])
    assert Path("file").read_text() == "mine"


def test_device_that_is_not_there_is_refused(call: Call, model: Path) -> None:
    soundfile.write("talk.wav", np.zeros(8000), 8000)
    assert "--device" in call.refused("separate", "talk.wav", "--model", model, "--out", "out", "--device", "gpu9")


def test_device_that_is_not_there_is_refused_for_training(call: Call, made_corpus: Path) -> None:
    for subset in ("train-clean", "dev-clean"):
        call.good("pack", made_corpus / subset, f"packed/{subset}", "--rate", 8000)
    Path("config.json").write_text(json.dumps(CONFIG))
    assert "gpu9" in call.refused("train", "config.json", "--out", "run", "--device", "gpu9")


# --- other ends ----------------------------------------------------------------------------------------------------


def test_training_that_was_stopped_ends_with_a_status_of_its_own(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise Interrupted("run: stopped after step 3 of 10; run again to go on")

    monkeypatch.setattr("audioslots.training.trainer.Trainer", stopped)
    Path("config.json").write_text(json.dumps(CONFIG))
    ended = call("train", "config.json", "--out", "run")
    assert (ended.status, ended.err) == (75, "audioslots: run: stopped after step 3 of 10; run again to go on\n")


def test_ctrl_c_shows_no_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("audioslots.data.corpus.check", pressed)
    ended = call("corpus", "check", "somewhere")
    assert ended.status == 130 and "Traceback" not in ended.err


@pytest.mark.parametrize("arguments", [["--help"], ["mixtures", "--help"], ["separate", "--help"]])
def test_help_is_printed(call: Call, arguments: list[str]) -> None:
    printed = call.good(*arguments)
    assert printed.startswith("Usage: ") and "audioslots" in printed and "--help" in printed


def test_command_as_installed(tmp_path: Path) -> None:
    """Help is quick, since the verbs import what they need; and a refusal looks the same from a shell."""
    script = Path(sys.executable).parent / "audioslots"
    helped = subprocess.run([script], capture_output=True, text=True, cwd=tmp_path)
    assert "separate" in helped.stdout + helped.stderr and "Traceback" not in helped.stderr
    refused = subprocess.run([script, "corpus", "check", "absent"], capture_output=True, text=True, cwd=tmp_path)
    assert refused.returncode == 2 and refused.stdout == ""
    assert refused.stderr.startswith("audioslots: absent") and refused.stderr.count("\n") == 1


def test_command_line_starts_without_torch() -> None:
    code = "import sys, audioslots.cli; sys.exit(bool({'torch', 'pandas', 'scipy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
