"""Training lengths and learning rates of a benchmark: names, steps, the best rate, one line for what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from running import REPORT, ROOT, TINY, planned, snakemake, write_config

from audioslots.config.benchmark import Benchmark, find_shared_models, read_benchmark, resolve, resolve_rate, variants
from audioslots.config.lengths import name_at, shares
from audioslots.config.summary import summary
from audioslots.reporting.selection import select_learning_rates
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import write_json

RATES: dict[str, Any] = {"factors": [0.5, 1, 2], "share": 0.5, "seed": 0, "chosen": "made-rates.csv"}


def tiny(file: Path | None = None, **other: Any) -> Benchmark:
    """The tiny benchmark with other values, as if read from a file, with the repository's studies."""
    return read_benchmark({**TINY, **other}, file, beside=[ROOT])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The benchmark's file, beside which its table of learning rates lies."""
    return tmp_path / "tiny.yaml"


def write_rates(folder: Path, *rows: tuple[str, float, bool]) -> None:
    pd.DataFrame(rows, columns=["variant", "learning_rate", "chosen"]).to_csv(folder / "made-rates.csv", index=False)


def test_every_trained_variant_has_its_lengths_and_one_of_the_same_weights_has_none() -> None:
    assert shares(1) == [] and shares(3) == [0.25, 0.5] and name_at("film", 0.25) == "film-x0.25"
    longest, every = variants(tiny()), variants(tiny(lengths=3))
    same = find_shared_models(longest)
    assert same == find_shared_models(every) == {"audioslots-direct": "audioslots"}
    shorter = [f"{name}-x{share}" for name in ("audioslots", "film") for share in (0.25, 0.5)]
    assert list(every) == [*longest, *shorter]
    for name in shorter:
        variant, whole = every[name], longest[name.partition("-x")[0]]
        assert variant.training.steps == float(name.partition("-x")[2]) * whole.training.steps
        assert variant.title.startswith(f"{whole.title}, {variant.training.steps} step")
        other = {"training": {"steps"}, "title": True}
        assert variant.model_dump(exclude=other) == whole.model_dump(exclude=other)


def test_a_summary_says_which_runs_are_the_shorter_lengths_of_which() -> None:
    assert summary(tiny())["lengths"] == {}
    described = summary(tiny(lengths=2))
    assert described["lengths"] == {name: {"0.5": f"{name}-x0.5"} for name in ("audioslots", "film")}
    assert not any("-x" in name for study in described["studies"] for name in study["variants"])


def test_a_chosen_rate_is_that_of_the_variant_at_all_lengths_and_of_those_that_share_its_weights(file: Path) -> None:
    benchmark = tiny(file, lengths=2, learning_rates=RATES)
    own = variants(benchmark)["audioslots"].training.learning_rate
    write_rates(file.parent, ("audioslots", 0.125, True), ("audioslots", 0.5, False))
    rates = {name: variant.training.learning_rate for name, variant in variants(benchmark).items()}
    assert rates.pop("film") == rates.pop("film-x0.5") == own
    assert set(rates.values()) == {0.125}


def test_a_variant_s_rates_are_tried_at_a_share_of_its_steps_from_its_own_rate(file: Path) -> None:
    benchmark = tiny(file, lengths=2, learning_rates=RATES)
    own = variants(benchmark)["audioslots"].training
    write_rates(file.parent, ("audioslots", 0.125, True))
    tried = [resolve_rate(benchmark, "audioslots", factor) for factor in (0.5, 1.0, 2.0)]
    assert [run.training.learning_rate for run in tried] == [factor * own.learning_rate for factor in (0.5, 1.0, 2.0)]
    assert {run.training.steps for run in tried} == {own.steps // 2} and {run.seed for run in tried} == {0}
    with pytest.raises(InputError, match="learning_rates is not given"):
        resolve_rate(tiny(), "audioslots", 1.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("variant,learning_rate\naudioslots,0.1\n", "expected the table of `audioslots select-lr`"),
        ("variant,learning_rate,chosen\naudioslots,fast,True\n", "expected the table of `audioslots select-lr`"),
        ("variant,learning_rate,chosen\naudioslots,0,True\n", "learning_rate of audioslots: 0.0"),
    ],
)
def test_a_damaged_table_of_rates_is_one_line(file: Path, text: str, says: str) -> None:
    (file.parent / "made-rates.csv").write_text(text)
    with pytest.raises(InputError, match=re.escape(says)):
        tiny(file, learning_rates=RATES)


