"""No part of a URL's user, password, query or fragment reaches a message, a log or a file."""

import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lkca.cli import main
from lkca.config.load import read_config, read_snapshot
from lkca.data.catalog import File
from lkca.data.download import download_cube
from lkca.data.partial_file import Origin, PartialFile
from lkca.data.transfer import SourceFailed, transfer
from lkca.data.urls import NOT_SHOWN, hide_secrets, is_public, is_url, public_url
from lkca.errors import ConfigError, LkcaError
from lkca.pipeline.rules import write_snapshot
from tests.conftest import REPOSITORY
from tests.downloads import DATA, SHA256, assert_downloads, fast_network, impatient, make_cube
from tests.server import Server

__all__ = ["fast_network", "impatient"]


@pytest.mark.parametrize(
    "url, shown",
    [
        ("https://host/a/b.zip", "https://host/a/b.zip"),
        ("HTTPS://Host:8443/a", "HTTPS://Host:8443/a"),
        ("http://user@host/a", "http://host/a"),
        ("http://:password@host/a", "http://host/a"),
        ("http://user:SE@CRET@host", "http://host"),
        ("http://user:a@b@c@host:80/a", "http://host:80/a"),
        ("http://us%40er:p%2Fw@host/a", "http://host/a"),
        ("http://user:pass word@host/a", "http://host/a"),
        (" http://user:password@host/a", "http://host/a"),
        ("http://user:password@[::1]:80/a?b", "http://[::1]:80/a"),
        ("http://user:password@bücher.example/ü.zip", "http://bücher.example/ü.zip"),
        ("https://host/a.zip?token=1&sig=2", "https://host/a.zip"),
        ("https://host/a.zip#token", "https://host/a.zip"),
        ("https://host/a.zip;session=1?b#c", "https://host/a.zip"),
        ("https://host/a.zip%3Ftoken=1", "https://host/a.zip"),
        ("https://host/a.zip%253ftoken=1", "https://host/a.zip"),
        ("https://host?token", "https://host"),
        ("ftp://user:password@host/a", "ftp://host/a"),
        ("file:///a", "file:///a"),
        *(
            (url, NOT_SHOWN)
            for url in (
                "",
                "user:password@host/a",
                "//user:password@host/a",
                "host/a?token=1",
                "http:/user:password@host/a",
                "http:user:password@host/a",
                "http:\\\\user:password@host\\a",
                "http:///user:password@host/a",
                "http://user:pass\\word@host/a",
                "http://user:pass/word@host/a",
                "http://user:12/34@host/a",
                "http://user:12?34@host/a",
                "http://user:12#34@host/a",
                "http://user:password",
                "http://user%3Apassword%40host/a",
                "http://proxy/http://user:password@host/a",
                "http://proxy/http%3A%2F%2Fuser%3Apassword%40host",
                "http://proxy/http%253A%252F%252Fuser%253Apassword%2540host",
                "http://[::1",
                "http://[user:password]@[host/a",
                "http://host/\x1b]0;title\x07",
                "http://host/\u202ea",
                "http://host/" + "a" * 10_000,
            )
        ),
    ],
)
def test_public_part_of_a_url(url, shown):
    assert public_url(url) == shown
    assert is_public(url) == (url == shown)


MARK = "SECRET"
NASTY = st.text(alphabet="aZ09@:/?#[]\\%40;&=+$!'\" .-_~\t\n\x1bü", max_size=8)
HIDDEN = st.tuples(NASTY, NASTY).map(MARK.join)


@given(HIDDEN, HIDDEN, HIDDEN, HIDDEN, st.sampled_from(["http://", "HTTPS://", "http:/", "http:\\\\", "//", ""]))
def test_no_text_with_a_password_or_a_token_shows_them(user, password, query, fragment, scheme):
    for url in (
        f"{scheme}{user}:{password}@host/a",
        f"{scheme}{user}@host/a?{query}",
        f"{scheme}host:80/a?{query}#{fragment}",
        f"{scheme}:{password}@[::1]/a#{fragment}",
    ):
        assert MARK not in public_url(url)
    url = f"{scheme}{user}:{password}@host/a"
    assert MARK not in hide_secrets(f"scenes.x: {url!r} is wrong: set it.") or not is_url(url)


