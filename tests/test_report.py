"""The report: complete, self-contained, and true to the files beside each run."""

import re
from base64 import b64decode
from html.parser import HTMLParser

import made_up
import pytest
from jinja2 import UndefinedError

from lkca.templates import render


class Page(HTMLParser):
    """Collects tags with their attributes, visible text, and the cells of every table row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        text = " ".join(data.split())
        if text and self.open[-1] not in ("style", "script"):
            self.words.append(text)
            if self.open[-1] in ("td", "th"):
                self.rows[-1].append(text)

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(root, **changes) -> Page:
    return Page(made_up.report(root, **changes).read_text(encoding="utf-8"))


def test_every_run_has_its_line_from_the_files_beside_it(tmp_path):
    rows = page(tmp_path).rows
    scored = ["1,200", "2 of 3", "0.5000 → 0.1250", "38.25", "1 h 02 min", "12.3 s", "1.50 GiB"]
    assert ["chikusei", "×4", "lkca", "3000", *scored] in rows
    # bicubic has no history and here no benchmark; the teacher has no scores and was too quick to be measured
    assert ["chikusei", "×4", "bicubic", "3000", "–", "–", "–", "–", "–", "12.3 s", "–"] in rows
    unscored = ["1,200", "–", "0.5000 → 0.1250", "38.25", "1 h 02 min", "–", "–"]
    assert ["chikusei", "×4", "teacher", "3000", *unscored] in rows


def test_where_it_came_from_is_said(tmp_path):
    words = page(tmp_path).words
    for fact in (
        "abc1234 with uncommitted changes",
        "cpu, 2 threads",
        "2.9.0",
        "2304 × 2048 pixels, 128 bands, 2.5 m a pixel, 363 to 1018 nm, Headwall Hyperspec-VNIR-C",
        "0 to 15133, divided by 15133",
        "7 training and 3 validation patches of 64 × 64 pixels every 32, 2 test images",
        "c0" * 32,
        "CC BY 3.0",
    ):
        assert fact in words
    assert any("Yokoya and A. Iwasaki" in word for word in words)
    assert any("rows 107 to 2410, columns 144 to 2191, SHA-256 " + "5a" * 32 in word for word in words)


def test_the_page_needs_no_other_file(tmp_path):
    read = page(tmp_path)
    references = [a[name] for _, a in read.tags for name in ("src", "href", "srcset", "action") if name in a]
    assert len(references) > 10
    assert all(reference.startswith(("#", "data:")) for reference in references)
    css = re.search(r"<style>(.*?)</style>", (tmp_path / "report.html").read_text(), re.DOTALL)[1]
    assert "url(" not in css and "@import" not in css
    assert "script" not in {tag for tag, _ in read.tags}
    targets = {a["id"] for _, a in read.tags if "id" in a}
    assert {reference[1:] for reference in references if reference.startswith("#")} <= targets


def test_the_pictures_are_the_figures_and_have_words(tmp_path):
    pictures = page(tmp_path).of("img")
    assert [p["alt"] for p in pictures] == ["Figure 1: Parameters", "Figure 4: Singular values", "Figure 6: Composites"]
    for name, picture in zip(("1", "4", "6"), pictures, strict=True):
        data = picture["src"].removeprefix("data:image/png;base64,")
        assert b64decode(data) == (tmp_path / f"figures/{name}.png").read_bytes()


@pytest.mark.parametrize("stand_in", [made_up.STAND_IN, None])
def test_a_stand_in_is_announced_and_only_then(tmp_path, stand_in):
    read = page(tmp_path, stand_in=stand_in)
    banners = [a for a in read.of("p") if a.get("class") == "stand-in"]
    assert len(banners) == (1 if stand_in else 0)
    assert read.words.count(made_up.STAND_IN) == (6 if stand_in else 0)  # the banner, two tables, three figures


def test_names_are_text_and_never_markup(tmp_path):
    hostile = "<img src=x onerror=alert(1)>"
    read = page(tmp_path, title=hostile, scene=made_up.HOSTILE, model=made_up.HOSTILE)
    assert hostile in read.words
    assert [made_up.HOSTILE, "×4", made_up.HOSTILE, "3000"] in [row[:4] for row in read.rows]
    assert "script" not in {tag for tag, _ in read.tags}
    assert all("onerror" not in attributes for _, attributes in read.tags)


def test_an_empty_slot_is_an_error():
    with pytest.raises(UndefinedError, match="title"):
        render("report.html.j2")
