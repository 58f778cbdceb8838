"""Every command: wrong usage, places that are missing or cannot be written, old names, help, interruption."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from calling import Call, files

from audioslots import __version__
from audioslots.cli.aliases import COMMANDS, OPTIONS

EVALUATE = "evaluate --mixtures a --out b"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("bogus", "bogus"),
        ("corpus bogus", "bogus"),
        ("corpus pack --bogus 1", "--bogus"),
        ("corpus pack speech", "out"),
        ("corpus pack speech out --rate fast", "--rate"),
        ("corpus pack speech out --rate 44100", "44100"),
        ("corpus download out --subset test", "no subset 'test' in librispeech"),
        ("corpus download out --subset test-clean --url nowhere", "not a url"),
        ("mixtures download out --subset test", "librimix has no 'test'"),
        ("mixtures download out --from absent", "--from: no "),
        ("corpus synthesize a --speakers 1 --hours 1", "speakers"),
        ("corpus synthesize a --speakers 12 --hours nan", "hours"),
        ("corpus synthesize a --speakers 12 --hours 1 --seed -1", "seed"),
        ("mixtures sample a b.csv --count 0", "--count"),
        ("mixtures sample a b.csv --count 1 --num-speakers 1,x", "--num-speakers: 1,x; expected"),
        ("mixtures render a.csv --librispeech b --out c --rate 8000 --mode mid", "mid"),
        ("separate a.wav --out b --num-speakers many", "--num-speakers: many; expected"),
        (EVALUATE, "give exactly one of --model and --estimates"),
        (f"{EVALUATE} --model mixture --estimates c", "give exactly one of --model and --estimates"),
        (f"{EVALUATE} --model mixture --jobs 0", "--jobs"),
        (f"{EVALUATE} --model mixture --shard 3/2", "--shard"),
        (f"{EVALUATE} --model mixture --name other", "--name"),
        (f"{EVALUATE} --estimates c --cost delay_ms=1", "--cost"),
    ],
)
def test_usage_error_is_one_line(call: Call, arguments: str, says: str) -> None:
    assert says in call.refused(*arguments.split()).lower()
    assert files(Path()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        "corpus check absent",
        "corpus check present --against absent",
        "corpus pack absent/train-clean out --rate 8000",
        "mixtures sample absent/test-clean out/drawn.csv --count 2",
        "mixtures select absent out/kept.csv --librispeech present",
        "mixtures render absent --librispeech present --out out --rate 8000",
        "train absent --out out",
        "separate present/talk.wav --model absent --out out",
        "separate absent --out out",
        "separate-set --model absent --mixtures present --out out",
        "evaluate --model mixture --mixtures absent --out out/scores.parquet",
        "evaluate --estimates absent --mixtures present --out out/scores.parquet",
        "compare absent --baseline plain",
        "report absent --out out",
        "results publish absent --out out",
        "results render absent",
        "results unpack absent --out out",
        "cost absent.yaml",
    ],
)
def test_input_that_is_not_there_is_named(call: Call, corpus: Path, arguments: str) -> None:
    corpus.rename("present")
    assert "absent" in call.refused(*arguments.split())
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        "mixtures sample {corpus}/test-clean file/drawn.csv --count 1",
        "mixtures render {rendered}/../../../../../metadata.csv --librispeech {corpus} --rate 8000 --out file/x",
        "corpus pack {corpus}/dev-clean file/x --rate 8000",
        "train config.json --out file/run --device cpu",
        "separate talk.wav --model {model} --out file/x",
        "separate-set --model {model} --mixtures {rendered} --out file/x --device cpu",
        "evaluate --model mixture --mixtures {rendered} --out file/scores.parquet",
        "report results --out file/x",
    ],
)
def test_output_that_cannot_be_written_is_named(
    call: Call, made_corpus: Path, config: Path, rendered: Path, model: Path, arguments: str
) -> None:
    """A file stands where a folder is wanted: refused for every user, root too."""
    Path("file").write_text("mine")
    Path("results").mkdir()
    soundfile.write("talk.wav", np.zeros(8000), 8000)
    call.refused(*arguments.format(corpus=made_corpus, rendered=rendered, model=model).split())
    assert Path("file").read_text() == "mine"


@pytest.mark.parametrize(("old", "new"), COMMANDS.items())
def test_the_old_name_of_a_command_works_with_a_warning(call: Call, old: str, new: str) -> None:
    ended = call("--wait", *old.split(), "--help")
    assert ended.status == 0 and ended.out.startswith(f"Usage: audioslots {new} ")
    assert ended.err == f"audioslots: {old} is now {new}; the old name goes in the next release\n"
    assert f"\n  {old} " not in call.good("--help"), "hidden"


@pytest.mark.parametrize(
    "arguments",
    [
        "--fresh separate",
        "separate --sources 2",
        "mixtures sample --sources=2",
        "train --devices 2",
        "cost --card h100",
        "evaluate --config a.json",
    ],
)
def test_the_old_name_of_an_option_works_with_a_warning(call: Call, arguments: str) -> None:
    (old,) = (option for option in OPTIONS if option in arguments)
    ended = call(*arguments.split(), "--help")
    assert ended.status == 0 and f"{old} " not in ended.out
    assert ended.err == f"audioslots: {old} is now {OPTIONS[old]}; the old name goes in the next release\n"


def test_help_lists_the_commands_in_groups(call: Call) -> None:
    assert call.good("--version") == f"audioslots {__version__}\n"
    printed = call.good("--help")
    assert printed.startswith("Usage: audioslots ") and "..." not in printed.partition("Use a model:")[2]
    places = [printed.index(f"\n{group}:\n") for group in ("Use a model", "Make data", "Train", "Report", "Maintain")]
    assert places == sorted(places)


def test_ctrl_c_shows_no_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("audioslots.data.corpora.corpus.check", pressed)
    ended = call("corpus", "check", "somewhere")
    assert ended.status == 130 and "Traceback" not in ended.err


def test_command_as_installed(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "audioslots"
    refused = subprocess.run([script, "corpus", "check", "absent"], capture_output=True, text=True, cwd=tmp_path)
    assert refused.returncode == 2 and refused.stdout == ""
    assert refused.stderr.startswith("audioslots: absent") and refused.stderr.count("\n") == 1


def test_command_line_starts_without_torch() -> None:
    code = "import sys, audioslots.cli; sys.exit(bool({'torch', 'pandas', 'scipy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
