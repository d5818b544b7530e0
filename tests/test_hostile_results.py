"""Damaged and hostile files in a results folder give one sentence that names the file, and nothing in them runs."""

import io
import json
import os
import pickle
import random
import shutil
import struct
import zipfile
import zlib
from pathlib import Path
from time import monotonic
from types import SimpleNamespace

import fake_results
import numpy as np
import pytest

from lkca.config.settings import BicubicCheckSettings, ClaimsSettings
from lkca.core.files import json_digest, system_error
from lkca.errors import LkcaError
from lkca.paper.bicubic_check import bicubic_check
from lkca.paper.claims.check import check_claims
from lkca.report import images, page, tables
from lkca.report.figures import draw_figure
from lkca.report.table_html import read_table_html

LONG = "LKCA_LONG_TESTS" in os.environ  # all files with all damages, which takes some minutes
RUN = "runs/chikusei_x4/lkca/seed3000"
BICUBIC = "runs/chikusei_x4/bicubic/seed3000"
MAX_SECONDS = 60  # for one reader; it takes about one
HOSTILE_VALUES = [
    None,
    True,
    -1,
    0,
    10**400,
    1e308,
    -1e308,
    1e-308,
    "",
    "x",
    "\x1b[2J\u202e",
    "<script>alert(1)</script>",
    [],
    [[]],
    {},
    {"a": 1},
    [1e308, -1e308],
    ["=1+1"] * 3,
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Write a report with all its files; `calls` has the functions that read them, with their arguments."""
    root, calls = tmp_path_factory.mktemp("results"), {}
    with pytest.MonkeyPatch.context() as patch:

        def record(module, name, title):
            function = getattr(module, name)

            def call(*args, **kwargs):
                calls[title(args, kwargs)] = lambda: function(*args, **kwargs)
                return function(*args, **kwargs)

            patch.setattr(module, name, call)

        record(page, "write_report", lambda args, kwargs: "page")
        record(tables, "write_table", lambda args, kwargs: f"table {args[0].name}")
        record(fake_results, "draw_figure", lambda args, kwargs: args[0].kind)
        fake_results.write_report(root)
    scores = sorted(root.glob("runs/*/*/*/scores.json"))
    spectra, manifest = [root / RUN / "spectrum.json"], root / "scenes/chikusei.json"
    for kind in ("bands", "pixels", "curves", "speed", "differences"):
        trained = scores if kind in ("bands", "pixels", "differences") else [root / RUN / "scores.json"]
        arguments = [[path.with_name(name) for path in trained] for name in ("image.npz", "history.csv")]
        settings = fake_results.figure_settings(kind, rows={"Bicubic": "bicubic", "LKCA-Net": "lkca"})
        efficiency = [root / "efficiency/chikusei_x4.json"]
        outputs = [root / f"{kind}.png", root / f"{kind}.pdf"]
        calls[kind] = lambda a=(settings, trained, [], *arguments, efficiency, [manifest], *outputs): draw_figure(*a)
    claims = ClaimsSettings(models={}, stand_in=None)
    calls["claims"] = lambda: check_claims(
        claims, scores, spectra, fake_results.PRINTED, root / "c.json", root / "c.csv"
    )
    check = BicubicCheckSettings(experiment="demo", scenes={"chikusei": "Chikusei"}, absent={}, stand_in=None)
    bicubic = [root / BICUBIC / "scores.json"]
    outputs = root / "b.json", root / "b.md"
    calls["bicubic"] = lambda: bicubic_check(check, bicubic, [manifest], fake_results.PRINTED, *outputs)
    return SimpleNamespace(root=root, calls=calls)


READERS = {  # file -> what reads it
    f"{RUN}/scores.json": [
        "table V",
        "page",
        "bands",
        "pixels",
        "composite",
        "curves",
        "speed",
        "differences",
        "share",
    ],
    f"{BICUBIC}/scores.json": ["bicubic", "claims"],
    f"{RUN}/run.json": ["page"],
    f"{RUN}/history.csv": ["page", "curves"],
    f"{RUN}/image.npz": ["page", "pixels", "composite"],
    f"{RUN}/spectrum.json": ["spectrum", "claims"],
    f"{RUN}/train.benchmark.tsv": ["page"],
    "scenes/chikusei.json": ["page", "bands", "pixels", "bicubic"],
    "splits/chikusei_x4.json": ["page"],
    "efficiency/chikusei_x4.json": ["page", "speed"],
    "claims.json": ["page"],
    "claims.csv": ["page"],
    "tables/V.html": ["page"],
    "tables/V.csv": ["page"],
    "tables/V.verdicts.csv": ["page"],
    "tables/V.comparisons.csv": ["page"],
    "figures/1.png": ["page"],
}
JSON_FILES = [name for name in READERS if name.endswith(".json")]


def read(results, name, reader) -> str:
    """Call a reader of a file after its damage; return the message, which has to be one sentence."""
    start = monotonic()
    try:
        results.calls[reader]()
    except (LkcaError, OSError) as error:
        message = str(system_error(error) if isinstance(error, OSError) else error)
        assert message.endswith(".") and "\n" not in message and len(message) < 2000
        return message
    finally:
        assert monotonic() - start < MAX_SECONDS
    return ""


@pytest.fixture
def damaged(results):
    """Return a function that damages a file; the file is restored after the test."""
    kept = {}

    def damage(name, change):
        path = results.root / name
        kept.setdefault(path, path.read_bytes())
        change(path)

    yield damage
    for path, content in kept.items():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.write_bytes(content)


def replace(make):
    """Return a change that removes a file and puts something else in its place."""

    def change(path):
        path.unlink()
        make(path)

    return change


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 - 3]),
    "empty": lambda path: path.write_bytes(b""),
    "folder": replace(Path.mkdir),
    "pipe": replace(os.mkfifo),
    "dangling link": replace(lambda path: path.symlink_to("nowhere")),
    "link to itself": replace(lambda path: path.symlink_to(path.name)),
    "device": replace(lambda path: path.symlink_to("/dev/zero")),
    "missing": Path.unlink,
    "zeros": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "UTF-16": lambda path: path.write_bytes("{}\n<table>".encode("utf-16")),
    "other kind": lambda path: path.write_bytes(b"GIF89a" + bytes(range(256))),
    "huge": lambda path: os.truncate(path, 2**31),
}
OPTIONAL = ("history.csv", "train.benchmark.tsv")  # for the page
ABSENT = ("missing", "dangling link", "link to itself")
TEXTS = ("claims.csv", "tables/V.csv")  # offered for download as they are


def select(name, cases, count, names=tuple(READERS)):
    """Return some of the cases, others for each of the names, or all of them in a long run."""
    first = names.index(name) * count
    return cases if LONG else [cases[(first + i) % len(cases)] for i in range(count)]


@pytest.mark.parametrize("name, damage", [(name, damage) for name in READERS for damage in select(name, [*DAMAGES], 1)])
def test_damaged_file_is_named(results, damaged, name, damage):
    damaged(name, DAMAGES[damage])
    for reader in select(name, READERS[name], 1):
        message = read(results, name, reader)
        if reader == "page" and name.endswith(OPTIONAL) and damage in ABSENT:
            continue
        if name in TEXTS and damage in ("cut", "empty", "zeros"):
            continue
        if damage == "cut" and name.endswith(("csv", "tsv")):  # nothing shows that the last line was longer
            continue
        assert Path(name).name in message, (reader, message)


DEEP = {"lists": "[" * 3000, "maps": '{"a":' * 3000, "closed": "[" * 900 + "]" * 900, "few": "[" * 300 + "]" * 300}


@pytest.mark.parametrize("name", JSON_FILES)
def test_json_of_another_form_is_named(results, damaged, name):
    original = (results.root / name).read_text()
    texts = [*DEEP.values(), "[]", "{}", "null", "1", '"x"', "NaN", "1e400", "9" * 5000, "[" + original + "]"]
    texts += [f'{original.rstrip()[:-1]}, "extra": {deep}}}' for deep in DEEP.values()]
    texts += [f'{original.rstrip()[:-1]}, "scene": {value}}}' for value in ("NaN", "Infinity", "9" * 5000)]
    texts += ['{"a": "\\ud800"}', "\ufeff" + original, original + original]
    for text in select(name, texts, 3, JSON_FILES):
        damaged(name, lambda path, text=text: path.write_text(text))
        assert Path(name).name in read(results, name, READERS[name][0]), text[:40]


def nodes(value, path=()):
    """Yield the paths of all values in a JSON value; of long lists only the first and the last item."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from nodes(value[key], (*path, key))
    elif isinstance(value, list):
        for i in sorted({0, len(value) - 1} & {*range(len(value))}):
            yield from nodes(value[i], (*path, i))


def change_value(content, path, value):
    """Return a copy of a JSON value in which one value is replaced; without it if `value` is `...`."""
    content = json.loads(json.dumps(content))
    target = content
    for key in path[:-1]:
        target = target[key]
    if value is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return content


@pytest.mark.parametrize("name", JSON_FILES)
def test_hostile_value_anywhere_gives_a_sentence_or_is_harmless(results, damaged, name, request):
    """scores.json gets a digest that fits, as a forger would write it."""
    rng = random.Random(name)
    original = json.loads((results.root / name).read_text())
    places = [path for path in nodes(original) if path]
    for _ in range(100 if LONG else 2):
        place, value = rng.choice(places), rng.choice([..., *HOSTILE_VALUES])
        content = change_value(original, place, value)
        if "digest" in content:
            content["digest"] = json_digest(content)
        damaged(name, lambda path, content=content: path.write_text(json.dumps(content)))
        message = read(results, name, rng.choice(READERS[name]))
        if not message and "page" in READERS[name]:
            assert "<script>alert" not in (results.root / "report.html").read_text()


def npy(header: str, data: bytes = b"") -> bytes:
    """Return a .npy file with this header."""
    text = header.encode().ljust(118 - 10) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + data


def archive(path, member: bytes, method=zipfile.ZIP_STORED, name="hr.npy"):
    """Replace a member of an .npz file."""
    with zipfile.ZipFile(path) as old:
        members = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(path, "w", method) as new:
        for other, content in members.items():
            new.writestr(other, member if other == name else content)


class Bomb:
    """An object whose unpickling creates a file."""

    def __reduce__(self):
        return Path.touch, (Path("pickle-was-loaded"),)


def array_bytes(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


SHAPE = "{'descr': '%s', 'fortran_order': False, 'shape': %s}"
ARRAYS = {
    "pickle": lambda: array_bytes(np.array([Bomb()], dtype=object)),
    "raw pickle": lambda: pickle.dumps(Bomb()),
    "absurd shape": lambda: npy(SHAPE % ("<f4", "(10**18, 64, 3)".replace("10**18", "1" + "0" * 18))),
    "negative shape": lambda: npy(SHAPE % ("<f4", "(-64, -64, 3)"), bytes(64 * 64 * 12)),
    "overflowing shape": lambda: npy(SHAPE % ("<f4", "(4294967296, 4294967296, 3)")),
    "no numbers in shape": lambda: npy(SHAPE % ("<f4", "('a', 64, 3)")),
    "deep header": lambda: npy("(" * 90),
    "object in header": lambda: npy("__import__('os').system('touch pickle-was-loaded')"),
    "strings": lambda: array_bytes(np.full((64, 64, 3), "a")),
    "complex": lambda: array_bytes(np.zeros((64, 64, 3), complex)),
    "structured": lambda: array_bytes(np.zeros((64, 64, 3), "f4,f4")),
    "dates": lambda: array_bytes(np.zeros((64, 64, 3), "datetime64[s]")),
    "NaN": lambda: array_bytes(np.full((64, 64, 3), np.nan, np.float32)),
    "huge numbers": lambda: array_bytes(np.full((64, 64, 3), 3e38, np.float32)),
    "no pixels": lambda: array_bytes(np.zeros((0, 64, 3), np.float32)),
    "scalar": lambda: array_bytes(np.float32(1)),
    "other size": lambda: array_bytes(np.zeros((32, 64, 3), np.float32)),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_hostile_arrays(results, damaged, kind, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for member in ("hr.npy", "rows.npy", "spectra_sr.npy"):
        damaged(f"{RUN}/image.npz", lambda path, member=member: archive(path, ARRAYS[kind](), name=member))
        with pytest.raises(LkcaError, match="image.npz was damaged or edited"):
            images.read_image(results.root / RUN / "image.npz")
    assert not Path("pickle-was-loaded").exists()


def test_bombs_take_no_memory(results, damaged, monkeypatch):
    """An archive whose member is too large, one that lies about its size, and a PNG of 10^10 pixels."""

    def png(width, height):
        def chunk(kind, data):
            return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

        header = struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0)
        return (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(bytes(100)))
            + chunk(b"IEND", b"")
        )

    for width, height in ((10**5, 10**5), (9000, 9000), (20000, 10), (0, 0), (100, 100)):
        damaged("figures/1.png", lambda path, size=(width, height): path.write_bytes(png(*size)))
        assert "1.png" in read(results, "figures/1.png", "page")

    monkeypatch.setattr(images, "MAX_ARRAY_BYTES", 10**6)
    name = f"{RUN}/image.npz"
    damaged(name, lambda path: archive(path, bytes(10**6 + 1), zipfile.ZIP_DEFLATED))
    assert "hr.npy has 1.0 MB" in read(results, name, "page")

    def lie(path):
        """Declare a member of 10 MB as one of the size that its header says."""
        shape = npy(SHAPE % ("<f4", "(64, 64, 3)"))
        archive(path, shape + bytes(10**7), zipfile.ZIP_DEFLATED)
        size, declared = struct.pack("<L", 10**7 + len(shape)), struct.pack("<L", 64 * 64 * 12 + len(shape))
        path.write_bytes(path.read_bytes().replace(size, declared))

    damaged(name, lie)
    assert "image.npz" in read(results, name, "page")


HOSTILE_HTML = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)></svg>",
    "<meta http-equiv=refresh content='0;url=https://example.org'>",
    "<base href='https://example.org'>",
    "<form action='https://example.org'><input name=a></form>",
    "<iframe srcdoc='<p>x'></iframe>",
    "<style>body{display:none}</style>",
    "<link rel=stylesheet href='https://example.org'>",
    "<p style='position:fixed;inset:0'>x</p>",
    "<p onclick='alert(1)'>x</p>",
    "<p id=claims-tools>x</p>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='https://example.org'>x</a>",
    "<a href='//example.org'>x</a>",
    "<a href=' javascript:alert(1)'>x</a>",
    "</div></table><p>outside</p>",
    "<!-- a comment --><p>x</p>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<script>]]>",
    "<?php x ?>",
    "<p><b>x</b></p>",
    "<SCRIPT>alert(1)</SCRIPT>",
    "<scr\0ipt>alert(1)</script>",
    "<template><p></template>",
    "<table><tr><td>x</table>",
    "<p>never closed",
    "<textarea>",
    "<title></title>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
]


