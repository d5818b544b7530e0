"""The page of the report: it is complete and self-contained, and shows the content of its source files."""

import gzip
import hashlib
import io
import json
import re
from base64 import b64decode
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import fake_results
import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError
from PIL import Image

from lkca.core.files import sha256
from lkca.report.figures.style import method_style
from lkca.report.render import render

VOID = ("meta", "link", "img", "input")


class Page(HTMLParser):
    """Collect tags with their attributes, visible text, and the text of every cell, by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        text = " ".join(data.split())
        if text and self.open[-1] not in ("style", "script"):
            self.words.append(text)
            if {"td", "th"} & {*self.open}:
                self.rows[-1][-1] = f"{self.rows[-1][-1]} {text}".strip()

    def find_all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def fake_report(tmp_path_factory):
    """Return a function that returns a report; its arguments are those of `fake_results.write_report`."""

    @cache
    def make(**changes) -> SimpleNamespace:
        root = tmp_path_factory.mktemp("report")
        text = fake_results.write_report(root, **changes).read_text(encoding="utf-8")
        return SimpleNamespace(root=root, text=text, page=Page(text))

    return make


@pytest.fixture
def fake_report_of(tmp_path_factory):
    """Return a function that does the same for arguments that are maps, which cannot be cached."""

    def make(**changes) -> SimpleNamespace:
        text = fake_results.write_report(tmp_path_factory.mktemp("report"), **changes).read_text(encoding="utf-8")
        return SimpleNamespace(text=text, page=Page(text))

    return make


def script_content(text: str, name: str) -> str:
    """Return the content of a script element."""
    return re.search(rf'<script [^>]*id="{name}">(.*?)</script>', text, re.DOTALL)[1]


def test_every_run_has_its_line(fake_report):
    rows = fake_report().page.rows
    measured = ["2 of 3", "0.5000 → 0.1250", "38.25", "1 h 02 min", "12.3 s"]
    assert ["chikusei", "×4", "lkca", "3001", "1,200", *measured, "1.50 GiB"] in rows
    # bicubic has no history and here no benchmark; the teacher was too short to be measured
    assert ["chikusei", "×4", "bicubic", "3000", "–", "–", "–", "–", "–", "12.3 s", "–"] in rows
    assert ["chikusei", "×4", "teacher", "3000", "1,200", *measured, "–"] in rows


def test_software_data_and_source_are_named(fake_report):
    words = fake_report().page.words
    for fact in (
        "abc1234 with uncommitted changes",
        "cpu, 2 threads",
        "2.9.0",
        "2304 × 2048 pixels, 128 bands, 2.5 m a pixel, Headwall Hyperspec-VNIR-C",
        f"363 to 1018 nm; source: {fake_results.WAVELENGTH_SOURCE}",
        "0 to 15133, divided by 15133",
        "64 × 64 pixels every 32, 11 patches: 7 (64 %) for training, 3 (27 %) for validation, "
        "1 (9 %) unused (overlap with validation); 2 test images",
        "c0" * 32,
        "CC BY 3.0",
    ):
        assert fact in words
    assert any("Yokoya and A. Iwasaki" in word for word in words)
    assert any("rows 107 to 2410, columns 144 to 2191, SHA-256 " + "5a" * 32 in word for word in words)


UNKNOWN_FACTS = dict.fromkeys(("sensor", "gsd_m", "source", "citation", "terms"))


def test_unknown_facts_about_a_scene_are_left_out(fake_report_of):
    page = fake_report_of(facts=UNKNOWN_FACTS, manifest={"nanometres": None, "wavelength_source": None}).page
    assert "2304 × 2048 pixels, 128 bands" in page.words
    assert "not known: neither the file nor config.yaml gives them" in page.words
    assert not {"Source", "Citation", "Terms", "None"} & {*page.words}
    assert not any("None" in word for word in page.words)


def test_widths_and_invalid_pixels_are_named(fake_report_of, fake_report):
    wavelengths = [418.24, *np.linspace(430, 2445.53, 127).round(2).tolist()]
    widths = [6.5, None, *[10.25] * 126]
    page = fake_report_of(
        manifest={
            "nanometres": wavelengths[::-1],
            "fwhm": widths,
            "wavelength_source": "the <file>",
            "invalid_pixels": 70_000,
        }
    ).page
    assert "418.24 to 2445.53 nm, FWHM 6.5 to 10.25 nm; source: the <file>" in page.words
    assert "70,000 of 4,718,592" in page.words
    assert page.words[page.words.index("Invalid pixels") + 1] == "70,000 of 4,718,592"
    words = fake_report().page.words
    assert words[words.index("Invalid pixels") + 1] == "none"


def test_page_is_self_contained_and_links_resolve(fake_report):
    page, text = fake_report().page, fake_report().text
    references = [a[name] for _, a in page.tags for name in ("src", "href", "srcset", "action") if name in a]
    assert len(references) > 50
    assert all(reference.startswith(("#", "data:")) for reference in references)
    css = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert "@import" not in css and "url(" not in css.replace("url(#", "")
    targets = {a["id"] for _, a in page.tags if "id" in a}
    assert {reference[1:] for reference in references if reference.startswith("#")} <= targets


def test_security_policy_allows_only_the_own_script(fake_report):
    (policy,) = [a["content"] for a in fake_report().page.find_all("meta") if "content" in a and "http-equiv" in a]
    (code,) = re.findall(r'<script type="module">(.*?)</script>', fake_report().text, re.DOTALL)
    allowed = dict(rule.split(" ", 1) for rule in policy.split("; "))
    digest = re.fullmatch(r"'sha256-(.+)'", allowed.pop("script-src"))[1]
    assert b64decode(digest) == hashlib.sha256(code.encode()).digest()
    assert allowed == {"default-src": "'none'", "img-src": "data:", "style-src": "'unsafe-inline'"}


def test_verdicts_are_counted_by_table(fake_report):
    verdicts = pd.read_csv(fake_report().root / "tables/V.verdicts.csv")["verdict"].value_counts()
    kinds = ["match", "outside", "not resolved", "not run", "stand-in"]
    numbers = [int(verdicts.get(kind, 0)) for kind in kinds]
    assert sum(n > 0 for n in numbers) >= 3
    # The paper prints 530 numbers: 140 in Table V, 48 in Table I (6 rows of 8)
    assert ["V", *map(str, numbers), str(140 - sum(numbers)), "140"] in fake_report().page.rows
    assert ["I", *["0"] * 5, "48", "48"] in fake_report().page.rows
    assert ["All", *map(str, numbers), str(530 - sum(numbers)), "530"] in fake_report().page.rows


def test_claims_are_counted_and_listed(fake_report):
    rows = fake_report().page.rows
    assert ["holds", "1", "0", "0", "0", "0", "1"] in rows  # reproduced, contradicted, ..., all
    assert ["fails", "0", "1", "0", "0", "0", "1"] in rows
    assert ["cannot be told", "0", "0", "0", "1", "0", "1"] in rows
    assert ["All", "1", "1", "0", "1", "0", "3"] in rows
    assert "1 claim: 1 reproduced" in fake_report().page.words  # of the abstract
    (row,) = [row for row in rows if row[:2] == ["A1", "Abstract"]]
    assert row[3] == "✓ holds Print: something. gain, dB: 0.125"
    assert row[4] == "✓ reproduced Ours: something. gain, dB: 2 (1.5 to 2.5)"
    (row,) = [row for row in rows if row[:2] == ["C10", "IV-C"]]
    assert row[4] == "✗ contradicted Ours: something. gain, dB: 0.25; 0.25"
    (failing,) = re.findall('<ul class="failing">(.*?)</ul>', fake_report().text, re.DOTALL)
    assert re.findall('href="#claim-(.*?)"', failing) == ["C10"]


def test_rules_of_verdicts_are_listed_once(fake_report):
    from lkca.paper.verdicts import RULES

    assert [fake_report().page.words.count(rule) for rule in RULES] == [1] * len(RULES)


def test_comparisons_are_differences_of_means_in_both_directions(fake_report):
    """LKCA-Net's three images are on average 40 dB, bicubic's 38 and LKCA-LR's, of two seeds, 9.25."""
    blocks = re.split('<div class="differences-from">', fake_report().text)[1:]
    names = [re.search("<h4>Compared with (.*?)</h4>", block)[1] for block in blocks[:4]]
    pages = {name: Page(block.split("</table>")[0]) for name, block in zip(names, blocks, strict=False)}
    assert list(pages) == ["Bicubic", "LKCA-LR", "LKCA-Net", "SSPSR"]
    cells = {(reference, row[1]): row[2] for reference, page in pages.items() for row in page.rows[1:]}
    assert cells["Bicubic", "LKCA-Net"].startswith("+2.00 ") and cells["LKCA-Net", "Bicubic"].startswith("−2.00 ")
    assert cells["LKCA-LR", "LKCA-Net"].startswith("+30.8 ") and cells["LKCA-Net", "LKCA-LR"].startswith("−30.8 ")
    outcomes = {
        (reference, row[1]): cell["data-outcome"]
        for reference, page in pages.items()
        for row, cell in zip(page.rows[1:], page.find_all("td")[1 :: 1 + len(fake_results.SCORES)], strict=True)
    }
    assert outcomes["Bicubic", "LKCA-Net"] == "better" and outcomes["LKCA-Net", "Bicubic"] == "worse"
    lines = pd.read_csv(fake_report().root / "tables/V.comparisons.csv").set_index(["a", "b", "score"])
    low, high = lines.loc[("Bicubic", "LKCA-Net", "MPSNR"), ["low", "high"]]
    assert low < -2 < high < 0
    assert f"−{-low:.2f} to −{-high:.2f}" in cells["LKCA-Net", "Bicubic"]
    assert f"+{-high:.2f} to +{-low:.2f}" in cells["Bicubic", "LKCA-Net"]


