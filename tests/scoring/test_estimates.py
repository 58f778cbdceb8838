"""Estimates kept between a job that separates and one that scores: the same scores, resumption, and what is refused."""

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
from made_systems import IDS, RATE, Counting, Leaky

from audioslots.baselines.oracles import baseline
from audioslots.runtime.errors import InputError
from audioslots.runtime.stage import Options, using
from audioslots.scoring import estimates as estimates_module
from audioslots.scoring.estimates import Estimated, System, estimate, separated
from audioslots.scoring.evaluate import Waveforms, evaluate
from audioslots.scoring.mixtures import read_mixtures


class Cut(Leaky):
    """Its blind estimates lack the end of the mixture, and one of them is NaN."""

    name = "cut"

    def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
        found = super().by_stitching(mixture, sources)
        found["blind"][0] = np.nan
        return found | {"blind": found["blind"][:, :-50]}


@pytest.fixture(scope="module")
def estimated(made_mixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``Leaky`` makes of the mixtures; the tests copy it."""
    folder = tmp_path_factory.mktemp("made") / "estimates"
    estimate(Leaky(), made_mixtures, folder)
    return folder


@pytest.fixture
def folder(estimated: Path, tmp_path: Path) -> Path:
    shutil.copytree(estimated, tmp_path / "estimates")
    return tmp_path / "estimates"


@pytest.mark.parametrize("system", [Leaky(), Cut(), baseline("oracle-psm", RATE)], ids=lambda system: system.name)
@pytest.mark.parametrize("jobs", [1, 2])
def test_scores_and_examples_of_estimates_are_those_of_one_pass_to_the_bit(
    made_mixtures: Path, tmp_path: Path, system: System, jobs: int
) -> None:
    evaluate(system, made_mixtures, tmp_path / "one" / "scores.parquet", "mini", examples=2)
    estimate(system, made_mixtures, tmp_path / "estimates")
    two = tmp_path / "two" / "scores.parquet"
    evaluate(Estimated.load(tmp_path / "estimates"), made_mixtures, two, "mini", jobs, examples=2)
    tables = [pd.read_parquet(tmp_path / name / "scores.parquet") for name in ("one", "two")]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    one, other = (
        {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*.wav")}
        for name in ("one", "two")
    )
    assert len(one) == 2 * 5 and one == other
    requests = [json.loads((tmp_path / name / "scores.stage.json").read_text()) for name in ("one", "two")]
    assert [requests[0][key] == requests[1][key] for key in ("request", "code")] == [True, True]


def test_scores_are_resumed_whichever_way_they_were_begun(made_mixtures: Path, folder: Path, tmp_path: Path) -> None:
    for first, then in ((Leaky(), Estimated.load(folder)), (Estimated.load(folder), Leaky())):
        out = tmp_path / type(first).__name__ / "scores.parquet"
        evaluate(first, made_mixtures, out, "mini", shard=(1, 2))
        (parts,) = out.parent.glob(".*.parts")
        kept = {path: path.stat().st_mtime_ns for path in parts.iterdir()}
        assert len(kept) == 2
        evaluate(then, made_mixtures, out, "mini", shard=(1, 2))
        assert kept == {path: path.stat().st_mtime_ns for path in parts.iterdir()}


def test_the_seconds_are_those_of_the_separation(
    made_mixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    class Slow(Leaky):
        def by_stitching(self, mixture: Waveforms, sources: Waveforms) -> dict[str, Waveforms]:
            clock[0] += 0.5
            return super().by_stitching(mixture, sources)

    monkeypatch.setattr(estimates_module.time, "perf_counter", lambda: clock[0])
    estimate(Slow(), made_mixtures, tmp_path / "estimates")
    evaluate(Estimated.load(tmp_path / "estimates"), made_mixtures, tmp_path / "scores.parquet")
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert (written["separation_s"], written["audio_s"], written["real_time_factor"]) == (1.5, 3.0, 0.5)


@pytest.mark.parametrize("stop_at", [0, 1, 2])
def test_interrupted_separation_goes_on_with_the_mixtures_that_are_missing(
    made_mixtures: Path, tmp_path: Path, stop_at: int
) -> None:
    out = tmp_path / "estimates"
    with pytest.raises(KeyboardInterrupt):
        estimate(Counting(stop_at), made_mixtures, out)
    assert not out.exists()
    again, finished = Counting(), Counting()
    estimate(again, made_mixtures, out)
    assert again.separated == len(IDS) - stop_at
    assert {path.name for path in out.iterdir()} == {"manifest.json", *(f"{name}.npz" for name in IDS)}
    assert not list(tmp_path.glob(".*.parts"))
    estimate(finished, made_mixtures, out)
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
estimates.estimate(Leaky(), Path(sys.argv[2]), Path(sys.argv[3]))
"""


def test_killed_separation_goes_on_and_what_a_power_cut_left_is_made_again(
    made_mixtures: Path, estimated: Path, tmp_path: Path
) -> None:
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
    (parts / f"{IDS[2]}.npz").write_bytes((estimated / f"{IDS[2]}.npz").read_bytes()[:5000])
    estimate(Leaky(), made_mixtures, out)
    assert {path.name for path in out.iterdir()} == {path.name for path in estimated.iterdir()}
    for item in read_mixtures(made_mixtures):
        ours, known = (Estimated.load(folder).of(item)[0] for folder in (out, estimated))
        assert ours.keys() == known.keys() and all(np.array_equal(ours[name], known[name]) for name in known)


def test_a_file_that_is_lost_is_made_again_and_no_other(made_mixtures: Path, tmp_path: Path) -> None:
    estimate(Counting(), made_mixtures, tmp_path / "estimates")
    (tmp_path / "estimates" / f"{IDS[1]}.npz").unlink()
    again, anew = Counting(), Counting()
    estimate(again, made_mixtures, tmp_path / "estimates")
    shutil.rmtree(tmp_path / "estimates")  # as a workflow does once they are scored
    estimate(anew, made_mixtures, tmp_path / "estimates")
    assert (again.separated, anew.separated) == (1, 3)
    assert len(list((tmp_path / "estimates").glob("*.npz"))) == 3


def test_estimates_of_another_model_are_refused_and_overwritten(
    made_mixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, other = tmp_path / "estimates", Counting(identity="b")
    estimate(Counting(), made_mixtures, out)
    with pytest.raises(InputError, match="identity is a; expected b, another folder, or --overwrite"):
        estimate(other, made_mixtures, out)
    with using(Options(overwrite=True)):
        estimate(other, made_mixtures, out)
        assert other.separated == 3 and Estimated.load(out).identity == "b"


def test_a_folder_of_other_files_is_left_alone(made_mixtures: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for place in (tmp_path / "mine", folder):  # and so are estimates of another model that no stage knows of
        before, system = sorted(place.iterdir()), Counting()
        with pytest.raises(InputError, match=f"{place.name}: holds files of other origin; expected a new or empty"):
            estimate(system, made_mixtures, place)
        assert sorted(place.iterdir()) == before and not system.separated


@pytest.mark.parametrize("place", [".", "..", "/"])
def test_estimates_want_a_folder_of_their_own(made_mixtures: Path, place: str) -> None:
    with pytest.raises(InputError, match="expected a folder of its own for the estimates"):
        estimate(Counting(), made_mixtures, Path(place))


def test_mixtures_of_another_rate_are_not_separated(made_mixtures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mixtures at 8000 Hz; expected oracle-ibm's 16000 Hz"):
        estimate(baseline("oracle-ibm", 16000), made_mixtures, tmp_path / "estimates")
    assert not (tmp_path / "estimates").exists()


def altered(**changes: object) -> Callable[[Path], None]:
    """Changes keys of the manifest; those that are to be None are removed."""

    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        content = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return change


def holding(**arrays: np.ndarray) -> Callable[[Path], None]:
    """Puts other arrays into the file of the second mixture."""
    return lambda folder: np.savez(folder / f"{IDS[1]}.npz", **arrays)  # type: ignore[arg-type]


STEREO = np.zeros((2, 8000), np.float32)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "estimates: no such folder; expected what `audioslots separate-set` writes"),
        (lambda folder: (folder / "manifest.json").unlink(), "estimates: the estimates are not finished; expected a"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json: not valid JSON"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "manifest.json: damaged; expected"),
        (altered(identity=None), "manifest.json: damaged; expected what `audioslots separate-set` writes"),
        (altered(modules=["audioslots.gone"]), "estimates: made by another version; expected estimates that this one"),
        (altered(mixtures={}), "estimates: estimates of other mixtures; expected those of"),
        (altered(rate=16000), "mixtures at 8000 Hz; expected leaky's 16000 Hz"),
        (lambda folder: (folder / f"{IDS[1]}.npz").unlink(), "a-second.npz: no such file; expected the estimates of a"),
        (lambda folder: (folder / f"{IDS[1]}.npz").write_bytes(b""), "a-second.npz: damaged; expected the estimates"),
        (holding(blind=STEREO), "a-second.npz: damaged; expected the estimates of a mixture"),
        (holding(blind=STEREO[0], separation_s=np.ones(())), "shape .8000,. of float32; expected .estimates, samples."),
        (holding(blind=np.zeros((2, 8000)), separation_s=np.ones(())), "blind has shape .* of float64; expected"),
        (holding(separation_s=np.ones(())), "a-second.npz: damaged; expected the estimates of a mixture"),
    ],
)
def test_bad_estimates_are_named_in_one_line_and_no_scores_are_left(
    made_mixtures: Path, folder: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message) as refused:
        evaluate(Estimated.load(folder), made_mixtures, tmp_path / "out" / "scores.parquet", examples=0)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out" / "scores.parquet").exists()


def test_a_file_with_any_byte_changed_is_read_as_it_was_or_refused(made_mixtures: Path, folder: Path) -> None:
    item, system = read_mixtures(made_mixtures)[0], Estimated.load(folder)
    known, seconds = system.of(item)
    path = folder / f"{item.mixture_id}.npz"
    whole = path.read_bytes()
    inside = np.random.default_rng(0).integers(len(whole), size=50)
    places = [*range(250), *range(len(whole) - 450, len(whole)), *inside]
    refused = 0
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            found, took = system.of(item)
        except InputError:
            refused += 1
            continue
        assert took == seconds and all(np.array_equal(found[name], known[name]) for name in known), place
    assert refused > len(places) / 2


def test_estimates_by_other_code_are_taken_and_that_is_said(
    made_mixtures: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    altered(code="another", commit="abc")(folder)
    system = Estimated.load(folder)
    assert "estimates: made by other code (commit abc); kept; --overwrite makes it again" in capsys.readouterr().err
    assert separated(system, read_mixtures(made_mixtures)[0]).estimates.keys() == {"blind", "oracle"}
