"""Downloads from a server that misbehaves: each ends with the right file, or with one sentence and no file."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import namedtuple
from contextlib import ExitStack
from pathlib import Path

import pytest

from lkca.data import transfer
from lkca.data.download import download_cube
from lkca.errors import LkcaError
from tests.conftest import REPOSITORY
from tests.downloads import (
    DATA,
    OTHER,
    SHA256,
    assert_downloads,
    assert_fails,
    fast_network,
    impatient,
    make_cube,
    names_in_folder,
)
from tests.server import DrippingServer, Server

__all__ = ["fast_network", "impatient"]


def test_complete_download_is_verified_and_recorded(tmp_path, capsys):
    with Server({"x.bin": DATA}) as server:
        download_cube("it", make_cube(server.url("x.bin")), False, tmp_path / "receipt.json")
        url = server.url("x.bin")
    stdout = capsys.readouterr().out
    for word in (url, "300.0 kB", "CC BY 4.0", "A. Author, 2020", "https://far.example/page", "(100 %)"):
        assert word in stdout
    row = {"path": "data/raw/it/x.bin", "sha256": SHA256, "bytes": 300_000}
    assert json.loads((tmp_path / "receipt.json").read_text()) == {"files": [row]}
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd="data/raw/it", check=True)
    assert server.requests[0][2]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("offset", [0, 1, 511, 512, 513, 9_999, 10_000, 150_000, 299_999])
def test_interrupted_download_resumes_at_its_offset(tmp_path, offset):
    with Server({"x.bin": DATA}, {"x.bin": [f"cut {offset}", "fine"]}) as server:
        assert_downloads(tmp_path, server.url("x.bin"))
    is_resumed = offset >= 512  # the first 512 bytes are checked before any are written
    assert server.ranges() == [None, f"bytes={offset}-" if is_resumed else None]
    if is_resumed:
        assert server.requests[1][2]["If-Range"].startswith('"')


def test_several_interruptions_request_no_byte_twice(tmp_path):
    with Server({"x.bin": DATA}, {"x.bin": ["cut 100000", "cut 50000", "cut 49999", "fine"]}) as server:
        assert_downloads(tmp_path, server.url("x.bin"))
    assert server.ranges() == [None, "bytes=100000-", "bytes=150000-", "bytes=199999-"]


def test_second_call_resumes_after_the_first_gave_up(tmp_path):
    with Server({"x.bin": DATA}, {"x.bin": ["cut 1000", "cut 1000", "cut 1000", "cut 1000", "fine"]}) as server:
        assert_fails(
            tmp_path,
            server.url("x.bin"),
            words=("after 4 attempts", "the next call resumes after 4.0 kB", "data/raw/it/x.bin"),
            part=4000,
        )
        assert_downloads(tmp_path, server.url("x.bin"))
    assert server.ranges()[-1] == "bytes=4000-"


@pytest.mark.parametrize("validators", ["etag", "date", "none"])
@pytest.mark.parametrize("known", [{}, {"sha256": SHA256}, {"bytes": 300_000}], ids=["unknown", "sha256", "bytes"])
@pytest.mark.parametrize("second", ["ignore range", "off by one", "416", "503", "404", "stall 10", "chunked"])
def test_failing_resume_still_ends_with_the_right_file(tmp_path, request, second, known, validators):
    if second == "stall 10":
        request.getfixturevalue("impatient")
    with Server({"x.bin": DATA}, {"x.bin": ["cut 100000", second, "fine"]}, validators) as server:
        if second == "404":
            assert_fails(tmp_path, server.url("x.bin"), words="HTTP 404 Not Found", part=100_000, **known)
        assert_downloads(tmp_path, server.url("x.bin"), **known)


@pytest.mark.parametrize("validators, second", [("etag", "fine"), ("date", "fine"), ("etag", "ignore if-range")])
def test_file_that_changed_on_the_server_is_downloaded_anew(tmp_path, validators, second):
    with Server({"x.bin": OTHER}, {"x.bin": ["cut 100000", "503", "503", "503", second, "fine"]}, validators) as server:
        assert_fails(tmp_path, server.url("x.bin"), words="503", part=100_000)
        server.files["x.bin"] = DATA
        assert_downloads(tmp_path, server.url("x.bin"))
    assert server.ranges()[4] == "bytes=100000-"
    strong = '"' if validators == "etag" else "Mon, "  # If-Range must not contain a weak ETag
    assert server.requests[4][2]["If-Range"].startswith(strong)


@pytest.mark.parametrize("known, requested", [({}, None), ({"sha256": SHA256}, "bytes=100000-")])
def test_resume_needs_a_validator_or_a_known_hash(tmp_path, known, requested):
    with Server({"x.bin": DATA}, {"x.bin": ["cut 100000", "fine"]}, validators="none") as server:
        assert_downloads(tmp_path, server.url("x.bin"), **known)
    assert server.ranges() == [None, requested]


def test_parts_of_two_files_are_detected_by_the_hash(tmp_path):
    with Server({"x.bin": OTHER}, {"x.bin": ["cut 100000", "503", "503", "503", "fine"]}, validators="none") as server:
        assert_fails(tmp_path, server.url("x.bin"), words="503", part=100_000, sha256=SHA256)
        server.files["x.bin"] = DATA
        assert_downloads(tmp_path, server.url("x.bin"), sha256=SHA256)
    assert server.ranges()[-2:] == ["bytes=100000-", None]


def test_resume_with_another_total_length_restarts(tmp_path):
    with Server({"x.bin": DATA}, {"x.bin": ["cut 100000", "other total", "fine"]}) as server:
        assert_downloads(tmp_path, server.url("x.bin"))
    assert server.ranges() == [None, "bytes=100000-", None]


def test_complete_partial_file_is_only_verified(tmp_path):
    with Server({"x.bin": DATA}) as server:
        folder = tmp_path / "data/raw/it"
        folder.mkdir(parents=True)
        (folder / ".x.bin.part").write_bytes(DATA)
        note = {"url": server.url("x.bin"), "validator": '"1"', "length": 300_000}
        (folder / ".x.bin.part.json").write_text(json.dumps(note))
        assert_downloads(tmp_path, server.url("x.bin"), sha256=SHA256)
    assert server.requests == []


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 1}', '{"url": 1, "validator": 2, "length": 3}'])
def test_partial_file_with_a_damaged_note_restarts(tmp_path, note):
    folder = tmp_path / "data/raw/it"
    folder.mkdir(parents=True)
    (folder / ".x.bin.part").write_bytes(OTHER + OTHER)
    (folder / ".x.bin.part.json").write_text(note)
    with Server({"x.bin": DATA}) as server:
        assert_downloads(tmp_path, server.url("x.bin"))
    assert server.ranges() == [None]


@pytest.mark.parametrize(
    "behaviour, words, attempts",
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
        ("to ftp://far.example/x.bin", "it redirects to ftp://far.example/x.bin, which is not an http or https URL", 1),
        ("to file:///etc/passwd", "it redirects to file:///etc/passwd, which is not an http or https URL", 1),
        ("to http://[::1", "its URL, that of a redirect or that of the proxy is not valid", 1),
        ("to http://127.0.0.1:99999/", "its URL, that of a redirect or that of the proxy is not valid", 1),
        ("to http://a..b/", "its URL, that of a redirect or that of the proxy is not valid", 1),
        ("silent", "it sent 0 bytes of the file in 0.5 s", 4),
        ("garbage", "after 4 attempts", 4),
        ("cut 0", "the connection broke", 4),
        ("cut 100", "after 4 attempts", 4),
    ],
)
def test_wrong_response_is_refused_and_leaves_no_file(tmp_path, request, behaviour, words, attempts):
    if behaviour == "silent":
        request.getfixturevalue("impatient")
    with Server({"x.bin": DATA}, {"x.bin": behaviour}) as server:
        url = server.url("x.bin")
        assert_fails(tmp_path, url, words=(words, f"download {url} in a browser and put it at data/raw/it/x.bin"))
    assert len(server.requests) == attempts


def test_web_page_keeps_the_partial_file(tmp_path):
    with Server({"x.bin": DATA}, {"x.bin": ["cut 100000", "page", "page as data", "fine"]}) as server:
        assert_fails(tmp_path, server.url("x.bin"), words="a web page", part=100_000)
        assert_fails(tmp_path, server.url("x.bin"), words="a web page", part=100_000)
        assert_downloads(tmp_path, server.url("x.bin"))
    assert server.ranges()[-1] == "bytes=100000-"


@pytest.mark.parametrize("behaviour", ["500", "503", "silent", "garbage", "stall 0", "stall 100000", "drip 100000"])
def test_server_that_recovers_is_retried(tmp_path, impatient, behaviour):
    with Server({"x.bin": DATA}, {"x.bin": [behaviour, "fine"]}) as server:
        assert_downloads(tmp_path, server.url("x.bin"))


@pytest.mark.parametrize("behaviour", ["drip 600", "stall 600"])
def test_slow_server_is_left(tmp_path, monkeypatch, behaviour):
    monkeypatch.setattr(transfer, "PAUSES", ())
    monkeypatch.setattr(transfer, "SPEED_WINDOW", 2)
    with Server({"x.bin": DATA}, {"x.bin": behaviour}) as server, pytest.raises(LkcaError) as caught:
        download_cube("it", make_cube(server.url("x.bin")), False, None)
    received = re.search(r"it sent (\d+) bytes of the file in 2 s, less than 1000 a second", str(caught.value))
    assert 600 < int(received[1]) < 1000 if behaviour == "drip 600" else received[1] == "600"


START = b"HTTP/1.1 200 OK\r\n"
BINARY = DATA[:600]
ENDLESS = {  # the first bytes of a response, and what follows for ever
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "headers of an interim response": (b"HTTP/1.1 100 Continue\r\n", b"A: b\r\n"),
    "a status line": (b"HTTP/1.1 200 O", b"K"),
    "a header": (START + b"X-A: ", b"a"),
    "headers": (START, b"X-A: b\r\n"),
    "headers of a redirect": (b"HTTP/1.1 302 Found\r\nLocation: /y\r\nX-A: ", b"a"),
    "headers of an error": (b"HTTP/1.1 404 Not Found\r\nX-A: ", b"a"),
    "a chunk extension": (START + b"Transfer-Encoding: chunked\r\n\r\n5;a=", b"b"),
    "chunks of a byte": (START + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n\0\r\n"),
    "a trailer": (START + b"Transfer-Encoding: chunked\r\n\r\n258\r\n%b\r\n0\r\n" % BINARY, b"A: b\r\n"),
    "a body of one-byte reads": (START + b"\r\n" + BINARY, b"\0"),
}


@pytest.mark.parametrize("start, piece", ENDLESS.values(), ids=ENDLESS)
def test_response_that_never_ends_is_left(tmp_path, impatient, monkeypatch, start, piece):
    monkeypatch.setattr(transfer, "PAUSES", (0,))
    began = time.monotonic()
    with DrippingServer(start, piece) as server:
        part = 600 if BINARY in start else None
        with pytest.raises(LkcaError, match=r"it sent \d+ bytes of the file in 0\.5 s.* after 2 attempts.*\.$"):
            download_cube("it", make_cube(server.url()), False, None)
    assert time.monotonic() - began < 5
    path = tmp_path / "data/raw/it/.x.bin.part"
    assert path.stat().st_size >= 600 if part else not path.exists()


@pytest.mark.parametrize("piece", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n"])
def test_flood_before_the_body_needs_neither_time_nor_memory(tmp_path, impatient, monkeypatch, piece):
    monkeypatch.setattr(transfer, "PAUSES", ())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    with DrippingServer(b"", piece * 10_000, pause=0) as server:
        assert_fails(tmp_path, server.url(), words="it sent 0 bytes of the file")
    assert time.monotonic() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < memory + 50_000  # kilobytes


def test_tls_handshake_that_never_ends_is_left(tmp_path, impatient, monkeypatch):
    monkeypatch.setattr(transfer, "PAUSES", ())
    monkeypatch.setattr(transfer, "CONNECT_TIMEOUT", 100)
    with DrippingServer(b"\x16\x03\x03\x40\x00", b"\x02") as server:
        assert_fails(tmp_path, server.url("https"), words="it sent 0 bytes of the file")


@pytest.mark.parametrize("start, piece", [(b"HTTP/1.0 200 ", b"O"), (START, b"X-A: b\r\n")])
def test_proxy_that_never_answers_is_left(tmp_path, impatient, monkeypatch, start, piece):
    monkeypatch.setattr(transfer, "PAUSES", ())
    with DrippingServer(start, piece) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url().replace("//", "//me:secret@"))
        assert_fails(tmp_path, "https://far.example/x.bin", words="it sent 0 bytes of the file")


def test_slow_redirects_are_left(tmp_path, impatient, monkeypatch):
    monkeypatch.setattr(transfer, "PAUSES", ())
    with Server({"x.bin": DATA}, {"x.bin": "loop 100"}) as server:
        assert_fails(tmp_path, server.url("x.bin"), words="it sent 0 bytes of the file")
    assert len(server.requests) < 11


def test_host_with_many_dead_addresses_is_left(tmp_path, impatient, monkeypatch):
    """No address of the host answers; each alone would be given up after the timeout for connections."""
    monkeypatch.setattr(transfer, "PAUSES", ())
    monkeypatch.setattr(transfer, "CONNECT_TIMEOUT", 0.1)
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # further connections wait
            stack.enter_context(socket.socket()).setblocking(False)
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", full.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: [address] * 50)
        began = time.monotonic()
        assert_fails(tmp_path, "http://far.example/x.bin", words="it sent 0 bytes of the file")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "behaviour, facts, words",
    [
        ("other", {"sha256": SHA256}, f"but the published one is {SHA256}"),
        ("shorter", {"sha256": SHA256}, f"but the published one is {SHA256}"),
        ("shorter", {"bytes": 300_000}, "299990 bytes instead of 300000"),
        ("longer", {"bytes": 300_000}, "300010 bytes instead of 300000"),
        ("fine", {"bytes": 299_999}, "300000 bytes instead of 299999"),
        ("endless", {"bytes": 300_000}, "more than 300000 bytes"),
        ("chunked", {"bytes": 299_999}, "more than 299999 bytes"),
        ("fine", {"name": "x.zip"}, "is not a .zip file"),
        ("fine", {"name": "x.MAT"}, "is not a .MAT file"),
    ],
)
def test_wrong_content_is_refused_and_deleted(tmp_path, behaviour, facts, words):
    name = facts.get("name", "x.bin")
    with Server({name: DATA}, {name: behaviour}) as server:
        assert_fails(tmp_path, server.url(name), words=words, **facts)


def test_server_that_sends_less_than_announced_is_refused(tmp_path):
    with Server({"x.bin": DATA}, {"x.bin": "longer"}) as server:
        assert_fails(tmp_path, server.url("x.bin"), words="HTTP 416")


@pytest.mark.parametrize("behaviour", ["chunked", "no length"])
def test_short_file_is_refused_without_an_announced_length(tmp_path, monkeypatch, behaviour):
    monkeypatch.setattr(transfer, "PAUSES", ())
    with Server({"x.bin": DATA}, {"x.bin": behaviour}) as server:
        assert_fails(
            tmp_path, server.url("x.bin"), words="stopped after 300000 of 300001 bytes", part=300_000, bytes=300_001
        )


def test_chunked_download_resumes(tmp_path):
    with Server({"x.bin": DATA}, {"x.bin": ["chunked cut 1000", "chunked cut 1000", "fine"]}) as server:
        assert_downloads(tmp_path, server.url("x.bin"))
    assert server.ranges() == [None, "bytes=1000-", "bytes=2000-"]


def test_file_of_unknown_length_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "MAX_BYTES", 1_000_000)
    with Server({"x.bin": DATA}, {"x.bin": "endless"}) as server:
        assert_fails(tmp_path, server.url("x.bin"), words="more than 1000000 bytes")


@pytest.mark.parametrize("validators", ["etag", "date", "none"])
@pytest.mark.parametrize("behaviour", ["chunked", "no length"])
def test_file_of_unknown_length_is_downloaded(tmp_path, behaviour, validators):
    with Server({"x.bin": DATA}, {"x.bin": behaviour}, validators) as server:
        assert_downloads(tmp_path, server.url("x.bin"))


@pytest.mark.parametrize("start", ["MATLAB 5.0 MAT-file", "MATLAB 7.3 MAT-file", "\x89HDF\r\n\x1a\n"])
def test_matlab_files_are_recognised_by_their_first_bytes(tmp_path, start):
    content = start.encode("latin-1") + DATA
    with Server({"x.mat": content}) as server:
        assert_downloads(tmp_path, server.url("x.mat"), content=content, name="x.mat")


def test_redirects_are_followed(tmp_path):
    with Server({"there.bin": DATA}, {"x.bin": "to /there.bin"}) as server:
        assert_downloads(tmp_path, server.url("x.bin"))


@pytest.mark.parametrize("known", [{}, {"sha256": SHA256}])
def test_redirect_from_https_to_http_needs_a_known_hash(tmp_path, monkeypatch, known):
    class Session(transfer._Session):
        """A session that connects to the server for far.example."""

        def get(self, url, **options):
            return super().get(url.replace("https://far.example/", server.url()), **options)

    monkeypatch.setattr(transfer, "_Session", Session)
    with Server({"x.bin": DATA}) as server:
        server.behaviours["start"] = f"to {server.url('x.bin')}"
        if known:
            assert_downloads(tmp_path, "https://far.example/start", **known)
        else:
            assert_fails(tmp_path, "https://far.example/start", words="redirects from https to http://127.0.0.1")


def test_unreachable_server_is_reported_in_one_sentence(tmp_path, monkeypatch):
    def unknown(*address, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with Server({}) as server:
        closed = server.url("x.bin")
    assert_fails(tmp_path, closed, words="Connection refused")
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unknown)
        assert_fails(tmp_path, "http://far.example/x.bin", words="http://far.example/x.bin: Name or service not known")
    assert_fails(tmp_path, "gopher://far.example/x.bin", words="not an http or https URL")
    assert_fails(tmp_path, "http:///x.bin", words="http:///x.bin")


def test_proxy_is_used(tmp_path, monkeypatch):
    with Server({"x.bin": DATA}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url())
        monkeypatch.setenv("http_proxy", proxy.url())
        assert_downloads(tmp_path, "http://far.example/x.bin")
    assert [target for _, target, _ in proxy.requests] == ["http://far.example/x.bin"]


def test_full_disk_is_detected_before_the_download(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**6, 10**6 - 299_999, 299_999)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with Server({"x.bin": DATA}) as server:
        assert_fails(tmp_path, server.url("x.bin"), words=("needs 300.0 kB", "has 300.0 kB free", "free disk space"))


def test_failed_write_keeps_the_bytes_before(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Server({"x.bin": DATA}) as server:
        resource.setrlimit(resource.RLIMIT_FSIZE, (123_456, limits[1]))
        try:
            assert_fails(tmp_path, server.url("x.bin"), words=("File too large", "free disk space"), part=123_456)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert_downloads(tmp_path, server.url("x.bin"))
    assert server.ranges() == [None, "bytes=123456-"]


def test_data_are_on_the_disk_before_the_rename(tmp_path, monkeypatch):
    calls, replace = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append(os.fstat(descriptor).st_size))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append(Path(paths[1]).name), replace(*paths)))
    with Server({"x.bin": DATA}) as server:
        assert_downloads(tmp_path, server.url("x.bin"))
    assert calls[:2] == [len(DATA), "x.bin"]


def start_download(url, limits=""):
    """Start a process that downloads x.bin; `limits` is code that changes constants of the module `transfer`."""
    code = "import sys; from lkca.data.catalog import Cube; from lkca.errors import LkcaError\n"
    code += f"from lkca.data import transfer\nfrom lkca.data.download import download_cube\n{limits}\n"
    code += "try: download_cube('it', Cube.model_validate_json(sys.argv[1]), False, None)\n"
    code += "except LkcaError as error: sys.exit(str(error))"
    command = [sys.executable, "-c", code, make_cube(url).model_dump_json()]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for_size(size):
    """Wait until the partial file has `size` bytes."""
    part = Path("data/raw/it/.x.bin.part")
    end = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size >= size):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_download_is_resumed(tmp_path, kill):
    with Server({"x.bin": DATA}, {"x.bin": ["stall 200000", "fine"]}) as server:
        process = start_download(server.url("x.bin"))
        wait_for_size(200_000)
        process.send_signal(kill)
        process.communicate(timeout=30)
        assert names_in_folder(tmp_path) == {".x.bin.part", ".x.bin.part.json"}
        assert_downloads(tmp_path, server.url("x.bin"))
    assert server.ranges() == [None, "bytes=200000-"]


@pytest.mark.slow
def test_stopped_download_goes_on(tmp_path):
    """Stopped for longer than the window, as on a computer that sleeps: the attempt may end; the next one resumes."""
    limits = "transfer.SPEED_WINDOW, transfer.MIN_SPEED, transfer.PAUSES = 1, 10, (0, 0, 0)"
    with Server({"x.bin": DATA}, {"x.bin": ["drip 200000", "fine"]}) as server:
        process = start_download(server.url("x.bin"), limits)
        wait_for_size(200_050)
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=30)[1] == "" and process.returncode == 0
    assert (tmp_path / "data/raw/it/x.bin").read_bytes() == DATA
    assert len(server.requests) == 2 and int(server.ranges()[1].strip("bytes=-")) >= 200_050


@pytest.mark.slow
def test_second_download_of_a_file_is_refused(tmp_path):
    with Server({"x.bin": DATA}, {"x.bin": ["stall 200000", "fine"]}) as server:
        process = start_download(server.url("x.bin"))
        try:
            wait_for_size(200_000)
            with pytest.raises(LkcaError, match=r"x\.bin is being downloaded by another process.*\.$"):
                download_cube("it", make_cube(server.url("x.bin")), False, None)
            assert len(server.requests) == 1
        finally:
            process.kill()
            process.communicate(timeout=30)
        assert_downloads(tmp_path, server.url("x.bin"))


@pytest.mark.slow
def test_many_processes_end_with_one_right_file(tmp_path):
    with Server({"x.bin": DATA}) as server:
        processes = [start_download(server.url("x.bin")) for _ in range(4)]
        errors = [process.communicate(timeout=60)[1] for process in processes]
        for process, stderr in zip(processes, errors, strict=True):
            assert process.returncode == 0 or "is being downloaded by another process" in stderr
        assert_downloads(tmp_path, server.url("x.bin"))