@pytest.mark.parametrize("text", ["ab:/" * 50_000, "a" * 200_000, "http://" + "a@" * 50_000, "http:// " * 20_000])
def test_long_texts_need_no_long_time(text):
    began = time.process_time()
    public_url(text), hide_secrets(text), is_url(text)
    assert time.process_time() - began < 3


def texts_below(folder: Path) -> str:
    """Return the content of all files of a folder."""
    return "".join(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def reveals(tmp_path, capfd, caplog):
    """A function that downloads and returns everything that is printed, logged, raised or stored."""

    def download(*sources: str, **facts: str) -> str:
        message = ""
        try:
            download_cube("it", make_cube(*sources, **facts), False, tmp_path / "receipt.json")
        except LkcaError as error:
            message = str(error)
            assert message.endswith(".") and "\n" not in message
        return message + "".join(capfd.readouterr()) + caplog.text + texts_below(tmp_path)

    return download


MIRRORS = [
    "http://me:SE@CRET@{host}/own",
    "http://SECRET:@{host}/own/",
    "http://me:%53ECRET%40@{host}/own",
    "http://me:SE CRET@{host}/own",
    "http://me:1/SECRET@{host}/own",
    "http://me:SECRET?1@{host}/own",
    "http://me:SECRET#1@{host}/own",
    "http://me:SECRET\\@{host}/own",
    "http:/me:SECRET@{host}/own",
    "http:\\\\me:SECRET@{host}\\own",
    "me:SECRET@{host}/own",
    "//me:SECRET@{host}/own",
    "ftp://me:SECRET@{host}/own",
    "http://me:SECRET@{host}:x/own",
    "http://me:SECRET@[::1/own",
    "http://me:SECRET@a..b/own",
    "http://me:SECRET@ⓗost\uff0f/own",
    "http://{host}/own?token=SECRET",
    "http://{host}/own#SECRET",
    "http://{host}/own;SECRET",
]


@pytest.mark.parametrize("mirror", MIRRORS)
@pytest.mark.parametrize("behaviour", ["fine", "404", "page", "cut 600"])
def test_mirror_reveals_no_secret(tmp_path, monkeypatch, reveals, mirror, behaviour):
    monkeypatch.setattr(socket, "getaddrinfo", local_only(socket.getaddrinfo))
    with Server({"own/x.bin": DATA, "x.bin": DATA}, {"own/x.bin": behaviour, "x.bin": "404"}) as server:
        monkeypatch.setenv("LKCA_MIRROR", mirror.format(host=f"127.0.0.1:{server.http.server_port}"))
        revealed = reveals(server.url("x.bin"))
    assert not re.search("SECRET|SE@?C|CRET", revealed)
    if mirror == MIRRORS[0]:
        assert server.requests[0][2]["Authorization"] == "Basic bWU6U0VAQ1JFVA=="  # me:SE@CRET
    if "token" in mirror:
        assert server.requests[0][1] == "/own/x.bin?token=SECRET"


def local_only(getaddrinfo):
    """Return a function that finds no host but this machine."""

    def find(host, *args, **options):
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return getaddrinfo(host, *args, **options)

    return find


@pytest.mark.parametrize(
    "behaviour", ["503", "silent", "garbage", "cut 0", "cut 600", "to ftp://a/?SECRET", "part", "other"]
)
@pytest.mark.parametrize("secret", ["?token=SECRET", "#SECRET", "?a=1;SECRET"])
def test_source_reveals_no_secret(monkeypatch, impatient, reveals, behaviour, secret):
    with Server({"x.bin": DATA}, {"x.bin": behaviour}) as server:
        assert "SECRET" not in reveals(f"{server.url('x.bin')}{secret}", sha256=SHA256)


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:1/?token=SECRET",
        "http://me:SECRET@127.0.0.1:1/x.bin",
        "https://me:SECRET@a..b/x.bin",
        "http://me:SECRET@[::1/",
        "http://127.0.0.1:SECRET/",
        "ftp://me:SECRET@far.example/x.bin#SECRET",
        "SECRET:x",
        "\\\\me:SECRET@host\\x",
        "?SECRET",
        "/404?token=SECRET#SECRET",
        "//127.0.0.1:1/x?SECRET",
        "http:///SECRET@x",
    ],
)
def test_redirect_reveals_no_secret(reveals, target):
    with Server({"x.bin": DATA}, {"x.bin": f"to {target}"}) as server:
        assert "SECRET" not in reveals(server.url("x.bin"))


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "proxy",
    [
        "http://me:SECRET@127.0.0.1:1",
        "http://me:SE CRET SECRET@127.0.0.1:1",
        "http://me:SECRET/@127.0.0.1:1",
        "me:SECRET@127.0.0.1:1",
        "socks5://me:SECRET@127.0.0.1:1",
        "gopher://me:SECRET@127.0.0.1:1",
        "http://me:SECRET@[::1",
        "http://me:SECRET@127.0.0.1:port",
        "http://me:SECRET@",
    ],
)
def test_broken_proxy_reveals_no_secret(monkeypatch, reveals, scheme, proxy):
    monkeypatch.setattr(socket, "getaddrinfo", local_only(socket.getaddrinfo))
    monkeypatch.setenv(f"{scheme}_proxy", proxy)
    revealed = reveals(f"{scheme}://far.example/x.bin?token=SECRET")
    assert "SECRET" not in revealed and "http" in revealed


