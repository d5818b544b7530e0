"""A local web server that can misbehave, for tests of downloads."""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, BinaryIO, Self
from urllib.parse import urlsplit

PATIENCE = 10  # seconds after the first request, in which a server may misbehave: a client without a limit ends, too
PAGE = b"<!DOCTYPE html>\n<html><body>Access denied</body></html>\n"


class Server:
    """A context manager that serves files at http://127.0.0.1:PORT/NAME, whole or by ranges; it is also a proxy.

    Args:
        files: Name -> content: bytes, or the path of a file, which is streamed.
        behaviours: Name -> behaviour (see below), or a list of behaviours for the first, second, ... request; the last
            one is that of all further requests.
        validators: Headers that identify the version of a file: `etag` (ETag and Last-Modified), `date` (weak ETag and
            Last-Modified), or `none`.

    Attributes:
        requests: Method, target and headers of each request so far.

    Behaviours:
        - `fine`;
        - connection: `cut N` and `stall N` (after N bytes of the response), `chunked cut N`, `drip N` (N bytes, then
          one byte at a time), `silent` (no response), `garbage` (not HTTP);
        - ranges: `ignore range`, `ignore if-range`, `off by one` (the first byte is missing), `other total` (in
          Content-Range), `part` (206 to a request for the whole file), `416`;
        - length: `longer` and `shorter` (wrong Content-Length), `chunked`, `no length`, `endless`;
        - content: `other` (wrong bytes), `empty`, `gzip` (in Content-Encoding only), `page` (HTML), `page as data` and
          `json as data` (a page or JSON as application/octet-stream), `data as page` (the file as text/html);
        - a status such as `503`;
        - redirects: `to URL`, `loop N` (to itself, after N ms), `redirect endless` (to itself, with an endless body).
    """

    def __init__(
        self,
        files: dict[str, bytes | Path],
        behaviours: dict[str, str | list[str]] | None = None,
        validators: str = "etag",
    ) -> None:
        self.files, self.behaviours, self.validators = files, behaviours or {}, validators
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.ended = _End()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"owner": self}))
        self.http.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()  # wakes stalled responses
        self.http.shutdown()
        self.http.server_close()

    def url(self, name: str = "") -> str:
        """Return the URL of a file."""
        return f"http://127.0.0.1:{self.http.server_port}/{name}"

    def ranges(self) -> list[str | None]:
        """Return the Range header of each request so far."""
        return [headers.get("Range") for _, _, headers in self.requests]


class _End(threading.Event):
    """Set when a server has ended or its time to misbehave is over."""

    timer: threading.Timer | None = None

    def start(self) -> None:
        """Start the time, unless it was started before."""
        if not self.timer:
            self.timer = threading.Timer(PATIENCE, self.set)
            self.timer.daemon = True
            self.timer.start()


