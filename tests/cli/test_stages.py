"""Every verb that fills a folder is one stage of it: twins, another request, other code, ``--fresh``.

That each is killed and resumed to the undisturbed result is in tests/data/test_synthesis.py,
tests/data/test_packing_interrupted.py, tests/data/test_rendering_endurance.py, tests/data/test_download.py,
tests/training/test_training_endurance.py, tests/scoring/test_estimates.py and tests/scoring/test_evaluation_parts.py;
that a larger test set trains nothing, in tests/test_workflow.py.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from calling import CONFIG, Call

from audioslots.runtime import stage
from audioslots.runtime.stage import Stage


@dataclass(frozen=True)
class Verb:
    """A verb, the stage that it is, and how it is asked for something else."""

    words: str
    folder: str
    stage: str
    makes: str
    other: tuple[str, str] = ("", "")
    differs: str = ""


RENDERED = "mixtures/Libri2Mix/wav8k/min/test"
VERBS = {
    "synthesize": Verb(
        *("corpus synthesize made --speakers 12 --hours 0.02", "made", "synthesize", "manifest.json"),
        *(("0.02", "0.03"), "hours is 0.02; expected 0.03"),
    ),
    "pack": Verb(
        *("pack corpus/dev-clean packed/dev-clean --rate 8000", "packed/dev-clean", "pack", "speech.i16"),
        *(("8000", "16000"), "rate is 8000; expected 16000"),
    ),
    "render": Verb(
        *("mixtures render a.csv --librispeech corpus --out mixtures --rate 8000", RENDERED, "render"),
        *("manifest.json", ("a.csv", "b.csv"), "metadata"),
    ),
    "train": Verb(
        *("train config.json --out run --device cpu", "run", "train", "model.safetensors"),
        *(("config.json", "longer.json"), "training.steps is 2; expected 3"),
    ),
    "estimate": Verb(
        *(f"estimate --model run --config config.json --mixtures {RENDERED} --out two/estimates --device cpu", "two"),
        *("estimates", "estimates/manifest.json", ("config.json", "other.json"), "variant is tiny; expected other"),
    ),
    "evaluate": Verb(
        *(f"evaluate --model mixture --mixtures {RENDERED} --out scored/scores.parquet --examples 1", "scored"),
        *("scores", "scores.parquet", ("--examples 1", "--examples 0"), "examples is 1; expected 0"),
    ),
}
NOT_RESUMED = {  # made again every time, or of nothing that could differ
    "report": Verb("report results --out results", "results", "report", "index.html"),
    "publish": Verb("results publish results --out reference", "reference", "made", ""),
    "fetch": Verb("mixtures fetch LibriMix", "LibriMix/metadata", "fetch", ""),
    "download": Verb("corpus download LibriSpeech --subset dev-clean", "LibriSpeech", "download-dev-clean", ""),
}


@pytest.fixture(scope="module")
def made(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every verb has been called once."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(made_corpus, folder / "corpus")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    longer = CONFIG | {"training": CONFIG["training"] | {"steps": 3}}
    (folder / "longer.json").write_text(json.dumps(longer))
    (folder / "other.json").write_text(json.dumps(CONFIG | {"name": "other"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        call = Call(patch)
        for name, count in (("a", 2), ("b", 3)):
            call.good("mixtures", "draw", "corpus/test-clean", f"{name}.csv", "--count", count)
        call.good("pack", "corpus/train-clean", "packed/train-clean", "--rate", 8000)
        for verb in VERBS.values():
            call.good(*verb.words.split())
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


def lock(verb: Verb) -> Stage:
    return Stage(Path(verb.folder), verb.stage, {}, ())


def age(verb: Verb) -> int:
    return (Path(verb.folder) / verb.makes).stat().st_mtime_ns


@pytest.mark.parametrize("verb", [*VERBS.values(), *NOT_RESUMED.values()], ids=[*VERBS, *NOT_RESUMED])
def test_a_twin_is_refused(verb: Verb, here: Path, call: Call) -> None:
    with lock(verb).locked():
        assert f"{verb.folder}: another process works there" in call.refused(*verb.words.split())


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_a_twin_waits_and_finds_the_work_done(
    verb: Verb, here: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, held, ended, sleep = age(verb), threading.Event(), threading.Event(), time.sleep

    def look(seconds: float) -> None:
        ended.set()  # the verb waits, so the other may end
        sleep(0.01)

    def hold() -> None:
        with lock(verb).locked():
            held.set()
            ended.wait(60)

    monkeypatch.setattr(stage.time, "sleep", look)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(60)
    waited = call("--wait", *verb.words.split())
    ended.set()
    holder.join()
    assert waited.status == 0 and f"{verb.folder}: waiting for another process" in waited.err, waited
    assert age(verb) == before


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_another_request_is_refused_with_what_differs_and_made_with_fresh(verb: Verb, here: Path, call: Call) -> None:
    before, other = age(verb), verb.words.replace(*verb.other).split()
    line = call.refused(*other)
    assert f"{verb.folder}/{verb.stage}.stage.json: {verb.differs}" in line and "or --fresh" in line
    assert age(verb) == before
    call.good("--fresh", *other)
    assert age(verb) > before
    made = age(verb)
    call.good(*other)
    assert age(verb) == made, "the second request is now the folder's own"


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_what_other_code_made_is_kept_and_said_and_made_anew_with_fresh(verb: Verb, here: Path, call: Call) -> None:
    note, before = Path(verb.folder) / f"{verb.stage}.stage.json", age(verb)
    note.write_text(json.dumps(json.loads(note.read_text()) | {"code": "another", "commit": "abc"}))
    kept = call(*verb.words.split())
    assert kept.status == 0 and "made by other code (commit abc); kept: --fresh makes it anew\n" in kept.err
    assert age(verb) == before
    call.good("--fresh", *verb.words.split())
    assert age(verb) > before and json.loads(note.read_text())["code"] != "another"
    made = age(verb)
    assert "other code" not in call("--fresh", *verb.words.split()).err
    assert age(verb) == made, "what this code made is left alone, fresh or not"
