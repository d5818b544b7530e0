"""Downloads from a server that misbehaves: each ends in the whole, right file or in one sentence and no file."""

import hashlib
import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import namedtuple

import numpy as np
import pytest

from lkca.data import download as module
from lkca.data.catalog import Cube
from lkca.data.download import download_cube, verify_file
from lkca.errors import LkcaError
from tests.conftest import REPOSITORY
from tests.server import Server

DATA = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "LKCA_MIRROR")


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    """Work in a folder of its own, with short patience and no proxy."""
    monkeypatch.chdir(tmp_path)
    for name in (*PROXIES, *(name.upper() for name in PROXIES)):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"PAUSES": (0, 0, 0), "CONNECT": 1, "STALL": 0.3, "WINDOW": 0.3, "BLOCK": 10_000}.items():
        monkeypatch.setattr(module, name, value)


def cube(*sources, name="x.bin", confirm=False, terms="CC BY 4.0", forms=(), **facts):
    """A cube of one file under data/raw."""
    file = {"path": f"data/raw/it/{name}", "axes": "bands rows columns", "sources": sources, **facts}
    forms = [{"path": f"data/raw/it/{form}", "axes": "bands rows columns"} for form in forms]
    told = {"source": "https://far.example/page", "citation": "A. Author, 2020", "terms": terms, "confirm": confirm}
    about = {"bands": "1-4", "sensor": "none", "gsd_m": 1, "nanometres": (400, 500)}
    return Cube(files=(file,), forms=forms, **about, **told)


def fetched(tmp_path, *sources, content=DATA, left=("SHA256SUMS", "x.bin"), **facts):
    """Fetch and check that the file is there and nothing but it."""
    download_cube("it", cube(*sources, **facts), False, None)
    name = facts.get("name", "x.bin")
    assert (tmp_path / "data/raw/it" / name).read_bytes() == content
    left = {name if one == "x.bin" else one for one in left} - ({"SHA256SUMS"} if "sha256" in facts else set())
    assert there(tmp_path) == left


def refused(tmp_path, *sources, told, part=None, **facts):
    """Fetch in vain: one sentence with `told` in it, and only a partial file of `part` bytes is left."""
    with pytest.raises(LkcaError) as caught:
        download_cube("it", cube(*sources, **facts), False, None)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence
    for word in [told] if isinstance(told, str) else told:
        assert word in sentence
    name = facts.get("name", "x.bin")
    assert there(tmp_path) - {"SHA256SUMS"} == ({f".{name}.part", f".{name}.part.json"} if part else set())
    if part:
        assert (tmp_path / f"data/raw/it/.{name}.part").stat().st_size == part
    return sentence


def there(tmp_path):
    folder = tmp_path / "data/raw/it"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_a_file_comes_whole_and_is_recorded(tmp_path, capsys):
    with Server({"x.bin": DATA}) as server:
        download_cube("it", cube(server.url("x.bin")), False, tmp_path / "receipt.json")
        url = server.url("x.bin")
    told = capsys.readouterr().out
    for word in (url, "300.0 kB", "CC BY 4.0", "A. Author, 2020", "https://far.example/page", "(100 %)"):
        assert word in told
    row = {"path": "data/raw/it/x.bin", "sha256": SHA256, "bytes": 300_000}
    assert json.loads((tmp_path / "receipt.json").read_text()) == {"files": [row]}
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd="data/raw/it", check=True)
    assert server.seen[0][2]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("at", [0, 1, 511, 512, 513, 9_999, 10_000, 150_000, 299_999])
def test_a_broken_connection_goes_on_where_it_broke(tmp_path, at):
    with Server({"x.bin": DATA}, {"x.bin": [f"cut {at}", "fine"]}) as server:
        fetched(tmp_path, server.url("x.bin"))
    assert server.ranges() == [None, f"bytes={at}-" if at >= 512 else None]  # less is not looked at, so not kept
    if at >= 512:
        assert server.seen[1][2]["If-Range"].startswith('"')


