"""Noisy mixtures: LibriMix's noise, to the bit."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import integer_corpus
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
import torchaudio
from scipy.signal import resample_poly

from audioslots.data.librimix.metadata import read_metadata, write_metadata
from audioslots.data.librimix.noise import FADE, extend_noise, read_noise
from audioslots.data.librimix.rendering import TYPES, render
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json

GOLDEN = Path(__file__).parent / "librimix_md5.csv"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech, noise and metadata whose samples are the same everywhere."""
    root = tmp_path_factory.mktemp("made")
    integer_corpus.make(root)
    return root


def rendered(made: Path, out: Path, sources: int = 2, rate: int = 8000, mode: str = "min", **given: object) -> Path:
    given = {"types": TYPES, "wham": made / "wham"} | given
    table = made / f"libri{sources}mix_test-clean.csv"
    return render(table, made / "LibriSpeech", out, rate, mode, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("sources", [2, 3])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_every_file_is_as_libri_mix_wrote_it(made: Path, tmp_path: Path, sources: int, rate: int, mode: str) -> None:
    """The checksums are those of what ``create_librimix_from_metadata.py`` at b898ca3 made of the same corpus."""
    with open(GOLDEN, encoding="utf-8") as file:
        golden = [
            (row["mixture_ID"], row["folder"], row["pcm_md5"], int(row["samples"]))
            for row in csv.DictReader(file)
            if (row["sources"], row["rate"], row["mode"]) == (str(sources), f"{rate // 1000}k", mode)
        ]
    assert len(golden) == {2: 4, 3: 2}[sources] * (len(TYPES) + sources + 1)
    folder = rendered(made, tmp_path, sources, rate, mode, jobs=2)
    manifest = read_json(folder / "manifest.json")["pcm_md5"]
    assert sorted(golden) == sorted(
        (mixture, name, digest, entry["length"])
        for mixture, entry in manifest.items()
        for name, digest in entry.items()
        if name != "length"
    )


def by_the_formula(row: dict[str, object], made: Path, rate: int, mode: str) -> dict[str, np.ndarray]:
    """Sources, noise and mixtures of a row: everything decoded and resampled, then cut; fades written out."""
    sources = [sf.read(made / "LibriSpeech" / str(row[f"source_{i}_path"]), dtype="float32")[0] for i in (1, 2)]
    longest = max(map(len, sources))
    once = sf.read(made / "wham" / str(row["noise_path"]), dtype="float32", always_2d=True)[0][:longest, 0]
    noise = once
    fall = np.hanning(16001)[8000:]
    while len(noise) < longest:
        fade = noise[-8001:] * fall + once[:8001] * fall[::-1]
        noise = np.concatenate([noise[:-8001], fade, once[8001:]])
    gains = [float(str(row[f"{part}_gain"])) for part in ("source_1", "source_2", "noise")]
    scaled = [part * gain for part, gain in zip([*sources, noise[:longest]], gains, strict=True)]
    parts = [resample_poly(part, rate, 16000) for part in scaled]
    length = (min if mode == "min" else max)(map(len, parts))
    one, two, noise = (np.pad(part[:length], (0, max(0, length - len(part)))) for part in parts)
    both, single = one + two, one.copy()
    both += noise  # in float32, whatever the noise is
    single += noise
    return {"s1": one, "s2": two, "noise": noise, "mix_clean": one + two, "mix_both": both, "mix_single": single}


@pytest.mark.parametrize(("rate", "mode"), [(8000, "min"), (16000, "max")])
def test_audio_and_tables_follow_the_formula(made: Path, tmp_path: Path, rate: int, mode: str) -> None:
    folder = rendered(made, tmp_path, rate=rate, mode=mode)
    tables = folder.parent / "metadata"
    for row in read_metadata(made / "libri2mix_test-clean.csv").to_dict("records"):
        expected = by_the_formula({str(key): value for key, value in row.items()}, made, rate, mode)
        for name, samples in expected.items():
            sf.write(tmp_path / "expected.wav", samples, rate)
            assert (folder / name / f"{row['mixture_ID']}.wav").read_bytes() == (tmp_path / "expected.wav").read_bytes()
        for kind, parts in {"mix_both": ("s1", "s2", "noise"), "mix_single": ("s1", "noise")}.items():
            columns = [part.replace("s", "source_") if part != "noise" else part for part in parts]
            mixtures = pd.read_csv(tables / f"mixture_test_{kind}.csv", index_col="mixture_ID")
            metrics = pd.read_csv(tables / f"metrics_test_{kind}.csv", index_col="mixture_ID")
            assert mixtures.columns.tolist() == ["mixture_path", *(f"{part}_path" for part in columns), "length"]
            assert metrics.columns.tolist() == [f"{part}_SNR" for part in columns]
            found = mixtures.loc[row["mixture_ID"]]
            assert found["length"] == len(expected["s1"])
            for part, column in zip((kind, *parts), ("mixture", *columns), strict=True):
                assert tmp_path / found[f"{column}_path"] == folder / part / f"{row['mixture_ID']}.wav"
            for part, column in zip(parts, columns, strict=True):
                rest = expected[kind] - expected[part]
                snr = 10 * np.log10(np.mean(expected[part] ** 2.0) / np.mean(rest**2.0))
                assert metrics.loc[row["mixture_ID"], f"{column}_SNR"] == pytest.approx(snr, abs=1e-3)


@pytest.mark.parametrize(("length", "needed"), [(9_000, 9_000), (30_000, 30_000), (30_000, 21_000), (70_000, 40_000)])
def test_noise_read_in_part_is_the_start_of_the_whole(tmp_path: Path, length: int, needed: int) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (20_000, 2))
    sf.write(tmp_path / "noise.wav", noise, 16_000)
    part = read_noise(tmp_path / "noise.wav", length, needed)
    assert part.shape == (needed,) and part.dtype == (np.float64 if length > 20_000 else np.float32)
    np.testing.assert_array_equal(part, read_noise(tmp_path / "noise.wav", length, length)[:needed])