def test_images_are_the_figures_with_their_descriptions(fake_report):
    pictures = [a for a in fake_report().page.find_all("img") if a.get("alt", "").startswith("Figure ")]
    kinds = {"1": "share", "4": "spectrum", "6": "composite"}
    for (name, kind), picture in zip(kinds.items(), pictures, strict=True):
        shown = Image.open(io.BytesIO(b64decode(picture["src"].removeprefix("data:image/webp;base64,"))))
        with Image.open(fake_report().root / f"figures/{name}.png") as drawn:
            assert shown.size == drawn.size and shown.tobytes() == drawn.convert("RGB").tobytes()
            assert picture["alt"] == f"Figure {name}: A {kind} of methods, ×4. {drawn.info['Description']}"
            assert len(drawn.info["Description"]) > 40


def test_summary_says_what_came_out(fake_report):
    """LKCA-Net's three images are on average 40 dB in both seeds, bicubic's 38 and LKCA-LR's 9.25."""
    page = fake_report().page
    for sentence in (
        "LKCA-Net has the highest MPSNR, 40.00 dB, 2.00 dB above Bicubic.",
        "LKCA-Net is the method to use: it is the only one that is not shown to be worse than the best here.",
        "chikusei: 2304 × 2048 pixels, 128 bands, ×4, 2 test images",
        "7 trainings of 2 to 1,200 steps, seeds 3000, 3001, 7 h 14 min in all. Device: cpu, 2 threads",
    ):
        assert sentence in page.words
    (table,) = re.findall('<table class="brief">.*?</table>', fake_report().text, re.DOTALL)[:1]
    rows = {row[0]: row[1] for row in Page(table).rows}
    assert rows == {
        "Method": "chikusei ×4",
        "Bicubic": "38.00 dB SAM 2.00°",
        "LKCA-LR": "9.25 dB SAM 2.00° 3.71 M · 2 ms 1,200 steps",
        "LKCA-Net": "40.00 dB SAM 2.00° 3.71 M · 4 ms 1,200 steps",
        "SSPSR": "untrained : 2 steps",
    }
    assert "<mark>40.00 dB</mark>" in table
    assert "+2.00 dB" in page.words and "LKCA-LR" in [a for a in page.words if a == "LKCA-LR"]
    (picture,) = re.findall('<figure class="highlight">.*?</figure>', fake_report().text, re.DOTALL)
    assert [image["alt"] for image in Page(picture).find_all("img")] == [
        "Detail of the ground truth, 64 × 64 pixels",
        "The same detail by Bicubic; MPSNR of the whole image 37.00 dB",
        "The same detail by LKCA-Net; MPSNR of the whole image 38.90 dB",
    ]