def test_several_breaks_ask_for_nothing_twice(tmp_path):
    with Server({"x.bin": DATA}, {"x.bin": ["cut 100000", "cut 50000", "cut 49999", "fine"]}) as server:
        fetched(tmp_path, server.url("x.bin"))
    assert server.ranges() == [None, "bytes=100000-", "bytes=150000-", "bytes=199999-"]


def test_a_second_call_goes_on_where_the_first_gave_up(tmp_path):
    with Server({"x.bin": DATA}, {"x.bin": ["cut 1000", "cut 1000", "cut 1000", "cut 1000", "fine"]}) as server:
        refused(tmp_path, server.url("x.bin"), told=("4 times tried", "goes on", "data/raw/it/x.bin"), part=4000)
        fetched(tmp_path, server.url("x.bin"))
    assert server.ranges()[-1] == "bytes=4000-"


@pytest.mark.parametrize("marks", ["etag", "date", "none"])
@pytest.mark.parametrize("known", [{}, {"sha256": SHA256}, {"bytes": 300_000}], ids=["unknown", "sha256", "bytes"])
@pytest.mark.parametrize("second", ["ignore range", "off by one", "416", "503", "404", "stall 10", "chunked"])
def test_whatever_happens_to_a_resume_the_file_is_right(tmp_path, second, known, marks):
    with Server({"x.bin": DATA}, {"x.bin": ["cut 100000", second, "fine"]}, marks) as server:
        if second == "404":
            refused(tmp_path, server.url("x.bin"), told="HTTP 404 Not Found", part=100_000, **known)
        fetched(tmp_path, server.url("x.bin"), **known)


@pytest.mark.parametrize("marks, second", [("etag", "fine"), ("date", "fine"), ("etag", "ignore if-range")])
def test_a_file_that_changed_meanwhile_begins_anew(tmp_path, marks, second):
    with Server({"x.bin": OTHER}, {"x.bin": ["cut 100000", "503", "503", "503", second, "fine"]}, marks) as server:
        refused(tmp_path, server.url("x.bin"), told="503", part=100_000)
        server.files["x.bin"] = DATA
        fetched(tmp_path, server.url("x.bin"))
    assert server.ranges()[4] == "bytes=100000-"
    assert server.seen[4][2]["If-Range"].startswith('"' if marks == "etag" else "Mon, ")  # no weak ETag may stand there


@pytest.mark.parametrize("known, asked", [({}, None), ({"sha256": SHA256}, "bytes=100000-")])
def test_without_a_mark_nothing_is_continued_unless_the_hash_is_known(tmp_path, known, asked):
    with Server({"x.bin": DATA}, {"x.bin": ["cut 100000", "fine"]}, marks="none") as server:
        fetched(tmp_path, server.url("x.bin"), **known)
    assert server.ranges() == [None, asked]


def test_a_mixture_of_two_files_is_found_by_the_hash_and_fetched_anew(tmp_path):
    with Server({"x.bin": OTHER}, {"x.bin": ["cut 100000", "503", "503", "503", "fine"]}, marks="none") as server:
        refused(tmp_path, server.url("x.bin"), told="503", part=100_000, sha256=SHA256)
        server.files["x.bin"] = DATA
        fetched(tmp_path, server.url("x.bin"), sha256=SHA256)
    assert server.ranges()[-2:] == ["bytes=100000-", None]


def test_a_continuation_of_a_file_of_another_length_is_not_taken(tmp_path):
    with Server({"x.bin": DATA}, {"x.bin": ["cut 100000", "other total", "fine"]}) as server:
        fetched(tmp_path, server.url("x.bin"))
    assert server.ranges() == [None, "bytes=100000-", None]


