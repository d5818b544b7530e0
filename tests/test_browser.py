"""The report in a browser: with mouse and keyboard, on wide and narrow screens, with and without its script."""

import re
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import fake_results
import numpy as np
import pytest
from PIL import Image

from lkca.scoring.metrics import SCORES

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)"),
]
BICUBIC, LKCA_LR, LKCA, SSPSR, NOT_RUN, NOT_POSSIBLE = "Bicubic", "LKCA-LR", "LKCA-Net", "SSPSR", "VDSR", "3DFCNN"


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    return fake_results.write_report(tmp_path_factory.mktemp("report"), stand_in=fake_results.STAND_IN)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, report) -> Iterator[Callable]:
    """A function that opens the report; a page may log nothing and request nothing but its own file."""
    messages, requests, pages = [], [], []

    def visit(path: Path = report, anchor: str = "", width: int = 1280, **options):
        page = browser.new_page(viewport={"width": width, "height": 900}, reduced_motion="reduce", **options)
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri() + anchor)
        pages.append(page)
        return page

    yield visit
    assert messages == []
    asked = [url for url in requests if not url.startswith("data:")]
    assert asked == [page.url.partition("#")[0] for page in pages]
    for page in pages:
        page.close()


def column(page, table: str, number: int) -> list[str]:
    """Return the first line of each cell of a column, in the rows that are visible."""
    return page.locator(f"{table} tbody tr:visible").evaluate_all(
        "(rows, number) => rows.map((row) => row.cells[number].innerText.trim().split('\\n')[0])", number
    )


# The whole page ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 400])
def test_page_loads_and_never_scrolls_sideways(visit, width):
    page = visit(width=width)
    assert page.title() == "A fake result"
    assert min(page.evaluate("[...document.images].map((image) => image.naturalWidth)")) > 0
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    cut = "e => e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX === 'visible'"
    assert (
        page.evaluate(f"[...document.querySelectorAll('h1, h2, h3, p, dd, .sticky, figcaption')].filter({cut})") == []
    )


def test_wide_tables_scroll_with_fixed_caption_and_names(visit):
    page = visit(width=400)
    left = page.evaluate(
        """() => {
            const box = document.querySelector('#table-1 .scroll');
            box.scrollLeft = 200;
            const at = selector => Math.round(box.querySelector(selector).getBoundingClientRect().left);
            return [box.scrollLeft, at('table'), at('.sticky'), at('tbody th')];
        }"""
    )
    assert left[0] == 200 and left[1] < 0 < left[2] and left[3] >= 0


