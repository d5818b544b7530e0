"""Download a file from one source by HTTP; an interrupted download resumes where it stopped.

urllib3's Retry cannot replace the attempts of this module, because each attempt requests only the bytes that are still
missing.
"""

import logging
import re
import signal
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, IncompleteRead, responses
from http.client import InvalidURL as InvalidTarget
from itertools import chain
from types import FrameType, TracebackType
from typing import Self
from urllib.parse import urljoin

import requests
from requests.exceptions import InvalidProxyURL, InvalidSchema
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from urllib3.exceptions import HTTPError, ProxySchemeUnknown

from lkca.data.catalog import File
from lkca.data.checksums import HEAD_BYTES, find_mismatch, is_text
from lkca.data.partial_file import Origin, PartialFile
from lkca.data.urls import public_url
from lkca.errors import FileProblem

CONNECT_TIMEOUT = 20  # seconds, for each address of a server
SPEED_WINDOW = 60  # seconds over which the speed is measured
MIN_SPEED = 1000  # bytes a second; a slower attempt is interrupted
PAUSES = (1, 3, 10)  # seconds before the second, third and fourth attempt
MAX_REDIRECTS = 10
MAX_BYTES = 64 * 2**30  # largest file of unknown length
BLOCK_BYTES = 2**20  # largest number of bytes that one read returns
# Suffix -> first bytes of files with this suffix.
MAGIC = {".zip": (b"PK\x03\x04",), ".mat": (b"MATLAB 5.0", b"MATLAB 7.3", b"\x89HDF\r\n\x1a\n")}
logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # its warnings contain URLs with their secrets
WEB_PAGE = "the server sent a web page or a message instead of the file"


class SourceFailed(Exception):
    """A source does not provide the file or provides a wrong one; the message says why."""


class _Interrupted(BaseException):
    """The connection failed or is too slow; another attempt may succeed.

    It is no Exception, because _SpeedLimit raises it inside of libraries, which must not handle it.
    """


def transfer(url: str, file: File, part: PartialFile) -> None:
    """Download a file from a URL into its partial file until it is complete; check its SHA-256.

    Raises:
        SourceFailed: If the URL does not provide the right file, or all attempts are interrupted.
        ResourceError: If the disk is full or cannot be written.
    """
    for pause in PAUSES:
        try:
            _attempt(url, file, part)
            return
        except _Interrupted as error:
            print(f"{public_url(url)}: {error}: retrying in {pause} s.", flush=True)
            time.sleep(pause)
    try:
        _attempt(url, file, part)
    except _Interrupted as error:
        raise SourceFailed(f"{error}, after {len(PAUSES) + 1} attempts") from error


def _attempt(url: str, file: File, part: PartialFile) -> None:
    """Request the bytes that are still missing, write them, and check the SHA-256 of the whole file.

    Raises:
        SourceFailed: If another attempt would not succeed either.
        _Interrupted: If another attempt may succeed.
    """
    origin = part.read_origin(url)
    # Without a validator or a known hash, nothing would show that the two parts come from different files.
    offset = part.size() if origin and (origin.validator or file.sha256) else 0
    resumed = offset > 0
    if not (origin and offset and offset == origin.length):  # otherwise the file is complete and only has to be checked
        headers = {"User-Agent": "lkca", "Accept-Encoding": "identity"}  # a compressed body would have another length
        if origin and offset:
            headers["Range"] = f"bytes={offset}-"
            if origin.validator:
                headers["If-Range"] = origin.validator
        with _SpeedLimit() as limit, _Session() as session, _request(session, url, headers, file) as response:
            blocks = limit.count(_read_blocks(response))
            resumed = _receive(response, blocks, url, file, part, offset, origin)
    if mismatch := find_mismatch(file, part.sha256()):
        part.clear()
        if resumed:  # the parts may come from different files: try once more from the start
            raise _Interrupted(f"its file {mismatch}")
        raise SourceFailed(f"its file {mismatch}")