def test_a_download_stopped_before_its_check_asks_for_nothing_more(tmp_path):
    with Server({"x.bin": DATA}) as server:
        folder = tmp_path / "data/raw/it"
        folder.mkdir(parents=True)
        (folder / ".x.bin.part").write_bytes(DATA)
        note = {"url": server.url("x.bin"), "validator": '"1"', "length": 300_000}
        (folder / ".x.bin.part.json").write_text(json.dumps(note))
        fetched(tmp_path, server.url("x.bin"), sha256=SHA256)
    assert server.seen == []


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 1}', '{"url": 1, "validator": 2, "length": 3}'])
def test_a_partial_file_without_a_readable_note_begins_anew(tmp_path, note):
    folder = tmp_path / "data/raw/it"
    folder.mkdir(parents=True)
    (folder / ".x.bin.part").write_bytes(OTHER + OTHER)
    (folder / ".x.bin.part.json").write_text(note)
    with Server({"x.bin": DATA}) as server:
        fetched(tmp_path, server.url("x.bin"))
    assert server.ranges() == [None]


@pytest.mark.parametrize(
    "habit, told, tries",
    [
        ("403", "HTTP 403 Forbidden, with a web page", 1),
        ("404", "HTTP 404 Not Found", 1),
        ("500", "HTTP 500 Internal Server Error", 4),
        ("503", "HTTP 503 Service Unavailable", 4),
        ("page", "sent a web page or a message instead of the file", 1),
        ("page as data", "sent a web page or a message instead of the file", 1),
        ("data as page", "sent a web page or a message instead of the file", 1),
        ("json as data", "sent a web page or a message instead of the file", 1),
        ("empty", "an empty file", 1),
        ("gzip", "compressed", 1),
        ("part", "HTTP 206", 1),
        ("loop", "more than 10 redirects", 11),
        ("redirect endless", "more than 10 redirects", 11),
        ("to ftp://far.example/x.bin", "ftp://far.example/x.bin is no http or https URL", 1),
        ("to file:///etc/passwd", "file:///etc/passwd is no http or https URL", 1),
        ("to http://[::1", "Invalid IPv6 URL", 4),
        ("silent", "timed out", 4),
        ("garbage", "times tried", 4),
        ("cut 0", "the connection broke", 4),
        ("cut 100", "times tried", 4),
    ],
)
def test_an_answer_that_is_no_file_is_refused_and_leaves_nothing(tmp_path, habit, told, tries):
    with Server({"x.bin": DATA}, {"x.bin": habit}) as server:
        url = server.url("x.bin")
        refused(tmp_path, url, told=(told, f"download {url} in a browser and put it at data/raw/it/x.bin"))
    assert len(server.seen) == tries


def test_a_web_page_does_not_cost_the_partial_file(tmp_path):
    with Server({"x.bin": DATA}, {"x.bin": ["cut 100000", "page", "page as data", "fine"]}) as server:
        refused(tmp_path, server.url("x.bin"), told="a web page", part=100_000)
        refused(tmp_path, server.url("x.bin"), told="a web page", part=100_000)
        fetched(tmp_path, server.url("x.bin"))
    assert server.ranges()[-1] == "bytes=100000-"


@pytest.mark.parametrize("habit", ["500", "503", "silent", "garbage", "stall 0", "stall 100000", "drip 100000"])
def test_a_server_that_recovers_is_waited_for(tmp_path, habit):
    with Server({"x.bin": DATA}, {"x.bin": [habit, "fine"]}) as server:
        fetched(tmp_path, server.url("x.bin"))


def test_a_trickle_and_a_stall_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSES", ())
    with Server({"a/x.bin": DATA, "b/x.bin": DATA}, {"a/x.bin": "drip 600", "b/x.bin": "stall 600"}) as server:
        refused(
            tmp_path,
            server.url("a/x.bin"),
            server.url("b/x.bin"),
            told=("less than 1000 a second", "timed out"),
            part=600,
        )


@pytest.mark.parametrize(
    "habit, facts, told",
    [
        ("other", {"sha256": SHA256}, f"but the published one is {SHA256}"),
        ("shorter", {"sha256": SHA256}, f"but the published one is {SHA256}"),
        ("shorter", {"bytes": 300_000}, "299990 bytes instead of 300000"),
        ("longer", {"bytes": 300_000}, "300010 bytes instead of 300000"),
        ("fine", {"bytes": 299_999}, "300000 bytes instead of 299999"),
        ("endless", {"bytes": 300_000}, "more than the 300000 bytes"),
        ("chunked", {"bytes": 299_999}, "more than the 299999 bytes"),
        ("fine", {"name": "x.zip"}, "is no .zip file"),
        ("fine", {"name": "x.MAT"}, "is no .MAT file"),
    ],
)
def test_wrong_content_is_refused_and_deleted(tmp_path, habit, facts, told):
    name = facts.get("name", "x.bin")
    with Server({name: DATA}, {name: habit}) as server:
        refused(tmp_path, server.url(name), told=told, **facts)


