"""Evaluation of a system on a test set: rows, times, examples; interrupted, killed, in shards; what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from made_systems import IDS, RATE, Broken, Leaky

import audioslots.scoring.evaluate as evaluate_module
from audioslots.baselines.oracles import open_baseline
from audioslots.runtime.errors import InputError
from audioslots.runtime.stage import Stage
from audioslots.scoring.evaluate import EvaluationOptions, evaluate
from audioslots.scoring.examples import choose_examples
from audioslots.scoring.mixtures import TestMixture, Waveforms
from audioslots.scoring.scores import COLUMNS

NO_EXAMPLES = EvaluationOptions("mini", num_examples=0)


def shard(number: int, of: int, num_examples: int = 0) -> EvaluationOptions:
    return EvaluationOptions("mini", num_examples=num_examples, shard=(number, of))


@pytest.fixture(scope="module")
def whole(made_mixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The scores of one evaluation, from the first mixture to the last."""
    out = tmp_path_factory.mktemp("whole") / "scores.parquet"
    evaluate(Leaky(), made_mixtures, out, EvaluationOptions("mini"))
    assert sorted(path.name for path in out.parent.glob("[!.]*")) == [
        *("evaluation.json", "examples", "scores.parquet", "scores.stage.json"),
    ]
    return pd.read_parquet(out)