class _SpeedLimit:
    """Interrupts its block if fewer than MIN_SPEED bytes a second of the file arrive, whatever the block waits for.

    Timeouts of requests limit the time between two bytes only, so a server could send headers or interim responses for
    ever. The timer raises the exception in the main thread, as Ctrl-C does, and works in no other thread.
    """

    def __init__(self) -> None:
        self.received = 0  # bytes of the file since the last check

    def __enter__(self) -> Self:
        self.previous = signal.signal(signal.SIGALRM, self._check) or signal.SIG_DFL
        signal.setitimer(signal.ITIMER_REAL, SPEED_WINDOW, SPEED_WINDOW)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
        finally:  # the timer may have interrupted the line above
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self.previous)

    def count(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield blocks of the file and count their bytes."""
        for block in blocks:
            self.received += len(block)
            yield block

    def _check(self, number: int, frame: FrameType | None) -> None:
        received, self.received = self.received, 0
        if received < MIN_SPEED * SPEED_WINDOW:
            raise _Interrupted(
                f"it sent {received} bytes of the file in {SPEED_WINDOW} s, less than {MIN_SPEED} a second"
            )


class _Session(requests.Session):
    """A session that does not follow redirects, because requests would first read the body of each, however long."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _request(session: requests.Session, url: str, headers: dict[str, str], file: File) -> requests.Response:
    """Return the response to a GET request after all redirects, before its body is read.

    Raises:
        SourceFailed: If a redirect is not allowed, or there are too many.
        _Interrupted: If the connection fails.
    """
    for redirects in range(MAX_REDIRECTS + 1):
        if not re.match("https?://", url, re.I):
            name = f"it redirects to {public_url(url)}, which" if redirects else "it"
            raise SourceFailed(f"{name} is not an http or https URL")
        timeout = CONNECT_TIMEOUT, None  # _SpeedLimit limits the time to read
        with _network_errors():
            response = session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=timeout)
            if not response.is_redirect:
                return response
            response.close()
            target = urljoin(url, response.headers["location"])
        if url.lower().startswith("https:") and not target.lower().startswith("https:") and not file.sha256:
            raise SourceFailed(f"it redirects from https to {public_url(target)}, and no SHA-256 is known for a check")
        url = target
    raise SourceFailed(f"more than {MAX_REDIRECTS} redirects")


def _receive(
    response: requests.Response,
    blocks: Iterator[bytes],
    url: str,
    file: File,
    part: PartialFile,
    offset: int,
    origin: Origin | None,
) -> bool:
    """Append the body of a response to the partial file, or replace the partial file by it.

    Args:
        response: The response. If it contains only a part of the file (HTTP 206), its body is appended.
        blocks: Its body.
        url: The URL that was requested, which the partial file records.
        file: The file that is downloaded.
        part: Its partial file.
        offset: Size of the partial file if the rest was requested, otherwise 0.
        origin: The origin of the partial file, None if unknown.

    Returns:
        Whether the body was appended to earlier bytes.
    """
    _check_response(response, part, offset)
    if response.status_code == 206:
        assert origin  # _check_response has refused a part that was not requested
        total = _check_continuation(response, part, offset, origin)
    else:
        total = _content_length(response)
    if file.bytes and total not in (None, file.bytes):
        raise SourceFailed(f"its file has {total} bytes instead of {file.bytes}")
    total = total or file.bytes
    if response.status_code == 200:
        offset, head = 0, b""
        while len(head) < HEAD_BYTES and (block := next(blocks, b"")):
            head += block
        if problem := _find_head_problem(head, part.path.suffix):
            raise SourceFailed(str(problem))
        part.restart(Origin(url=url, validator=_validator(response), length=total))
        blocks = chain([head], blocks)
    size = decimal(total) if total else "unknown length"
    start = f", from byte {offset}" if offset else ""
    part.check_space(total - offset if total else 0)
    print(f"{part.path.name}: {size} from {public_url(url)}{start}", flush=True)
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
    """Return the length of the whole file, None if unknown.

    Raises:
        _Interrupted: If the response does not continue the partial file, which is cleared.
    """
    length = _content_length(response)
    pattern = r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)"
    if content_range := re.fullmatch(pattern, response.headers.get("Content-Range", "")):
        first, last, whole = content_range.groups()
        total = origin.length or (None if whole == "*" else int(whole))
        if (
            int(first) == offset
            and length in (None, int(last) - offset + 1)
            and whole in ("*", str(total))
            and (not origin.validator or _validator(response) in (None, origin.validator))
        ):
            return total
    part.clear()
    raise _Interrupted("its response does not continue the download")


def _content_length(response: requests.Response) -> int | None:
    """Return the number of bytes that the response announces, None if it does not announce one."""
    length = response.headers.get("Content-Length", "")
    is_valid = re.fullmatch(r"\d{1,18}", length) and "Transfer-Encoding" not in response.headers
    return int(length) if is_valid else None