def test_a_length_that_never_comes_is_refused(tmp_path):
    with Server({"x.bin": DATA}, {"x.bin": "longer"}) as server:
        refused(tmp_path, server.url("x.bin"), told="HTTP 416")


@pytest.mark.parametrize("habit", ["chunked", "no length"])
def test_too_short_a_file_is_refused_though_no_length_is_told(tmp_path, monkeypatch, habit):
    monkeypatch.setattr(module, "PAUSES", ())
    with Server({"x.bin": DATA}, {"x.bin": habit}) as server:
        refused(tmp_path, server.url("x.bin"), told="ended after 300000 of 300001 bytes", part=300_000, bytes=300_001)


def test_a_chunked_file_that_breaks_goes_on_too(tmp_path):
    with Server({"x.bin": DATA}, {"x.bin": ["chunked cut 1000", "chunked cut 1000", "fine"]}) as server:
        fetched(tmp_path, server.url("x.bin"))
    assert server.ranges() == [None, "bytes=1000-", "bytes=2000-"]


def test_a_file_without_a_length_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST", 1_000_000)
    with Server({"x.bin": DATA}, {"x.bin": "endless"}) as server:
        refused(tmp_path, server.url("x.bin"), told="more than the 1000000 bytes")


@pytest.mark.parametrize("marks", ["etag", "date", "none"])
@pytest.mark.parametrize("habit", ["chunked", "no length"])
def test_a_file_of_untold_length_is_taken(tmp_path, habit, marks):
    with Server({"x.bin": DATA}, {"x.bin": habit}, marks) as server:
        fetched(tmp_path, server.url("x.bin"))


@pytest.mark.parametrize("start", ["MATLAB 5.0 MAT-file", "MATLAB 7.3 MAT-file", "\x89HDF\r\n\x1a\n"])
def test_matlab_files_are_known_by_their_beginning(tmp_path, start):
    content = start.encode("latin-1") + DATA
    with Server({"x.mat": content}) as server:
        fetched(tmp_path, server.url("x.mat"), content=content, name="x.mat")


def test_redirects_are_followed(tmp_path):
    with Server({"there.bin": DATA}, {"x.bin": "to /there.bin"}) as server:
        fetched(tmp_path, server.url("x.bin"))


@pytest.mark.parametrize("known", [{}, {"sha256": SHA256}])
def test_a_redirect_from_https_to_http_needs_a_known_hash(tmp_path, monkeypatch, known):
    class Session(module._Session):
        """Has a certificate for far.example, so to speak."""

        def get(self, url, **options):
            return super().get(url.replace("https://far.example/", server.url()), **options)

    monkeypatch.setattr(module, "_Session", Session)
    with Server({"x.bin": DATA}) as server:
        server.habits["start"] = f"to {server.url('x.bin')}"
        if known:
            fetched(tmp_path, "https://far.example/start", **known)
        else:
            refused(tmp_path, "https://far.example/start", told="leads from https to http://127.0.0.1")


def test_no_network_is_one_sentence(tmp_path, monkeypatch):
    def unknown(*address, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with Server({}) as server:
        closed = server.url("x.bin")
    refused(tmp_path, closed, told="Connection refused")
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unknown)
        refused(tmp_path, "http://far.example/x.bin", told="http://far.example/x.bin: Name or service not known")
    refused(tmp_path, "gopher://far.example/x.bin", told="no http or https URL")
    refused(tmp_path, "http:///x.bin", told="http:///x.bin")


