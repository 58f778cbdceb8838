"""Estimates saved by one job and scored by another: the same scores, resumption, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_systems import IDS, RATE, Leaky

from audioslots.baselines.oracles import open_baseline
from audioslots.runtime.errors import InputError
from audioslots.runtime.stage import Options, using
from audioslots.scoring.estimates import SavedEstimates, separate_mixture, separate_set
from audioslots.scoring.evaluate import EvaluationOptions, evaluate
from audioslots.scoring.mixtures import Waveforms, read_mixtures


class Short(Leaky):
    """Its blind estimates lack the end of the mixture, and one of them is NaN."""

    name = "short"

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        estimates = super().by_stitching(mixture, sources)
        estimates["blind"][0] = np.nan
        return estimates | {"blind": estimates["blind"][:, :-50]}


@pytest.fixture(scope="module")
def saved(made_mixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``Leaky`` makes of the mixtures; the tests copy it."""
    folder = tmp_path_factory.mktemp("made") / "estimates"
    separate_set(Leaky(), made_mixtures, folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path / "estimates")
    return tmp_path / "estimates"


# --- the same scores -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "jobs"), [(Leaky(), 2), (Short(), 1), (open_baseline("oracle-psm", RATE), 1)], ids=["2", "short", "psm"]
)
def test_scores_and_examples_of_estimates_are_those_of_one_pass_to_the_bit(made_mixtures, tmp_path, system, jobs):
    one, two = tmp_path / "one", tmp_path / "two"
    evaluate(system, made_mixtures, one / "scores.parquet", EvaluationOptions("mini", num_examples=2))
    separate_set(system, made_mixtures, tmp_path / "estimates")
    options = EvaluationOptions("mini", jobs, num_examples=2)
    evaluate(SavedEstimates.load(tmp_path / "estimates"), made_mixtures, two / "scores.parquet", options)
    tables = [pd.read_parquet(place / "scores.parquet") for place in (one, two)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    audio = [{path.relative_to(place): path.read_bytes() for path in place.rglob("*.wav")} for place in (one, two)]
    assert len(audio[0]) == 2 * 5 and audio[0] == audio[1]
    notes = [json.loads((place / "scores.stage.json").read_text()) for place in (one, two)]
    assert [notes[0][key] == notes[1][key] for key in ("request", "code")] == [True, True]
    seconds = sum(float(np.load(path)["separation_s"]) for path in (tmp_path / "estimates").glob("*.npz"))
    assert json.loads((two / "evaluation.json").read_text())["separation_s"] == pytest.approx(seconds)


def test_scores_are_resumed_whichever_way_they_were_begun(made_mixtures, folder, tmp_path):
    options = EvaluationOptions("mini", shard=(1, 2))
    for first, then in ((Leaky(), SavedEstimates.load(folder)), (SavedEstimates.load(folder), Leaky())):
        out = tmp_path / type(first).__name__ / "scores.parquet"
        evaluate(first, made_mixtures, out, options)
        kept = {path: path.stat().st_mtime_ns for path in out.parent.glob(".*.parts/*.json")}
        assert len(kept) == 2
        evaluate(then, made_mixtures, out, options)
        assert kept == {path: path.stat().st_mtime_ns for path in out.parent.glob(".*.parts/*.json")}


# --- resumption ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [0, 1, 2])
def test_interrupted_separation_goes_on_with_the_mixtures_that_are_missing(made_mixtures, tmp_path, stop_at):
    out, again, finished = tmp_path / "estimates", Leaky(), Leaky()
    with pytest.raises(KeyboardInterrupt):
        separate_set(Leaky(stop_at), made_mixtures, out)
    assert not out.exists()
    separate_set(again, made_mixtures, out)
    assert again.separated == len(IDS) - stop_at
    assert {path.name for path in out.iterdir()} == {"manifest.json", *(f"{name}.npz" for name in IDS)}
    assert not list(tmp_path.glob(".*.parts"))
    separate_set(finished, made_mixtures, out)
    assert not finished.separated


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from made_systems import Leaky
from audioslots.scoring import estimates
save, made = estimates.np.savez, []
def stop(path, **arrays):
    save(path, **arrays)
    made.append(path)
    if len(made) == 2:
        print("wrote", flush=True)
        sys.stdin.read()
estimates.np.savez = stop
estimates.separate_set(Leaky(), Path(sys.argv[2]), Path(sys.argv[3]))
"""


def test_killed_separation_goes_on_and_what_a_power_cut_left_is_made_again(made_mixtures, saved, tmp_path):
    out, here = tmp_path / "estimates", Path(__file__)
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, here.parent, made_mixtures, out],
        env={**os.environ, "PYTHONPATH": str(here.parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"wrote\n"
        process.send_signal(signal.SIGKILL)
    (parts,) = tmp_path.glob(".*.parts")
    assert len(list(parts.glob("[!.]*.npz"))) == len(list(parts.glob(".*.tmp.npz"))) == 1
    (parts / f"{IDS[2]}.npz").write_bytes((saved / f"{IDS[2]}.npz").read_bytes()[:5000])
    separate_set(Leaky(), made_mixtures, out)
    assert {path.name for path in out.iterdir()} == {path.name for path in saved.iterdir()}
    for item in read_mixtures(made_mixtures):
        ours, expected = (SavedEstimates.load(folder).read(item, 0)[0] for folder in (out, saved))
        assert ours.keys() == expected.keys() and all(np.array_equal(ours[name], expected[name]) for name in ours)


def test_only_a_file_that_is_lost_is_made_again(made_mixtures, folder, tmp_path):
    separate_set(Leaky(), made_mixtures, tmp_path / "lossy")
    (tmp_path / "lossy" / f"{IDS[1]}.npz").unlink()
    again = Leaky()
    separate_set(again, made_mixtures, tmp_path / "lossy")
    assert again.separated == 1 and len(list((tmp_path / "lossy").glob("*.npz"))) == 3


# --- what is refused -----------------------------------------------------------------------------------------------


def test_estimates_of_another_model_are_refused_and_overwritten(made_mixtures, tmp_path):
    out, other = tmp_path / "estimates", Leaky(identity="b")
    separate_set(Leaky(), made_mixtures, out)
    with pytest.raises(InputError, match="identity is a; expected b, another folder, or --overwrite"):
        separate_set(other, made_mixtures, out)
    with using(Options(overwrite=True)):
        separate_set(other, made_mixtures, out)
    assert other.separated == 3 and SavedEstimates.load(out).identity == "b"


def test_a_folder_of_other_files_is_left_as_it_is(made_mixtures, folder, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for place in (tmp_path / "mine", folder):  # and so are estimates of another model that no stage knows of
        before, system = sorted(place.iterdir()), Leaky(identity="b")
        with pytest.raises(InputError, match=f"{place.name}: holds files of other origin; expected a new or empty"):
            separate_set(system, made_mixtures, place)
        assert sorted(place.iterdir()) == before and not system.separated


@pytest.mark.parametrize("place", [".", "..", "/"])
def test_estimates_need_a_folder_of_their_own(made_mixtures, place):
    with pytest.raises(InputError, match="expected a folder of its own for the estimates"):
        separate_set(Leaky(), made_mixtures, Path(place))


def change_manifest(**changes: object) -> Callable[[Path], None]:
    """Changes keys of the manifest; those that are to be None are removed."""

    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        content = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return change


def change_arrays(**arrays: np.ndarray) -> Callable[[Path], None]:
    """Puts other arrays into the file of the second mixture."""
    return lambda folder: np.savez(folder / f"{IDS[1]}.npz", **arrays)  # type: ignore[arg-type]


STEREO, SECONDS = np.zeros((2, 8000), np.float32), np.ones(())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "estimates: no such folder; expected what `audioslots separate-set` writes"),
        (lambda folder: (folder / "manifest.json").unlink(), "estimates: the estimates are not finished; expected a"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json: not valid JSON"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "manifest.json: damaged; expected"),
        (change_manifest(identity=None), "manifest.json: damaged; expected what `audioslots separate-set` writes"),
        (change_manifest(modules=["audioslots.gone"]), "estimates: written by another version; expected"),
        (change_manifest(mixtures={}), "estimates: estimates of other mixtures; expected those of"),
        (change_manifest(rate=16000), "mixtures at 8000 Hz; expected leaky's 16000 Hz"),
        (lambda folder: (folder / f"{IDS[1]}.npz").unlink(), "a-second.npz: no such file; expected the estimates of a"),
        (lambda folder: (folder / f"{IDS[1]}.npz").write_bytes(b""), "a-second.npz: damaged; expected the estimates"),
        (change_arrays(blind=STEREO), "a-second.npz: damaged; expected the estimates of a mixture"),
        (change_arrays(blind=STEREO[0], separation_s=SECONDS), "shape .8000,. of float32; expected .estimates, sam"),
        (change_arrays(blind=np.zeros((2, 8000)), separation_s=SECONDS), "blind has shape .* of float64; expected"),
        (change_arrays(separation_s=SECONDS), "a-second.npz: damaged; expected the estimates of a mixture"),
    ],
)
def test_bad_estimates_are_named_in_one_line_and_no_scores_are_left(made_mixtures, folder, tmp_path, damage, message):
    damage(folder)
    out = tmp_path / "out" / "scores.parquet"
    with pytest.raises(InputError, match=message) as refused:
        evaluate(SavedEstimates.load(folder), made_mixtures, out, EvaluationOptions(num_examples=0))
    assert "\n" not in str(refused.value) and not out.exists()


def test_estimates_by_other_code_are_taken_with_a_warning(made_mixtures, folder, capsys):
    change_manifest(code="another", commit="abc")(folder)
    system = SavedEstimates.load(folder)
    assert "estimates: made by other code (commit abc); kept; --overwrite makes it again" in capsys.readouterr().err
    assert separate_mixture(system, read_mixtures(made_mixtures)[0]).estimates.keys() == {"blind", "oracle"}
