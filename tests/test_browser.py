"""The report in a real browser, on a desk and on a telephone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import made_up
import pytest

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    return made_up.report(tmp_path_factory.mktemp("report"), stand_in=made_up.STAND_IN)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [1280, 400])
def test_the_report_loads_whole_and_never_scrolls_sideways(browser, report, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert page.title() == "A made-up result"
    assert page.evaluate("[...document.images].map(image => image.naturalWidth)") == [1440] * 3
    assert page.evaluate("document.documentElement.scrollWidth") == width
    cut = "e => e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX === 'visible'"
    assert page.evaluate(f"[...document.querySelectorAll('h1, h2, h3, p, dd, .stay, figcaption')].filter({cut})") == []
    page.close()


def test_wide_tables_scroll_in_their_own_box_and_their_caption_stays(browser, report):
    page = browser.new_page(viewport={"width": 400, "height": 900})
    page.goto(report.as_uri())
    left = page.evaluate(
        """() => {
            const box = document.querySelector('.scroll');
            box.scrollLeft = 200;
            const at = selector => Math.round(box.querySelector(selector).getBoundingClientRect().left);
            return [box.scrollLeft, at('table'), at('.stay')];
        }"""
    )
    assert left[0] == 200 and left[1] < 0 < left[2]
    page.close()