def test_the_next_source_serves_where_one_fails(tmp_path):
    files = {name: DATA for name in ("a", "b", "c", "d")}
    with Server(files, {"a": "403", "b": "other", "c": "cut 50000"}) as server:
        fetched(tmp_path, *(server.url(name) for name in files), sha256=SHA256)
    assert [target for _, target, _ in server.seen] == ["/a", "/b", "/c", "/c", "/c", "/c", "/d"]


def test_a_mirror_is_tried_first_and_its_password_is_not_shown(tmp_path, monkeypatch, capsys):
    with Server({"own/x.bin": DATA, "x.bin": DATA}) as server:
        mirror = server.url("own/").replace("//", "//me:secret@", 1)
        monkeypatch.setenv("LKCA_MIRROR", mirror)
        download_cube("it", cube(server.url("x.bin")), False, tmp_path / "receipt.json")
        assert [target for _, target, _ in server.seen] == ["/own/x.bin"]
        assert server.seen[0][2]["Authorization"].startswith("Basic ")
        assert "secret" not in capsys.readouterr().out + (tmp_path / "receipt.json").read_text()
        (tmp_path / "data/raw/it/x.bin").unlink()
        server.habits["own/x.bin"] = "404"
        fetched(tmp_path, server.url("x.bin"))
        (tmp_path / "data/raw/it/x.bin").unlink()
        monkeypatch.setenv("LKCA_MIRROR", "/a/folder")
        fetched(tmp_path, server.url("x.bin"))


def test_a_proxy_is_used(tmp_path, monkeypatch):
    with Server({"x.bin": DATA}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url())
        monkeypatch.setenv("http_proxy", proxy.url())
        fetched(tmp_path, "http://far.example/x.bin")
    assert [target for _, target, _ in proxy.seen] == ["http://far.example/x.bin"]


def test_a_full_disk_is_seen_before(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**6, 10**6 - 299_999, 299_999)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    with Server({"x.bin": DATA}) as server:
        refused(tmp_path, server.url("x.bin"), told=("needs 300.0 kB", "has 300.0 kB", "make room"))


def test_a_write_that_fails_keeps_what_is_there(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Server({"x.bin": DATA}) as server:
        resource.setrlimit(resource.RLIMIT_FSIZE, (123_456, limits[1]))
        try:
            refused(tmp_path, server.url("x.bin"), told=("File too large", "make room"), part=123_456)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        fetched(tmp_path, server.url("x.bin"))
    assert server.ranges() == [None, "bytes=123456-"]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with Server({"x.bin": DATA}) as server:
        for folder in ("/proc/1", str(tmp_path / "file")):  # even root cannot write there
            with pytest.raises(LkcaError, match=r"cannot be written \(.*writable.*\.$"):
                download_cube("it", cube(server.url("x.bin"), path=f"{folder}/x.bin"), False, None)
        (tmp_path / "data/raw/it/x.bin").mkdir(parents=True)
        with pytest.raises(LkcaError, match="x.bin is no file: move it away."):
            download_cube("it", cube(server.url("x.bin")), False, None)


def test_a_file_that_is_there_is_checked_and_not_downloaded(tmp_path, capsys):
    place = tmp_path / "data/raw/it/x.bin"
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA)
    with Server({"x.bin": DATA}) as server:
        download_cube("it", cube(server.url("x.bin"), confirm=True), False, tmp_path / "receipt.json")
        first = (tmp_path / "receipt.json").read_bytes()
        download_cube("it", cube(server.url("x.bin"), confirm=True), False, tmp_path / "receipt.json")
        assert (tmp_path / "receipt.json").read_bytes() == first
        assert "data/raw/it/x.bin is there" in capsys.readouterr().out
        place.write_bytes(OTHER)
        with pytest.raises(LkcaError, match="x.bin has the SHA-256 .*: get it from https://far"):
            download_cube("it", cube(server.url("x.bin"), sha256=SHA256), False, None)
    assert server.seen == [] and place.read_bytes() == OTHER


