"""Mixtures with noise: rendered with and without metadata, of several kinds in one folder, and their oracles."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audioslots.baselines.oracles import baseline
from audioslots.data.librimix.metadata import draw, write_metadata
from audioslots.data.librimix.noise import with_noise
from audioslots.data.librimix.rendering import TYPES, render
from audioslots.runtime.errors import InputError
from audioslots.scoring.estimates import estimate
from audioslots.scoring.evaluate import evaluate, read_scores
from audioslots.scoring.mixtures import digests, read_mixtures


@pytest.fixture(scope="module")
def noisy(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three mixtures of two speakers, rendered without noise, with it, and of the first speaker with it."""
    root = tmp_path_factory.mktemp("noisy")
    (root / "tt").mkdir()
    sf.write(root / "tt" / "a.wav", 0.05 * np.random.default_rng(0).standard_normal(100_000), 16_000)
    table = with_noise(draw(made_corpus, "test-clean", 2, 3, 0), made_corpus, root, "tt", 0)
    write_metadata(table, root / "noisy.csv")
    return render(root / "noisy.csv", made_corpus, root, 8000, "min", types=TYPES, wham=root)


def heard(folder: Path) -> tuple[np.ndarray, np.ndarray, str]:
    item = read_mixtures(folder)[0]
    mixture, sources, _ = item.read()
    return mixture, sources, item.mixed


def without_metadata(noisy: Path, to: Path, *parts: str) -> Path:
    for part in parts:
        shutil.copytree(noisy / part, to / part)
    return to


def test_a_path_says_which_of_several_kinds_is_meant_and_the_clean_one_comes_first(noisy: Path) -> None:
    clean, sources, kind = heard(noisy)
    both, same, noisy_kind = heard(noisy / "mix_both")
    single, first, single_kind = heard(noisy / "mix_single")
    assert (kind, noisy_kind, single_kind) == ("mix_clean", "mix_both", "mix_single")
    assert np.array_equal(sources, same) and np.array_equal(first, sources[:1])
    noise = sf.read(noisy / "noise" / f"{read_mixtures(noisy)[0].mixture_id}.wav")[0]
    for mixture, parts in ((clean, sources), (both, [*sources, noise]), (single, [first[0], noise])):
        assert np.abs(mixture - np.sum(parts, axis=0)).max() <= 2 / 32_768
    item = read_mixtures(noisy / "mix_single")[0]
    assert item.speakers == read_mixtures(noisy)[0].speakers[:1] and len(item.sexes) == 1
    assert len({tuple(digests(noisy / name).items()) for name in ("mix_clean", "mix_both", "mix_single")}) == 3
    assert digests(noisy) == digests(noisy / "mix_clean")


@pytest.mark.parametrize("kind", ["mix_both", "mix_single"])
def test_a_folder_without_metadata_is_read_the_same(noisy: Path, tmp_path: Path, kind: str) -> None:
    other = without_metadata(noisy, tmp_path / "tt", *TYPES, "s1", "s2", "noise")
    ours, theirs = (
        {item.mixture_id: item.read() for item in read_mixtures(folder / kind)} for folder in (noisy, other)
    )
    assert ours.keys() == theirs.keys()
    for mixture_id, (mixture, sources, _) in ours.items():
        assert np.array_equal(mixture, theirs[mixture_id][0]) and np.array_equal(sources, theirs[mixture_id][1])
    alone = without_metadata(noisy, tmp_path / "alone", kind, "s1", "s2")
    assert [item.mixed for item in read_mixtures(alone)] == [kind] * 3
    assert digests(other / kind) != digests(other) and digests(alone / kind) == digests(alone)


def test_a_set_that_is_called_as_a_kind_is_a_set(noisy: Path, tmp_path: Path) -> None:
    for name in ("mix", "mix_both"):
        folder = without_metadata(noisy, tmp_path / name, "mix_clean", "s1", "s2")
        assert [item.mixed for item in read_mixtures(folder)] == ["mix_clean"] * 3


def test_enhancement_needs_one_source_and_separation_two(noisy: Path, tmp_path: Path) -> None:
    assert len(read_mixtures(without_metadata(noisy, tmp_path / "single", "mix_single", "s1"))[0].speakers) == 1
    with pytest.raises(InputError, match="0 of the folders s1, s2, ...; expected the sources of the mixtures, one or"):
        read_mixtures(without_metadata(noisy, tmp_path / "none", "mix_single"))
    with pytest.raises(InputError, match="1 of the folders s1, s2, ...; expected the sources of the mixtures, two or"):
        read_mixtures(without_metadata(noisy, tmp_path / "both", "mix_both", "s1"))


@pytest.mark.parametrize(("kind", "sources"), [("mix_clean", 2), ("mix_both", 2), ("mix_single", 1)])
def test_scores_have_a_row_a_source_against_the_mixture_of_their_kind(
    noisy: Path, tmp_path: Path, kind: str, sources: int
) -> None:
    system = baseline("oracle-irm", 8000)
    estimate(system, noisy / kind, tmp_path / "estimates")
    evaluate(system, noisy / kind, tmp_path / "scores.parquet", "noisy", examples=1)
    scores = read_scores(tmp_path / "scores.parquet")
    assert len(scores) == 3 * sources and (scores["si_sdri_db"] > 3).all() and (scores["failure"] == "").all()
    assert (scores["input_si_sdr_db"] < 30).all() and sorted(scores["source"].unique()) == [1, 2][:sources]
    assert (tmp_path / "examples").is_dir()


def test_oracle_masks_leave_the_noise_out(noisy: Path) -> None:
    for name in ("oracle-ibm", "oracle-irm", "oracle-wiener", "oracle-ratio-1.5", "oracle-misi-5"):
        both, sources, _ = heard(noisy / "mix_both")
        estimates = baseline(name, 8000).by_stitching(both, sources)["none"]
        noise = both - sources.sum(axis=0)
        given = baseline(name, 8000).by_stitching(both, np.vstack([sources, noise[None]]))["none"]
        assert estimates.shape == sources.shape
        np.testing.assert_allclose(estimates, given[:2], atol=1e-5)
        left = both - estimates.sum(axis=0)
        assert np.sum(left * noise) > 0.5 * np.sum(noise * noise), name
    clean, sources, _ = heard(noisy)
    whole = baseline("oracle-irm", 8000).by_stitching(clean, sources)["none"].sum(axis=0)
    np.testing.assert_allclose(whole, clean, atol=1e-4)