def test_proxy_that_refuses_reveals_no_secret(monkeypatch, reveals):
    with Raw(b"HTTP/1.1 407 SECRET \x1b[2J\r\nX: SECRET\r\n\r\n") as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//me:SECRET@"))
        revealed = reveals("https://far.example/x.bin?SECRET")
    assert "SECRET" not in revealed and "\x1b[2J" not in revealed
    assert "the proxy answered HTTP 407 Proxy Authentication Required" in revealed


class Raw:
    """A context manager: a server that answers each connection with the same bytes."""

    def __init__(self, answer: bytes, context: ssl.SSLContext | None = None) -> None:
        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                self.request.recv(65536)
                self.request.sendall(answer)

        self.server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.server.handle_error = lambda *args: None
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.server.server_address[1]}/x.bin"

    def __enter__(self):
        Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()


BODY = DATA[:600]
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 \x1b[2JSECRET\r\n\r\n",
        b"SECRET\x1b[2J\r\n\r\n",
        b"HTTP/9 SECRET\r\n\r\n",
        OK + b"Content-Type: text/html; SECRET\x1b[2J\r\n\r\n" + BODY,
        OK + b"Content-Encoding: SECRET\r\n\r\n" + BODY,
        OK + b"Content-Length: SECRET\r\nContent-Length: 1\r\n\r\n" + BODY,
        OK + b"Content-Length: 1, 2SECRET\r\n\r\n" + BODY,
        OK + b"SECRET\x1b[2J\r\nA: b\r\n\r\n" + BODY,  # a malformed header, about which urllib3 logs the URL
        OK + b'ETag: "SECRET\x1b[2J"\r\nContent-Length: 700\r\n\r\n' + BODY,
        OK + b"Transfer-Encoding: chunked\r\n\r\nSECRET\r\n" + BODY,
        OK + b"Set-Cookie: SECRET\r\nContent-Length: 700\r\n\r\n" + BODY,
        b"HTTP/1.1 206 OK\r\nContent-Range: SECRET\r\n\r\n" + BODY,
        b"HTTP/1.1 302 OK\r\nLocation: http://\x1b[2JSECRET@[\r\n\r\n",
        b"HTTP/1.1 302 OK\r\nLocation: http://h\xc3\xb6st\xe2\x84\x80:SECRET\r\n\r\n",
    ],
)
def test_texts_of_servers_are_not_shown(reveals, answer):
    with Raw(answer) as server:
        revealed = reveals(f"{server.url}?token=SECRET")
    assert "SECRET" not in revealed and "\x1b[2J" not in revealed


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_wrong_certificate_reveals_no_secret(tmp_path, monkeypatch, reveals):
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", "key.pem", "-nodes"]
    command = ["openssl", "req", "-x509", *key, "-out", "cert.pem", "-days", "2", "-subj", "/CN=far.example"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("cert.pem", "key.pem")
    with Raw(b"", context) as server:
        url = server.url.replace("//", "//me:SECRET@") + "?SECRET"
        revealed = reveals(url)
        assert "its certificate is not valid (self" in revealed and "SECRET" not in revealed
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "cert.pem")
        revealed = reveals(url)
        assert "its certificate is not valid (IP address mismatch)" in revealed and "SECRET" not in revealed
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "missing.pem")
        assert "cannot use the certificates that REQUESTS_CA_BUNDLE names" in reveals(url)


