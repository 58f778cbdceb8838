"""The page: what it says, and how it behaves in a browser, from disk and without network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audioslots.reporting import page
from audioslots.reporting.report import report
from tests.reporting.made_results import make_results

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    variants = {"magnitude": 4.0, "<b>mask": 6.0, "third": 4.0}
    studies = {"decoder": ["magnitude", "<b>mask"], "all": list(variants)}
    make_results(folder / "results", variants, examples=2, studies=studies)
    return report(folder / "results", folder / "out")


def test_the_page_needs_nothing_from_elsewhere(published):
    text = published.read_text()
    assert "http://" not in text.replace("http://www.w3.org/", "") and "https://" not in text
    for part in ("src=", "href="):
        for reference in (piece.split('"')[1] for piece in text.split(part)[1:]):
            assert reference.startswith(("data:", "#")) or (published.parent / reference).is_file(), reference


def test_figures_take_the_colours_of_the_page(published):
    svg = page.embed_svg((published.parent / "figures/estimates.svg").read_text(), "x")
    assert published.stat().st_size < 800_000
    assert svg.startswith("<svg") and "var(--ink)" in svg and "#1d2328" not in svg
    assert "width=" not in svg[: svg.index(">")]


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


def test_a_heading_sorts_by_keyboard_with_missing_values_last(tab):
    heading = tab.locator("#table-main thead button", has_text="Gap to oracle")
    heading.focus()
    column = "[...document.querySelectorAll('#table-main tbody tr')].map((row) => row.cells[8].dataset.value)"
    for order, descending in (("descending", True), ("ascending", False)):
        tab.keyboard.press("Enter")
        assert tab.locator("#table-main th[aria-sort]").get_attribute("aria-sort") == order
        values = tab.evaluate(column)
        known = [float(value) for value in values if value]
        assert known == sorted(known, reverse=descending) and len(known) == 6
        assert values[6:] == ["", ""]


def test_every_signal_decodes_and_plays(tab):
    played = tab.evaluate(
        """async () => {
            const sources = [...document.querySelectorAll("button[data-audio]")].map((b) => b.dataset.audio);
            const moves = (source) => new Promise((resolve) => {
                const audio = new Audio(source);
                audio.muted = true;
                audio.addEventListener("timeupdate", () => audio.currentTime > 0 && resolve(audio.duration));
                audio.addEventListener("error", () => resolve(0));
                audio.play().catch(() => resolve(0));
            });
            return Promise.all([...sources, ...[...document.querySelectorAll("audio")].map((a) => a.src)].map(moves));
        }"""
    )
    assert len(played) == 2 * (1 + 2 + 2 * 4) + 2
    assert played == pytest.approx([1.0] * len(played), abs=0.01)


# Switches from a place, and says where it goes on, how many seconds the page took, and whether it plays.
SWITCH = """async ([place, index]) => {
    const audio = document.querySelector('.player audio');
    const button = document.querySelectorAll('.player button[data-audio]')[index];
    audio.pause();
    audio.currentTime = place;
    await new Promise((resolve) => audio.addEventListener('seeked', resolve, {once: true}));
    const aimed = new Promise((resolve) => audio.addEventListener('seeking', () => resolve(audio.currentTime)));
    const since = performance.now();
    const reached = new Promise((resolve) => audio.addEventListener('seeked', () => resolve(
        [audio.currentTime, (performance.now() - since) / 1000, audio.paused, audio.src])));
    button.click();
    return [await aimed, ...await reached];
}"""


def test_switching_the_signal_keeps_the_place_within_50_ms(tab):
    player = tab.locator(".player").first
    buttons = player.locator("button[data-audio]")
    buttons.nth(0).click()
    tab.wait_for_function("document.querySelector('.player audio').currentTime > 0.1")
    for index, place in ((3, 0.4), (7, 0.25), (0, 0.6)):
        aimed, reached, seconds, paused, source = tab.evaluate(SWITCH, [place, index])
        assert aimed == pytest.approx(place, abs=0.05)
        # It plays at once, so by the time that the page hears of it as many seconds may have been played.
        assert place - 0.05 <= reached <= place + seconds + 0.05
        assert source.endswith(buttons.nth(index).get_attribute("data-audio")) and not paused
        assert buttons.nth(index).get_attribute("aria-pressed") == "true"
        assert player.locator("[aria-pressed=true]").count() == 1
        picture = player.locator("img").get_attribute("src")
        assert picture == buttons.nth(index).get_attribute("data-spectrogram")


def test_the_cursor_moves_with_the_sound(tab):
    tab.locator(".player button[data-audio]").nth(1).click()
    left = "parseFloat(document.querySelector('.player .cursor').style.left)"
    tab.wait_for_function(f"{left} > 20")
    first = tab.evaluate(left)
    tab.wait_for_function(f"{left} > {first + 10} || document.querySelector('.player audio').ended")
    tab.locator(".player .stage").first.click(position={"x": 30, "y": 20})
    tab.wait_for_function("document.querySelector('.player audio').currentTime < 0.4")


def test_arrow_keys_move_among_the_signals_and_enter_plays(tab):
    buttons = tab.locator(".player").first.locator("button[data-audio]")
    buttons.nth(0).focus()
    for key, index in (("ArrowDown", 1), ("ArrowRight", 2), ("ArrowDown", 4), ("ArrowLeft", 3), ("ArrowUp", 1)):
        tab.keyboard.press(key)
        assert buttons.nth(index).evaluate("button => button === document.activeElement"), key
    tab.keyboard.press("Enter")
    tab.wait_for_function("!document.querySelector('.player audio').paused")
    assert buttons.nth(1).get_attribute("aria-pressed") == "true"
    assert tab.locator(".player").first.locator("button[tabindex='0']").count() == 1, "one stop a player"


def test_a_filter_keeps_the_rows_that_hold_its_words(tab):
    rows = tab.locator("#table-main tbody tr:visible")
    assert rows.count() == 5, "without oracle stitching to begin with"
    tab.locator("[data-view=table-main]").select_option(label="All rows")
    assert rows.count() == 8
    tab.locator("[data-filter=table-main]").fill("MASK oracle")
    assert rows.count() == 1 and "<b>mask" in rows.inner_text()
    assert tab.locator("#results .count").first.inner_text() == "1 of 8 rows"
    tab.locator("[data-filter=table-main]").fill("")
    tab.locator("[data-view=table-main]").select_option(label="Study: Decoder")
    assert rows.count() == 2


def test_two_signals_are_compared_blindly_and_right_answers_counted(tab):
    tab.evaluate("Math.random = () => 0.9")  # X is B
    tab.locator(".abx summary").first.click()
    abx = tab.locator(".abx").first
    a, b = abx.locator("select").nth(0), abx.locator("select").nth(1)
    a.select_option(index=3)
    b.select_option(index=5)
    assert abx.locator("output").inner_text() == ""
    for answer in "bbbabb":
        abx.locator(f"[data-answer={answer}]").click()
    assert abx.locator("output").inner_text() == "5 of 6 right, p = 0.11 by guessing", "(6 + 1) / 2^6"
    b.select_option(index=7)
    assert abx.locator("output").inner_text() == "", "other signals are another test"


def test_x_plays_one_of_the_two_and_shows_no_picture(tab):
    tab.evaluate("""() => {
        window.played = [];
        const play = Audio.prototype.play;
        Audio.prototype.play = function () { window.played.push(this.src); return play.call(this); };
        Math.random = () => 0.1;
    }""")  # X is A
    tab.locator(".abx summary").first.click()
    abx, picture = tab.locator(".abx").first, tab.locator(".player img").first
    abx.locator("select").nth(1).select_option(index=6)
    shown = picture.get_attribute("src")
    for signal in "abx":
        abx.locator(f"[data-play={signal}]").click()
    a, b, x = tab.evaluate("window.played")
    tab.locator(".player button[data-audio]").first.click()
    tab.wait_for_function("!document.querySelector('.player audio').paused")
    assert tab.evaluate("audio.paused"), "one plays at a time"
    assert x == a != b and picture.get_attribute("src") == shown
    assert a.endswith(abx.locator("select").first.input_value())


def test_columns_can_be_hidden_and_the_address_shows_the_same_again(tab):
    tab.locator(".columns[data-columns=table-main] summary").click()
    box = tab.locator(".columns[data-columns=table-main] label", has_text="PESQ").locator("input")
    column = int(box.get_attribute("value"))
    cells = tab.locator(f"#table-main tr > :nth-child({column + 1}):visible")
    assert cells.count() == 6, "a heading and five rows"
    box.uncheck()
    tab.locator("#table-main thead button", has_text="SDRi").first.click()
    tab.locator("[data-view=table-main]").select_option(label="All rows")
    tab.locator("[data-filter=table-main]").fill("mask")
    rows = "[...document.querySelectorAll('#table-main tbody tr')]"
    seen = f"{rows}.filter((row) => !row.hidden).map((row) => row.innerText)"
    assert cells.count() == 0 and len(shown := tab.evaluate(seen)) > 1
    address = tab.url
    tab.goto(address.partition("?")[0])
    assert cells.count() == 6 and tab.evaluate(seen) != shown
    tab.goto(address)
    assert cells.count() == 0 and tab.evaluate(seen) == shown and not box.is_checked()
    assert tab.locator("#table-main th[aria-sort]").count() == 1
    tab.locator(".columns[data-columns=table-main] summary").click()
    box.check()
    assert cells.count() > 1 and "hidden" not in tab.url


@pytest.mark.parametrize("width", [380, 1280])
def test_everything_fits_the_window(tab, width):
    tab.set_viewport_size({"width": width, "height": 800})
    if width == 1280:
        cut = "[...document.querySelectorAll('.scroll')].filter((part) => part.scrollWidth > part.clientWidth).length"
        assert tab.evaluate(cut) == 0, "a usual window shows every column"
    tab.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_the_dark_scheme_changes_page_and_figures(tab):
    colour = "getComputedStyle(document.querySelector('#results svg #estimates-patch_1 path')).fill"
    paper = "getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(colour), tab.evaluate(paper)
    tab.emulate_media(color_scheme="dark")
    dark = tab.evaluate(colour), tab.evaluate(paper)
    assert light[0] == light[1] and dark[0] == dark[1] and light != dark


def test_only_one_mixture_plays_at_a_time(tab):
    for index in (0, 1):
        tab.locator(".player").nth(index).locator("button[data-audio]").nth(1).click()
        tab.wait_for_function(f"!document.querySelectorAll('.player audio')[{index}].paused")
    tab.wait_for_function("document.querySelectorAll('.player audio')[0].paused")
