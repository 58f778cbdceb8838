"""The plan of a benchmark: what its dry run and its configs say, and that it fits the cards it is for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from audioslots.cli import main
from audioslots.config.benchmark import read_for_counting, resolve, variants
from audioslots.profiling.cards import CARDS, EFFICIENCY
from audioslots.profiling.plan import plan, sustained
from audioslots.profiling.sizes import count
from audioslots.reporting.publish import BEGIN, END
from audioslots.runtime.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ROOT / "config" / "smoke.yaml"
PAPER = "config/libri2mix.yaml"
CARD_GIB = 80
SLACK = 0.8  # of a card: the allocator takes its own


@pytest.mark.slow
def test_the_papers_scale_is_what_the_documentation_says_and_fits_the_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    made = plan(Path(PAPER))
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    shown = page.partition(BEGIN.format(f"the plan of {PAPER}"))[2].partition(END)[0]
    assert shown.strip() == f"{made.total}\n\n{made.prices.markdown().strip()}", (
        f"docs/cluster.md is behind: audioslots cost {PAPER} --page docs/cluster.md"
    )
    prices = made.prices.data.set_index("part")
    assert prices.loc["All of it", "h100"] <= 350 and prices["h100"].iloc[0] <= 15
    data = made.table.data
    assert len(data) > 30 and data["peak_memory_bytes"].max() < SLACK * CARD_GIB * 2**30


def test_command_prints_a_row_a_variant_and_the_total_and_puts_it_into_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN.format(f'the plan of {SMOKE.as_posix()}')}\n{END}\nafter\n")
    monkeypatch.setattr("sys.argv", ["audioslots", "cost", str(SMOKE), "--rate", "2", "--page", str(page)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    *rows, _, total = capsys.readouterr().out.strip().splitlines()
    assert len(rows) == 2 + len(variants(read_for_counting(SMOKE)))
    assert total == plan(SMOKE, 2.0).total and "at 2·10¹² multiply-accumulates" in total
    assert page.read_text().splitlines()[2] == total


def test_hours_are_three_passes_over_all_chunks_and_the_test_set() -> None:
    read = read_for_counting(SMOKE)
    config = resolve(read, next(iter(variants(read))), 0)
    operations = count(config).sum()["macs_per_second"]
    trained_s = config.training.steps * config.training.batch * config.chunk_s
    test_s = 6 * 5.4 / (1 - config.separation.overlap)
    for rate in (None, 2.0):
        row = plan(SMOKE, rate).table.data.iloc[0]
        assumed = EFFICIENCY * CARDS["h100"].tflops["32-true"] / 2
        expected = operations * (3 * trained_s + test_s) / ((rate or assumed) * 1e12) / 3600
        assert row["gpu_hours_a_run"] == pytest.approx(expected)
        assert row["gpu_hours"] == pytest.approx(2 * expected) and row["runs"] == 2


def test_every_card_has_its_own_price_and_a_study_that_of_its_variants(capsys: pytest.CaptureFixture[str]) -> None:
    made = plan(SMOKE, card="a100", efficiency=0.5)
    prices = made.prices.data.set_index("part")
    assert prices.loc["All of it", "a100"] == pytest.approx(made.table.data["gpu_hours"].sum())
    assert "on an A100 at an assumed 50 % of its data sheet" in made.total
    assert (
        prices.index[0] == "One row, “Bottleneck model, ratio masks”"
        and prices.iloc[0, 0] < prices.loc["All of it"].iloc[0]
    )
    assert prices.loc["Study: AudioSlots"].tolist() == prices.loc["All of it"].tolist()  # the only study
    ratio = CARDS["h100"].tflops["32-true"] / CARDS["a100"].tflops["32-true"]
    assert prices.loc["All of it", "a100"] / prices.loc["All of it", "h100"] == pytest.approx(ratio)


def test_jobs_are_those_of_a_dry_run() -> None:
    jobs = "4 trainings, 6 separations of the test set, 9 evaluations, 4 jobs for the data and 1 for the report"
    assert jobs in plan(SMOKE).total


@pytest.fixture
def some(tmp_path: Path) -> Path:
    """A place for a benchmark file, below the repository's studies."""
    (tmp_path / "ablations").symlink_to(ROOT / "ablations")
    return tmp_path / "some.yaml"


def test_disk_of_estimates_is_that_of_two_orders_in_32_bits(some: Path) -> None:
    content = yaml.safe_load(SMOKE.read_text())
    content["test"]["count"] = 3000
    some.write_text(yaml.safe_dump(content))
    gigabytes = 3000 * 5.4 * content["rate"] * 2 * 2 * 4 / 1e9
    assert f"and {gigabytes:.1f} GB for the estimates of each run while it" in plan(some).total


def test_variants_that_differ_in_stitching_alone_train_nothing(some: Path) -> None:
    content = yaml.safe_load(SMOKE.read_text()) | {"studies": ["stitching"]}
    some.write_text(yaml.safe_dump(content))
    made = plan(some)
    assert made.total == plan(SMOKE, studies=["stitching"]).total
    steps = made.table.data["steps"].tolist()
    assert steps[0] > 0 and len(steps) > 1 and not any(steps[1:])
    jobs = f"2 trainings, {2 * len(steps)} separations of the test set, {2 * len(steps) + 2} evaluations"
    assert made.total.startswith(f"{content['title']}: {jobs}")


def test_more_seeds_of_a_variant_are_more_runs_of_it_only(some: Path) -> None:
    content = yaml.safe_load(SMOKE.read_text()) | {"more_seeds": {"film": [5, 6, 7]}}
    some.write_text(yaml.safe_dump(content))
    made, usual = plan(some), plan(SMOKE)
    assert made.table.data["runs"].to_dict() == {"audioslots": 2, "audioslots-direct": 2, "film": 5}
    hours = usual.table.data["gpu_hours"]
    assert made.table.data["gpu_hours"]["film"] == pytest.approx(2.5 * hours["film"])
    assert made.prices.data.set_index("part").loc["All of it", "h100"] == pytest.approx(
        hours.sum() + 1.5 * hours["film"]
    )
    jobs = "7 trainings, 9 separations of the test set, 12 evaluations"
    assert made.total.startswith(f"{content['title']}: {jobs}")


def test_throughput_is_measured_by_training_on_noise() -> None:
    assert 1e-6 < sustained(SMOKE, 2, "cpu") < 1e3


def test_a_file_that_is_no_benchmark_is_named(tmp_path: Path) -> None:
    (tmp_path / "not.yaml").write_text("name: 3")
    with pytest.raises(InputError, match="not.yaml"):
        plan(tmp_path / "not.yaml")