@pytest.mark.parametrize("html", HOSTILE_HTML)
def test_forged_table_injects_nothing(results, damaged, html):
    name = "tables/V.html"
    original = (results.root / name).read_text()
    before = (results.root / "report.html").read_bytes()
    for forged in (original.replace("</caption>", f"{html}</caption>"), original + html, html + original, html):
        damaged(name, lambda path, forged=forged: path.write_text(forged))
        with pytest.raises(LkcaError, match="V.html was damaged or edited"):
            read_table_html(results.root / name)
    if html in select(name, HOSTILE_HTML, 1):
        assert "V.html" in read(results, name, "page")
    assert (results.root / "report.html").read_bytes() == before


def test_tables_of_the_template_pass_unchanged(results, tmp_path):
    for path in sorted((results.root / "tables").glob("*.html")):
        assert read_table_html(path) == path.read_text().replace("&nbsp;", "\xa0")
    (tmp_path / "t.html").write_text("<table><caption title='&lt;\"&amp;'>&lt;script&gt;a &amp; b</caption></table>")
    escaped = '<table><caption title="&lt;&#34;&amp;">&lt;script&gt;a &amp; b</caption></table>'
    assert read_table_html(tmp_path / "t.html") == escaped


def fill(text: str, cell: str) -> str:
    """Return the header of a CSV file and a line that has the same text in each cell."""
    header = text.split("\n")[0].rstrip("\r")
    return f"{header}\n{','.join([cell] * (header.count(',') + 1))}\n"


