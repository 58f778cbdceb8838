"""Evaluation of a system on a folder of mixtures: rows, timing, examples, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from made_systems import IDS, RATE, Leaky

import audioslots.scoring.evaluate as evaluate_module
from audioslots.baselines.oracles import baseline
from audioslots.runtime.errors import InputError
from audioslots.scoring.evaluate import COLUMNS, Waveforms, evaluate
from audioslots.scoring.examples import chosen


class Broken(Leaky):
    """One estimate is NaN, the other silent; the last mixture's end is missing."""

    name, identity = "broken", "broken's weights"

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        if len(mixture) > 9000:
            return {"blind": sources[:, :9000]}
        estimates = np.zeros_like(sources)
        estimates[0] = np.nan
        return {"blind": estimates}


def test_every_source_of_every_mixture_has_a_row_with_the_contracts_columns(
    made_mixtures: Path, tmp_path: Path
) -> None:
    evaluate(Leaky(), made_mixtures, tmp_path / "scores.parquet", benchmark="mini")
    table = pd.read_parquet(tmp_path / "scores.parquet")
    assert table.dtypes.map(str).to_dict() == COLUMNS
    expected = [
        (mixture, source, stitching) for mixture in IDS for source in (1, 2) for stitching in ("blind", "oracle")
    ]
    assert list(zip(table["mixture_id"], table["source"], table["stitching"], strict=True)) == expected
    described = ["benchmark", "variant", "seed", "speaker_id", "sex", "pair", "duration_s", "permutation"]
    cells = table[described].values.tolist()
    assert cells[0] == ["mini", "leaky", 2, "00", "F", "FF", 0.8, "1,0"]
    assert cells[4] == ["mini", "leaky", 2, "01", "M", "FM", 1.0, "1,0"]
    assert cells[10][3:6] == ["9", "", ""]
    assert (table["si_sdri_db"] > 5).all()


def test_failures_are_rows_with_reasons_and_are_counted(made_mixtures: Path, tmp_path: Path) -> None:
    evaluate(Broken(), made_mixtures, tmp_path / "scores.parquet")
    table = pd.read_parquet(tmp_path / "scores.parquet")
    assert len(table) == 6
    assert table[["si_sdr_db", "si_sdri_db", "sdr_db", "sdri_db", "pesq", "stoi", "estoi"]].isna().all(axis=None)
    assert table["input_si_sdr_db"].notna().all()
    failures = json.loads((tmp_path / "evaluation.json").read_text())["failures"]
    assert failures["pesq: estimate has NaN samples"] == 2
    assert failures["pesq: estimate is silent"] == 2
    assert failures["pesq: estimate has 9000 samples and not 9600"] == 2


def test_scores_do_not_depend_on_the_number_of_processes(
    made_mixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    for jobs in (1, 2):
        evaluate(Leaky(), made_mixtures, tmp_path / str(jobs) / "scores.parquet", jobs=jobs)
    assert os.environ["OMP_NUM_THREADS"] == "3" and "MKL_NUM_THREADS" not in os.environ
    one, two = (pd.read_parquet(tmp_path / jobs / "scores.parquet") for jobs in "12")
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_the_mixtures_scores_are_computed_once_and_reused(
    made_mixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    score_mixture = evaluate_module.score_mixture

    def counted(*arguments: Any) -> list[dict[str, Any]]:
        scored.append(1)
        return score_mixture(*arguments)

    monkeypatch.setattr(evaluate_module, "score_mixture", counted)
    evaluate(Leaky(), made_mixtures, tmp_path / "alone.parquet")
    assert len(scored) == len(IDS)  # not once a stitching
    evaluate(baseline("mixture", RATE), made_mixtures, tmp_path / "mixture.parquet")
    scored.clear()
    evaluate(Leaky(), made_mixtures, tmp_path / "reusing.parquet", mixture_scores=tmp_path / "mixture.parquet")
    assert not scored
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "alone.parquet"), pd.read_parquet(tmp_path / "reusing.parquet"), check_exact=True
    )


def test_scores_of_other_mixtures_or_systems_are_not_reused(
    made_mixtures: Path, copied_mixtures: Path, tmp_path: Path
) -> None:
    listing = copied_mixtures.parent / "metadata" / "mixture_test_mix_clean.csv"
    pd.read_csv(listing).iloc[:2].to_csv(listing, index=False)
    evaluate(baseline("mixture", RATE), copied_mixtures, tmp_path / "two.parquet")
    with pytest.raises(InputError, match="two.parquet: scores of other mixtures; expected those of the 3"):
        evaluate(Leaky(), made_mixtures, tmp_path / "x" / "scores.parquet", mixture_scores=tmp_path / "two.parquet")
    evaluate(Broken(), copied_mixtures, tmp_path / "broken.parquet")
    with pytest.raises(InputError, match="not the scores of the variant mixture"):
        evaluate(Leaky(), copied_mixtures, tmp_path / "x" / "s.parquet", mixture_scores=tmp_path / "broken.parquet")
    with pytest.raises(InputError, match="none.parquet: no such file"):
        evaluate(Leaky(), copied_mixtures, tmp_path / "x" / "s.parquet", mixture_scores=tmp_path / "none.parquet")
    assert not (tmp_path / "x").exists()