def test_own_scene_has_its_answer_and_nothing_of_the_paper(fake_report):
    report = fake_report(scene="my_scene")
    items = re.findall("<li>(.*?)</li>", re.search('<ul class="findings">(.*?)</ul>', report.text, re.DOTALL)[1])
    low, high = (
        pd.read_csv(report.root / "tables/V.comparisons.csv")
        .set_index(["a", "b", "score"])
        .loc[("Bicubic", "LKCA-Net", "MPSNR"), ["low", "high"]]
    )
    assert f"LKCA-Net minus Bicubic: <b>+2.00 dB</b>, +{-high:.2f} to +{-low:.2f}, better" in items
    assert not {"verdict", "claims", "verdicts", "contradictions"} & {a.get("id") for _, a in report.page.tags}
    assert not any("the paper" in word.lower() for word in report.page.words)
    assert not re.search('href="#(verdict|claims)', report.text)


def test_downloads_are_the_files(fake_report):
    links = [a for a in fake_report().page.find_all("a") if "download" in a]
    kinds = ("csv", "tex", "verdicts.csv", "comparisons.csv")
    names = [f"tables/{table}.{kind}" for table in ("V", "own") for kind in kinds]
    for link, name in zip(links, [*names, "claims.csv"], strict=True):
        assert link["download"] == Path(name).name
        assert b64decode(link["href"].partition("base64,")[2]) == (fake_report().root / name).read_bytes()