def test_a_repeated_noise_keeps_its_level_across_the_seams() -> None:
    extended = extend_noise(np.ones(FADE + 1000, np.float32), 50_000)
    np.testing.assert_allclose(extended, 1, atol=1e-12)


@pytest.mark.parametrize("types", [kinds for n in (1, 2) for kinds in itertools.combinations(TYPES, n)])
def test_a_type_is_the_same_whichever_others_are_asked_for(made: Path, tmp_path: Path, types: tuple[str, ...]) -> None:
    rendered(made, tmp_path / "whole")
    part = rendered(made, tmp_path / "part", types=types[::-1])
    noisy = types != ("mix_clean",)
    folders = {path.name for path in part.iterdir() if path.is_dir()}
    assert folders == {*types, "s1", "s2", *(["noise"] if noisy else [])}
    assert len(list(part.parent.glob("metadata/m*.csv"))) == 2 * len(types)
    for file in [*part.rglob("*.wav"), *part.parent.glob("metadata/*.csv")]:
        assert file.read_bytes() == (tmp_path / "whole" / file.relative_to(tmp_path / "part")).read_bytes()


def test_torchaudio_reads_noisy_mixtures_as_its_own(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: str) -> tuple[torch.Tensor, int]:  # torchaudio's own needs torchcodec, which is no dependency
        samples, rate = sf.read(path, dtype="float32", always_2d=True)
        return torch.from_numpy(samples.T), rate

    monkeypatch.setattr(torchaudio, "load", load)
    rendered(made, tmp_path)
    for task in ("enh_single", "enh_both", "sep_noisy"):
        dataset = torchaudio.datasets.LibriMix(tmp_path, "test", 2, 8000, task, "min")
        assert len(dataset) == 4
        for rate, mixture, sources in dataset:
            assert rate == 8000 and all(source.shape == mixture.shape for source in sources)


def test_noisy_types_need_noise(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"wham: not given; expected the folder of WHAM's noise"):
        rendered(made, out, wham=None)
    with pytest.raises(InputError, match=r"types: mix_clean,mix_loud; expected one or more of mix_clean,mix_both,mix_"):
        rendered(made, out, types=("mix_clean", "mix_loud"))
    with pytest.raises(InputError, match=r"row 1: .*nowhere/tt/short.wav does not exist; expected a noise file"):
        rendered(made, out, wham=tmp_path / "nowhere")
    clean = tmp_path / "clean.csv"
    table = read_metadata(made / "libri2mix_test-clean.csv")
    write_metadata(table.drop(columns=["noise_path", "noise_gain"]), clean)
    with pytest.raises(InputError, match=r"clean.csv: column noise_path is missing; expected a noise"):
        render(clean, made / "LibriSpeech", out, 8000, "min", types=("mix_both",), wham=made / "wham")
    assert not out.exists()
    render(clean, made / "LibriSpeech", out, 8000, "min")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("8 kHz", "sample rate is 8000 Hz; expected 16000 Hz"),
        ("short", "has 8001 samples; expected more than 8001, to be repeated"),
        ("empty", "cannot be decoded .*; expected a whole audio file"),
        ("no audio", "has 0 samples; expected more than 8001"),
        ("folder", "Is a directory; expected a readable audio file"),
    ],
)
def test_damaged_noise_is_named(tmp_path: Path, damage: str, problem: str) -> None:
    path, noise = tmp_path / "noise.wav", np.zeros(40_000)
    if damage == "8 kHz":
        sf.write(path, noise, 8000)
    elif damage == "short":
        sf.write(path, noise[:FADE], 16_000)
    elif damage == "empty":
        path.touch()
    elif damage == "no audio":
        sf.write(path, noise[:0], 16_000)
    else:
        path.mkdir()
    with pytest.raises(InputError, match=f"noise.wav: {problem}"):
        read_noise(path, 20_000, 20_000)


def test_truncated_noise_is_named(tmp_path: Path) -> None:
    """A FLAC that was cut off; libsndfile takes a WAV that was cut off for a shorter one."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 40_000)
    sf.write(tmp_path / "noise.flac", noise, 16_000)
    whole = (tmp_path / "noise.flac").read_bytes()
    (tmp_path / "noise.flac").write_bytes(whole[: len(whole) // 4])
    with pytest.raises(InputError, match=r"noise.flac: .*; expected"):
        read_noise(tmp_path / "noise.flac", 35_000, 35_000)