def _validator(response: requests.Response) -> str | None:
    """Return the value for If-Range: a strong ETag, otherwise the date of the last change, otherwise None."""
    etag = response.headers.get("ETag", "")
    validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    return validator if re.fullmatch(r"[\x20-\x7e]{1,500}", validator) else None


def _find_head_problem(head: bytes, suffix: str) -> FileProblem | None:
    """Return why a file with this suffix cannot start with these bytes, None if it can."""
    if not head:
        return FileProblem("it sent an empty file")
    if is_text(head):
        return FileProblem(WEB_PAGE)
    magic = MAGIC.get(suffix.lower(), ())
    return (
        FileProblem(f"it sent something that is not a {suffix} file") if magic and not head.startswith(magic) else None
    )


def _read_blocks(response: requests.Response) -> Iterator[bytes]:
    """Yield the body in blocks as they arrive, so that an interruption loses nothing.

    Raises:
        _Interrupted: If the connection fails.
    """
    while True:
        with _network_errors():
            block = response.raw.read1(BLOCK_BYTES)  # returns the available bytes; `read` would wait for a full block
        if not block:
            return
        yield block


def _write_blocks(blocks: Iterable[bytes], part: PartialFile, offset: int, total: int | None) -> None:
    """Append blocks to the partial file.

    Args:
        blocks: The blocks.
        part: The partial file.
        offset: Its size before, bytes.
        total: Its size afterwards, None if unknown.

    Raises:
        SourceFailed: If there are more bytes than expected.
        _Interrupted: If there are fewer.
    """
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
    """Turn exceptions of requests, urllib3, http.client and sockets into SourceFailed or _Interrupted.

    The texts of libraries may contain URLs and what a server sent, so none of them is used. Those of the operating
    system and of OpenSSL contain neither.
    """
    try:
        yield
    except (InvalidProxyURL, InvalidSchema, ProxySchemeUnknown) as error:
        raise SourceFailed("requests cannot use the proxy that HTTPS_PROXY or HTTP_PROXY names") from error
    except Exception as error:  # requests raises TypeError, too, for some URLs of proxies
        raise _classify(error) from error


def _classify(error: BaseException) -> SourceFailed | _Interrupted:
    """Return the exception that says what is wrong, given an exception of a library."""
    errors = [error]
    while cause := errors[-1].__cause__ or errors[-1].__context__:
        errors.append(cause)

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(each, kinds) for each in errors)

    first = errors[-1]
    if isinstance(first, ssl.SSLCertVerificationError):
        reason = first.verify_message.partition(",")[0]  # the name of the host may follow
        return _Interrupted(f"its certificate is not valid ({reason})")
    if has(TimeoutError):
        return _Interrupted("the connection timed out")
    if isinstance(first, OSError) and first.strerror:
        return _Interrupted(first.strerror)
    if has(IncompleteRead, ConnectionError):
        return _Interrupted("the connection broke")
    if refused := re.match(r"Tunnel connection failed: (\d{3})", str(first)):
        status = int(refused[1])
        return _Interrupted(f"the proxy answered HTTP {status} {responses.get(status, '')}".rstrip())
    if isinstance(first, InvalidTarget) or (isinstance(first, ValueError) and not has(HTTPException)):
        return SourceFailed("its URL, that of a redirect or that of the proxy is not valid")
    if has(HTTPException, HTTPError):
        return _Interrupted("its response is not HTTP")
    return _Interrupted("requests cannot use the certificates that REQUESTS_CA_BUNDLE names, or the proxy")


class _ProgressBar:
    """Shows the progress of a download: a bar in a terminal; in a log, a line every 10 % or every 30 seconds."""

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
        """Show that `num_bytes` bytes have been downloaded so far."""
        self.bar.update(self.task, completed=num_bytes)
        is_tenth = self.total and num_bytes * 10 // self.total > self.last_bytes * 10 // self.total
        if self.bar.disable and (is_tenth or time.monotonic() - self.last_time > 30):
            total = f" of {decimal(self.total)} ({num_bytes * 100 // self.total} %)" if self.total else ""
            print(f"{self.name}: {decimal(num_bytes)}{total}", flush=True)
            self.last_bytes, self.last_time = num_bytes, time.monotonic()