CSV_CHANGES = {
    "no header": lambda text: text.partition("\n")[2],
    "one cell more": lambda text: text.replace("\n", "\n,", 1),
    "text": lambda text: fill(text, "x"),
    "NaN": lambda text: fill(text, "nan"),
    "huge": lambda text: fill(text, "1e999"),
    "digits": lambda text: fill(text, "9" * 5000),
    "quote": lambda text: text + '"',
    "long cell": lambda text: text + "x" * 200_000,
    "header only": lambda text: text.split("\n")[0] + "\n",
}


CSV_FILES = [f"{RUN}/history.csv", "tables/V.verdicts.csv", "tables/V.comparisons.csv"]


@pytest.mark.parametrize(
    "name, change", [(name, change) for name in CSV_FILES for change in select(name, [*CSV_CHANGES], 3, CSV_FILES)]
)
def test_hostile_csv(results, damaged, name, change):
    text = CSV_CHANGES[change]((results.root / name).read_text())
    damaged(name, lambda path: path.write_text(text))
    for reader in READERS[name]:
        message = read(results, name, reader)
        assert Path(name).name in message or (change == "header only" and "history" not in name)


@pytest.mark.parametrize(
    "cells", ["x\tx\tx", "1e400\t1:00\t1", "nan\t1:00\tnan", "-\t-\t-", "NA\tNA\tNA", "-1\t\t", "1"]
)
def test_hostile_benchmark(results, damaged, cells):
    damaged(f"{RUN}/train.benchmark.tsv", lambda path: path.write_text(f"s\th:m:s\tmax_rss\n{cells}\n"))
    message = read(results, "train.benchmark.tsv", "page")
    assert not message or "train.benchmark.tsv" in message
