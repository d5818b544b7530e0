"""The page beside a sharpened cube: what it says follows from the facts, and names from files are only text."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lkca.data.degrade import degrade
from lkca.data.resize import resize
from lkca.data.writers import OutputDescription, encode, open_output
from lkca.inference.trust import MEASURES, HeldOutImage, find_map_path, write_trust_map
from lkca.report import sharpen_page
from lkca.report.sharpen_page import ScoreRow, SharpenFacts, _find_ticks, _percent, state_finding, write_sharpen_page

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

BANDS, ROWS, COLUMNS, SCALE, DIVISOR = 5, 30, 24, 2, 100.0
HOSTILE = "<script>alert(1)<\\script>&\"'.img"
BETTER = ScoreRow("MPSNR", 41.2, 41.73, 0.53, 0.41, 0.65, "better")
UNRESOLVED = ScoreRow("MPSNR", 41.2, 41.1, -0.1, -0.3, 0.1, "not resolved")
WORSE = ScoreRow("MPSNR", 41.2, 41.0, -0.2, -0.3, -0.1, "worse")
ALONE = ScoreRow("MPSNR", 41.2, 41.3, 0.1, None, None, "not resolved")


def make_facts(folder: Path, lr: np.ndarray | None = None, trust: bool = True, **changes: Any) -> SharpenFacts:
    """Return the facts of a result by bicubic, with its files in a folder."""
    lr = resize(np.random.default_rng(0).random((BANDS, 10, 8)).astype(np.float32), 3) if lr is None else lr
    bands, rows, columns = lr.shape
    np.save(folder / "lr.npy", lr)
    output = folder / "sharp.tif"
    result = resize(np.nan_to_num(lr, nan=0.5), SCALE)
    shape = (rows * SCALE, columns * SCALE, bands)
    description = OutputDescription(shape=shape, dtype=np.dtype("float32"), units="counts", invalid=float("nan"))
    invalid = np.isnan(lr[0]).repeat(SCALE, 0).repeat(SCALE, 1)
    with open_output(output, description) as file:
        file.write(0, 0, 0, encode(result * DIVISOR, invalid, description, 0)[0])
    summary = None
    if trust:
        hr = np.nan_to_num(lr[:, : rows // 2 * 2, : columns // 2 * 2], nan=0.5)
        held_out = [HeldOutImage(resize(degrade(hr, SCALE), SCALE), hr)]
        summary = write_trust_map(output, folder / "lr.npy", DIVISOR, SCALE, "bicubic", [(0, rows)], held_out)
    facts = SharpenFacts(
        method="LKCA-LR",
        written="network",
        output=output,
        trust_map=find_map_path(output) if trust else None,
        trust=summary,
        lr=folder / "lr.npy",
        divisor=DIVISOR,
        scale=SCALE,
        blur="bicubic",
        bands=list(range(3, 3 + bands)),
        nanometres=[450.0 + 50 * band for band in range(bands)],
        units="counts",
        scores=[BETTER, ScoreRow("SAM", 2.5, 2.4, -0.1, None, None, "not resolved")],
        interval="95 % interval over 6 held-out blocks",
        input=(Path(HOSTILE), "5a" * 32),
        command=f"lkca sharpen '{HOSTILE}' sharp.tif",
        split="1,204 training patches",
        training={"Epochs": "10 epochs"},
        software={"Machine": HOSTILE},
        files=[output],
        notes=["31 values were clipped."],
    )
    return replace(facts, **changes)


class _Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._hidden = False
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += data

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def write(folder: Path, facts: SharpenFacts) -> _Page:
    write_sharpen_page(folder / "page.html", facts)
    return _Page(folder / "page.html")


def open_picture(image: dict[str, str | None]) -> np.ndarray:
    data = (image["src"] or "").removeprefix("data:image/webp;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


@pytest.mark.parametrize(
    "psnr, written, found, done",
    [
        (BETTER, "network", "LKCA-LR is 0.53 dB better than bicubic (0.41 to 0.65)", "its result was written to"),
        (
            UNRESOLVED,
            "nothing",
            "is not shown to be better than bicubic: −0.10 dB (−0.30 to 0.10)",
            "nothing was written.",
        ),
        (WORSE, "bicubic", "is 0.20 dB worse than bicubic (difference −0.20 dB (−0.30 to −0.10))", "bicubic's result"),
        (ALONE, "nothing", "is not shown to be better than bicubic: +0.10 dB, no interval", "nothing was written."),
    ],
)
def test_the_first_sentence_says_what_came_out(
    tmp_path: Path, psnr: ScoreRow, written: Any, found: str, done: str
) -> None:
    facts = make_facts(tmp_path, trust=False, scores=[psnr], written=written)
    if written == "nothing":
        facts = replace(facts, output=None)
    sentence = state_finding(facts)
    assert sentence[0].endswith(found)
    assert sentence[1].startswith(done)
    assert f"{sentence[0]}: {sentence[1]}" in write(tmp_path, facts).text


def test_the_page_needs_nothing_else_and_is_small(tmp_path: Path) -> None:
    page = write(tmp_path, make_facts(tmp_path))
    content = (tmp_path / "page.html").read_text()
    assert len(content) < 3e6
    assert not re.findall(r"https?://", content)
    assert all((image["src"] or "").startswith("data:image/webp;base64,") for image in page.find("img"))
    assert [link["href"] for link in page.find("link")] == ["data:,"]
    assert all(image["alt"] for image in page.find("img"))
    assert all(slider["aria-label"] for slider in page.find("input"))
    assert not (tmp_path / ".page.part.html").exists()


def test_names_from_files_are_text(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, method=HOSTILE, units=HOSTILE, notes=[HOSTILE], training={HOSTILE: HOSTILE})
    page = write(tmp_path, facts)
    assert len(page.find("script")) == 1  # the page's own
    assert page.text.count(HOSTILE) >= 8
    assert page.text.startswith(f"{HOSTILE}, sharpened 2 times")


def test_the_page_shows_scores_and_what_was_run(tmp_path: Path) -> None:
    text = write(tmp_path, make_facts(tmp_path)).text
    for part in (
        "41.2000 41.7300 +0.5300 +0.4100 to +0.6500",
        "2.5000 2.4000 −0.1000",
        "95 % interval over 6 held-out blocks",
        "31 values were clipped.",
        "5a" * 32,
        "lkca sharpen",
        "1,204 training patches",
        "10 epochs",
        str(tmp_path / "sharp.tif"),
        "a wrong texture can be consistent",
        "cannot be checked without a sharper image",
    ):
        assert part.replace("41.7300 +", "41.7300+").replace(" ", "") in text.replace(" ", ""), part


def test_a_page_without_a_result_has_no_pictures(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, trust=False, output=None, written="nothing", scores=[UNRESOLVED], files=[])
    page = write(tmp_path, facts)
    assert not page.find("img")
    assert "Before and after" not in page.text and "How far to trust" not in page.text
    assert "Files written none" in page.text or "Files writtennone" in page.text


def test_the_pictures_show_the_bands_of_the_file(tmp_path: Path) -> None:
    # The left half of the image is red (the band near 660 nm), the right half blue (the band near 480 nm).
    lr = np.full((BANDS, ROWS, COLUMNS), 0.1, np.float32)
    lr[4, :, : COLUMNS // 2] = 0.9  # 650 nm
    lr[1, :, COLUMNS // 2 :] = 0.9  # 500 nm
    page = write(tmp_path, make_facts(tmp_path, lr))
    before, after = (open_picture(image) for image in page.find("img")[:2])
    assert before.shape == after.shape == (ROWS * SCALE, COLUMNS * SCALE, 3)
    for picture in (before, after):
        assert picture[30, 10].argmax() == 0 and picture[30, 10, 0] > 200
        assert picture[30, 40].argmax() == 2 and picture[30, 40, 2] > 200
    assert "7 (650 nm), 5 (550 nm), 4 (500 nm)" in page.text


def test_invalid_pixels_are_grey(tmp_path: Path) -> None:
    lr = np.random.default_rng(0).random((BANDS, ROWS, COLUMNS)).astype(np.float32)
    lr[:, 5:12, 5:12] = np.nan
    page = write(tmp_path, make_facts(tmp_path, lr))
    for image in page.find("img")[:2]:
        assert open_picture(image)[14:20, 14:20] == pytest.approx(217, abs=2)
    flags = next(image for image in page.find("img") if image["alt"] == "Map of the flags")
    assert open_picture(flags)[16, 16] == pytest.approx((0xC8, 0xCC, 0xD1), abs=2)
    assert f"invalid in the input: {100 * 49 / (ROWS * COLUMNS):.2g} %" in page.text


def test_large_images_are_reduced_to_their_means(tmp_path: Path) -> None:
    lr = np.random.default_rng(0).random((BANDS, 630, 16)).astype(np.float32)  # 1260 rows of the result
    page = write(tmp_path, make_facts(tmp_path, lr, trust=False))
    before = open_picture(page.find("img")[0])
    assert before.shape == (630, 16, 3)  # 2 x 2 pixels of the result are one of the input
    band = lr[4]
    low, high = np.percentile(band, (2, 98))
    expected = 255 * np.clip((band - low) / (high - low), 0, 1)
    assert abs(before[..., 0] - expected).max() <= 1
    assert "the mean of 2 × 2 pixels" in page.text


def test_invalid_pixels_do_not_darken_reduced_pictures() -> None:
    strip = np.array([[[1, np.nan, np.nan, np.nan, 7], [3, np.nan, np.nan, np.nan, np.nan]]])
    assert sharpen_page._mean_blocks(strip, 2) == pytest.approx(np.array([[2, np.nan, 7]]), nan_ok=True)


def test_pictures_of_noise_do_not_make_the_page_large() -> None:
    noise, side = np.random.default_rng(0).random((256, 256, 3)), 256
    page = sharpen_page
    kinds = [(page.OVERVIEW_SIDE, page.OVERVIEW_BYTES, 2), (page.DETAIL_SIDE, page.DETAIL_BYTES, 3)]
    kinds.append((page.MAP_SIDE, page.MAP_BYTES, len(MEASURES) + 1))
    for length, max_bytes, _ in kinds:
        share = max_bytes * side**2 / length**2  # for a picture of this size
        assert len(page._encode(noise, int(share))) <= share * 4 / 3 + 30
    assert sum(max_bytes * number for _, max_bytes, number in kinds) * 4 / 3 < 2.9e6


def test_spectra_have_gaps_where_bands_are_missing(tmp_path: Path) -> None:
    lr = np.random.default_rng(0).random((8, ROWS, COLUMNS)).astype(np.float32)
    nanometres = [400.0, 410, 420, 430, 600, 610, 620, 630]
    page = write(tmp_path, make_facts(tmp_path, lr, trust=False, nanometres=nanometres))
    lines = [path["d"] or "" for path in page.find("path") if path.get("class") == "input"][1:]  # after that of the key
    assert len(lines) == 4
    assert all(line.count("M") == 2 and line.count("L") == 6 for line in lines)
    assert "wavelength (nm)" in page.text
    places = re.findall(r"Row (\d+), column (\d+) of the input", page.text)
    assert places == [("8", "7"), ("8", "19"), ("23", "7"), ("23", "19")]


def test_a_band_between_two_gaps_is_drawn(tmp_path: Path) -> None:
    lr = np.random.default_rng(0).random((7, ROWS, COLUMNS)).astype(np.float32)
    page = write(tmp_path, make_facts(tmp_path, lr, trust=False, nanometres=[400.0, 410, 420, 600, 800, 810, 820]))
    lines = [path["d"] or "" for path in page.find("path") if path.get("class") == "input"][1:]
    assert all(re.search(r"M[\d.]+ [\d.]+h\.1M", line) for line in lines)


def test_the_page_says_if_the_yardstick_is_exceeded_often(tmp_path: Path) -> None:
    facts = make_facts(tmp_path)
    assert facts.trust
    measures = {name: measure.model_copy(update={"above": 0.02}) for name, measure in facts.trust.measures.items()}
    few = facts.trust.model_copy(update={"measures": measures})
    assert "far more often" not in write(tmp_path, replace(facts, trust=few)).text
    measures["shape"] = measures["shape"].model_copy(update={"above": 0.3})
    many = facts.trust.model_copy(update={"measures": measures})
    assert "leading spectra of the training pixels (30 %)" in write(tmp_path, replace(facts, trust=many)).text


@pytest.mark.parametrize(
    "share, text",
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.5, "50 %"),
        (0.99999, "> 99.99 %"),
        (1e-6, "< 0.01 %"),
        (0.0123, "1.2 %"),
        (0.991, "99.10 %"),
    ],
)
def test_shares_are_readable(share: float, text: str) -> None:
    assert _percent(share) == text


@pytest.mark.parametrize("low, high", [(0, 1), (-3.2, 9500), (0.001, 0.0012), (5, 5), (1e5, 3e5)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = _find_ticks(low, high, 4)
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert 1 <= len(ticks) <= 9
