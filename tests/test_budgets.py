"""Budgets and learning rates of a benchmark: names, steps, what is chosen, and one line for what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from running import REPORT, TINY, planned, snakemake, write_config

from audioslots.benchmark import read_benchmark, resolve, resolve_rate, twins, variants
from audioslots.budgets import name_at, shares
from audioslots.errors import InputError
from audioslots.files import write_json
from audioslots.reporting.rates import choose
from audioslots.summary import summary

RATES: dict[str, Any] = {"factors": [0.5, 1, 2], "share": 0.5, "seed": 0, "chosen": "made-rates.csv"}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("audioslots.budgets.CONFIG", tmp_path)
    return tmp_path


def table(folder: Path, *rows: tuple[str, float, bool]) -> None:
    pd.DataFrame(rows, columns=["variant", "learning_rate", "chosen"]).to_csv(folder / "made-rates.csv", index=False)


def test_budgets_are_halvings_from_the_smallest_and_named_by_their_share():
    assert shares(1) == [] and shares(3) == [0.25, 0.5]
    assert name_at("features", 0.25) == "features-x0.25"


def test_every_trained_variant_has_its_budgets_and_a_twin_has_none():
    known = variants(read_benchmark({**TINY, "budgets": 3}))
    plain = variants(read_benchmark(TINY))
    same = twins(plain)
    assert same and list(known)[: len(plain)] == list(plain)
    expected = {f"{name}-x{share}" for name in plain if name not in same for share in ("0.25", "0.5")}
    assert set(known) - set(plain) == expected and twins(known) == same
    for name in expected:
        whole = known[name.partition("-x")[0]]
        assert known[name].training.steps == float(name.partition("-x")[2]) * whole.training.steps
        assert known[name].title == f"{whole.title}, {known[name].training.steps:,} step{'s'}"
        rest = {"training": {"steps"}, "title": True}
        assert known[name].model_dump(exclude=rest) == whole.model_dump(exclude=rest)


def test_a_summary_says_which_runs_are_whose_budgets():
    assert summary(read_benchmark(TINY))["budgets"] == {}
    said = summary(read_benchmark({**TINY, "budgets": 2}))
    assert said["budgets"] == {name: {"0.5": f"{name}-x0.5"} for name in ("audioslots", "features")}
    assert not any("-x" in name for study in said["studies"] for name in study["variants"])


def test_a_chosen_rate_is_that_of_the_variant_of_its_budgets_and_of_its_twins(config: Path):
    benchmark = read_benchmark({**TINY, "budgets": 2, "rates": RATES})
    own = variants(benchmark)["audioslots"].training.learning_rate
    table(config, ("audioslots", 0.125, True), ("audioslots", 0.5, False))
    known = variants(benchmark)
    rates = {name: variant.training.learning_rate for name, variant in known.items()}
    assert rates.pop("features") == rates.pop("features-x0.5") == own
    assert set(rates.values()) == {0.125}
    assert twins(known), "a model still serves two variants where it can"


def test_a_variant_s_rates_are_tried_at_a_share_of_its_steps_from_its_own_rate(config: Path):
    benchmark = read_benchmark({**TINY, "budgets": 2, "rates": RATES})
    own = variants(benchmark)["audioslots"].training
    table(config, ("audioslots", 0.125, True))
    tried = [resolve_rate(benchmark, "audioslots", factor) for factor in (0.5, 1.0, 2.0)]
    assert [run.training.learning_rate for run in tried] == [factor * own.learning_rate for factor in (0.5, 1.0, 2.0)]
    assert {run.training.steps for run in tried} == {own.steps // 2} and {run.seed for run in tried} == {0}
    with pytest.raises(InputError, match="rates is not given; expected which learning rates to try"):
        resolve_rate(read_benchmark(TINY), "audioslots", 1.0)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("variant,learning_rate\naudioslots,0.1\n", "expected the table of `audioslots rates`"),
        ("variant,learning_rate,chosen\naudioslots,fast,True\n", "expected the table of `audioslots rates`"),
        ("variant,learning_rate,chosen\naudioslots,0,True\n", "learning_rate of audioslots: 0.0; expected a number"),
    ],
)
def test_a_damaged_table_of_rates_is_one_line(config: Path, text: str, line: str):
    (config / "made-rates.csv").write_text(text)
    with pytest.raises(InputError, match=re.escape(line)):
        read_benchmark({**TINY, "rates": RATES})


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"budgets": 0}, "budgets"),
        ({"rates": {**RATES, "factors": [1]}}, "rates.factors"),
        ({"rates": {**RATES, "chosen": "../else.csv"}}, "rates.chosen"),
        ({"rates": {"factors": [1, 2]}}, "rates.chosen"),
        ({"without": ["audioslots"]}, "without: audioslots is a study's baseline; expected other variants"),
        ({"without": ["featurse"]}, "without.featurse: no such variant; did you mean 'features'?"),
    ],
)
def test_wrong_keys_are_one_line(changes: dict[str, Any], line: str):
    with pytest.raises(InputError, match=re.escape(line)) as found:
        read_benchmark({**TINY, **changes})
    assert "\n" not in str(found.value)


def test_what_a_benchmark_is_without_is_neither_run_nor_compared():
    benchmark = read_benchmark({**TINY, "without": ["features"]})
    assert "features" not in variants(benchmark)
    assert summary(benchmark)["studies"][0]["variants"] == ["audioslots", "audioslots-direct"]


def run(folder: Path, variant: str, factor: str, rate: float, validated: list[float]) -> None:
    benchmark = read_benchmark({**TINY, "rates": RATES})
    tried = resolve_rate(benchmark, variant, float(factor)).document()
    tried["training"]["learning_rate"] = rate
    place = folder / variant / factor
    write_json(place / "config.json", tried)
    history = pd.DataFrame(
        {"step": [2, 4], "validation_si_sdri_db": validated, "validation_ratio_si_sdri_db": validated}
    )
    history.assign(loss=0.0, learning_rate=rate, validation_loss=1.0).to_csv(place / "history.csv", index=False)


def test_the_best_rate_at_the_end_is_chosen_and_of_equals_the_lowest(tmp_path: Path):
    for factor, rate, validated in (("0.5", 0.1, [9.0, 2.0]), ("1", 0.2, [1.0, 3.0]), ("2", 0.4, [1.0, 3.0])):
        run(tmp_path / "rates", "audioslots", factor, rate, validated)
    run(tmp_path / "rates", "features", "2", 0.8, [0.0, 1.0])
    choose(tmp_path / "rates", tmp_path / "rates.csv")
    written = pd.read_csv(tmp_path / "rates.csv")
    assert list(written["learning_rate"]) == [0.1, 0.2, 0.4, 0.8]
    assert list(written["chosen"]) == [False, True, False, True]
    assert list(written["validation_si_sdri_db"]) == [2.0, 3.0, 3.0, 1.0] and set(written["steps"]) == {2}


def test_rates_without_runs_or_without_validation_are_one_line(tmp_path: Path):
    with pytest.raises(InputError, match="expected runs of `snakemake rates`"):
        choose(tmp_path, tmp_path / "rates.csv")
    run(tmp_path / "rates", "audioslots", "1", 0.1, [1.0, 2.0])
    (tmp_path / "rates" / "audioslots" / "1" / "history.csv").unlink()
    with pytest.raises(InputError, match="expected a finished training"):
        choose(tmp_path / "rates", tmp_path / "rates.csv")
    assert not (tmp_path / "rates.csv").exists()


def test_the_workflow_plans_a_run_for_every_budget_and_the_rates_by_their_own_target(tmp_path: Path):
    config = write_config(tmp_path / "tiny.yaml", budgets=2, rates=RATES)
    plan = snakemake(tmp_path, "--dry-run", "--configfile", str(config))
    assert plan.returncode == 0, plan.stdout[-REPORT:]
    jobs = planned(plan.stdout)
    assert jobs["train"] == 4 and jobs["evaluate"] == 5 and "train_rate" not in jobs
    plan = snakemake(tmp_path, "--dry-run", "--configfile", str(config), "--", "rates")
    assert plan.returncode == 0, plan.stdout[-REPORT:]
    jobs = planned(plan.stdout)
    assert jobs["train_rate"] == jobs["resolve_rate"] == 6 and jobs["rates"] == 1 and "train" not in jobs


@pytest.mark.slow
def test_rates_are_tried_chosen_and_then_trained_with(tmp_path: Path):
    config = write_config(tmp_path / "tiny.yaml", rates={**RATES, "factors": [0.5, 2]})
    made = snakemake(tmp_path, "--configfile", str(config), "--", "rates")
    assert made.returncode == 0, made.stdout[-REPORT:]
    written = pd.read_csv(tmp_path / "results" / "tiny" / "rates.csv")
    assert written.groupby("variant")["chosen"].sum().to_dict() == {"audioslots": 1, "features": 1}
    assert list(written["steps"]) == [2] * 4
    own = resolve(read_benchmark(TINY), "audioslots", 0).training.learning_rate
    assert sorted(written.loc[written["variant"] == "audioslots", "learning_rate"]) == [own / 2, 2 * own]
