"""Every command that fills a folder is one stage of it: another process, another request, other code, ``--overwrite``.

That each is killed and resumed to the undisturbed result is tested in the rooms of what it calls; that a larger test
set trains nothing, in tests/test_workflow.py.
"""

from __future__ import annotations

import io
import json
import shutil
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from calling import CONFIG, Call

from audioslots.runtime import stage
from audioslots.runtime.stage import Stage

RENDERED = "mixtures/Libri2Mix/wav8k/min/test"


class Command(NamedTuple):
    """A command, the stage that it opens in a folder, a file it makes there, and how it is asked for something else."""

    words: str
    folder: str
    stage: str
    makes: str = ""
    other: tuple[str, str] = ("", "")
    differs: str = ""


COMMANDS = {
    "synthesize": Command(
        *("corpus synthesize made --speakers 12 --hours 0.02", "made", "synthesize", "manifest.json"),
        *(("0.02", "0.03"), "hours is 0.02; expected 0.03"),
    ),
    "pack": Command(
        *("corpus pack corpus/dev-clean packed/dev-clean --rate 8000", "packed/dev-clean", "pack", "speech.i16"),
        *(("8000", "16000"), "rate is 8000; expected 16000"),
    ),
    "render": Command(
        *("mixtures render a.csv --librispeech corpus --out mixtures --rate 8000", RENDERED, "render"),
        *("manifest.json", ("a.csv", "b.csv"), "metadata"),
    ),
    "train": Command(
        *("train config.json --out run --device cpu", "run", "train", "model.safetensors"),
        *(("config.json", "longer.json"), "training.steps is 2; expected 3"),
    ),
    "separate-set": Command(
        f"separate-set --model run --separation-config config.json --mixtures {RENDERED} --out two/estimates",
        *("two", "estimates", "estimates/manifest.json"),
        *(("config.json", "other.json"), "variant is tiny; expected other"),
    ),
    "evaluate": Command(
        *(f"evaluate --model mixture --mixtures {RENDERED} --out scored/scores.parquet --examples 1", "scored"),
        *("scores", "scores.parquet", ("--examples 1", "--examples 0"), "examples is 1; expected 0"),
    ),
}
NOT_RESUMED = {  # made again every time, or of nothing that could differ
    "report": Command("report results --out results", "results", "report"),
    "publish": Command("results publish results --out reference", "reference", "made"),
    "metadata": Command("mixtures download LibriMix", "LibriMix/metadata", "fetch"),
    "download": Command("corpus download LibriSpeech --subset dev-clean", "LibriSpeech", "download-dev-clean"),
}
every_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@pytest.fixture(scope="module")
def made(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command has been called once."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(made_corpus, folder / "corpus")
    longer = {"training": CONFIG["training"] | {"steps": 3}}
    for name, delta in (("config", {}), ("longer", longer), ("other", {"name": "other"})):
        (folder / f"{name}.json").write_text(json.dumps(CONFIG | delta))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        call = Call(patch)
        for name, count in (("a", 2), ("b", 3)):
            call.good("mixtures", "sample", "corpus/test-clean", f"{name}.csv", "--count", count)
        call.good("corpus", "pack", "corpus/train-clean", "packed/train-clean", "--rate", 8000)
        for command in COMMANDS.values():
            call.good(*command.words.split())
        shutil.copytree("scored", "results/runs/mixture/seed0")
        words = {"name": "made", "title": "Made", "test_description": "two mixtures", "train_description": "nothing"}
        described = words | {"variants": ["mixture"], "seeds": [0], "studies": []}
        Path("results/benchmark.json").write_text(json.dumps(described))
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, call: Call) -> Path:
    """A copy of it, where the command line is called."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def age(command: Command) -> int:
    return (Path(command.folder) / command.makes).stat().st_mtime_ns


@pytest.mark.parametrize("command", [*COMMANDS.values(), *NOT_RESUMED.values()], ids=[*COMMANDS, *NOT_RESUMED])
def test_a_second_process_is_refused(command: Command, here: Path, call: Call) -> None:
    with Stage(Path(command.folder), command.stage, {}, ()).locked():
        assert f"{command.folder}: another process works there" in call.refused(*command.words.split())


def test_with_wait_a_second_process_waits_and_finds_the_work_done(
    here: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, held, waiting = COMMANDS["pack"], threading.Event(), threading.Event()
    before = age(command)

    class Errors(io.StringIO):
        def write(self, text: str) -> int:
            if "waiting for another process" in text:
                waiting.set()
            return super().write(text)

    def hold() -> None:
        with Stage(Path(command.folder), command.stage, {}, ()).locked():
            held.set()
            waiting.wait(60)

    monkeypatch.setattr(stage, "LOOK_S", 0.01)
    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(60)
    ended = call("--wait", *command.words.split(), err=Errors())
    assert waiting.is_set() and ended.status == 0 and age(command) == before
    holder.join()


@every_command
def test_another_request_is_refused_with_what_differs_or_overwritten(command: Command, here: Path, call: Call) -> None:
    before, other = age(command), command.words.replace(*command.other).split()
    line = call.refused(*other)
    assert f"{command.folder}/{command.stage}.stage.json: {command.differs}" in line and "or --overwrite" in line
    assert age(command) == before
    call.good("--overwrite", *other)
    made = age(command)
    assert made > before
    call.good(*other)
    assert age(command) == made, "the second request is now the folder's own"


@every_command
def test_what_other_code_made_is_kept_with_a_message_or_overwritten(command: Command, here: Path, call: Call) -> None:
    note, before = Path(command.folder) / f"{command.stage}.stage.json", age(command)
    note.write_text(json.dumps(json.loads(note.read_text()) | {"code": "another", "commit": "abc"}))
    kept = call(*command.words.split())
    assert kept.status == 0 and "made by other code (commit abc); kept; --overwrite makes it again\n" in kept.err
    assert age(command) == before
    call.good("--overwrite", *command.words.split())
    made = age(command)
    assert made > before and json.loads(note.read_text())["code"] != "another"
    assert "other code" not in call("--overwrite", *command.words.split()).err
    assert age(command) == made, "what this code made is not made again"
