"""Download a file from one source by HTTP; an interrupted download resumes where it stopped.

urllib3's Retry cannot replace the attempts here: each one asks for the bytes that the one before has not received.
"""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, IncompleteRead, responses
from itertools import chain
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import requests
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from urllib3.exceptions import HTTPError

from lkca.data.catalog import File
from lkca.data.checksums import HEAD_BYTES, find_mismatch, is_text
from lkca.data.partial_file import Origin, PartialFile
from lkca.errors import FileProblem

CONNECT_TIMEOUT, READ_TIMEOUT = 20, 60  # seconds
SPEED_WINDOW, MIN_SPEED = 60, 1000  # seconds over which the speed is measured; bytes a second
PAUSES = (1, 3, 10)  # seconds before the second, third and fourth attempt
MAX_REDIRECTS = 10
MAX_BYTES = 64 * 2**30  # of a file of unknown length
BLOCK_BYTES = 2**20  # that are read at once
MAGIC = {".zip": (b"PK\x03\x04",), ".mat": (b"MATLAB 5.0", b"MATLAB 7.3", b"\x89HDF\r\n\x1a\n")}
WEB_PAGE = "the server sent a web page or a message instead of the file"


class SourceFailed(Exception):
    """This source does not provide the file, or not the right one; the message says why."""


class _Interrupted(Exception):
    """The connection failed; another attempt may succeed."""


def transfer(url: str, file: File, part: PartialFile) -> None:
    """Download a file from a URL into its partial file, until that is complete and has the right SHA-256.

    Raises:
        SourceFailed: If the URL does not provide the file, or not after several attempts.
        ResourceError: If the disk is full or cannot be written.
    """
    for pause in PAUSES:
        try:
            _attempt(url, file, part)
            return
        except _Interrupted as error:
            print(f"{printable(url)}: {error}: retrying in {pause} s.", flush=True)
            time.sleep(pause)
    try:
        _attempt(url, file, part)
    except _Interrupted as error:
        raise SourceFailed(f"{error}, after {len(PAUSES) + 1} attempts") from error


def printable(text: str) -> str:
    """Return a text without the user and password of URLs, and without control characters."""
    return "".join(c if c.isprintable() else "?" for c in re.sub(r"(?<=//)[^/@\s]*@", "", text))


def _attempt(url: str, file: File, part: PartialFile) -> None:
    """Request the bytes that are still missing, write them, and check the SHA-256 of the whole file."""
    origin = part.read_origin(url)
    # Without a validator or a known hash, nothing would reveal that two parts are of different files.
    offset = part.size() if origin and (origin.validator or file.sha256) else 0
    resumed = offset > 0
    if not (origin and offset and offset == origin.length):  # otherwise it is complete and only has to be checked
        headers = {"User-Agent": "lkca", "Accept-Encoding": "identity"}  # compressed, it would have other lengths
        if origin and offset:
            headers["Range"] = f"bytes={offset}-"
            if origin.validator:
                headers["If-Range"] = origin.validator
        with _Session() as session, _request(session, url, headers, file) as response:
            resumed = _receive(response, url, file, part, offset, origin)
    if mismatch := find_mismatch(file, part.sha256()):
        part.clear()
        if resumed:  # the parts may be of different files: try once more from the start
            raise _Interrupted(f"its file {mismatch}")
        raise SourceFailed(f"its file {mismatch}")