def test_a_form_serves_and_a_file_without_sources_is_asked_for(tmp_path):
    refused(tmp_path, told=("x.bin or y.mat is missing", "https://far.example/page"), forms=("y.mat",))
    (tmp_path / "data/raw/it").mkdir(parents=True)
    (tmp_path / "data/raw/it/y.mat").write_bytes(DATA)
    download_cube("it", cube("http://no-such-host.invalid/", forms=("y.mat",)), False, None)
    assert there(tmp_path) == {"y.mat", "SHA256SUMS"}


def test_two_parts_of_one_archive_are_one_download(tmp_path):
    content = b"PK\x03\x04" + DATA
    with Server({"x.zip": content}) as server:
        one = cube(server.url("x.zip"), name="x.zip")
        files = [{**one.files[0].model_dump(), "path": f"data/raw/it/x.zip/{name}.bsq"} for name in "ab"]
        download_cube("it", Cube(**{**one.model_dump(), "files": files}), False, tmp_path / "receipt.json")
        assert len(server.seen) == 1
        told = json.loads((tmp_path / "receipt.json").read_text())["files"]
        assert [row["path"] for row in told] == ["data/raw/it/x.zip"]


def test_terms_are_confirmed_once_and_again_when_they_change(tmp_path):
    with Server({"x.bin": DATA}) as server:
        url, command = server.url("x.bin"), f"{sys.executable} -m lkca fetch it --accept-terms"
        refused(tmp_path, url, confirm=True, told=(command, "CC BY 4.0", "https://far.example/page"))
        assert server.seen == []
        download_cube("it", cube(url, confirm=True), True, None)
        assert "CC BY 4.0" in (tmp_path / "data/raw/it/TERMS").read_text()
        (tmp_path / "data/raw/it/x.bin").unlink()
        fetched(tmp_path, url, confirm=True, left=("SHA256SUMS", "TERMS", "x.bin"))
        (tmp_path / "data/raw/it/x.bin").unlink()
        with pytest.raises(LkcaError, match="CC BY 5.0"):
            download_cube("it", cube(url, confirm=True, terms="CC BY 5.0"), False, None)


@pytest.mark.parametrize("answer, downloads", [("yes\n", 1), ("\n", 0), ("", 0), ("no\n", 0)])
def test_terms_are_asked_for_in_a_terminal(tmp_path, monkeypatch, capsys, answer, downloads):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    shown = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", shown)
    with Server({"x.bin": DATA}) as server:
        if downloads:
            download_cube("it", cube(server.url("x.bin"), confirm=True), False, None)
        else:
            refused(tmp_path, server.url("x.bin"), confirm=True, told="--accept-terms")
    assert len(server.seen) == downloads
    assert "CC BY 4.0" in shown.getvalue() and "A. Author" in shown.getvalue()


def test_a_first_hash_is_recorded_and_holds(tmp_path):
    folder = tmp_path / "data/raw/it"
    folder.mkdir(parents=True)
    line = f"{'0' * 64}  another.bin"
    (folder / "SHA256SUMS").write_text(line)  # without an end of line
    (folder / "x.bin").write_bytes(DATA)
    file = cube().files[0]
    assert verify_file(file, "the page") == verify_file(file, "the page") == SHA256
    assert (folder / "SHA256SUMS").read_text() == f"{line}\n{SHA256}  x.bin\n"
    (folder / "x.bin").write_bytes(OTHER)
    other = hashlib.sha256(OTHER).hexdigest()
    with pytest.raises(LkcaError, match=f"{other}, but {SHA256}.*delete its line in data/raw/it/SHA256SUMS.*the page"):
        verify_file(file, "the page")
    (folder / "x.bin").unlink()
    with Server({"x.bin": OTHER}) as server:
        refused(tmp_path, server.url("x.bin"), told=(other, SHA256))  # what was once recorded holds for downloads, too
    (folder / "x.bin").write_bytes(OTHER)
    (folder / "SHA256SUMS").write_text(f"{line}\n")
    assert verify_file(file, "the page") == other


