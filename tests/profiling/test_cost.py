"""The cost of a benchmark: what its dry run and its configs say, and that it fits the GPUs that it is for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from audioslots.cli import main
from audioslots.config.benchmark import read_for_counting, resolve, variants
from audioslots.profiling.cost import Assumptions, Cost, estimate_cost, measure_rate
from audioslots.profiling.gpus import EFFICIENCY, GPUS
from audioslots.profiling.model_profile import profile_model
from audioslots.reporting.publish import BEGIN, END
from audioslots.runtime.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ROOT / "config" / "smoke.yaml"
PAPER = "config/libri2mix.yaml"
GPU_GIB = 80
SLACK = 0.8  # of a GPU: the allocator takes its own


@pytest.fixture(scope="module")
def smoke() -> Cost:
    return estimate_cost(SMOKE)


@pytest.mark.slow
def test_the_paper_s_scale_costs_what_the_documentation_says_and_fits_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    cost = estimate_cost(Path(PAPER))
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    shown = page.partition(BEGIN.format(f"the cost of {PAPER}"))[2].partition(END)[0]
    assert shown.strip() == f"{cost.summary}\n\n{cost.gpu_hours.to_markdown().strip()}", (
        f"docs/cluster.md is behind: audioslots cost {PAPER} --page docs/cluster.md"
    )
    hours = cost.gpu_hours.data["h100"]
    assert hours.iloc[-1] <= 350 and hours.iloc[0] <= 15
    data = cost.variants.data
    assert len(data) >= 30 and data["peak_memory_bytes"].max() < SLACK * GPU_GIB * 2**30


def test_command_prints_one_row_per_variant_and_the_summary_and_puts_it_into_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN.format(f'the cost of {SMOKE.as_posix()}')}\n{END}\nafter\n")
    monkeypatch.setattr("sys.argv", ["audioslots", "cost", str(SMOKE), "--rate", "2", "--page", str(page)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    *rows, _, summary = capsys.readouterr().out.strip().splitlines()
    assert len(rows) == 2 + len(variants(read_for_counting(SMOKE)))
    assert "at 2·10¹² multiply-accumulates" in summary
    assert page.read_text().splitlines()[2] == summary


def test_hours_are_those_of_all_training_steps_and_the_test_set(smoke: Cost) -> None:
    read = read_for_counting(SMOKE)
    config = resolve(read, next(iter(variants(read))), 0)
    profile = profile_model(config)
    trained_s = config.training.steps * config.training.batch * config.chunk_s
    test_s = 6 * 5.4 / (1 - config.separation.overlap)
    macs = profile.training_macs_per_second * trained_s + profile.parts["macs_per_second"].sum() * test_s
    row = smoke.variants.data.iloc[0]
    rate = EFFICIENCY * GPUS["h100"].tflops["32-true"] / 2
    assert row["gpu_hours_per_run"] == pytest.approx(macs / (rate * 1e12) / 3600)
    assert row["gpu_hours"] == 2 * row["gpu_hours_per_run"] and row["runs"] == 2


def test_every_gpu_has_its_own_price_and_a_study_that_of_its_variants(smoke: Cost) -> None:
    cost = estimate_cost(SMOKE, assumptions=Assumptions("a100", efficiency=0.5))
    hours = cost.gpu_hours.data.set_index("part")
    assert "on an A100 at an assumed 50 % of its data sheet" in cost.summary
    assert hours["a100"].iloc[-1] == pytest.approx(cost.variants.data["gpu_hours"].sum())
    assert 0 < hours["a100"].iloc[0] < hours["a100"].iloc[-1]
    assert hours.loc["Study: AudioSlots"].tolist() == hours.iloc[-1].tolist()  # the only study
    ratio = GPUS["h100"].tflops["32-true"] / GPUS["a100"].tflops["32-true"]
    assert hours["a100"].iloc[-1] / hours["h100"].iloc[-1] == pytest.approx(ratio)
    assert smoke.gpu_hours.data["a100"].iloc[-1] == pytest.approx(hours["a100"].iloc[-1] * 0.5 / EFFICIENCY)


def test_jobs_are_those_of_a_dry_run(smoke: Cost) -> None:
    jobs = "4 trainings, 6 separations of the test set, 9 evaluations, 4 jobs for the data and 1 for the report"
    assert jobs in smoke.summary


def test_variants_that_differ_only_in_stitching_train_nothing() -> None:
    cost = estimate_cost(SMOKE, studies=["stitching"])
    steps = cost.variants.data["steps"].tolist()
    assert steps[0] > 0 and len(steps) > 1 and not any(steps[1:])
    assert f"2 trainings, {2 * len(steps)} separations of the test set, {2 * len(steps) + 2} eval" in cost.summary


def test_more_seeds_of_a_variant_are_more_runs_of_it_only_and_a_larger_test_set_more_disk(
    tmp_path: Path, smoke: Cost
) -> None:
    (tmp_path / "ablations").symlink_to(ROOT / "ablations")
    change = {"more_seeds": {"film": [5, 6, 7]}, "test": {"subset": "test-clean", "count": 3000}}
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | change))
    cost = estimate_cost(tmp_path / "some.yaml")
    data = cost.variants.data
    assert data["runs"].to_dict() == {"audioslots": 2, "audioslots-direct": 2, "film": 5}
    assert data["gpu_hours"]["film"] == pytest.approx(5 * data["gpu_hours_per_run"]["film"])
    assert (data["gpu_hours_per_run"] > smoke.variants.data["gpu_hours_per_run"]).all()
    assert cost.gpu_hours.data["h100"].iloc[-1] == pytest.approx(data["gpu_hours"].sum())
    assert "7 trainings, 9 separations of the test set, 12 evaluations" in cost.summary
    gigabytes = 3000 * 5.4 * 8000 * 2 * 2 * 4 / 1e9  # of two sources in two orders, in 32 bits
    assert f"and {gigabytes:.1f} GB for the estimates of each run while it" in cost.summary


def test_rate_is_measured_by_training_on_noise() -> None:
    assert 1e-6 < measure_rate(SMOKE, 2, "cpu") < 1e3


def test_a_file_that_is_no_benchmark_is_named(tmp_path: Path) -> None:
    (tmp_path / "not.yaml").write_text("name: 3")
    with pytest.raises(InputError, match="not.yaml"):
        estimate_cost(tmp_path / "not.yaml")
