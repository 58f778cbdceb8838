"""Every verb: wrong usage, places that are missing or cannot be written, help, interruption."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from calling import CONFIG, Call, files


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bogus"], "bogus"),
        (["corpus", "bogus"], "bogus"),
        (["results", "bogus"], "bogus"),
        (["pack", "--bogus", "1"], "--bogus"),
        (["pack", "speech"], "out"),
        (["pack", "speech", "out", "--rate", "fast"], "--rate"),
        (["mixtures", "draw", "a", "b.csv", "--count", "0"], "--count"),
        (["corpus", "synthesize", "a", "--speakers", "1", "--hours", "1"], "speakers"),
        (["corpus", "synthesize", "a", "--speakers", "12", "--hours", "nan"], "hours"),
        (["corpus", "synthesize", "a", "--speakers", "12", "--hours", "1", "--seed", "-1"], "seed"),
        (["mixtures", "render", "a.csv", "--librispeech", "b", "--out", "c", "--rate", "8000", "--mode", "mid"], "mid"),
        (["evaluate", "--mixtures", "a", "--out", "b"], "--model and --estimates; expected one of the two"),
        (["evaluate", "--model", "mixture", "--estimates", "c", "--mixtures", "a", "--out", "b"], "one of the two"),
        (["evaluate", "--model", "mixture", "--mixtures", "a", "--out", "b", "--jobs", "0"], "--jobs"),
        (["evaluate", "--model", "mixture", "--mixtures", "a", "--out", "b", "--shard", "3/2"], "--shard"),
        (["evaluate", "--model", "mixture", "--mixtures", "a", "--out", "b", "--shard", "0/2"], "--shard"),
    ],
)
def test_usage_error_is_one_line(call: Call, arguments: list[str], says: str) -> None:
    assert says in call.refused(*arguments).lower()
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
        ["estimate", "--model", "absent", "--mixtures", "present", "--out", "out"],
        ["evaluate", "--model", "mixture", "--mixtures", "absent", "--out", "out/scores.parquet"],
        ["evaluate", "--estimates", "absent", "--mixtures", "present", "--out", "out/scores.parquet"],
        ["compare", "absent", "--baseline", "plain"],
        ["report", "absent", "--out", "out"],
        ["results", "publish", "absent", "--out", "out"],
        ["results", "render", "absent"],
        ["results", "unpack", "absent", "--out", "out"],
        ["plan", "absent.yaml"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_input_that_is_not_there_is_named(call: Call, corpus: Path, arguments: list[str]) -> None:
    corpus.rename("present")
    assert "absent" in call.refused(*arguments)
    assert not Path("out").exists()


@pytest.mark.parametrize("verb", ["draw", "render", "pack", "train", "separate", "estimate", "evaluate", "report"])
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
        "estimate": ["estimate", "--model", model, "--mixtures", rendered, "--out", "file/x", "--device", "cpu"],
        "evaluate": ["evaluate", "--model", "mixture", "--mixtures", rendered, "--out", "file/scores.parquet"],
        "report": ["report", "results", "--out", "file/x"],
    }
    call.refused(*arguments[verb])
    assert Path("file").read_text() == "mine"


def test_ctrl_c_shows_no_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("audioslots.data.corpora.corpus.check", pressed)
    ended = call("corpus", "check", "somewhere")
    assert ended.status == 130 and "Traceback" not in ended.err


@pytest.mark.parametrize(
    "arguments", [["--help"], ["mixtures", "--help"], ["results", "--help"], ["separate", "--help"]]
)
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
