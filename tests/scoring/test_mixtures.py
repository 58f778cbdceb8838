"""The mixtures of a test set: rendered with noise or without, in several kinds, or made by others in their layouts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from made_systems import IDS, RATE, Leaky

from audioslots.baselines.oracles import open_baseline
from audioslots.data.librimix.metadata import draw, write_metadata
from audioslots.data.librimix.noise import with_noise
from audioslots.data.librimix.rendering import TYPES, render
from audioslots.runtime.errors import InputError
from audioslots.scoring.estimates import separate_set
from audioslots.scoring.evaluate import EvaluationOptions, evaluate
from audioslots.scoring.metrics import SCORE_COLUMNS
from audioslots.scoring.mixtures import digest_mixtures, read_mixtures
from audioslots.scoring.scores import read_scores


@pytest.fixture(scope="module")
def noisy(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three mixtures of two speakers, rendered without noise, with it, and of the first speaker with it."""
    root = tmp_path_factory.mktemp("noisy")
    (root / "tt").mkdir()
    sf.write(root / "tt" / "a.wav", 0.05 * np.random.default_rng(0).standard_normal(100_000), 16_000)
    table = with_noise(draw(made_corpus, "test-clean", 2, 3, 0), made_corpus, root, "tt", 0)
    write_metadata(table, root / "noisy.csv")
    return render(root / "noisy.csv", made_corpus, root, 8000, "min", types=TYPES, wham=root)


@pytest.fixture
def other(made_mixtures: Path, tmp_path: Path) -> Path:
    """The audio of ``made_mixtures`` as a folder of mix, s1 and s2, and no more."""
    folder = tmp_path / "2speakers" / "wav8k" / "min" / "tt"
    for name, into in {"mix_clean": "mix", "s1": "s1", "s2": "s2"}.items():
        shutil.copytree(made_mixtures / name, folder / into)
    return folder


def read_first(folder: Path) -> tuple[np.ndarray, np.ndarray, str]:
    item = read_mixtures(folder)[0]
    mixture, sources, _ = item.read()
    return mixture, sources, item.kind


def copy(noisy: Path, to: Path, *names: str) -> Path:
    """Some folders of a set, without its metadata."""
    for name in names:
        shutil.copytree(noisy / name, to / name)
    return to


# --- kinds of mixtures ---------------------------------------------------------------------------------------------


def test_a_path_names_one_of_several_kinds_and_the_clean_one_comes_first(noisy):
    clean, sources, kind = read_first(noisy)
    both, same, noisy_kind = read_first(noisy / "mix_both")
    single, first, single_kind = read_first(noisy / "mix_single")
    assert (kind, noisy_kind, single_kind) == ("mix_clean", "mix_both", "mix_single")
    assert np.array_equal(sources, same) and np.array_equal(first, sources[:1])
    noise = sf.read(noisy / "noise" / f"{read_mixtures(noisy)[0].mixture_id}.wav")[0]
    for mixture, terms in ((clean, sources), (both, [*sources, noise]), (single, [first[0], noise])):
        assert np.abs(mixture - np.sum(terms, axis=0)).max() <= 2 / 32_768
    item = read_mixtures(noisy / "mix_single")[0]
    assert item.speakers == read_mixtures(noisy)[0].speakers[:1] and len(item.sexes) == 1
    assert len({tuple(digest_mixtures(noisy / name).items()) for name in ("mix_clean", "mix_both", "mix_single")}) == 3
    assert digest_mixtures(noisy) == digest_mixtures(noisy / "mix_clean")


@pytest.mark.parametrize("kind", ["mix_both", "mix_single"])
def test_a_folder_without_metadata_is_read_the_same(noisy, tmp_path, kind):
    bare = copy(noisy, tmp_path / "tt", *TYPES, "s1", "s2", "noise")
    ours, theirs = ({item.mixture_id: item.read() for item in read_mixtures(place / kind)} for place in (noisy, bare))
    assert ours.keys() == theirs.keys()
    for mixture_id, (mixture, sources, _) in ours.items():
        assert np.array_equal(mixture, theirs[mixture_id][0]) and np.array_equal(sources, theirs[mixture_id][1])
    only = copy(noisy, tmp_path / "mix", kind, "s1", "s2")  # a set may be called as a kind
    assert [item.kind for item in read_mixtures(only)] == [kind] * 3
    assert digest_mixtures(bare / kind) != digest_mixtures(bare)
    assert digest_mixtures(only / kind) == digest_mixtures(only)


def test_enhancement_needs_one_source_and_separation_two(noisy, tmp_path):
    assert len(read_mixtures(copy(noisy, tmp_path / "single", "mix_single", "s1"))[0].speakers) == 1
    with pytest.raises(InputError, match="0 of the folders s1, s2, ...; expected the sources of the mixtures, one or"):
        read_mixtures(copy(noisy, tmp_path / "none", "mix_single"))
    with pytest.raises(InputError, match="1 of the folders s1, s2, ...; expected the sources of the mixtures, two or"):
        read_mixtures(copy(noisy, tmp_path / "both", "mix_both", "s1"))


@pytest.mark.parametrize(("kind", "sources"), [("mix_both", 2), ("mix_single", 1)])
def test_scores_have_a_row_per_source_against_the_mixture_of_their_kind(noisy, tmp_path, kind, sources):
    system = open_baseline("oracle-irm", 8000)
    separate_set(system, noisy / kind, tmp_path / "estimates")
    evaluate(system, noisy / kind, tmp_path / "scores.parquet", EvaluationOptions(num_examples=1))
    scores = read_scores(tmp_path / "scores.parquet")
    assert len(scores) == 3 * sources and (scores["si_sdri_db"] > 3).all() and (scores["failure"] == "").all()
    assert (scores["input_si_sdr_db"] < 30).all() and (tmp_path / "examples").is_dir()