class DrippingServer:
    """A context manager that answers each connection, whatever it requests, with bytes that never end.

    Args:
        start: The first bytes of a response.
        piece: What follows for ever.
        pause: Seconds before each piece.
    """

    def __init__(self, start: bytes, piece: bytes, pause: float = 0.02) -> None:
        self.ended = ended = _End()

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                ended.start()
                with suppress(OSError):  # the client has closed the connection
                    self.request.sendall(start)
                    while not ended.wait(pause):
                        self.request.sendall(piece)

        self.tcp = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.tcp.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self.tcp.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.tcp.shutdown()
        self.tcp.server_close()

    def url(self, scheme: str = "http") -> str:
        """Return the URL of a file."""
        return f"{scheme}://127.0.0.1:{self.tcp.server_address[1]}/x.bin"


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        self.owner.ended.start()
        self.owner.requests.append((self.command, self.path, dict(self.headers)))
        name = urlsplit(self.path).path.lstrip("/")
        behaviour = self.owner.behaviours.get(name, "fine")
        if isinstance(behaviour, list):
            behaviour = behaviour.pop(0) if len(behaviour) > 1 else behaviour[0]
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has closed the connection
            self.answer(name, behaviour)

    def start(self, status: int, length: int | None, **headers: str | None) -> None:
        self.send_response(status)
        for key, value in {"Content_Length": length, "Connection": "close", **headers}.items():
            if value is not None:
                self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()

    def answer(self, name: str, behaviour: str) -> None:
        behaviour, digits = re.fullmatch(r"(.*?)(?: (\d+))?", behaviour).groups()
        number = int(digits or 0)
        if behaviour == "silent":
            return self.pause()
        if behaviour == "garbage":
            self.wfile.write(b"\x00\x01 this is not HTTP\r\n\r\n")
            return
        if behaviour.startswith(("to ", "loop", "redirect")):
            time.sleep(number / 1000)
            target = behaviour[3:] if behaviour.startswith("to ") else self.path
            self.start(302, None if "endless" in behaviour else 0, Location=target)
            while "endless" in behaviour and not self.owner.ended.is_set():
                self.wfile.write(b"x" * 65536)
            return
        if behaviour.isdecimal() and behaviour != "416":
            self.start(int(behaviour), len(PAGE), Content_Type="text/html")
            self.wfile.write(PAGE)
            return
        if name not in self.owner.files:
            self.start(404, 0)
            return
        self.data(name, behaviour, number)

    def data(self, name: str, behaviour: str, number: int) -> None:
        content = {
            "page": PAGE,
            "page as data": b"\n\n" + PAGE * 20,
            "json as data": b'{"error": "no such file"}',
            "empty": b"",
        }.get(behaviour, self.owner.files[name])
        etag, date, size = _validators(content)
        if self.owner.validators != "etag":
            etag, date = (f"W/{etag}", date) if self.owner.validators == "date" else (None, None)
        first, requested = 0, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if requested and behaviour == "416":
            return self.start(416, 0, Content_Range=f"bytes */{size}")
        fresh = self.headers.get("If-Range") in (None, etag, date) or behaviour == "ignore if-range"
        if requested and fresh and int(requested[1]) < size and behaviour != "ignore range":
            first = int(requested[1]) + (behaviour == "off by one")
        if requested and int(requested[1]) >= size and fresh:
            return self.start(416, 0, Content_Range=f"bytes */{size}")
        partial = first > 0 or behaviour == "part"
        headers = {"ETag": etag, "Last_Modified": date, "Accept_Ranges": "bytes"}
        headers["Content_Type"] = "text/html" if behaviour in ("page", "data as page") else "application/octet-stream"
        if partial:
            headers["Content_Range"] = f"bytes {first}-{size - 1}/{size + (behaviour == 'other total')}"
        length: int | None = size - first + {"longer": 10, "shorter": -10}.get(behaviour, 0)
        if behaviour == "gzip":
            headers["Content_Encoding"] = "gzip"
        if behaviour.startswith("chunked"):
            length, headers["Transfer_Encoding"] = None, "chunked"
        if behaviour in ("no length", "endless"):
            length = None
        self.start(206 if partial else 200, length, **headers)
        with _open(content) as source:
            source.seek(first)
            self.body(source, behaviour, number)

    def body(self, source: BinaryIO, behaviour: str, number: int) -> None:
        limit = number if behaviour in ("cut", "stall", "drip", "chunked cut") else None
        for block in _read(source, limit):
            if behaviour == "other":
                block = bytes(255 - byte for byte in block)
            if behaviour.startswith("chunked"):
                block = b"%x\r\n%b\r\n" % (len(block), block)
            self.wfile.write(block)
        if behaviour == "chunked":
            self.wfile.write(b"0\r\n\r\n")
        if behaviour == "stall":
            self.pause()
        while behaviour in ("drip", "endless") and not self.owner.ended.is_set():
            self.wfile.write((source.read(1) or b"x") if behaviour == "drip" else b"x" * 65536)
            time.sleep(0.02 * (behaviour == "drip"))

    def pause(self) -> None:
        self.wfile.flush()
        self.owner.ended.wait()


def _validators(content: bytes | Path) -> tuple[str, str, int]:
    """Return ETag, Last-Modified and size of a file. The date is a hash of the content and changes with it."""
    if isinstance(content, Path):
        stat = content.stat()
        mark, size = f"{stat.st_mtime_ns}-{stat.st_size}", stat.st_size
    else:
        mark, size = hashlib.sha256(content).hexdigest()[:16], len(content)
    day = int(hashlib.sha256(mark.encode()).hexdigest()[:4], 16) % 28 + 1
    second = int(hashlib.sha256(mark.encode()).hexdigest()[4:8], 16) % 60
    return f'"{mark}"', f"Mon, {day:02} Jan 2024 00:00:{second:02} GMT", size


def _open(content: bytes | Path) -> BinaryIO:
    return content.open("rb") if isinstance(content, Path) else BytesIO(content)


def _read(source: BinaryIO, limit: int | None) -> Iterator[bytes]:
    while block := source.read(2**20 if limit is None else min(limit, 2**20)):
        yield block
        if limit is not None:
            limit -= len(block)