def decode_image(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(b64decode(url.removeprefix("data:image/webp;base64,")))).convert("RGB"))


def test_viewer_has_composites_and_error_maps_of_the_runs(fake_report):
    (view,) = json.loads(script_content(fake_report().text, "viewer-data"))
    assert view["title"] == "chikusei ×4" and view["shape"] == [64, 64]
    methods = [("Bicubic", 37.0), ("LKCA-LR", 8.0), ("LKCA-Net", 38.9)]
    assert [(method["label"], method["psnr"]) for method in view["methods"]] == methods
    assert view["untrained"] == ["SSPSR (2 steps)"]
    colours = [method_style(number)["color"] for number in range(3)]  # as in the figures
    assert [method["style"]["stroke"] for method in view["methods"]] == colours
    image = np.load(fake_report().root / "runs/chikusei_x4/lkca/seed3000/image.npz")
    # the stretch leaves 2 % of the truth's pixels at black and 2 % at white, in each band
    truth, ours = decode_image(view["truth"]["picture"]), decode_image(view["methods"][2]["picture"])
    bright = image["hr"] > np.quantile(image["hr"], 0.985, axis=(0, 1))
    assert truth[bright].mean() > 240 and truth[image["hr"] < np.quantile(image["hr"], 0.015, axis=(0, 1))].mean() < 15
    assert np.corrcoef(truth.ravel(), image["hr"].ravel())[0, 1] > 0.95
    assert (ours.astype(int) - truth)[8:16, 40:48].mean() > 60  # where it is 0.5 too bright
    error = decode_image(view["methods"][2]["error"])
    assert view["limit"] == pytest.approx(0.5)  # in 1.6 % of the pixels
    assert error[10:14, 42:46].min() > 250
    assert abs(error[30:, :30] - 255.0 * image["error"][60, 10] / 0.5).max() < 4
    assert decode_image(view["truth"]["error"]).max() < 5


