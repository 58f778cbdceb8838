"""Systems of other packages: files and functions get the scores that an own run gets, a bad folder a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from made_systems import IDS, RATE, Leaky
from numpy.typing import NDArray
from scipy.signal import butter, resample_poly, sosfiltfilt

import audioslots
from audioslots.runtime.errors import InputError
from audioslots.scoring.evaluate import EvaluationOptions, evaluate
from audioslots.scoring.external import AudioFiles, parse_costs, select_loudest
from audioslots.scoring.metrics import SCORE_COLUMNS
from audioslots.scoring.mixtures import read_mixtures
from audioslots.scoring.scores import read_scores

Estimates = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def made(made_mixtures: Path) -> Estimates:
    """What ``Leaky`` makes of each mixture, stitched blindly."""
    return {item.mixture_id: Leaky().by_stitching(*item.read()[:2])["blind"] for item in read_mixtures(made_mixtures)}


def write(path: Path, waveform: NDArray[np.float32], rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, waveform, rate, subtype="FLOAT")


def by_source(folder: Path, made: Estimates, name: str = "s{number}/{mixture_id}.wav") -> Path:
    for mixture_id, estimates in made.items():
        for number, estimate in enumerate(estimates, start=1):
            write(folder / name.format(number=number, mixture_id=mixture_id), estimate)
    return folder


def side_by_side(folder: Path, made: Estimates) -> Path:
    return by_source(folder, made, "{mixture_id}_s{number}.wav")


def table(folder: Path, made: Estimates) -> Path:
    by_source(folder, made, "deep/{number}-{mixture_id}.wav")
    columns = {f"estimate_{number}_path": [f"deep/{number}-{name}.wav" for name in made] for number in (1, 2)}
    pd.DataFrame({"mixture_ID": list(made)} | columns).to_csv(folder / "estimates.csv", index=False)
    return folder / "estimates.csv"


def scores(place: Path, mixtures: Path, out: Path) -> pd.DataFrame:
    evaluate(AudioFiles.load(place, "other", mixtures), mixtures, out / "scores.parquet", EvaluationOptions("mini"))
    return read_scores(out / "scores.parquet")


@pytest.mark.parametrize("layout", [by_source, side_by_side, table])
def test_an_own_run_scored_as_an_external_system_has_its_scores_to_the_bit(made_mixtures, made, tmp_path, layout):
    evaluate(Leaky(), made_mixtures, tmp_path / "own" / "scores.parquet", EvaluationOptions("mini"))
    own = read_scores(tmp_path / "own" / "scores.parquet").query("stitching == 'blind'").reset_index(drop=True)
    other = scores(layout(tmp_path / "files", made), made_mixtures, tmp_path / "external")
    assert set(other["variant"]) == {"external-other"} and set(other["stitching"]) == {"none"}
    same = [column for column in own if column not in ("variant", "seed", "stitching")]
    assert set(SCORE_COLUMNS) < set(same)
    pd.testing.assert_frame_equal(other[same], own[same], check_exact=True)


def test_neither_order_nor_rate_of_the_estimates_matters(made_mixtures, made, tmp_path):
    low = butter(8, 3000, fs=RATE, output="sos")  # filters of resampling are not alike near half the rate
    made = {key: sosfiltfilt(low, estimates).astype(np.float32) for key, estimates in made.items()}
    expected = scores(by_source(tmp_path / "files", made), made_mixtures, tmp_path / "a")
    for mixture_id, estimates in made.items():
        for number, estimate in enumerate(estimates[::-1], start=1):
            faster = resample_poly(estimate, 2, 1).astype(np.float32)
            write(tmp_path / "faster" / f"s{number}" / f"{mixture_id}.wav", faster, 2 * RATE)
    table = scores(tmp_path / "faster", made_mixtures, tmp_path / "b")
    np.testing.assert_allclose(table["si_sdr_db"], expected["si_sdr_db"], atol=0.01)


def test_silence_stands_in_for_an_estimate_that_is_missing(made_mixtures, made, tmp_path):
    place = table(tmp_path / "table", made)
    shorter = pd.read_csv(place)
    shorter.loc[0, "estimate_2_path"] = ""
    shorter.to_csv(place, index=False)
    rows = scores(place, made_mixtures, tmp_path / "out")
    assert rows["si_sdr_db"].isna().sum() == rows["failure"].str.contains("estimate is silent").sum() == 1


def test_select_loudest_keeps_the_loudest_in_their_order():
    estimates = np.array([[2.0, 0.0], [0.1, 0.0], [3.0, 0.0]], np.float32)
    assert select_loudest(estimates, 2).tolist() == [[2.0, 0.0], [3.0, 0.0]]
    assert select_loudest(estimates[:1], 3).tolist() == [[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]]


def test_files_that_changed_are_scored_again_and_the_same_ones_are_not(made_mixtures, made, tmp_path):
    place = by_source(tmp_path / "files", made)
    first = scores(place, made_mixtures, tmp_path / "out")
    written = (tmp_path / "out" / "scores.parquet").stat().st_mtime_ns
    scores(place, made_mixtures, tmp_path / "out")
    assert (tmp_path / "out" / "scores.parquet").stat().st_mtime_ns == written
    write(place / "s1" / f"{IDS[0]}.wav", made[IDS[0]][1])
    with pytest.raises(InputError, match="identity is"):
        scores(place, made_mixtures, tmp_path / "out")
    assert not scores(place, made_mixtures, tmp_path / "other").equals(first)


# --- what is refused -----------------------------------------------------------------------------------------------


def link_out(place: Path) -> None:
    os.rename(place / "s1" / f"{IDS[0]}.wav", place.parent / "elsewhere.wav")
    (place / "s1" / f"{IDS[0]}.wav").symlink_to(place.parent / "elsewhere.wav")


def link_to_nothing(place: Path) -> None:
    (place / "s1" / f"{IDS[0]}.wav").unlink()
    (place / "s1" / f"{IDS[0]}.wav").symlink_to(place / "nowhere.wav")


FIRST, LAST = f"s1/{IDS[0]}.wav", f"s2/{IDS[2]}.wav"
SHORT, STEREO, NAN = np.zeros(6399, np.float32), np.zeros((9600, 2), np.float32), np.full(9600, np.nan, np.float32)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda place: (place / f"s2/{IDS[1]}.wav").unlink(), f"s2/{IDS[1]}.wav: no such file"),
        (
            lambda place: [path.unlink() for path in place.glob(f"*/{IDS[1]}.wav")],
            f"no estimates of {IDS[1]}; expected those of all 3 mixtures",
        ),
        (lambda place: write(place / FIRST, SHORT), f"{FIRST}: 6399 samples at 8000 Hz; expected the mixture's 6400"),
        (
            lambda place: write(place / FIRST, SHORT, 16000),
            f"{FIRST}: 6399 samples at 16000 Hz; expected the mixture's 12800",
        ),
        (lambda place: write(place / LAST, NAN), f"{LAST}: holds samples that are not finite"),
        (lambda place: write(place / LAST, STEREO), f"{LAST}: 2 channels; expected one"),
        (
            lambda place: [write(place / f"s{number}" / "other.wav", SHORT) for number in (1, 2)],
            "estimates of other, which is not in the set",
        ),
        (link_out, f"{FIRST}: leads to "),
        (link_to_nothing, f"{FIRST}: no such file"),
        (lambda place: (place / FIRST).write_text("hello"), f"{FIRST}: cannot be decoded"),
        (
            lambda place: sf.write(place / "s1" / f"{IDS[0]}.flac", np.zeros(6400), RATE),
            f"a second file of estimate 1 of {IDS[0]}",
        ),
    ],
)
def test_a_bad_folder_ends_with_one_line(made_mixtures, made, tmp_path, damage, expected):
    place = by_source(tmp_path / "files", made)
    damage(place)
    with pytest.raises(InputError) as caught:
        scores(place, made_mixtures, tmp_path / "out")
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "scores.parquet").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("mixture_ID,path\na,b\n", "columns mixture_ID, path; expected mixture_ID, estimate_1_path"),
        ("mixture_ID,estimate_2_path\na,b\n", "expected mixture_ID, estimate_1_path"),
        ("mixture_ID,estimate_1_path,estimate_2_path\na,,b.wav\n", "no path after an empty one"),
        ("mixture_ID,estimate_1_path\na,a.wav\na,a.wav\n", "expected one row"),
        ("mixture_ID,estimate_1_path\na,a.wav\n", "no estimates of "),
        ('"', "CSV"),
    ],
)
def test_a_bad_table_ends_with_one_line(made_mixtures, tmp_path, content, expected):
    (tmp_path / "estimates.csv").write_text(content)
    with pytest.raises(InputError) as caught:
        AudioFiles.load(tmp_path / "estimates.csv", "other", made_mixtures)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_an_empty_folder_a_bad_name_and_no_folder_are_refused(made_mixtures, made, tmp_path):
    (tmp_path / "empty").mkdir()
    for place, expected in ((tmp_path / "empty", "no estimates of"), (tmp_path / "absent", "no such folder or file")):
        with pytest.raises(InputError, match=expected):
            AudioFiles.load(place, "other", made_mixtures)
    with pytest.raises(InputError, match="--name: 'Sep Former'"):
        AudioFiles.load(by_source(tmp_path / "files", made), "Sep Former", made_mixtures)
    (tmp_path / "loose").mkdir()
    write(tmp_path / "loose" / "a.wav", made[IDS[0]][0])
    with pytest.raises(InputError, match=r"a\.wav: is of no mixture; expected <mixture>_s1\.wav"):
        AudioFiles.load(tmp_path / "loose", "other", made_mixtures)


def test_the_command_scores_files(made_mixtures, made, tmp_path):
    place, out = side_by_side(tmp_path / "files", made), tmp_path / "out" / "scores.parquet"
    command = [sys.executable, "-m", "audioslots.cli", "evaluate", "--mixtures", made_mixtures, "--out", out]
    options = ["--estimates", place, "--name", "other", "--cost", "parameters=2e6"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(read_scores(out)["variant"]) == {"external-other"}
    written = json.loads((out.parent / "evaluation.json").read_text())
    assert (written["mixtures"], written["cost"]) == (3, {"parameters": 2e6})


@pytest.mark.parametrize("option", ["parameters=many", "parameters=-1", "parameters=inf", "speed=2", "parameters"])
def test_a_cost_is_a_positive_number_of_a_known_key(option):
    assert parse_costs(["parameters=2e6", "delay_ms=10"]) == {"parameters": 2e6, "delay_ms": 10.0}
    with pytest.raises(InputError, match=f"--cost: {option}; expected a positive number of parameters, "):
        parse_costs([option])


# --- functions -----------------------------------------------------------------------------------------------------


def test_a_function_has_the_scores_of_its_files_to_the_bit(made_mixtures, made, tmp_path):
    by_length = {estimates.shape[1]: estimates for estimates in made.values()}
    out = tmp_path / "scores.parquet"
    table = audioslots.evaluate(lambda mixture, rate: by_length[len(mixture)], made_mixtures, out, "other")
    expected = scores(by_source(tmp_path / "files", made), made_mixtures, tmp_path / "out").assign(benchmark="")
    pd.testing.assert_frame_equal(table, expected, check_exact=True)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (lambda mixture, rate: mixture, r"external-f: returned shape \(6400,\); expected \(estimates, 6400\)"),
        (lambda mixture, rate: np.zeros((2, 5)), r"returned shape \(2, 5\)"),
        (lambda mixture, rate: np.zeros((0, len(mixture))), r"returned shape \(0, 6400\)"),
        (lambda mixture, rate: np.full((2, len(mixture)), np.inf), "not finite"),
    ],
)
def test_what_a_function_may_not_return(made_mixtures, tmp_path, returned, expected):
    with pytest.raises(InputError, match=expected):
        audioslots.evaluate(returned, made_mixtures, tmp_path / "scores.parquet", "f")
    assert not (tmp_path / "scores.parquet").exists()