@pytest.mark.parametrize("known", [{}, {"sha256": SHA256}])
def test_partial_file_of_a_url_with_a_secret(tmp_path, monkeypatch, known):
    """The same call resumes; a later one only if the SHA-256 is known, also with another token."""
    behaviour = ["cut 1000"] * 4 + ["fine"]
    with Server({"x.bin": DATA}, {"x.bin": behaviour}) as server:
        with pytest.raises(LkcaError) as caught:
            download_cube("it", make_cube(f"{server.url('x.bin')}?token=SECRET", **known), False, None)
        assert ("the next call resumes after 4.0 kB" in str(caught.value)) == bool(known)
        assert "SECRET" not in texts_below(tmp_path)
        assert_downloads(tmp_path, f"{server.url('x.bin')}?token=OTHER", **known)
    assert server.ranges() == [None, "bytes=1000-", "bytes=2000-", "bytes=3000-", "bytes=4000-" if known else None]


def test_files_that_differ_in_the_query_are_not_mixed(tmp_path):
    """Both have the same path, length and date, as the files of a service that names them in the query."""
    other = bytes(255 - byte for byte in DATA)
    note = {"validator": "Mon, 01 Jan 2024 00:00:00 GMT", "length": len(DATA)}
    with PartialFile(tmp_path / "data/raw/it/x.bin").open() as part:
        part.restart(Origin(url="http://127.0.0.1/get?id=1", **note))
        part.append(other[:1000])
        assert part.read_origin("http://127.0.0.1/get?id=1")
        assert part.read_origin("http://127.0.0.1/get?id=2") is None
    with PartialFile(tmp_path / "data/raw/it/x.bin").open() as part:
        assert part.read_origin("http://127.0.0.1/get?id=2").validator is None


OVERLAY = """
experiment: own_scene
report: {{tables: [MINE], figures: []}}
scenes:
  my_scene:
    cube:
      files:
        - path: data/raw/it/x.bin
          axes: bands rows columns
          sources: ["{url}?token=SECRET1", "https://me:SECRET2@far.example/x.bin", "https://far.example/y.bin"]
        - path: data/raw/it/y.bin
          axes: bands rows columns
          sources: ["{url}?token=SECRET3"]
      bands: 1-4
      sensor: none
      gsd_m: 1
      nanometres: [400, 500]
      source: https://far.example/page?shown
      citation: A. Author
      terms: none
    test: {{rows: 64, columns: 128, tile: 64}}
patches:
  x4: {{size: 24, stride: 12}}
tables:
  MINE: {{title: t, header: h, scene: my_scene, scales: [4], rows: {{B: bicubic}}}}
"""


@pytest.fixture
def overlay(tmp_path):
    """config.yaml and an overlay with tokens in the URLs of a scene."""
    shutil.copy(REPOSITORY / "config.yaml", tmp_path)
    path = tmp_path / "own.yaml"
    path.write_text(OVERLAY.format(url="http://127.0.0.1:1/x.bin"))
    return path


def test_snapshot_has_no_secret_and_its_jobs_have_all(tmp_path, monkeypatch, overlay):
    experiment = read_config([Path("config.yaml"), overlay])
    monkeypatch.setattr("os.environ", environment := {"PATH": "x"})
    path = write_snapshot(experiment)
    text = path.read_text()
    assert "SECRET" not in text and "far.example/y.bin" in text
    assert read_snapshot(path) == experiment
    sources = experiment.scenes["my_scene"].cube.files[0].sources
    assert "SECRET" not in json.dumps(
        [file.model_dump(mode="json") for file in experiment.scenes["my_scene"].cube.files]
    )
    environment.clear()
    assert "SECRET" not in repr(read_snapshot(path)) and len(sources) == 3
    overlay.write_text(overlay.read_text().replace("SECRET", "OTHER"))
    assert write_snapshot(read_config([Path("config.yaml"), overlay])) == path  # no digest depends on a secret