def test_page_works_without_script(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("#viewer-tools, .tools select, button:visible").filter(visible=True).count() == 0
    assert page.get_by_text("This part needs JavaScript").is_visible()
    page.locator("#table-1 tbody a").first.click()
    assert page.url.endswith("#run-chikusei-4-bicubic")
    line = page.locator("tr:target")
    assert line.inner_text().split()[:4] == ["chikusei", "×4", "bicubic", "3000"]
    page.locator("#table-1 .comparisons > summary").click()
    assert page.locator("#table-1 .differences-from:visible").count() == 4
    with page.expect_download() as download:
        page.get_by_role("link", name="LaTeX").first.click()
    assert download.value.suggested_filename == "V.tex"


def test_page_is_accessible(visit):
    """As accessibility checkers ask: names, alternative texts, headers, one h1, no skipped level, tab order."""
    page = visit()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, select, input, a, summary, [role=region], dialog')]
            .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length || e.querySelector('img[alt]')
                || document.getElementById(e.getAttribute('aria-labelledby'))))
            .map((e) => e.outerHTML.slice(0, 100))"""
    )
    assert nameless == []
    assert page.locator("img:not([alt])").count() == 0
    assert page.locator("#main figure:not(.viewer figure) img[alt='']").count() == 0
    assert page.evaluate("[...document.querySelectorAll('table')].filter((t) => !t.caption).length") == 0
    assert page.locator("thead th:not([scope]), tbody th:not([scope])").count() == 0
    levels = page.evaluate(
        "[...document.querySelectorAll('main :is(h1, h2, h3, h4, h5), h1')].map((h) => +h.tagName[1])"
    )
    assert levels.count(1) == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    expected = page.evaluate(
        """() => [...document.querySelectorAll('a[href], button, select, input, summary, [tabindex="0"]')]
            .filter((e) => e.tabIndex >= 0 && !e.disabled && e.checkVisibility())
            .map((e, i) => (e.dataset.stop = i)).length"""
    )
    reached = []
    for _ in range(expected):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.dataset.stop"))
    assert reached == [str(i) for i in range(expected)] and expected > 80


def test_outcomes_have_words_not_only_colours(visit):
    page = visit()
    snapshot = page.locator("#table-1 table.scores").aria_snapshot()
    verdicts = re.findall(r"(stand-in|not run); paper: ", snapshot)
    assert set(verdicts) == {"stand-in"} and len(verdicts) > 20
    page.locator("#table-1 .comparisons > summary").click()
    shown = page.locator("#table-1 .differences-from:visible")
    assert {sign.get_attribute("aria-label") for sign in shown.get_by_role("img").all()} == {
        "better",
        "worse",
        "not resolved",
    }


def test_print_has_whole_tables_and_no_controls(visit):
    page = visit(width=680)  # an A4 page between margins of 15 mm
    page.emulate_media(media="print")
    controls = ["button:not(.sort)", ".order", "select", "input", "nav", "dialog", ".downloads", "#viewer", ".smaller"]
    assert page.locator(", ".join(f"{each}:visible" for each in controls)).count() == 0
    assert page.locator(".scores th:visible", has_text="MPSNR").count() == 2
    assert page.locator("img:visible").count() == 3 + 3  # the summary's picture has three parts
    assert page.locator("details").count() == page.locator("details > :not(summary):visible").locator("..").count()
    wide = ".filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1).map((e) => e.ariaLabel)"
    assert page.evaluate(f"[...document.querySelectorAll('.scroll')]{wide}") == []
    assert page.pdf(format="A4")[:5] == b"%PDF-"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    return fake_results.write_report(tmp_path_factory.mktemp("hostile"), word=fake_results.HOSTILE)


def test_hostile_names_stay_text(visit, hostile):
    page = visit(hostile)
    alarms = []
    page.on("dialog", lambda dialog: (alarms.append(dialog.message), dialog.dismiss()))
    for name in ("left", "right"):
        page.locator(f"#viewer-{name}").select_option(label=fake_results.HOSTILE)
    page.locator("#table-1 .comparisons > summary").click()
    page.locator("#table-1 .comparisons select").select_option(label=fake_results.HOSTILE)
    assert page.locator("#viewer-left-name").inner_text().startswith(fake_results.HOSTILE)
    page.locator("#table-1 tbody tr", has_text=fake_results.HOSTILE).locator("a").first.click()
    page.locator("#run summary").first.click()
    assert page.locator("#run h2").inner_text() == f"{fake_results.HOSTILE} on {fake_results.HOSTILE} ×4"
    assert fake_results.HOSTILE in page.locator("#run pre").first.inner_text()
    assert page.locator("script").count() == 3 and alarms == []


# Tables -----------------------------------------------------------------------------------------------------------


def test_table_sorts_up_down_and_back(visit):
    page = visit()
    header = page.locator("#table-1 .scores th", has_text="MPSNR")
    printed = column(page, "#table-1 .scores", 1)
    assert printed == [BICUBIC, LKCA_LR, LKCA, SSPSR, NOT_RUN, NOT_POSSIBLE]
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(page, "#table-1 .scores", 1) == [LKCA_LR, SSPSR, BICUBIC, LKCA, NOT_RUN, NOT_POSSIBLE]  # 9 < 21 < 38
    header.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert column(page, "#table-1 .scores", 1) == [LKCA, BICUBIC, SSPSR, LKCA_LR, NOT_RUN, NOT_POSSIBLE]
    page.keyboard.press("Space")
    assert header.get_attribute("aria-sort") == "none" and column(page, "#table-1 .scores", 1) == printed
    page.locator("#table-1 .scores th", has_text="Method").get_by_role("button").click()
    assert column(page, "#table-1 .scores", 1) == sorted(printed)


def test_rows_are_filtered_and_intervals_hidden(visit):
    page = visit()
    page.get_by_label("Filter the rows of Table V").fill("lkca")
    assert column(page, "#table-1 .scores", 1) == [LKCA_LR, LKCA]
    assert page.locator("#table-1 .interval:visible").count() > 0
    page.locator("summary", has_text="Table own.").click()
    page.get_by_label("Intervals in Table V").uncheck()
    assert page.locator("#table-1 .scores .interval:visible").count() == 0
    assert page.locator("#table-2 .scores .interval:visible").count() > 0


def test_rows_are_compared_with_the_chosen_one(visit):
    """LKCA-Net's images are on average 40 dB, bicubic's 38."""
    page = visit()
    page.locator("#table-1 .comparisons > summary").click()
    for chosen, others, difference in (
        (BICUBIC, [LKCA_LR, LKCA, SSPSR], {LKCA: "+2.00"}),
        (LKCA, [BICUBIC, LKCA_LR, SSPSR], {BICUBIC: "−2.00"}),
    ):
        page.locator("#table-1 .comparisons select").select_option(label=chosen)
        assert page.locator("#table-1 .differences-from:visible h4").inner_text() == f"Compared with {chosen}"
        names = column(page, "#table-1 .differences-from:visible", 1)
        assert sorted(names) == sorted(others)
        numbers = dict(zip(names, column(page, "#table-1 .differences-from:visible", 2), strict=True))
        assert {name: numbers[name].split()[0] for name in difference} == difference
    undecided = page.locator("#table-1 .differences-from:visible .undecided").inner_text()
    assert undecided.startswith("×4: The test images do not decide: Bicubic (MSSIM, SAM, CC, RMSE, ERGAS)")


@pytest.mark.parametrize(("link", "file"), [("CSV", "V.csv"), ("LaTeX", "V.tex"), ("comparisons", "V.comparisons.csv")])
def test_download_is_the_file(visit, report, link, file):
    page = visit()
    with page.expect_download() as download:
        page.locator("#table-1 .downloads").get_by_role("link", name=link, exact=True).click()
    assert download.value.suggested_filename == file
    assert Path(download.value.path()).read_bytes() == (report.parent / "tables" / file).read_bytes()


# Claims -----------------------------------------------------------------------------------------------------------


def test_claims_are_filtered_and_found(visit):
    page = visit()
    tools, count = page.locator("#claims-tools"), page.locator("#claims-tools output")
    assert column(page, ".claims", 0) == [] and count.inner_text() == "3 of 3 claims"  # all sections are folded
    tools.get_by_label("Outcome").select_option(label="contradicted")
    assert column(page, ".claims", 0) == ["C10"] and count.inner_text() == "1 of 3 claims"
    tools.get_by_label("Outcome").select_option(label="cannot be told")
    assert column(page, ".claims", 0) == ["C9"]
    tools.get_by_label("Outcome").select_option(label="all")
    tools.get_by_label("Section").select_option(label="IV-C")
    assert column(page, ".claims", 0) == ["C10", "C9"]
    tools.get_by_label("Text").fill("claim c9 SAYS")
    assert column(page, ".claims", 0) == ["C9"]
    page.locator("details:has(> #contradictions) > summary").click()
    page.locator("#contradictions a", has_text="A1").click()  # a link to a claim that is folded and filtered
    assert "A1" in column(page, ".claims", 0) and page.url.endswith("#claim-A1")
    tools.get_by_label("Text").fill("")
    tools.get_by_label("Section").select_option(label="all")
    assert column(page, ".claims", 0) == []
    page.locator("#contradictions a", has_text="A1").click()  # the address does not change now
    assert column(page, ".claims", 0) == ["A1"]


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_links_open_what_is_folded(visit, script):
    page = visit(anchor="#claim-C10", java_script_enabled=script)
    assert column(page, ".claims", 0) == ["C10", "C9"] if script else page.locator("#claim-C10").is_visible()
    page.get_by_role("link", name="Table own: Table of methods").click()
    assert page.locator("#table-2 table.scores").is_visible()
    box = page.locator("#figure-2").bounding_box()
    page.locator("#figure-2 a").first.click()
    assert page.locator("#figure-2").bounding_box()["width"] > 1.8 * box["width"]
    page.locator("#figure-2 a", has_text="Smaller").click()
    assert page.locator("#figure-2").bounding_box()["width"] == box["width"]


def test_contents_stay_in_view_and_do_not_cover_headings(visit):
    page = visit()
    for name in ("Results", "Look closer", "Figures", "The paper", "Speed", "How this was made"):
        page.get_by_role("navigation", name="Contents").get_by_role("link", name=name).click()
        contents, heading = page.locator("nav"), page.locator(f"h2:text-is('{name}')")
        assert contents.bounding_box()["y"] == 0
        assert heading.bounding_box()["y"] > contents.bounding_box()["height"]


# Image viewer ----------------------------------------------------------------------------------------------------


def pixels(page) -> np.ndarray:
    """Return the two images as they are visible, one over the other: (rows, columns, 3)."""
    return np.asarray(Image.open(BytesIO(page.locator("#compare").screenshot())).convert("RGB")).astype(int)


def test_divider_moves_by_keyboard_and_mouse(visit):
    """LKCA-Net is 0.5 too bright in rows 8 to 16, columns 40 to 48 of 64."""
    page = visit()
    page.locator("#viewer-left").select_option(label="Ground truth")
    page.locator("#viewer-right").select_option(label=LKCA)
    divider, box = page.get_by_label("Position of the divider"), page.locator("#compare")
    page.wait_for_function("[...document.querySelectorAll('#compare img')].every((i) => i.complete)")
    divider.focus()
    page.keyboard.press("End")
    truth = pixels(page)
    page.keyboard.press("Home")
    ours = pixels(page)
    inside = np.s_[8 * 8 + 8 : 16 * 8 - 8, 40 * 8 + 8 : 48 * 8 - 8]  # 8 screen pixels each
    assert (ours - truth)[inside].mean() > 60 and divider.input_value() == "0"
    page.keyboard.press("PageUp")
    page.keyboard.press("ArrowRight")
    assert 1 < int(divider.input_value()) < 30
    assert divider.get_attribute("aria-valuetext").startswith("Ground truth up to")
    area = box.bounding_box()
    page.mouse.move(area["x"] + 20, area["y"] + 100)
    page.mouse.down()
    page.mouse.move(area["x"] + 0.6875 * area["width"], area["y"] + 100, steps=5)  # column 44
    page.mouse.up()
    assert divider.input_value() == "69"
    halves = pixels(page)
    assert np.abs(halves - truth)[:, : 43 * 8].max() == 0 and np.abs(halves - ours)[:, 45 * 8 :].max() == 0


def test_error_maps_share_a_colour_scale(visit):
    """The error of LKCA-Net is 0.5 in the square, which is the end of the scale, and 0.09 elsewhere."""
    from matplotlib import colormaps

    page = visit()
    page.locator("#viewer-right").select_option(label=LKCA)
    page.locator("#viewer-left").select_option(label="Ground truth")
    page.locator("#viewer-kind").select_option(label="error maps")
    page.locator("#viewer-divider").fill("50")
    page.wait_for_function("[...document.querySelectorAll('#compare img')].every((i) => i.complete)")
    seen, magma = pixels(page), 255 * np.array(colormaps["magma"]([0, 0.09 / 0.5, 1.0]))[:, :3]
    for place, expected in zip((np.s_[300, 100], np.s_[300, 400], np.s_[96, 352]), magma, strict=True):
        assert np.abs(seen[place] - expected).max() < 12
    assert page.locator("#viewer-limit").inner_text().startswith("0.50 and more")
    assert "error map of test image 1" in page.locator("#viewer-right-picture").get_attribute("alt")


def spectrum_of(page, stroke: str) -> tuple[np.ndarray, np.ndarray]:
    """Return wavelengths and values of the line of a colour, read off the axes."""
    points, ticks = page.evaluate(
        """(stroke) => {
            const svg = document.querySelector('#spectra svg');
            const path = [...svg.querySelectorAll('path')].find((p) => p.getAttribute('stroke') === stroke);
            const points = path.getAttribute('d').match(/[\\d.-]+/g).map(Number);
            const place = (t) => [+t.getAttribute('x'), +t.getAttribute('y'), t.getAttribute('text-anchor')];
            const ticks = [...svg.querySelectorAll('text')].map((t) => [t.textContent.replace(',', ''), ...place(t)]);
            return [points, ticks];
        }""",
        stroke,
    )
    x, y = np.array(points).reshape(-1, 2).T
    numbers = [(float(text), *place) for text, *place in ticks if re.fullmatch(r"[\d.-]+", text)]
    across = np.array([(at, value) for value, at, _, anchor in numbers if anchor == "middle"])
    up = np.array([(at - 4, value) for value, _, at, anchor in numbers if anchor == "end"])
    return np.polyval(np.polyfit(*across.T, 1), x), np.polyval(np.polyfit(*up.T, 1), y)


def test_spectrum_of_pixel_is_that_in_the_files(visit, report):
    page = visit()
    page.locator("#picker [role=gridcell]").nth(2 * 12 + 8).click()  # row 13, column 45: in the square
    image = np.load(report.parent / "runs/chikusei_x4/lkca/seed3000/image.npz")
    assert (image["rows"][2], image["columns"][8]) == (13, 45)
    said = page.locator("#pixel-summary")
    assert said.inner_text().startswith("The pixel in row 14, column 46.")
    assert said.get_attribute("aria-live") == "polite"
    wavelengths, truth = spectrum_of(page, "#1f2328")
    np.testing.assert_allclose(wavelengths, np.linspace(363, 1018, 128), atol=0.5)
    np.testing.assert_allclose(truth, image["spectra_hr"][:, 2, 8], atol=2e-3)
    row = page.locator("#legend tr", has_text=LKCA)
    _, ours = spectrum_of(page, row.locator("svg line").get_attribute("stroke"))
    np.testing.assert_allclose(ours, truth + 0.5, atol=4e-3)
    angle, error = row.locator("td").nth(1).inner_text(), row.locator("td").nth(2).inner_text()
    spectra = [image[f"spectra_{name}"][:, 2:3, 8:9].astype(float) for name in ("sr", "hr")]
    assert float(angle) == pytest.approx(SCORES["SAM"](*spectra), abs=0.006) and error == "0.500"


def test_bands_have_their_wavelengths_and_gaps(visit, tmp_path):
    """Bands 1 to 8 are 50 nm apart up to 750 nm, 9 is missing, and 10 to 129 are 5 nm apart from 1500 nm on.

    The bands of the file are in the opposite order. The usual step is 5 nm, so that the first eight are points.
    """
    wavelengths = [*range(400, 800, 50), *range(1500, 2100, 5)]
    bands = {"nanometres": wavelengths[::-1], "bands": [*range(1, 121), *range(122, 130)], "fwhm": [5.25] * 128}
    page = visit(fake_results.write_report(tmp_path, manifest=bands))
    image = np.load(tmp_path / "runs/chikusei_x4/lkca/seed3000/image.npz")
    truth = image["spectra_hr"][::-1, 6, 6]  # of the pixel that is chosen at first
    x, y = spectrum_of(page, "#1f2328")
    np.testing.assert_allclose(x, wavelengths, atol=2)
    np.testing.assert_allclose(y, truth, atol=2e-3)
    line = page.locator("#spectra path[stroke='#1f2328']").get_attribute("d")
    assert (line.count("M"), line.count("L")) == (9, 119)
    assert page.locator("#spectra circle[fill='#1f2328']").count() == 8

    slider, values = page.get_by_label("Band", exact=True), page.locator("#band-values")
    slider.focus()
    for key, expected in (("Home", "129 (400 nm, FWHM 5.25 nm)"), ("ArrowRight", "128 (450 nm, FWHM 5.25 nm)")):
        page.keyboard.press(key)
        assert values.inner_text().startswith(f"The file's band {expected}: Ground truth ")
        assert slider.get_attribute("aria-valuetext") == f"Band {expected}"
    shown = dict(re.findall(r"(Ground truth|[\w-]+) (0\.\d+)", values.inner_text().partition(": ")[2]))
    assert float(shown["Ground truth"]) == pytest.approx(truth[1], abs=1e-3)
    assert float(shown[LKCA]) == pytest.approx(image["spectra_sr"][-2, 6, 6], abs=1e-3)
    box = page.locator("#spectra svg").bounding_box()
    point = page.locator("#spectra circle[fill='#1f2328']").nth(7).bounding_box()  # 750 nm
    page.mouse.move(point["x"] + point["width"] / 2, box["y"] + 20)
    assert values.inner_text().startswith("The file's band 122 (750 nm, FWHM 5.25 nm): ")
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + 20)
    assert values.inner_text().startswith("The file's band 1 (2095 nm, FWHM 5.25 nm): ")
    assert page.locator("#spectra line.band").count() == 1
    assert "Red, green and blue are the file's bands 31 (1945 nm" in page.locator("#viewer-caption").inner_text()


def test_bands_without_wavelengths_have_numbers(visit, tmp_path):
    unknown = {"nanometres": None, "fwhm": None, "wavelength_source": None}
    page = visit(fake_results.write_report(tmp_path, manifest=unknown), width=400)
    numbers, _ = spectrum_of(page, "#1f2328")
    np.testing.assert_allclose(numbers, np.arange(1, 129), atol=0.3)
    assert page.locator("#spectra text", has_text="band").count() == 1
    assert page.locator("#band-values").inner_text().startswith("The file's band 65: Ground truth ")
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def test_pixels_and_methods_are_chosen_by_keyboard(visit):
    page = visit()
    said, grid = page.locator("#pixel-summary"), page.get_by_role("grid")
    assert grid.get_by_role("row").count() == 12 and grid.locator("[tabindex='0']").count() == 1
    grid.locator("[tabindex='0']").focus()
    for key in ("Home", "ArrowRight", "ArrowUp", "ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    # the grid's rows and columns lie every 64 / 12 pixels: from the middle (index 6) to row 5, column 1
    assert said.inner_text().startswith("The pixel in row 30, column 9.")
    assert page.evaluate("document.activeElement.ariaLabel") == "row 30, column 9"
    assert grid.locator("[aria-selected='true']").get_attribute("aria-label") == "row 30, column 9"
    lines = page.locator("#spectra path")
    assert lines.count() == 1 + 3
    assert page.get_by_role("checkbox", name=SSPSR).count() == 0
    assert page.get_by_text("Not shown, untrained: SSPSR (2 steps).").is_visible()
    for name in (BICUBIC, LKCA_LR, LKCA):
        page.get_by_role("checkbox", name=name).uncheck()
    assert lines.count() == 1 and said.inner_text().endswith("No method is drawn.")


# Runs -------------------------------------------------------------------------------------------------------------


def test_number_opens_its_run_window(visit):
    page = visit()
    number = page.locator("#table-1 tr", has_text=LKCA).locator("a").nth(2)
    assert number.inner_text() == "40.0000"
    number.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="lkca on chikusei ×4")
    dialog.wait_for()
    headings = [heading.inner_text() for heading in dialog.locator("thead").first.locator("th").all()]
    assert headings[:5] == ["Seed", "Of", "MPSNR, dB", "MSSIM", "SAM, degrees"]
    assert dialog.locator("tbody tr").first.inner_text().split()[:5] == ["3000", "Test", "image", "1", "38.9000"]
    assert (
        dialog.get_by_role("img", name="Validation MPSNR over steps: seed 3000 ends at 38.25 dB, seed 3001")
        .locator("path")
        .count()
        == 2
    )
    dialog.locator("summary").first.click()
    text = dialog.inner_text()
    settings, made, history = (
        ('"seed": 3000', '"width": 128'),
        ("abc1234 with uncommitted changes", "3.11.9"),
        "0.125,0.125",
    )
    assert all(told in text for told in (*settings, *made, "11" * 32, history))
    assert "TABLE" not in text and ["V", "MPSNR", "40.3106"] in [
        row.inner_text().split("\t")[:3] for row in dialog.locator("tr").all()
    ]
    page.keyboard.press("Escape")
    assert dialog.count() == 0 and page.evaluate("document.activeElement.textContent").strip() == "40.0000"


def test_link_opens_run_window(visit):
    page = visit(anchor="#run-chikusei-4-teacher")
    dialog = page.get_by_role("dialog", name="teacher on chikusei ×4")
    dialog.wait_for()
    dialog.get_by_role("button", name="Close").click()
    assert dialog.count() == 0