def test_viewer_has_spectra_of_the_runs(fake_report):
    (view,) = json.loads(script_content(fake_report().text, "viewer-data"))
    assert view["bands"]["positions"] == pytest.approx(np.linspace(363, 1018, 128))
    assert view["bands"]["unit"] == "nm" and view["bands"]["names"][0] == "1 (363 nm)"
    assert view["bands"]["segments"] == [[*range(128)]]
    assert view["rgb"] == [31, 98, 61]
    for model, entry in (("bicubic", view["methods"][0]), ("lkca", view["methods"][2]), ("lkca", view["truth"])):
        image = np.load(fake_report().root / f"runs/chikusei_x4/{model}/seed3000/image.npz")
        packed = entry["spectra"]
        steps = np.frombuffer(b64decode(packed["values"]), "<u2").reshape(12, 12, 128)
        spectra = packed["low"] + (packed["high"] - packed["low"]) / 65535 * steps
        expected = image["spectra_hr" if entry is view["truth"] else "spectra_sr"].transpose(1, 2, 0)
        np.testing.assert_allclose(spectra, expected, atol=1e-5)


@pytest.mark.slow
def test_viewer_has_each_bands_own_wavelength(fake_report_of):
    """`bands: 1-8, 10-129` of wavelengths that rise by 50 nm up to 750 nm, and then by 5 nm from 1500 nm on."""
    wavelengths = [*range(400, 800, 50), *range(1500, 2100, 5)]
    facts = {"bands": [*range(1, 9), *range(10, 130)], "nanometres": wavelengths, "fwhm": [5.5] * 128}
    (view,) = json.loads(script_content(fake_report_of(manifest=facts).text, "viewer-data"))
    assert view["bands"]["names"][7] == "8 (750 nm, FWHM 5.5 nm)" and view["bands"]["names"][8].startswith("10 (")
    assert view["bands"]["segments"] == [*([i] for i in range(8)), [*range(8, 128)]]
    facts = {"nanometres": wavelengths[::-1]}
    (view,) = json.loads(script_content(fake_report_of(manifest=facts).text, "viewer-data"))
    assert view["bands"]["segments"][:2] == [[127], [126]] and view["bands"]["segments"][-1] == [*range(119, -1, -1)]
    facts = {"nanometres": None, "fwhm": None, "bands": [*range(1, 65), *range(70, 134)]}
    (view,) = json.loads(script_content(fake_report_of(manifest=facts).text, "viewer-data"))
    assert (view["bands"]["unit"], view["bands"]["names"][64]) == ("band", "70")
    assert view["bands"]["segments"] == [[*range(64)], [*range(64, 128)]]


def test_run_windows_have_settings_scores_and_history(fake_report):
    groups = json.loads(gzip.decompress(b64decode(script_content(fake_report().text, "runs-data"))))
    assert groups["run-chikusei-4-lkca"]["label"] == "LKCA-Net, Table V"
    assert groups["run-chikusei-4-teacher"]["label"] == ""
    verdicts = pd.read_csv(fake_report().root / "tables/V.verdicts.csv", dtype=str).query(
        "row == 'LKCA-Net' and scale == '4'"
    )
    shown = ["table", "column", "printed", "verdict", "why"]
    assert groups["run-chikusei-4-lkca"]["printed"] == verdicts[shown].to_dict("records") != []
    for seed in groups["run-chikusei-4-lkca"]["seeds"]:
        folder = fake_report().root / f"runs/chikusei_x4/lkca/seed{seed['run']['seed']}"
        scores = json.loads((folder / "scores.json").read_text())
        assert seed["run"] == json.loads((folder / "run.json").read_text())
        assert {**seed["scores"], "images": None} == {**scores, "images": None}
        for ours, theirs in zip(seed["scores"]["images"], scores["images"], strict=True):
            assert ours.items() <= theirs.items() and {"window", "scores", "mae"} <= ours.keys()
        history = (folder / "history.csv").read_text().splitlines()
        assert seed["history"] == {"steps": [400, 800, 1200], "mpsnr": [30.5, 38.5, 38.25], "last": "\n".join(history)}
    assert groups["run-chikusei-4-bicubic"]["seeds"][0]["history"] is None


