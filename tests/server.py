"""A web server on this machine that can misbehave, for tests of downloads."""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Self
from urllib.parse import urlsplit

PAGE = b"<!DOCTYPE html>\n<html><body>Access denied</body></html>\n"


class Server:
    """Serves files under http://127.0.0.1:PORT/NAME while it is entered, whole or by ranges; it is a proxy, too.

    Args:
        files: Content by name: bytes, or the path of a file, which is streamed.
        habits: Misbehaviour by name: a word, or words for the first request, the second ... and all after the last.
        marks: By what a file is told from another of its name: `etag` and date, `date` with a weak ETag, or `none`.

    Attributes:
        seen: What was asked for so far: method, target and headers of each request.

    The words: `fine`; `cut N` and `stall N` (after N bytes of what was asked for), `drip N` (the rest byte by byte),
    `silent` (no answer), `garbage` (no HTTP); `ignore range`, `ignore if-range`, `off by one` (a byte is left out),
    `other total` (in Content-Range), `part` (206 to a full request), `416`; `longer`, `shorter` (wrong Content-Length),
    `other` (wrong bytes), `empty`, `chunked`, `chunked cut N`, `no length`, `endless`, `gzip`; `page` (HTML),
    `page as data`, `json as data`, `data as page`, a status such as `503`, `to URL`, `loop`,
    `redirect endless` (with an endless body).
    """

    def __init__(
        self, files: dict[str, bytes | Path], habits: dict[str, str | list[str]] | None = None, marks: str = "etag"
    ) -> None:
        self.files, self.habits, self.marks = files, habits or {}, marks
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.ended = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"owner": self}))
        self.http.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()  # wakes those that stall
        self.http.shutdown()
        self.http.server_close()

    def url(self, name: str = "") -> str:
        """Where a file is to be had."""
        return f"http://127.0.0.1:{self.http.server_port}/{name}"

    def ranges(self) -> list[str | None]:
        """The Range headers of all requests so far."""
        return [headers.get("Range") for _, _, headers in self.seen]


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        self.owner.seen.append((self.command, self.path, dict(self.headers)))
        name = urlsplit(self.path).path.lstrip("/")
        habits = self.owner.habits.get(name, "fine")
        habit = (habits.pop(0) if len(habits) > 1 else habits[0]) if isinstance(habits, list) else habits
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has seen enough
            self.answer(name, habit)

    def start(self, status: int, length: int | None, **headers: str | None) -> None:
        self.send_response(status)
        for key, value in {"Content_Length": length, "Connection": "close", **headers}.items():
            if value is not None:
                self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()

    def answer(self, name: str, habit: str) -> None:
        habit, number = re.fullmatch(r"(.*?)(?: (\d+))?", habit).groups()
        if habit == "silent":
            return self.pause()
        if habit == "garbage":
            self.wfile.write(b"\x00\x01 this is no HTTP\r\n\r\n")
            return
        if habit.startswith(("to ", "loop", "redirect")):
            target = habit[3:] if habit.startswith("to ") else self.path
            self.start(302, None if "endless" in habit else 0, Location=target)
            while "endless" in habit and not self.owner.ended.is_set():
                self.wfile.write(b"x" * 65536)
            return
        if habit.isdecimal() and habit != "416":
            self.start(int(habit), len(PAGE), Content_Type="text/html")
            self.wfile.write(PAGE)
            return
        if name not in self.owner.files:
            self.start(404, 0)
            return
        self.data(name, habit, int(number or 0))

    def data(self, name: str, habit: str, number: int) -> None:
        content = {
            "page": PAGE,
            "page as data": b"\n\n" + PAGE * 20,
            "json as data": b'{"error": "no such file"}',
            "empty": b"",
        }.get(habit, self.owner.files[name])
        etag, when, size = _marks(content)
        if self.owner.marks != "etag":
            etag, when = (f"W/{etag}", when) if self.owner.marks == "date" else (None, None)
        first, wanted = 0, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and habit == "416":
            return self.start(416, 0, Content_Range=f"bytes */{size}")
        fresh = self.headers.get("If-Range") in (None, etag, when) or habit == "ignore if-range"
        if wanted and fresh and int(wanted[1]) < size and habit != "ignore range":
            first = int(wanted[1]) + (habit == "off by one")
        if wanted and int(wanted[1]) >= size and fresh:
            return self.start(416, 0, Content_Range=f"bytes */{size}")
        partial = first > 0 or habit == "part"
        marks = {"ETag": etag, "Last_Modified": when, "Accept_Ranges": "bytes"}
        marks["Content_Type"] = "text/html" if habit in ("page", "data as page") else "application/octet-stream"
        if partial:
            marks["Content_Range"] = f"bytes {first}-{size - 1}/{size + (habit == 'other total')}"
        length: int | None = size - first + {"longer": 10, "shorter": -10}.get(habit, 0)
        if habit == "gzip":
            marks["Content_Encoding"] = "gzip"
        if habit.startswith("chunked"):
            length, marks["Transfer_Encoding"] = None, "chunked"
        if habit in ("no length", "endless"):
            length = None
        self.start(206 if partial else 200, length, **marks)
        with _opened(content) as source:
            source.seek(first)
            self.body(source, habit, number)

    def body(self, source: BinaryIO, habit: str, number: int) -> None:
        limit = number if habit in ("cut", "stall", "drip", "chunked cut") else None
        for block in _read(source, limit):
            if habit == "other":
                block = bytes(255 - byte for byte in block)
            if habit.startswith("chunked"):
                block = b"%x\r\n%b\r\n" % (len(block), block)
            self.wfile.write(block)
        if habit == "chunked":
            self.wfile.write(b"0\r\n\r\n")
        if habit == "stall":
            self.pause()
        while habit in ("drip", "endless") and not self.owner.ended.is_set():
            self.wfile.write((source.read(1) or b"x") if habit == "drip" else b"x" * 65536)
            time.sleep(0.02 * (habit == "drip"))

    def pause(self) -> None:
        self.wfile.flush()
        self.owner.ended.wait(60)


def _marks(content: bytes | Path) -> tuple[str, str, int]:
    """ETag, Last-Modified and size. The date is made from the content, so that other content has another one."""
    if isinstance(content, Path):
        stat = content.stat()
        mark, size = f"{stat.st_mtime_ns}-{stat.st_size}", stat.st_size
    else:
        mark, size = hashlib.sha256(content).hexdigest()[:16], len(content)
    day = int(hashlib.sha256(mark.encode()).hexdigest()[:4], 16) % 28 + 1
    second = int(hashlib.sha256(mark.encode()).hexdigest()[4:8], 16) % 60
    return f'"{mark}"', f"Mon, {day:02} Jan 2024 00:00:{second:02} GMT", size


def _opened(content: bytes | Path) -> BinaryIO:
    return content.open("rb") if isinstance(content, Path) else BytesIO(content)


def _read(source: BinaryIO, limit: int | None) -> Iterator[bytes]:
    while block := source.read(2**20 if limit is None else min(limit, 2**20)):
        yield block
        if limit is not None:
            limit -= len(block)
