"""Rendered mixtures: LibriMix's bytes and layout, and nothing half-made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
import torchaudio
from folder_contents import contents
from scipy.signal import resample_poly

from audioslots.data.librimix.metadata import read_metadata, write_metadata
from audioslots.data.librimix.rendering import render
from audioslots.runtime.errors import InputError


@pytest.mark.parametrize(
    ("sources", "rate", "mode", "jobs"),
    [
        *((sources, rate, mode, 2) for sources in (2, 3) for rate in (8000, 16000) for mode in ("min", "max")),
        *((sources, 8000, "min", jobs) for sources in (2, 3) for jobs in (1, 8)),
    ],
)
def test_libri_mix_reference_checksums(
    shared: Path, tmp_path: Path, sources: int, rate: int, mode: str, jobs: int
) -> None:
    sample = shared / f"librimix/libri{sources}mix_test-clean_sample.csv"
    golden = pd.read_csv(shared / f"librimix/golden/libri{sources}mix_test-clean_sample_pcm_md5.csv")
    golden = golden[(golden["rate"] == f"{rate // 1000}k") & (golden["mode"] == mode)]
    folder = render(sample, shared / "librispeech/LibriSpeech", tmp_path, rate, mode, jobs)
    found = json.loads((folder / "manifest.json").read_text())["pcm_md5"]
    expected = {
        row["mixture_ID"]: {"length": row["samples"]}
        | {name: row[f"{name}_pcm_md5"] for name in ("mix_clean", *(f"s{i + 1}" for i in range(sources)))}
        for row in golden.to_dict("records")
    }
    assert len(expected) == {2: 258, 3: 21}[sources]
    assert found == expected


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_pcm_is_gain_then_resampling_then_cut_then_sum(
    table: Path, made_corpus: Path, tmp_path: Path, rate: int, mode: str
) -> None:
    folder = render(table, made_corpus, tmp_path, rate, mode)
    for row in read_metadata(table).to_dict("records"):
        sources = []
        for i in (1, 2):  # the reference decodes and resamples everything before it cuts
            samples, _ = sf.read(made_corpus / row[f"source_{i}_path"], dtype="float32")
            sources.append(resample_poly(samples * row[f"source_{i}_gain"], rate, 16000))
        length = (min if mode == "min" else max)(map(len, sources))
        sources = [np.pad(source, (0, max(0, length - len(source))))[:length] for source in sources]
        for name, samples in {"mix_clean": sources[0] + sources[1], "s1": sources[0], "s2": sources[1]}.items():
            file = folder / name / f"{row['mixture_ID']}.wav"
            assert sf.info(file).subtype == "PCM_16" and sf.info(file).samplerate == rate
            sf.write(tmp_path / "expected.wav", samples, rate)
            assert file.read_bytes() == (tmp_path / "expected.wav").read_bytes()


def test_any_number_of_jobs_and_any_place_give_the_same_bytes(
    rendered: Path, table: Path, made_corpus: Path, tmp_path: Path
) -> None:
    for jobs in (2, 8):
        render(table, made_corpus, tmp_path / str(jobs), 8000, "min", jobs)
        assert contents(tmp_path / str(jobs)) == contents(rendered)


def test_tables_are_libri_mix_own(rendered: Path, table: Path) -> None:
    metadata = rendered / "Libri2Mix/wav8k/min/metadata"
    mixtures = pd.read_csv(metadata / "mixture_test_mix_clean.csv")
    assert mixtures.columns.tolist() == ["mixture_ID", "mixture_path", "source_1_path", "source_2_path", "length"]
    assert mixtures["mixture_ID"].tolist() == read_metadata(table)["mixture_ID"].tolist()
    metrics = pd.read_csv(metadata / "metrics_test_mix_clean.csv")
    assert metrics.columns.tolist() == ["mixture_ID", "source_1_SNR", "source_2_SNR"]
    people = pd.read_csv(metadata / "info_test.csv", dtype=str)
    assert people["mixture_ID"].tolist() == mixtures["mixture_ID"].tolist()
    for row, metric in zip(mixtures.to_dict("records"), metrics.to_dict("records"), strict=True):
        one, two = (sf.read(rendered / row[f"source_{i}_path"])[0] for i in (1, 2))
        assert len(one) == len(two) == row["length"] == sf.info(rendered / row["mixture_path"]).frames
        snr = 10 * np.log10(np.mean(one**2) / np.mean(two**2))
        assert metric["source_1_SNR"] == pytest.approx(snr, abs=0.01)
        assert metric["source_2_SNR"] == pytest.approx(-snr, abs=0.01)


def test_torchaudio_reads_the_folder_as_its_own(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: str) -> tuple[torch.Tensor, int]:  # torchaudio's own needs torchcodec, which is no dependency
        samples, rate = sf.read(path, dtype="float32", always_2d=True)
        return torch.from_numpy(samples.T), rate

    monkeypatch.setattr(torchaudio, "load", load)
    dataset = torchaudio.datasets.LibriMix(rendered, subset="test", num_speakers=2, sample_rate=8000, mode="min")
    assert len(dataset) == 10
    for rate, mixture, (one, two) in dataset:
        assert rate == 8000
        torch.testing.assert_close(mixture, one + two, atol=3 / 2**15, rtol=0)


def test_a_missing_source_is_found_before_anything_is_written(table: Path, copy: Path, tmp_path: Path) -> None:
    path = read_metadata(table)["source_2_path"][8]
    (copy / path).unlink()
    row = read_metadata(table).isin([path]).any(axis=1).idxmax() + 1
    with pytest.raises(InputError) as caught:
        render(table, copy, tmp_path / "out", 8000, "min")
    assert str(caught.value) == f"{table}: row {row}: {copy / path} does not exist; expected a speech file"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("damage", ["truncated", "zero-length", "no audio", "stereo", "8 kHz"])
def test_a_damaged_source_is_named_and_leaves_no_manifest(
    table: Path, copy: Path, tmp_path: Path, damage: str, jobs: int
) -> None:
    victim = copy / read_metadata(table)["source_1_path"][0]
    speech, rate = sf.read(victim)
    if damage in ("truncated", "zero-length"):
        victim.write_bytes(victim.read_bytes()[: 10_000 if damage == "truncated" else 0])
    elif damage == "no audio":
        sf.write(victim, speech[:0], rate)
    elif damage == "stereo":
        sf.write(victim, np.stack([speech, speech], axis=1), rate)
    else:
        sf.write(victim, speech, 8000)
    with pytest.raises(InputError, match=f"{victim.name}: .*; expected"):
        render(table, copy, tmp_path / "out", 8000, "max", jobs)
    assert not list((tmp_path / "out").rglob("manifest.json"))
    assert not list((tmp_path / "out").rglob("*.csv"))


def test_bad_arguments_are_refused(table: Path, made_corpus: Path, tmp_path: Path) -> None:
    for rate, mode, jobs, problem in (
        (44100, "min", 1, "rate: 44100"),
        (8000, "mid", 1, "mode"),
        (8000, "min", 0, "jobs"),
    ):
        with pytest.raises(InputError, match=problem):
            render(table, made_corpus, tmp_path, rate, mode, jobs)
    mixed = tmp_path / "mixed.csv"
    train = sorted(path.relative_to(made_corpus).as_posix() for path in made_corpus.glob("train-clean/*/*/*.flac"))
    write_metadata(read_metadata(table).assign(source_2_path=train[0]), mixed)
    with pytest.raises(InputError, match=r"sources of several subsets \(test-clean, train-clean\)"):
        render(mixed, made_corpus, tmp_path, 8000, "min")
    (tmp_path / "Libri2Mix").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        render(table, made_corpus, tmp_path, 8000, "min")