@pytest.mark.parametrize("command", [["fetch", "my_scene"], ["verify", "my_scene"], ["plan"]])
def test_commands_reveal_no_secret(tmp_path, capfd, overlay, command):
    main([*command, "--config", str(overlay)])
    printed = "".join(capfd.readouterr())
    overlay.unlink()
    assert "SECRET" not in printed + texts_below(tmp_path)
    assert "fetch" not in command or ("127.0.0.1:1/x.bin" in printed and "the first of its sources" in printed)


@pytest.mark.parametrize(
    "old, new",
    [
        ("sources: [", "sources: 'http://me:SE\"CRET@h/x SECRET' #"),
        ("sources: [", "sources: me:SECRET@host #"),
        ("sources: [", "sources: {https://me:SECRET@h/x: 1} #"),
        ("sources: [", "sources: [[https://me:SECRET@h/x]] #"),
        ("sources: [", "sources: [!!int https://me:SECRET@h/x] #"),
        ("sources: [", "sources: [https://me:SECRET@h/" + "x" * 5000 + "] #"),
        ("sources: [", "sha256: https://me:SECRET@h/x #"),
        ("sources: [", "bytes: https://me:SECRET@h/x #"),
        ("path: data/raw/it/x.bin", "path: https://me:SECRET@h/x"),
        ("path: data/raw/it/x.bin", 'path: "https:/me:SE \'CRET@h/SECRET@x"'),
        ("path: data/raw/it/x.bin", "path: https:\\\\me:SECRET@h/x"),
        ("path: data/raw/it/x.bin", "path: https://h/x?token=SECRET"),
        ("path: data/raw/it/x.bin", "path: a\n          mask: https://me:SECRET@h/x"),
        ("    cube:\n", "    cube: https://me:SECRET@h/x\n    other:\n"),
        ("scene: my_scene", "scene: https://me:SECRET@h/x"),
        ("report: {", "https://me:SECRET@h/x: {"),
        ("sensor: none", "https://me:SECRET@h/x: 1\n      https://me:SECRET@h/x: 2"),
    ],
)
def test_messages_about_settings_reveal_no_secret(overlay, old, new):
    text = overlay.read_text()
    assert old in text
    overlay.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        read_config([Path("config.yaml"), overlay])
    assert not re.search("SECRET|CRET@", str(caught.value))


@pytest.mark.parametrize("path", ["https://me:SECRET@h/x", "http:/h/x?SECRET", " s3://SECRET@x", "http:\\\\SECRET@h"])
@pytest.mark.parametrize("command", [["verify", "chikusei"], ["score-tables"], ["check"], ["plan", "--config"]])
def test_url_instead_of_a_path_is_refused_and_not_shown(capsys, command, path):
    with pytest.raises(SystemExit) as caught:
        main([*command, path])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert "it is a URL: download the file and give its path" in message and "SECRET" not in message


CHARACTERS = st.sampled_from("ab1@:/?#[]\\%.;&=+ -_~\t\n\x00ü℀。")
ANY_URL = st.tuples(st.sampled_from(["http://", "https://", "http:/", "", "ftp://"]), st.text(CHARACTERS, max_size=30))


@given(ANY_URL.map("".join))
def test_no_url_raises_anything_else(url):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lkca.data.transfer.PAUSES", ())
        patch.setattr(socket, "getaddrinfo", local_only(None))
        path = Path("x.bin")
        with PartialFile(path).open() as part, pytest.raises(SourceFailed) as caught:
            transfer(url, File(path="x.bin"), part)
    assert str(caught.value).isprintable()


def test_import_of_the_command_line_stays_cheap():
    code = "import sys, lkca.cli; assert not {'requests', 'pydantic', 'numpy'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