def test_what_a_benchmark_is_without_is_neither_run_nor_compared() -> None:
    benchmark = tiny(without=["film"])
    assert "film" not in variants(benchmark)
    assert summary(benchmark)["studies"][0]["variants"] == ["audioslots", "audioslots-direct"]


def write_run(folder: Path, variant: str, factor: str, rate: float, validated: list[float]) -> None:
    tried = resolve_rate(tiny(folder / "tiny.yaml", learning_rates=RATES), variant, float(factor)).document()
    tried["training"]["learning_rate"] = rate
    write_json(folder / variant / factor / "config.json", tried)
    history = pd.DataFrame(
        {"step": [2, 4], "validation_si_sdri_db": validated, "validation_ratio_si_sdri_db": validated}
    ).assign(loss=0.0, learning_rate=rate, validation_loss=1.0)
    history.to_csv(folder / variant / factor / "history.csv", index=False)


def test_the_best_rate_at_the_end_is_chosen_and_of_equals_the_lowest(tmp_path: Path) -> None:
    for factor, rate, validated in (("0.5", 0.1, [9.0, 2.0]), ("1", 0.2, [1.0, 3.0]), ("2", 0.4, [1.0, 3.0])):
        write_run(tmp_path / "rates", "audioslots", factor, rate, validated)
    write_run(tmp_path / "rates", "film", "2", 0.8, [0.0, 1.0])
    select_learning_rates(tmp_path / "rates", tmp_path / "learning_rates.csv")
    written = pd.read_csv(tmp_path / "learning_rates.csv")
    assert list(written["learning_rate"]) == [0.1, 0.2, 0.4, 0.8]
    assert list(written["chosen"]) == [False, True, False, True]
    assert list(written["validation_si_sdri_db"]) == [2.0, 3.0, 3.0, 1.0] and set(written["steps"]) == {2}


def test_rates_without_runs_or_without_validation_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected runs of"):
        select_learning_rates(tmp_path, tmp_path / "learning_rates.csv")
    write_run(tmp_path / "rates", "audioslots", "1", 0.1, [1.0, 2.0])
    (tmp_path / "rates" / "audioslots" / "1" / "history.csv").unlink()
    with pytest.raises(InputError, match="expected a finished training"):
        select_learning_rates(tmp_path / "rates", tmp_path / "learning_rates.csv")
    assert not (tmp_path / "learning_rates.csv").exists()


def test_the_workflow_plans_a_run_for_every_length_and_the_learning_rates_by_their_own_target(tmp_path: Path) -> None:
    config = write_config(tmp_path / "tiny.yaml", lengths=2, learning_rates=RATES)
    plan = snakemake(tmp_path, "--dry-run", "--configfile", str(config))
    assert plan.returncode == 0, plan.stdout[-REPORT:]
    jobs = planned(plan.stdout)
    assert jobs["train"] == 4 and jobs["evaluate"] == 5 and "train_rate" not in jobs
    plan = snakemake(tmp_path, "--dry-run", "--configfile", str(config), "--", "learning_rates")
    assert plan.returncode == 0, plan.stdout[-REPORT:]
    jobs = planned(plan.stdout)
    assert jobs["train_rate"] == jobs["resolve_rate"] == 6 and jobs["learning_rates"] == 1 and "train" not in jobs


@pytest.mark.slow
def test_rates_are_tried_and_the_best_in_the_table_beside_the_file_is_trained_with(tmp_path: Path) -> None:
    config = write_config(tmp_path / "tiny.yaml", learning_rates={**RATES, "factors": [0.5, 2]})
    run = snakemake(tmp_path, "--configfile", str(config), "--", "learning_rates")
    assert run.returncode == 0, run.stdout[-REPORT:]
    written = pd.read_csv(tmp_path / "results" / "tiny" / "learning_rates.csv")
    assert written.groupby("variant")["chosen"].sum().to_dict() == {"audioslots": 1, "film": 1}
    assert list(written["steps"]) == [2] * 4
    own = resolve(tiny(), "audioslots", 0).training.learning_rate
    assert sorted(written.loc[written["variant"] == "audioslots", "learning_rate"]) == [own / 2, 2 * own]
    (tmp_path / "made-rates.csv").write_bytes((tmp_path / "results" / "tiny" / "learning_rates.csv").read_bytes())
    best = written[written["chosen"]].set_index("variant")["learning_rate"].to_dict()
    read = read_benchmark(config, beside=[ROOT])
    assert {name: resolve(read, name, 0).training.learning_rate for name in best} == best