def test_separation_time_is_that_of_separation_alone(
    made_mixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    class Slow(Broken):
        def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
            clock[0] += 0.5
            return super().by_stitching(mixture, sources)

    def read(self: evaluate_module.TestMixture) -> tuple[Waveforms, Waveforms, int]:
        clock[0] += 100.0
        return original(self)

    original = evaluate_module.TestMixture.read
    monkeypatch.setattr(evaluate_module.TestMixture, "read", read)
    monkeypatch.setattr(evaluate_module.time, "perf_counter", lambda: clock[0])
    evaluate(Slow(), made_mixtures, tmp_path / "scores.parquet")
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert (written["mixtures"], written["rows"], written["scoring_s"]) == (3, 6, 0.0)
    assert (written["separation_s"], written["audio_s"], written["real_time_factor"]) == (1.5, 3.0, 0.5)


def test_examples_are_chosen_by_a_system_s_scores_in_the_sources_order_and_never_clipped(
    made_mixtures: Path, tmp_path: Path
) -> None:
    evaluate(Leaky(), made_mixtures, tmp_path / "scores.parquet", examples=2)
    own = list(chosen(pd.read_parquet(tmp_path / "scores.parquet"), 2))
    assert sorted(folder.name for folder in (tmp_path / "examples").iterdir()) == sorted(own)
    by = tmp_path / "by.parquet"
    rows = pd.read_parquet(tmp_path / "scores.parquet")
    rows["si_sdri_db"] = rows["mixture_id"].map({IDS[0]: 2.0, IDS[1]: 1.0, IDS[2]: 3.0})
    rows.to_parquet(by)
    evaluate(Leaky(), made_mixtures, tmp_path / "other" / "scores.parquet", examples=1, chosen_by=by)
    assert [folder.name for folder in (tmp_path / "other" / "examples").iterdir()] == [IDS[0]], "the median"
    rows.assign(mixture_id="elsewhere").to_parquet(by)
    with pytest.raises(InputError, match="scores of other mixtures, elsewhere; expected those of"):
        evaluate(Leaky(), made_mixtures, tmp_path / "wrong" / "scores.parquet", examples=1, chosen_by=by)
    folder = tmp_path / "other" / "examples" / IDS[0]
    read = {path.stem: sf.read(path)[0] for path in folder.iterdir()}
    assert set(read) == {"mixture", "s1", "s2", "estimate1", "estimate2"}
    assert sf.info(folder / "estimate1.wav").subtype == "PCM_16"
    assert sf.info(folder / "estimate1.wav").samplerate == RATE
    for number in "12":
        assert np.corrcoef(read[f"estimate{number}"], read[f"s{number}"])[0, 1] > 0.95
        assert np.array_equal(read[f"s{number}"], sf.read(made_mixtures / f"s{number}" / f"{IDS[0]}.wav")[0])
    assert (np.abs(read["estimate1"]) > 0.999).sum() <= 1  # scaled, where clipping would flatten many samples


def test_a_folder_that_is_not_finished_is_refused(copied_mixtures: Path, tmp_path: Path) -> None:
    (copied_mixtures / "manifest.json").unlink()
    (copied_mixtures / "record.jsonl").touch()  # which rendering leaves; without it, others have made the folder
    with pytest.raises(InputError, match="not finished; expected a manifest.json"):
        evaluate(Leaky(), copied_mixtures, tmp_path / "scores.parquet")


def test_a_system_of_another_rate_is_refused(made_mixtures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mixtures at 8000 Hz; expected oracle-ibm's 16000 Hz"):
        evaluate(baseline("oracle-ibm", 16000), made_mixtures, tmp_path / "scores.parquet")


def test_fewer_estimates_than_sources_are_refused(made_mixtures: Path, tmp_path: Path) -> None:
    class Lonely(Leaky):
        def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
            return {"blind": mixture[None]}

    with pytest.raises(InputError, match="1 for 2 sources"):
        evaluate(Lonely(), made_mixtures, tmp_path / "scores.parquet")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("absent", "m-third.wav: no such file"),
        ("truncated", "m-third.wav: cannot be decoded"),
        ("shorter", "m-third.wav: 99 samples at 8000 Hz; expected the mixture's 9600 at 8000 Hz"),
        ("two channels", "expected one channel"),
    ],
)
def test_a_bad_wav_is_named_and_no_scores_are_left(
    copied_mixtures: Path, tmp_path: Path, damage: str, message: str
) -> None:
    path = copied_mixtures / "s2" / "m-third.wav"
    if damage == "absent":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:20])
    else:
        sf.write(path, np.zeros(99) if damage == "shorter" else np.zeros((9600, 2)), RATE)
    with pytest.raises(InputError, match=message):
        evaluate(Broken(), copied_mixtures, tmp_path / "out" / "scores.parquet", examples=0)
    assert [path.suffix for path in (tmp_path / "out").glob(".*.parts")] == [".parts"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mixture_test_mix_clean.csv", None, "no such file"),
        ("mixture_test_mix_clean.csv", "", "not valid CSV"),
        ("mixture_test_mix_clean.csv", "mixture_ID,source_1_path\n", "no mixtures"),
        ("mixture_test_mix_clean.csv", "id\n1\n", "no column mixture_ID"),
        ("info_test.csv", "mixture_ID\nz-first\n", "no column speaker_1_ID"),
        ("info_test.csv", "mixture_ID,speaker_1_ID,speaker_1_sex,speaker_2_ID,speaker_2_sex\n", "no row for z-first"),
    ],
)
def test_bad_metadata_is_named(
    copied_mixtures: Path, tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    path = copied_mixtures.parent / "metadata" / name
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError, match=f"{name}: {message}"):
        evaluate(Broken(), copied_mixtures, tmp_path / "scores.parquet")