def assert_equal(out: Path, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(pd.read_parquet(out), expected, check_exact=True)
    assert not list(out.parent.glob(".*.parts"))


# --- what is written -----------------------------------------------------------------------------------------------


def test_every_source_of_every_mixture_has_a_row_with_the_contracts_columns(whole):
    assert whole.dtypes.map(str).to_dict() == COLUMNS
    rows = [(mixture, source, stitching) for mixture in IDS for source in (1, 2) for stitching in ("blind", "oracle")]
    assert list(zip(whole["mixture_id"], whole["source"], whole["stitching"], strict=True)) == rows
    bounds = whole[whole["stitching"] == "oracle"]
    assert bounds["si_sdri_db"].notna().all() and bounds[["sdr_db", "pesq", "stoi", "estoi"]].isna().all(axis=None)
    assert (whole["failure"] == "").all() and whole.loc[whole["stitching"] == "blind", "estoi"].notna().all()
    described = ["benchmark", "variant", "seed", "speaker_id", "sex", "pair", "duration_s", "permutation"]
    cells = whole[described].values.tolist()
    assert cells[0] == ["mini", "leaky", 2, "00", "F", "FF", 0.8, "1,0"]
    assert cells[4] == ["mini", "leaky", 2, "01", "M", "FM", 1.0, "1,0"]
    assert cells[10][3:6] == ["9", "", ""]
    assert (whole["si_sdri_db"] > 5).all()


def test_failures_are_rows_with_reasons_and_are_counted(made_mixtures, tmp_path):
    evaluate(Broken(), made_mixtures, tmp_path / "scores.parquet")
    table = pd.read_parquet(tmp_path / "scores.parquet")
    assert len(table) == 6
    assert table[["si_sdr_db", "si_sdri_db", "sdr_db", "sdri_db", "pesq", "stoi", "estoi"]].isna().all(axis=None)
    assert table["input_si_sdr_db"].notna().all()
    failures = json.loads((tmp_path / "evaluation.json").read_text())["failures"]
    for reason in ("estimate has NaN samples", "estimate is silent", "estimate has 9000 samples and not 9600"):
        assert failures[f"pesq: {reason}"] == 2


def test_scores_do_not_depend_on_the_number_of_processes(made_mixtures, tmp_path, whole, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    evaluate(Leaky(), made_mixtures, tmp_path / "scores.parquet", EvaluationOptions("mini", jobs=2))
    assert os.environ["OMP_NUM_THREADS"] == "3" and "MKL_NUM_THREADS" not in os.environ
    assert_equal(tmp_path / "scores.parquet", whole)
    assert len(list((tmp_path / "examples").glob("*/*.wav"))) == 3 * 5


def test_each_mixture_is_read_and_separated_once_and_only_separation_is_timed(made_mixtures, tmp_path, monkeypatch):
    clock, read_mixtures, read = [0.0], [], TestMixture.read

    class Slow(Leaky):
        def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
            clock[0] += 0.5
            return super().by_stitching(mixture, sources)

    def slow_read(self: TestMixture) -> tuple[Waveforms, Waveforms, int]:
        clock[0] += 100.0
        read_mixtures.append(self.mixture_id)
        return read(self)

    monkeypatch.setattr(TestMixture, "read", slow_read)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    system = Slow()
    evaluate(system, made_mixtures, tmp_path / "scores.parquet")
    assert read_mixtures == IDS and system.separated == 3 and len(list((tmp_path / "examples").iterdir())) == 3
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert (written["mixtures"], written["rows"], written["scoring_s"]) == (3, 12, 0.0)
    assert (written["separation_s"], written["audio_s"], written["real_time_factor"]) == (1.5, 3.0, 0.5)


# --- what is reused ------------------------------------------------------------------------------------------------


def test_the_mixtures_scores_are_computed_once_and_reused(made_mixtures, tmp_path, whole, monkeypatch):
    calls: list[int] = []
    score_mixture = evaluate_module.score_mixture

    def counting(*arguments: Any) -> list[dict[str, Any]]:
        calls.append(1)
        return score_mixture(*arguments)

    monkeypatch.setattr(evaluate_module, "score_mixture", counting)
    inputs = tmp_path / "mixture.parquet"
    evaluate(open_baseline("mixture", RATE), made_mixtures, inputs)
    assert len(calls) == len(IDS)
    evaluate(Leaky(), made_mixtures, tmp_path / "s.parquet", EvaluationOptions("mini", mixture_scores=inputs))
    assert len(calls) == len(IDS)
    assert_equal(tmp_path / "s.parquet", whole)


def test_scores_of_other_mixtures_or_systems_or_without_a_metric_are_not_reused(
    made_mixtures: Path, copied_mixtures: Path, tmp_path: Path
) -> None:
    listing = copied_mixtures.parent / "metadata" / "mixture_test_mix_clean.csv"
    pd.read_csv(listing).iloc[:2].to_csv(listing, index=False)
    evaluate(open_baseline("mixture", RATE), copied_mixtures, tmp_path / "two.parquet")
    evaluate(Broken(), copied_mixtures, tmp_path / "broken.parquet")
    lacking = pd.read_parquet(tmp_path / "two.parquet").assign(pesq=np.nan)
    lacking.to_parquet(tmp_path / "lacking.parquet")
    for mixtures, name, message in (
        (made_mixtures, "two", "two.parquet: scores of other mixtures; expected those of the 3"),
        (copied_mixtures, "broken", "not the scores of the variant mixture"),
        (copied_mixtures, "none", "none.parquet: no such file"),
        (copied_mixtures, "lacking", "no input_pesq of z-first; evaluate the mixture again"),
    ):
        options = EvaluationOptions(mixture_scores=tmp_path / f"{name}.parquet")
        with pytest.raises(InputError, match=message):
            evaluate(Leaky(), mixtures, tmp_path / "x" / "scores.parquet", options)
    assert not (tmp_path / "x").exists()


def test_examples_are_chosen_by_a_system_s_scores_in_the_sources_order_and_never_clipped(
    made_mixtures: Path, tmp_path: Path, whole: pd.DataFrame
) -> None:
    evaluate(Leaky(), made_mixtures, tmp_path / "scores.parquet", EvaluationOptions(num_examples=2))
    kept = sorted(folder.name for folder in (tmp_path / "examples").iterdir())
    assert kept == sorted(choose_examples(whole, 2))
    by, other = tmp_path / "by.parquet", tmp_path / "other"
    rows = whole.assign(si_sdri_db=whole["mixture_id"].map({IDS[0]: 2.0, IDS[1]: 1.0, IDS[2]: 3.0}))
    rows.to_parquet(by)
    options = EvaluationOptions(num_examples=1, chosen_by=by)
    evaluate(Leaky(), made_mixtures, other / "scores.parquet", options)
    assert [folder.name for folder in (other / "examples").iterdir()] == [IDS[0]], "the median"
    rows.assign(mixture_id="elsewhere").to_parquet(by)
    with pytest.raises(InputError, match="scores of other mixtures, elsewhere; expected those of"):
        evaluate(Leaky(), made_mixtures, tmp_path / "wrong" / "scores.parquet", options)
    folder = other / "examples" / IDS[0]
    audio = {path.stem: sf.read(path)[0] for path in folder.iterdir()}
    assert set(audio) == {"mixture", "s1", "s2", "estimate1", "estimate2"}
    assert (sf.info(folder / "s1.wav").subtype, sf.info(folder / "s1.wav").samplerate) == ("PCM_16", RATE)
    for number in "12":
        assert np.corrcoef(audio[f"estimate{number}"], audio[f"s{number}"])[0, 1] > 0.95
        assert np.array_equal(audio[f"s{number}"], sf.read(made_mixtures / f"s{number}" / f"{IDS[0]}.wav")[0])
    assert (np.abs(audio["estimate1"]) > 0.999).sum() <= 1  # scaled, where clipping would flatten many samples


# --- interrupted, killed, in shards --------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [0, 1, 2])
def test_an_interrupted_evaluation_goes_on_to_the_same_table(made_mixtures, tmp_path, whole, stop_at):
    out, again = tmp_path / "scores.parquet", Leaky()
    with pytest.raises(KeyboardInterrupt):
        evaluate(Leaky(stop_at), made_mixtures, out, EvaluationOptions("mini"))
    assert not out.exists() and not (tmp_path / "evaluation.json").exists()
    evaluate(again, made_mixtures, out, EvaluationOptions("mini"))
    assert again.separated == len(IDS) - stop_at
    assert_equal(out, whole)
    assert json.loads((tmp_path / "evaluation.json").read_text())["audio_s"] == 3.0
    assert sorted(path.name for path in (tmp_path / "examples").iterdir()) == sorted(IDS)


@pytest.mark.parametrize("of", [2, 3, 50])
def test_shards_give_the_same_table_and_examples(made_mixtures, tmp_path, whole, of):
    out, system, merging = tmp_path / "scores.parquet", Leaky(), Leaky()
    for number in reversed(range(1, of + 1)):
        evaluate(system, made_mixtures, out, shard(number, of, 4))
        assert not out.exists()
    evaluate(merging, made_mixtures, out, EvaluationOptions("mini"))
    assert (system.separated, merging.separated) == (len(IDS), 0)
    assert_equal(out, whole)
    assert len(list((tmp_path / "examples").glob("*/*.wav"))) == 3 * 5


def test_what_another_model_scored_is_not_taken_up(made_mixtures, tmp_path):
    out = tmp_path / "scores.parquet"
    evaluate(Leaky(), made_mixtures, out, shard(1, 2))
    for other, options in ((Leaky(identity="b"), shard(1, 2)), (Leaky(), EvaluationOptions("other", shard=(1, 2)))):
        evaluate(other, made_mixtures, out, options)
        assert other.separated == 2


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
evaluate.evaluate(Leaky(), Path(sys.argv[2]), Path(sys.argv[3]), evaluate.EvaluationOptions("mini", num_examples=0))
"""


def test_a_killed_evaluation_goes_on(made_mixtures, tmp_path, whole):
    out, here = tmp_path / "scores.parquet", Path(__file__)
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, here.parent, made_mixtures, out],
        env={**os.environ, "PYTHONPATH": str(here.parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"kept\n"
        process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.glob(".*.parts/*.json"))) == 1
    again = Leaky()
    evaluate(again, made_mixtures, out, NO_EXAMPLES)
    assert again.separated == 2
    assert_equal(out, whole)


def test_a_table_has_one_writer_and_shards_may_run_beside_it(made_mixtures, tmp_path, whole):
    out = tmp_path / "scores.parquet"
    with Stage(tmp_path, "scores", {}, ()).locked():
        with pytest.raises(InputError, match="another process works there|locked by"):
            evaluate(Leaky(), made_mixtures, out, NO_EXAMPLES)
        evaluate(Leaky(), made_mixtures, out, shard(1, 2))
    evaluate(Leaky(), made_mixtures, out, NO_EXAMPLES)
    assert_equal(out, whole)


# --- what is refused -----------------------------------------------------------------------------------------------


def test_systems_of_another_rate_or_with_fewer_estimates_than_sources_are_refused(made_mixtures, tmp_path):
    class Single(Leaky):
        def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
            return {"blind": mixture[None]}

    with pytest.raises(InputError, match="mixtures at 8000 Hz; expected oracle-ibm's 16000 Hz"):
        evaluate(open_baseline("oracle-ibm", 16000), made_mixtures, tmp_path / "scores.parquet")
    with pytest.raises(InputError, match="1 for 2 sources"):
        evaluate(Single(), made_mixtures, tmp_path / "other" / "scores.parquet")