def test_oracle_masks_leave_the_noise_out(noisy):
    both, sources, _ = read_first(noisy / "mix_both")
    noise = both - sources.sum(axis=0)
    for name in ("oracle-ibm", "oracle-irm", "oracle-wiener", "oracle-ratio-1.5", "oracle-misi-5"):
        estimates = open_baseline(name, 8000).by_stitching(both, sources)["none"]
        given = open_baseline(name, 8000).by_stitching(both, np.vstack([sources, noise[None]]))["none"]
        assert estimates.shape == sources.shape
        np.testing.assert_allclose(estimates, given[:2], atol=1e-5)
        assert np.sum((both - estimates.sum(axis=0)) * noise) > 0.5 * np.sum(noise * noise), name
    clean, sources, _ = read_first(noisy)
    whole = open_baseline("oracle-irm", 8000).by_stitching(clean, sources)["none"].sum(axis=0)
    np.testing.assert_allclose(whole, clean, atol=1e-4)


# --- folders that others have made ---------------------------------------------------------------------------------


def test_scores_are_those_of_the_same_audio_with_metadata(made_mixtures, other, tmp_path):
    tables = []
    for name, folder in (("with", made_mixtures), ("without", other)):
        evaluate(Leaky(), folder, tmp_path / name / "scores.parquet", EvaluationOptions("mini", num_examples=0))
        table = read_scores(tmp_path / name / "scores.parquet").sort_values(["mixture_id", "source", "stitching"])
        tables.append(table[["mixture_id", "source", "duration_s", *SCORE_COLUMNS]].reset_index(drop=True))
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize(
    ("names", "speakers"),
    [
        (
            ("1089-134686-0000_121-127105-0031", "1089-134686-0001_121-127105-0032", "61-1-0_7-2-1"),
            [("1089", "121"), ("1089", "121"), ("61", "7")],
        ),
        (
            ("050a050a_0.1_442c020h_-0.1", "050a0502_1.4633_442c020n_-1.4633", "22ga010p_2_440c020w_-2"),
            [("050", "442"), ("050", "442"), ("22g", "440")],
        ),
    ],
)
def test_speakers_are_those_of_the_names(other, names, speakers, capsys):
    for path in other.glob("*/*.wav"):
        path.rename(path.with_name(f"{names[sorted(IDS).index(path.stem)]}.wav"))
    assert {item.mixture_id: item.speakers for item in read_mixtures(other)} == dict(zip(names, speakers, strict=True))
    assert capsys.readouterr().err == ""


def test_where_names_contain_no_speakers_each_source_is_another_speakers_with_a_warning(other, capsys):
    items = read_mixtures(other)
    assert len({speaker for item in items for speaker in item.speakers}) == 6
    assert [item.mixture_id for item in items] == sorted(IDS)
    error = capsys.readouterr().err
    assert "the names of 3 of 3 mixtures contain no speakers" in error and error.count("\n") == 1


def test_flac_mixtures_are_read_like_wav(other: Path) -> None:
    before = [item.read() for item in read_mixtures(other)]
    for path in sorted(other.rglob("*.wav")):
        samples, rate = sf.read(path, dtype="int16")
        sf.write(path.with_suffix(".flac"), samples, rate)
        path.unlink()
    after = [item.read() for item in read_mixtures(other)]
    assert len(before) == len(after) > 1
    for (mixture, sources, rate), (again, sources_again, rate_again) in zip(before, after, strict=True):
        assert np.array_equal(mixture, again) and np.array_equal(sources, sources_again) and rate == rate_again
    assert len(digest_mixtures(other)["audio"]) == 64


def test_other_audio_under_the_same_names_is_another_set(other):
    before = digest_mixtures(other)
    assert before == digest_mixtures(other)
    sf.write(other / "s2" / f"{IDS[0]}.wav", np.zeros(6400), RATE)
    assert digest_mixtures(other) != before


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda other: shutil.rmtree(other / "s1"), "1 of the folders s1, s2, ...; expected the sources of the"),
        (
            lambda other: [path.unlink() for path in (other / "mix").iterdir()],
            "mix: no WAV or FLAC files; expected",
        ),
        (lambda other: (other / "record.jsonl").touch(), "not finished; expected a manifest.json"),
    ],
)
def test_a_folder_without_mixtures_ends_with_one_line(other, damage, message):
    damage(other)
    with pytest.raises(InputError, match=message) as caught:
        read_mixtures(other)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:20]), "cannot be decoded"),
        (lambda path: sf.write(path, np.zeros(99), RATE), "99 samples at 8000 Hz; expected the mixture's 9600 at 8000"),
        (lambda path: sf.write(path, np.zeros((9600, 2)), RATE), r"shape \(9600, 2\); expected one channel"),
    ],
)
def test_a_bad_wav_is_named(copied_mixtures, damage, message):
    damage(copied_mixtures / "s2" / f"{IDS[2]}.wav")
    with pytest.raises(InputError, match=rf"s2/{IDS[2]}\.wav: {message}"):
        read_mixtures(copied_mixtures)[2].read()


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
def test_bad_metadata_is_named(copied_mixtures, name, text, message):
    path = copied_mixtures.parent / "metadata" / name
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError, match=f"{name}: {message}"):
        read_mixtures(copied_mixtures)
