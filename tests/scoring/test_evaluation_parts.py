"""Evaluations that are interrupted, and ones in shards, end in the same table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from made_systems import IDS, RATE, Counting, Leaky

from audioslots.baselines.oracles import baseline
from audioslots.runtime.errors import InputError
from audioslots.runtime.stage import Stage
from audioslots.scoring.evaluate import evaluate


@pytest.fixture(scope="module")
def whole(made_mixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    out = tmp_path_factory.mktemp("whole") / "scores.parquet"
    evaluate(Counting(), made_mixtures, out, "mini")
    assert sorted(path.name for path in out.parent.glob("[!.]*")) == [
        *("evaluation.json", "examples", "scores.parquet", "scores.stage.json"),
    ]
    return pd.read_parquet(out)


@pytest.mark.parametrize("stop_at", [0, 1, 2])
def test_an_interrupted_evaluation_goes_on_to_the_same_table(
    made_mixtures: Path, tmp_path: Path, whole: pd.DataFrame, stop_at: int
) -> None:
    out = tmp_path / "scores.parquet"
    with pytest.raises(KeyboardInterrupt):
        evaluate(Counting(stop_at), made_mixtures, out, "mini")
    assert not out.exists() and not (tmp_path / "evaluation.json").exists()
    again = Counting()
    evaluate(again, made_mixtures, out, "mini")
    # In one process each is scored before the next is separated. What is heard is separated once more, here all.
    assert again.separated == len(IDS) - stop_at + len(IDS)
    pd.testing.assert_frame_equal(pd.read_parquet(out), whole, check_exact=True)
    assert json.loads((tmp_path / "evaluation.json").read_text())["audio_s"] == 3.0
    assert sorted(path.name for path in (tmp_path / "examples").iterdir()) == sorted(IDS)
    assert not list(tmp_path.glob(".*.parts"))


@pytest.mark.parametrize("of", [1, 2, 3, 50])
def test_one_shard_or_fifty_give_the_same_table(
    made_mixtures: Path, tmp_path: Path, whole: pd.DataFrame, of: int
) -> None:
    out, separated = tmp_path / "scores.parquet", 0
    for number in reversed(range(1, of + 1)):
        if of > 1:
            system = Counting()
            evaluate(system, made_mixtures, out, "mini", examples=0, shard=(number, of))
            separated += system.separated
            assert not out.exists()
    merging = Counting()
    evaluate(merging, made_mixtures, out, "mini", examples=0)
    assert separated + merging.separated == len(IDS) and (of == 1 or not merging.separated)
    pd.testing.assert_frame_equal(pd.read_parquet(out), whole, check_exact=True)
    assert not list(tmp_path.glob(".*.parts"))


def test_what_another_model_scored_is_not_taken_up(made_mixtures: Path, tmp_path: Path) -> None:
    evaluate(Counting(), made_mixtures, tmp_path / "scores.parquet", "mini", shard=(1, 2))
    for system, benchmark in ((Counting(identity="b"), "mini"), (Counting(), "other")):
        out = tmp_path / f"{benchmark}-{system.identity}" / "scores.parquet"
        evaluate(system, made_mixtures, out, benchmark, examples=0)
        evaluate(system, made_mixtures, tmp_path / "scores.parquet", benchmark, shard=(1, 2))
        assert system.separated == len(IDS) + 2


def test_baselines_of_another_kind_or_stft_are_told_apart() -> None:
    systems = [baseline("mixture", RATE), baseline("oracle-ibm", RATE), baseline("oracle-ibm-512-128", RATE)]
    assert len({system.identity for system in systems}) == 3
    assert baseline("oracle-ibm", RATE).identity == systems[1].identity


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from made_systems import Leaky
from audioslots.scoring import evaluate
write = evaluate.write_json
def stop(path, part):
    write(path, part)
    if ".parts" in str(path):
        print("kept", flush=True)
        sys.stdin.read()
evaluate.write_json = stop
evaluate.evaluate(Leaky(), Path(sys.argv[2]), Path(sys.argv[3]), "mini")
"""


def test_a_killed_evaluation_goes_on(made_mixtures: Path, tmp_path: Path, whole: pd.DataFrame) -> None:
    out, here = tmp_path / "scores.parquet", Path(__file__)
    environment = {**os.environ, "PYTHONPATH": str(here.parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, here.parent, made_mixtures, out],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"kept\n"
        process.send_signal(signal.SIGKILL)
    (parts,) = tmp_path.glob(".*.parts")
    kept = list(parts.iterdir())
    before = [path.stat().st_mtime_ns for path in kept]
    assert len(kept) == 1 and time.time_ns() > before[0]
    evaluate(Leaky(), made_mixtures, out, "mini")
    pd.testing.assert_frame_equal(pd.read_parquet(out), whole, check_exact=True)
    assert not parts.exists()


def test_a_table_has_one_writer_and_shards_may_run_beside_it(
    made_mixtures: Path, tmp_path: Path, whole: pd.DataFrame
) -> None:
    out = tmp_path / "scores.parquet"
    with Stage(tmp_path, "scores", {}, ()).locked():
        with pytest.raises(InputError, match="another process works there"):
            evaluate(Counting(), made_mixtures, out, "mini")
        evaluate(Counting(), made_mixtures, out, "mini", shard=(1, 2))
    evaluate(Counting(), made_mixtures, out, "mini")
    pd.testing.assert_frame_equal(pd.read_parquet(out), whole, check_exact=True)