def test_what_is_recorded_and_what_is_not(tmp_path):
    (tmp_path / "own.bin").write_bytes(DATA)
    own = {"path": "own.bin", "axes": "bands rows columns"}
    download_cube("it", Cube(**{**cube().model_dump(), "files": [own]}), False, None)
    assert not (tmp_path / "SHA256SUMS").exists()  # never beside other files of the user
    package = {"path": "tensorly:datasets/data/Indian_pines_corrected.npy", "axes": "rows columns bands"}
    download_cube("it", Cube(**{**cube().model_dump(), "files": [package]}), False, tmp_path / "receipt.json")
    (row,) = json.loads((tmp_path / "receipt.json").read_text())["files"]
    assert row["path"] == package["path"] and row["sha256"].startswith("8f038e4d81569e38")
    download_cube(
        "it", Cube(**{**cube().model_dump(), "files": [{**own, "sources": ["http://far.example/"]}]}), False, None
    )
    assert (tmp_path / "SHA256SUMS").read_text() == f"{SHA256}  own.bin\n"


def test_a_web_page_that_the_user_saved_is_not_recorded(tmp_path):
    folder = tmp_path / "data/raw/it"
    folder.mkdir(parents=True)
    (folder / "x.bin").write_text("\n<html>Access denied</html>")
    with pytest.raises(LkcaError, match="x.bin is a web page"):
        verify_file(cube().files[0], "the page")
    assert there(tmp_path) == {"x.bin"}


@pytest.mark.skipif(not os.path.exists("/proc/version"), reason="needs Linux")
def test_data_on_a_disk_that_cannot_be_written_are_used_unrecorded(capsys):
    file = cube("http://far.example/", path="/proc/version").files[0]
    assert len(verify_file(file, "the page")) == 64
    assert "/proc/SHA256SUMS cannot be written" in capsys.readouterr().out


def test_sums_that_cannot_be_read_are_one_sentence(tmp_path):
    (tmp_path / "data/raw/it/SHA256SUMS").mkdir(parents=True)
    (tmp_path / "data/raw/it/x.bin").write_bytes(DATA)
    with pytest.raises(LkcaError, match="SHA256SUMS cannot be read"):
        verify_file(cube().files[0], "the page")


def start(url):
    """Fetch x.bin in a process of its own."""
    code = "import sys; from lkca.data.catalog import Cube; from lkca.errors import LkcaError; from lkca.data.download import download_cube\n"
    code += "try: download_cube('it', Cube.model_validate_json(sys.argv[1]), False, None)\n"
    code += "except LkcaError as error: sys.exit(str(error))"
    words = [sys.executable, "-c", code, cube(url).model_dump_json()]
    where = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(words, env=where, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(size):
    part = module.Path("data/raw/it/.x.bin.part")
    end = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size >= size):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_download_leaves_its_part_and_the_next_call_asks_for_the_rest(tmp_path, how):
    with Server({"x.bin": DATA}, {"x.bin": ["stall 200000", "fine"]}) as server:
        process = start(server.url("x.bin"))
        wait_for(200_000)
        process.send_signal(how)
        process.communicate(timeout=30)
        assert there(tmp_path) == {".x.bin.part", ".x.bin.part.json"}
        fetched(tmp_path, server.url("x.bin"))
    assert server.ranges() == [None, "bytes=200000-"]


def test_a_second_process_keeps_away(tmp_path):
    with Server({"x.bin": DATA}, {"x.bin": ["stall 200000", "fine"]}) as server:
        process = start(server.url("x.bin"))
        try:
            wait_for(200_000)
            with pytest.raises(LkcaError, match=r"x\.bin is being fetched by another process.*\.$"):
                download_cube("it", cube(server.url("x.bin")), False, None)
            assert len(server.seen) == 1
        finally:
            process.kill()
            process.communicate(timeout=30)
        fetched(tmp_path, server.url("x.bin"))


def test_many_processes_at_once_end_with_one_right_file(tmp_path):
    with Server({"x.bin": DATA}) as server:
        processes = [start(server.url("x.bin")) for _ in range(4)]
        told = [process.communicate(timeout=60)[1] for process in processes]
        for process, text in zip(processes, told, strict=True):
            assert process.returncode == 0 or "is being fetched by another process" in text
        fetched(tmp_path, server.url("x.bin"))
