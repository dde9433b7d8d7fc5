"""The page of a bench in a real Chromium: on a phone and a desk, light and dark, on paper."""

import pytest
from bench_results import PAGES, hostile, pictures

from toolkit.benchmark import page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "device_scale_factor": 2}
DESK = {"viewport": {"width": 1100, "height": 900}}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    results = {**PAGES, "hostile": hostile()}
    for name, result in results.items():
        (folder / f"{name}.html").write_text(page.render(result, pictures()), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in results}


@pytest.fixture
def opened(browser):
    """Open a page; whatever it complains about, or asks of others, fails the test."""
    contexts, complaints = [], []

    def make(path, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        tab = context.new_page()
        own = path.as_uri()
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(dialog.message))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on(
            "request",
            lambda asked: (
                None if asked.url == own or asked.url.startswith("data:")
                else complaints.append(asked.url)
            ),
        )  # fmt: skip
        tab.goto(own)
        return tab

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.parametrize("options", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("name", [*PAGES, "hostile"])
def test_the_page_never_scrolls_sideways(name, options, files, opened, tmp_path):
    tab = opened(files[name], **options)
    width = options["viewport"]["width"]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    beyond = tab.evaluate(
        """width => [...document.querySelectorAll("body *")].filter(e =>
        !e.closest(".scroll, .hidden") && e.getBoundingClientRect().right > width + 1)
        .map(e => e.outerHTML.slice(0, 80))""",
        width,
    )
    assert beyond == []
    picture = tab.screenshot(path=tmp_path / "page.png", full_page=True)
    assert picture.startswith(b"\x89PNG")


def test_the_list_of_files_is_read_on_a_phone_without_scrolling(files, opened):
    tab = opened(files["many"], **PHONE)
    widths = tab.evaluate(
        "() => { const e = document.querySelector('.files').parentElement;"
        " return [e.scrollWidth, e.clientWidth]; }"
    )
    assert widths[0] <= widths[1]


def test_numbers_are_never_broken_in_two(files, opened):
    tab = opened(files["many"], **PHONE)
    lines = tab.evaluate(
        """() => { const cell = [...document.querySelectorAll(".figures tbody tr")][0].cells[1];
        const range = document.createRange(); const text = cell.querySelector("b").firstChild;
        range.setStart(text, 0); range.setEnd(text, text.data.indexOf(" "));
        return [text.data, range.getClientRects().length]; }"""
    )
    assert lines == ["90.00 %", 1]


def test_dark_readers_get_a_dark_page(files, opened):
    grounds = [
        opened(files["two models"], color_scheme=scheme).evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in ("light", "dark")
    ]
    assert grounds == ["rgb(251, 250, 248)", "rgb(20, 22, 26)"]


def test_paper_shows_every_column(files, opened, tmp_path):
    tab = opened(files["many"], viewport={"width": 720, "height": 1000})
    tab.emulate_media(media="print")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 720
    assert tab.pdf(path=tmp_path / "page.pdf", format="A4").startswith(b"%PDF")


def test_hostile_names_are_only_shown(files, opened):
    tab = opened(files["hostile"])
    assert tab.locator("script").count() == 0
    assert tab.locator("img:not([src^='data:image/png'])").count() == 0
    assert "<img src=x" in tab.locator("h1").inner_text()
    assert "{{ 7 * 7 }}" in tab.locator("h1").inner_text()


def test_every_chart_and_picture_has_words_and_every_table_a_name(files, opened):
    tab = opened(files["hostile"])
    nameless = tab.evaluate(
        """() => [...document.querySelectorAll("img, [role=img], [role=region]")].filter(e =>
        !(e.alt || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby")))
        .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    drawn = tab.evaluate(
        """() => [...document.querySelectorAll("svg")].filter(e =>
        e.getAttribute("aria-hidden") !== "true").length"""
    )
    assert drawn == 0, "shapes are told in words beside them"
    tree = tab.locator("main").aria_snapshot()
    for words in ("on the Pareto front", "half of the calls take at most", "wrong:", "right:"):
        assert words in tree


def test_the_keyboard_reaches_all_that_scrolls(files, opened):
    tab = opened(files["hostile"], **PHONE)
    unreachable = tab.evaluate(
        """() => [...document.querySelectorAll("body *")].filter(e => {
        const flow = getComputedStyle(e).overflowX;
        return (flow === "auto" || flow === "scroll") && e.scrollWidth > e.clientWidth + 1
            && e.tabIndex < 0; }).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert unreachable == []
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "scroll"
