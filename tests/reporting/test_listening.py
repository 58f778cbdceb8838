"""The audio on the page: complete, small, and in paths that no variant's name can spoil."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from audioslots.reporting import listening
from audioslots.reporting.listening import Example, copy_examples, find_examples
from audioslots.runtime.errors import InputError
from tests.reporting.made_results import make_results

TITLES = {"<b>&": "The <b>&", "mask": "The mask"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("made"), {"<b>&": 4.0, "mask": 6.0}, examples=3)


def copy(results: Path, out: Path, why: dict[str, str] | None = None) -> list[Example]:
    folders = {variant: results / "runs" / variant / "seed1/examples" for variant in TITLES}
    scores = pd.concat(pd.read_parquet(results / f"runs/{name}/seed1/scores.parquet") for name in TITLES)
    return copy_examples(find_examples(folders, why or {}), scores, TITLES, out, why or {})


def test_every_mixture_has_its_references_and_every_variants_estimates(results: Path, tmp_path: Path) -> None:
    (tmp_path / "audio/9").mkdir(parents=True)  # of an earlier report
    examples = copy(results, tmp_path)
    assert sorted(path.name for path in (tmp_path / "audio").iterdir()) == ["1", "2", "3"]
    assert len(examples) == 3 and examples[0].duration_s == 1.0
    rows = {title: [signal.label for signal in signals] for title, signals in examples[0].rows}
    assert list(rows) == ["Mixture", "References", "The <b>&", "The mask"]
    assert rows["References"] == ["source 1", "source 2"] and rows["The mask"][0].endswith(" dB")
    for _, signals in examples[0].rows:
        for signal in signals:
            assert (tmp_path / signal.audio).is_file() and (tmp_path / signal.spectrogram).is_file()
            assert not set(signal.audio) & set("<>& ")
    source = results / "runs/mask/seed1/examples" / examples[1].mixture_id / "estimate2.wav"
    assert (tmp_path / examples[1].rows[3][1][1].audio).read_bytes() == source.read_bytes()


def test_mixtures_are_in_the_order_in_which_they_were_chosen(results: Path, tmp_path: Path) -> None:
    ids = [example.mixture_id for example in copy(results, tmp_path)]
    examples = copy(results, tmp_path, {ids[2]: "the median", "absent": "the worst"})
    assert [(one.mixture_id, one.why) for one in examples] == [(ids[2], "the median"), (ids[0], ""), (ids[1], "")]


@pytest.mark.parametrize(("budget", "count"), [(300_000, 2), (0, 1)])
def test_with_many_variants_there_are_fewer_mixtures(results, tmp_path, monkeypatch, budget: int, count: int) -> None:
    monkeypatch.setattr(listening, "BUDGET_BYTES", budget)
    assert len(copy(results, tmp_path)) == count


def test_an_example_that_lacks_a_signal_is_refused_by_name(tmp_path: Path) -> None:
    broken = make_results(tmp_path / "made", dict.fromkeys(TITLES, 6.0), examples=1)
    next(broken.glob("runs/mask/seed1/examples/*/estimate2.wav")).unlink()
    with pytest.raises(InputError, match=r"estimate2\.wav: no such file"):
        copy(broken, tmp_path)
