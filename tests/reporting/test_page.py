"""The page: what it says, and how it behaves in a browser, from disk and without network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from made_results import make

from audioslots.reporting import page
from audioslots.reporting.report import report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TITLES = {"base": "Base", "a": "A", "b": "B", "c": "C"}


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    make(folder / "results", {"magnitude": 4.0, "<b>mask</b>".replace("/", "_"): 6.0}, seeds=(1, 2))
    return report(folder / "results", folder / "out")


def compared(**rows: tuple[float, float, float, float, str]) -> pd.DataFrame:
    columns = ["variant", "difference", "low", "high", "p_holm", "verdict"]
    return pd.DataFrame([(name, *row) for name, row in rows.items()], columns=columns)


def test_a_conclusion_is_one_sentence_with_the_best_first():
    frame = compared(
        a=(-0.5, -0.8, -0.2, 0.0123, "worse"),
        b=(1.25, 1.0, 1.5, 0.00001, "better"),
        c=(0.1, -0.2, 0.4, 0.4, "no difference shown"),
    )
    assert page.conclusion(frame, "base", TITLES) == (
        "Compared with Base, B is better by 1.25 dB SI-SDRi (95 % interval 1.00 to 1.50, p < 0.001); for C no "
        "difference is shown (+0.10 dB, 95 % interval −0.20 to 0.40, p = 0.400); A is worse by 0.50 dB SI-SDRi "
        "(95 % interval −0.80 to −0.20, p = 0.012)."
    )


def test_a_study_of_one_variant_concludes_nothing():
    assert page.conclusion(compared(), "base", TITLES) == "Nothing was compared with Base."


def test_missing_scores_are_no_verdict():
    nan = float("nan")
    words = page.conclusion(compared(a=(nan, nan, nan, nan, "no difference shown")), "base", TITLES)
    assert words == "Compared with Base, for A there is no score to compare."


def test_the_page_needs_nothing_from_elsewhere(published):
    text = published.read_text()
    assert "http://" not in text.replace("http://www.w3.org/", "") and "https://" not in text
    for part in ("src=", "href="):
        for reference in (piece.split('"')[1] for piece in text.split(part)[1:]):
            assert reference.startswith(("data:,", "#")) or (published.parent / reference).is_file(), reference


def test_names_are_escaped_wherever_they_stand(published):
    text = published.read_text()
    assert "<b>" not in text and "&lt;b&gt;mask" in text


def test_figures_take_the_colours_of_the_page(published):
    svg = page.themed((published.parent / "figures/estimates.svg").read_text())
    assert svg.startswith("<svg") and "var(--ink)" in svg and "#1d2328" not in svg
    assert "width=" not in svg[: svg.index(">")]


def test_the_page_stays_small(published):
    assert published.stat().st_size < 400_000


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BROWSER is None:
        pytest.skip("no Chromium on the path")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        opened = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        yield opened
        opened.close()


@pytest.fixture
def tab(browser, published):
    tab = browser.new_page(viewport={"width": 380, "height": 800})
    tab.problems = []
    tab.on("console", lambda message: message.type == "error" and tab.problems.append(message.text))
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))
    tab.on("request", lambda request: request.url.startswith("file:") or tab.problems.append(request.url))
    tab.goto(published.as_uri())
    yield tab
    problems = [problem for problem in tab.problems if not problem.startswith("data:,")]
    tab.close()
    assert not problems


def test_a_narrow_window_scrolls_tables_and_not_the_page(tab):
    assert tab.evaluate("document.documentElement.scrollWidth") <= 380


def test_a_heading_sorts_by_keyboard_with_missing_values_last(tab):
    heading = tab.locator("#table-main thead button", has_text="Below its ceiling")
    heading.focus()
    column = "[...document.querySelectorAll('#table-main tbody tr')].map((row) => row.cells[7].dataset.value)"
    for order, descending in (("descending", True), ("ascending", False)):
        tab.keyboard.press("Enter")
        assert tab.locator("#table-main th[aria-sort]").get_attribute("aria-sort") == order
        values = tab.evaluate(column)
        known = [float(value) for value in values if value]
        assert known == sorted(known, reverse=descending) and len(known) == 4
        assert values[4:] == ["", ""]


def test_every_signal_plays(tab):
    assert tab.evaluate(
        """async () => {
            const sources = [...document.querySelectorAll("button[data-audio]")].map((b) => b.dataset.audio);
            const length = (source) => new Promise((resolve) => {
                const audio = new Audio(source);
                audio.addEventListener("loadedmetadata", () => resolve(audio.duration));
                audio.addEventListener("error", () => resolve(0));
            });
            return (await Promise.all(sources)).length && Math.min(...await Promise.all(sources.map(length)));
        }"""
    ) == pytest.approx(1.0, abs=0.01)


def test_switching_the_signal_keeps_the_place(tab):
    player = tab.locator(".player").first
    state = "() => { const a = document.querySelector('.player audio'); return [a.currentTime, a.paused, a.src]; }"
    buttons = player.locator("button[data-audio]")
    buttons.nth(0).click()
    tab.wait_for_function("document.querySelector('.player audio').currentTime > 0.1")
    tab.evaluate("document.querySelector('.player audio').pause()")
    tab.evaluate("document.querySelector('.player audio').currentTime = 0.4")
    tab.wait_for_function("!document.querySelector('.player audio').seeking")
    # What has played since the switch is measured in the page, so that a slow machine does not count as drift.
    place = tab.evaluate(
        """async () => {
            const audio = document.querySelector('.player audio');
            const seeked = new Promise((resolve) => {
                audio.addEventListener('seeked', () => resolve(audio.currentTime));
                setTimeout(() => resolve(-1), 5000);
            });
            document.querySelectorAll('.player button[data-audio]')[3].click();
            return seeked;
        }"""
    )
    assert place == pytest.approx(0.4, abs=0.05)
    _, paused, source = tab.evaluate(state)
    assert source.endswith(buttons.nth(3).get_attribute("data-audio")) and not paused
    assert buttons.nth(3).get_attribute("aria-pressed") == "true"
    assert player.locator("[aria-pressed=true]").count() == 1


def test_only_one_mixture_plays_at_a_time(tab):
    for index in (0, 1):
        tab.locator(".player").nth(index).locator("button[data-audio]").nth(1).click()
        tab.wait_for_function(f"!document.querySelectorAll('.player audio')[{index}].paused")
    assert tab.evaluate("document.querySelectorAll('.player audio')[0].paused")