def test_speed_table_has_macs_and_time(fake_report):
    """Each method takes twice the time of the one before; LKCA-Net has 867 M MACs, LKCA-LR 338 M."""
    (table,) = re.findall('<table class="runs speed".*?</table>', fake_report().text, re.DOTALL)
    lines = Page(table).rows
    rows = {row[2]: row for row in lines}
    assert [row[2] for row in lines[1:]] == ["Bicubic", "LKCA-LR", "LKCA-Net", "SSPSR"]  # 32 is LKCA-LR's network
    assert rows["LKCA-Net"][3:] == [
        "3.707",
        "0.867",
        "× 2.57",
        "× 2 1.96 to 2.04",
        "4 3.6 to 4.8",
        "1,000",
        "512",
        "–",
        "8",
    ]
    assert rows["Bicubic"][5:7] == ["–", "× 0.5 0.49 to 0.51"]
    sentence = "The most MACs: SSPSR on chikusei ×4, 129 times those of LKCA-LR; its latency is 4 (3.92 to 4.08) times "
    sentence += "that of LKCA-LR."
    assert sentence in fake_report().page.words
    assert "speed" not in {
        a.get("id") for _, a in fake_report(stand_in=fake_results.STAND_IN, measured=False).page.tags
    }


def test_report_json_lists_the_hash_of_every_source(fake_report):
    root = fake_report().root
    listed = json.loads((root / "report.json").read_text())["files"]
    weights = {name: listed.pop(name) for name in list(listed) if name.endswith("weights.safetensors")}
    assert set(weights.values()) == {"11" * 32} and len(weights) == 3 * 2 + 1  # as scores.json says, unread
    assert {name: sha256(root / name) for name in listed} == listed
    unlisted = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - listed.keys()
    assert {Path(name).name for name in unlisted} == {
        "report.json",
        "train.benchmark.tsv",
        "evaluate.benchmark.tsv",
        "spectrum.json",  # of runs whose singular values no figure shows
    }
    assert "runs/chikusei_x4/lkca/seed3000/spectrum.json" in listed


@pytest.mark.parametrize("stand_in", [fake_results.STAND_IN, None])
def test_stand_in_data_is_announced(fake_report, stand_in):
    page = fake_report(stand_in=stand_in, measured=False).page if stand_in else fake_report().page
    assert len([a for a in page.find_all("p") if a.get("class") == "stand-in"]) == (1 if stand_in else 0)
    assert page.words.count(fake_results.STAND_IN) == (1 if stand_in else 0)  # the banner; all else has a badge
    badges = [a["title"] for a in page.find_all("span") if a.get("class") == "badge"]
    # The summary's picture and table, two tables, their comparisons, the image viewer, three figures, the paper
    assert badges == [fake_results.STAND_IN] * (11 if stand_in else 0)


def test_names_are_escaped(fake_report):
    hostile, plain = fake_report(word=fake_results.HOSTILE), fake_report()
    claims = fake_report(word=fake_results.HOSTILE, scene="chikusei").page
    assert sum(fake_results.HOSTILE in word for word in claims.words) > 25
    assert hostile.page.words.count(fake_results.HOSTILE) > 10
    assert [fake_results.HOSTILE, "×4", fake_results.HOSTILE, "3000"] in [row[:4] for row in hostile.page.rows]
    assert [len(page.find_all("script")) for page in (hostile.page, plain.page)] == [3, 3]
    for name in ("viewer-data", "runs-data"):
        assert not {"<", ">", "&"} & {*script_content(hostile.text, name)}
    assert not [name for _, attributes in hostile.page.tags for name in attributes if name.startswith("on")]


def test_missing_template_variable_raises():
    with pytest.raises(UndefinedError, match="is undefined"):
        render("report.html.j2")