class _Session(requests.Session):
    """A session that does not follow redirects: requests would read the body of each, however long, before."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _request(session: requests.Session, url: str, headers: dict[str, str], file: File) -> requests.Response:
    """Return the response after all redirects."""
    for _ in range(MAX_REDIRECTS + 1):
        if not re.match("https?://", url, re.I):
            raise SourceFailed(f"{printable(url)} is not an http or https URL")
        timeout = CONNECT_TIMEOUT, READ_TIMEOUT
        with _network_errors():
            response = session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=timeout)
            if not response.is_redirect:
                return response
            response.close()
            target = urljoin(url, response.headers["location"])
        if url.lower().startswith("https:") and not target.lower().startswith("https:") and not file.sha256:
            raise SourceFailed(f"it redirects from https to {printable(target)}, and no SHA-256 is known for a check")
        url = target
    raise SourceFailed(f"more than {MAX_REDIRECTS} redirects")


def _receive(
    response: requests.Response, url: str, file: File, part: PartialFile, offset: int, origin: Origin | None
) -> bool:
    """Write the body of a response, after the first `offset` bytes of the partial file or instead of them.

    Returns:
        Whether the download was resumed.
    """
    _check_response(response, part, offset)
    if response.status_code == 206:
        assert origin  # else no range was asked for, which _check_response has refused
        total = _check_continuation(response, part, offset, origin)
    else:
        total = _content_length(response)
    if file.bytes and total not in (None, file.bytes):
        raise SourceFailed(f"its file has {total} bytes instead of {file.bytes}")
    total = total or file.bytes
    blocks = _read_blocks(response)
    if response.status_code == 200:
        offset, head = 0, b""
        while len(head) < HEAD_BYTES and (block := next(blocks, b"")):
            head += block
        if fault := _find_fault(head, part.path.suffix):
            raise SourceFailed(str(fault))
        part.restart(Origin(url=url, validator=_validator(response), length=total))
        blocks = chain([head], blocks)
    size = decimal(total) if total else "unknown length"
    start = f", from byte {offset}" if offset else ""
    part.check_space(total - offset if total else 0)
    print(f"{part.path.name}: {size} from {printable(url)}{start}", flush=True)
    _write_blocks(blocks, part, offset, total)
    return offset > 0


def _check_response(response: requests.Response, part: PartialFile, offset: int) -> None:
    """Raise if a response cannot contain the file."""
    status = response.status_code
    is_page = "html" in response.headers.get("Content-Type", "").lower()
    if status == 416 and offset:
        part.clear()
        raise _Interrupted("HTTP 416, the server cannot resume this download")
    if status not in (200, 206):
        reason = f"HTTP {status} {responses.get(status, '')}".strip() + ", with a web page" * is_page
        temporary = status in (408, 425, 429) or status >= 500
        raise _Interrupted(reason) if temporary else SourceFailed(reason)
    if is_page:
        raise SourceFailed(WEB_PAGE)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise SourceFailed("it sent the file compressed, contrary to the request")
    if status == 206 and not offset:
        raise SourceFailed("it sent a part of the file although the whole was requested (HTTP 206)")


def _check_continuation(response: requests.Response, part: PartialFile, offset: int, origin: Origin) -> int | None:
    """Return the length of the whole file, None if unknown; raise if the response does not continue the part."""
    length = _content_length(response)
    pattern = r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)"
    if content_range := re.fullmatch(pattern, response.headers.get("Content-Range", "")):
        first, last, whole = content_range.groups()
        total = origin.length or (None if whole == "*" else int(whole))
        if (
            int(first) == offset
            and length in (None, int(last) - offset + 1)
            and whole in ("*", str(total))
            and _validator(response) in (None, origin.validator)
        ):
            return total
    part.clear()
    raise _Interrupted("its response does not continue the download")


def _content_length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    is_valid = re.fullmatch(r"\d{1,18}", length) and "Transfer-Encoding" not in response.headers
    return int(length) if is_valid else None


def _validator(response: requests.Response) -> str | None:
    """Return what If-Range may contain: a strong ETag, else the date of the last change."""
    etag = response.headers.get("ETag", "")
    validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    return validator if re.fullmatch(r"[\x20-\x7e]{1,500}", validator) else None


def _find_fault(head: bytes, suffix: str) -> FileProblem | None:
    """Return why these cannot be the first bytes of a file with this suffix, None if they can."""
    if not head:
        return FileProblem("it sent an empty file")
    if is_text(head):
        return FileProblem(WEB_PAGE)
    magic = MAGIC.get(suffix.lower(), ())
    return (
        FileProblem(f"it sent something that is not a {suffix} file") if magic and not head.startswith(magic) else None
    )


def _read_blocks(response: requests.Response) -> Iterator[bytes]:
    """Yield the body as it arrives, so that an interruption loses nothing; raise if it arrives too slowly."""
    start, received = time.monotonic(), 0
    while True:
        with _network_errors():
            block = response.raw.read1(BLOCK_BYTES)  # what is available; `read` would wait for a full block
        if not block:
            return
        yield block
        received += len(block)
        if (seconds := time.monotonic() - start) > SPEED_WINDOW:
            if received < MIN_SPEED * seconds:
                raise _Interrupted(f"it sent {received} bytes in {seconds:.0f} s, less than {MIN_SPEED} a second")
            start, received = time.monotonic(), 0


def _write_blocks(blocks: Iterable[bytes], part: PartialFile, offset: int, total: int | None) -> None:
    """Append blocks to the partial file, which has `offset` bytes, until it has `total`."""
    limit = total or MAX_BYTES
    with _ProgressBar(part.path.name, offset, total) as bar:
        for block in blocks:
            offset += len(block)
            if offset > limit:
                part.clear()
                raise SourceFailed(f"it sent more than {limit} bytes")
            part.append(block)
            bar.update(offset)
    if total and offset != total:
        raise _Interrupted(f"it stopped after {offset} of {total} bytes")


@contextmanager
def _network_errors() -> Iterator[None]:
    """Turn the exceptions of requests, urllib3, http.client and sockets into the two of this module."""
    try:
        yield
    except (InvalidSchema, InvalidURL, MissingSchema) as error:
        raise SourceFailed(_describe(error)) from error
    except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
        raise _Interrupted(_describe(error)) from error


def _describe(error: BaseException) -> str:
    """Return the message of the innermost exception, in one line."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    if isinstance(error, IncompleteRead):
        return "the connection broke"
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return printable(text or type(error).__name__)[:200].rstrip(".")


class _ProgressBar:
    """The progress of a download: a bar in a terminal, in a log a line for every tenth or every 30 seconds."""

    def __init__(self, name: str, offset: int, total: int | None) -> None:
        console = Console()
        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
        self.bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self.task = self.bar.add_task(name, total=total, completed=offset)
        self.name, self.total, self.last_bytes, self.last_time = name, total, offset, time.monotonic()

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def update(self, num_bytes: int) -> None:
        """Show how many bytes have been downloaded."""
        self.bar.update(self.task, completed=num_bytes)
        is_tenth = self.total and num_bytes * 10 // self.total > self.last_bytes * 10 // self.total
        if self.bar.disable and (is_tenth or time.monotonic() - self.last_time > 30):
            total = f" of {decimal(self.total)} ({num_bytes * 100 // self.total} %)" if self.total else ""
            print(f"{self.name}: {decimal(num_bytes)}{total}", flush=True)
            self.last_bytes, self.last_time = num_bytes, time.monotonic()
