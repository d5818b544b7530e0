"""Downloading a cube's files: whole and checked under their names, or not there at all.

A download that is not whole yet lies beside its file as `.NAME.part`, and in `.NAME.part.json` what it is a part of.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import date
from http.client import HTTPException, IncompleteRead, responses
from itertools import chain
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urljoin

import requests
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from urllib3.exceptions import HTTPError

from lkca.core.files import atomic_write, sha256, write_json
from lkca.core.locks import try_lock
from lkca.data.catalog import Cube, File
from lkca.errors import LkcaError, WrongFile

CONNECT, STALL = 20, 60  # seconds that a server may take to be reached, and to send anything
WINDOW, FLOOR = 60, 1000  # seconds over which at least so many bytes a second have to arrive
PAUSES = (1, 3, 10)  # seconds before the second try at a source, the third and the fourth
REDIRECTS = 10
MOST = 64 * 2**30  # bytes of a file whose length nobody tells
BLOCK, HEAD = 2**20, 512  # bytes: read at once; looked at before anything is kept
MAGIC = {".zip": (b"PK\x03\x04",), ".mat": (b"MATLAB 5.0", b"MATLAB 7.3", b"\x89HDF\r\n\x1a\n")}
TEXT = re.compile(rb"(\xef\xbb\xbf)?\s*[<{\[][^\x00-\x08\x0e-\x1f]*")  # HTML, XML and JSON; a raster has zeros soon
PAGE = "the server sent a web page or a message instead of the file"
SUMS = re.compile(r"(?im)^([0-9a-f]{64}) [ *](.+)$")  # the lines of the program sha256sum


class _Broken(Exception):
    """The connection failed: worth another try."""


class _Refused(Exception):
    """This source will not do."""


def download_cube(
    scene: str,
    cube: Cube,
    accept_terms: bool,
    receipt: Path | None,
    examine: Callable[[File], object] = File.local_path,
) -> None:
    """Download those of a cube's files that are not there, and check all.

    The environment variable LKCA_MIRROR, the URL of a folder that holds files of the same names, is tried first.

    Args:
        scene: Its name, for messages.
        cube: What to fetch.
        accept_terms: Whether the user confirms the terms herewith, where they have to be confirmed.
        receipt: JSON file to write last: path, sha256 and bytes of each file that decides pixels, headers of ENVI too.
        examine: What looks at the content of a file before its digest is recorded; raises LkcaError.

    Raises:
        LkcaError: If a file cannot be had, is not the right one, or the terms are not confirmed.
    """
    try:
        files = cube.resolve_files()
    except LkcaError:
        files = cube.files
        if not all(file.sources or file.local_path().is_file() for file in files):
            raise
    missing = [file.local_path() for file in files if not file.local_path().is_file()]
    if missing:
        if cube.confirm:
            _confirm(scene, cube, missing[0], accept_terms)
        print(_about(scene, cube), flush=True)
    rows = {}
    for file in files:
        place = file.local_path()
        if place.is_file():
            print(f"{place} is there: checking it.", flush=True)
        else:
            _download(file)
        digest = verify_file(file, cube.source, examine)
        for label, path in file.pixel_files().items():  # two files of one archive are one download
            of_file = digest if path == str(place) else sha256(Path(path))
            rows.setdefault(label, {"path": label, "sha256": of_file, "bytes": Path(path).stat().st_size})
    if receipt:
        write_json(receipt, {"files": list(rows.values())})


def verify_file(file: File, source: str, examine: Callable[[File], object] = File.local_path) -> str:
    """The SHA-256 of a file that is there, after a check that it is the right file, whoever brought it.

    Where none is published, that of the first file that passes is recorded in SHA256SUMS beside it and holds from then
    on.

    Args:
        file: The file; in an archive the archive is meant.
        source: Where to get it, for the message.
        examine: What looks at its content; raises LkcaError.

    Raises:
        LkcaError: If it is not the published file, not the recorded one, a web page or unreadable.
    """
    place = file.local_path()
    try:
        with place.open("rb") as data:
            head = data.read(HEAD)
        digest = sha256(place)
    except OSError as error:
        raise LkcaError(f"{place} cannot be read ({error.strerror}): see to it, or get it from {source}.") from error
    if told := wrong(file, digest):
        raise LkcaError(f"{place} {told}: get it from {source}.")
    if not file.sha256 and TEXT.fullmatch(head):  # else the page would be recorded, and the file refused later
        raise LkcaError(f"{place} is a web page or a message, no data: delete it and get the file from {source}.")
    examine(file)
    _record(file, digest)
    return digest


def wrong(file: File, digest: str) -> WrongFile | None:
    """How the digest contradicts the published or the recorded one."""
    if file.sha256:
        other = WrongFile(f"has the SHA-256 {digest}, but the published one is {file.sha256}")
        return None if digest == file.sha256 else other
    old = _recorded(file)
    if old in (None, digest):
        return None
    hint = f"if this file is right, delete its line in {_sums(file)}"
    return WrongFile(f"has the SHA-256 {digest}, but {old} was recorded at first use ({hint})")


def _sums(file: File) -> Path:
    return file.local_path().with_name("SHA256SUMS")


def _recorded(file: File) -> str | None:
    if file.package():  # the package manager answers for what a package carries
        return None
    sums = _sums(file)
    try:
        lines = SUMS.findall(sums.read_text("utf-8", "surrogateescape")) if sums.exists() else []
    except OSError as error:
        raise LkcaError(f"{sums} cannot be read ({error.strerror}): make it readable or delete it.") from error
    return next((digest.lower() for digest, name in lines if name == file.local_path().name), None)


def _record(file: File, digest: str) -> None:
    """Write a first digest into SHA256SUMS, but never beside files that are the user's own."""
    place, raw = file.local_path(), Path("data/raw").absolute()
    if file.sha256 or file.package() or not (file.sources or raw in Path(os.path.abspath(place)).parents):
        return
    with ExitStack() as stack:
        with suppress(OSError):  # a file system without locks
            folder = os.open(place.parent, os.O_RDONLY)
            stack.callback(os.close, folder)
            fcntl.flock(folder, fcntl.LOCK_EX)  # another process may be adding its line
        if _recorded(file):
            return
        sums = _sums(file)
        text = sums.read_text("utf-8", "surrogateescape") if sums.exists() else ""
        text += "\n" if text and not text.endswith("\n") else ""
        try:
            with atomic_write(sums) as part:
                part.write_text(f"{text}{digest}  {place.name}\n", "utf-8", "surrogateescape")
        except LkcaError:  # data on a read-only disk can be used all the same
            print(f"{sums} cannot be written: the SHA-256 of {place} is not recorded ({digest}).", flush=True)


def _about(scene: str, cube: Cube) -> str:
    return f"{scene}\nSource: {cube.source}\nCitation: {cube.citation}\nTerms: {cube.terms}"


def _this_python() -> str:
    """The interpreter as one calls it from here, whatever is on the PATH."""
    path, here = Path(sys.executable), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _confirm(scene: str, cube: Cube, missing: Path, accepted: bool) -> None:
    """Have the terms confirmed, once: the file TERMS beside the data remembers it."""
    note = missing.with_name("TERMS")
    with suppress(OSError, UnicodeError):
        if note.read_text(encoding="utf-8").partition("\nTerms: ")[2] == f"{cube.terms}\n":
            return
    if not accepted and sys.stdin.isatty() and sys.stderr.isatty():
        print(_about(scene, cube), "Type yes to confirm these terms: ", sep="\n", end="", file=sys.stderr, flush=True)
        accepted = sys.stdin.readline().strip().lower() == "yes"
    if not accepted:
        raise LkcaError(
            f"{missing} is downloaded only under its terms, which are not confirmed ({cube.terms}; {cube.source}): "
            f"read them, then confirm once with: {_this_python()} -m lkca fetch {scene} --accept-terms."
        )
    with atomic_write(note) as part:
        part.write_text(f"Confirmed on {date.today()}: {_about(scene, cube)}\n", encoding="utf-8")


def _download(file: File) -> None:
    """Bring a file to its place."""
    place, failed = file.local_path(), []
    if place.exists():
        raise LkcaError(f"{place} is no file: move it away.")
    mirror = os.environ.get("LKCA_MIRROR", "").rstrip("/")
    with _Part(place).alone() as part:
        if place.is_file():
            return  # another process was faster
        for url in [f"{mirror}/{quote(place.name)}"] * bool(mirror) + [*file.sources]:
            try:
                _persist(url, file, part)
            except _Refused as error:
                failed.append(f"{_plain(url)}: {error}")
                print(failed[-1], flush=True)
                continue
            part.finish()
            return
        kept = f"; another call goes on behind the {decimal(part.size())} that are there" if part.size() else ""
    raise LkcaError(
        f"{place} could not be fetched ({'; '.join(failed)}): download {_plain(file.sources[0])} in a browser and put "
        f"it at {place}, or try later{kept}."
    )


def _persist(url: str, file: File, part: "_Part") -> None:
    """Try one source until the file is whole and right."""
    for pause in PAUSES:
        try:
            _attempt(url, file, part)
            return
        except _Broken as error:
            print(f"{_plain(url)}: {error}: once more in {pause} s.", flush=True)
            time.sleep(pause)
    try:
        _attempt(url, file, part)
    except _Broken as error:
        raise _Refused(f"{error}, {len(PAUSES) + 1} times tried") from error


def _attempt(url: str, file: File, part: "_Part") -> None:
    told = part.told(url)
    safe = told and (told["validator"] or file.sha256)  # else nothing shows whether two halves are of one file
    have = part.size() if safe else 0
    resumed = have > 0
    if not have or have != told["length"]:  # else it was stopped just before the check
        headers = {"User-Agent": "lkca", "Accept-Encoding": "identity"}  # lengths and ranges shall be the file's
        if have:
            headers["Range"] = f"bytes={have}-"
            if told["validator"]:
                headers["If-Range"] = told["validator"]
        with _Session() as session, _ask(session, url, headers, file) as response:
            resumed = _receive(response, url, file, part, have, told)
    if told := wrong(file, part.digest()):
        part.clear()  # what was resumed may be a mixture: it has a second chance
        raise (_Broken if resumed else _Refused)(f"what it sent {told}")


class _Session(requests.Session):
    """requests' session, which would read the body of a redirect, however long, before it follows."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _ask(session: requests.Session, url: str, headers: dict[str, str], file: File) -> requests.Response:
    """The answer behind all redirects."""
    for _ in range(REDIRECTS + 1):
        if not re.match("https?://", url, re.I):
            raise _Refused(f"{_plain(url)} is no http or https URL")
        with _network():
            got = session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=(CONNECT, STALL))
            if not got.is_redirect:
                return got
            got.close()
            target = urljoin(url, got.headers["location"])
        if url.lower().startswith("https:") and not target.lower().startswith("https:") and not file.sha256:
            raise _Refused(f"it leads from https to {_plain(target)}, and no SHA-256 is published to check what comes")
        url = target
    raise _Refused(f"more than {REDIRECTS} redirects")


def _receive(
    response: requests.Response, url: str, file: File, part: "_Part", have: int, told: dict[str, str | int | None]
) -> bool:
    """Write what the server sends, behind the `have` bytes or anew; returns whether behind them."""
    status, header = response.status_code, response.headers
    page = "html" in header.get("Content-Type", "").lower()
    if status == 416 and have:
        part.clear()
        raise _Broken("HTTP 416, it does not continue the part that is there")
    if status not in (200, 206):
        again = status in (408, 425, 429) or status >= 500
        reason = f"HTTP {status} {responses.get(status, '')}".strip()
        raise (_Broken if again else _Refused)(f"{reason}, with a web page" if page else reason)
    if page:
        raise _Refused(PAGE)
    if header.get("Content-Encoding", "identity").lower() != "identity":
        raise _Refused("it sent the file compressed, though asked not to")
    length = header.get("Content-Length", "")
    total = int(length) if re.fullmatch(r"\d{1,18}", length) and "Transfer-Encoding" not in header else None
    validator = _validator(response)
    if status == 206:
        if not have:
            raise _Refused("it sent a part where the whole file was asked for (HTTP 206)")
        rest = total
        given = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", header.get("Content-Range", ""))
        fits = given and int(given[1]) == have and rest in (None, int(given[2]) - have + 1)
        total = told["length"] or (int(given[3]) if fits and given[3] != "*" else None)
        if not fits or given[3] not in ("*", str(total)) or validator not in (None, told["validator"]):
            part.clear()
            raise _Broken("what it sent does not continue the part that is there")
    if file.bytes and total not in (None, file.bytes):
        raise _Refused(f"its file has {total} bytes instead of {file.bytes}")
    total = total or file.bytes
    blocks = _blocks(response)
    if status == 200:
        have, head = 0, b""
        for block in blocks:
            head += block
            if len(head) >= HEAD:
                break
        if told := _no_data(part.place, head):
            raise _Refused(f"{told}")
        part.begin({"url": url, "validator": validator, "length": total})
        blocks = chain([head], blocks)
    limit, resumed = total or MOST, have > 0
    part.check_room((total or have) - have)
    size = decimal(total) if total else "an unknown length"
    print(f"{part.place.name}: {size} from {_plain(url)}" + f", from byte {have} on" * resumed, flush=True)
    with _Counter(part.place.name, have, total) as counter:
        for block in blocks:
            have += len(block)
            if have > limit:
                part.clear()
                raise _Refused(f"it sends more than the {limit} bytes that can be")
            part.write(block)
            counter.now(have)
    if have != (total or have):
        raise _Broken(f"it ended after {have} of {total} bytes")
    return resumed


def _validator(response: requests.Response) -> str | None:
    """What If-Range may name: a strong ETag, else the date."""
    etag = response.headers.get("ETag", "")
    value = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    return value if re.fullmatch(r"[\x20-\x7e]{1,500}", value) else None


def _no_data(place: Path, head: bytes) -> WrongFile | None:
    """Why this cannot be the beginning of the file."""
    if not head:
        return WrongFile("it sent an empty file")
    if TEXT.fullmatch(head[:HEAD]):
        return WrongFile(PAGE)
    magic = MAGIC.get(place.suffix.lower(), ())
    is_it = not magic or head.startswith(magic)
    return None if is_it else WrongFile(f"what it sent is no {place.suffix} file")


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """The body as it arrives. read1 returns what is there, so that a break loses nothing and a trickle is seen."""
    since, arrived = time.monotonic(), 0
    while True:
        with _network():
            block = response.raw.read1(BLOCK)
        if not block:
            return
        yield block
        arrived += len(block)
        if (seconds := time.monotonic() - since) > WINDOW:
            if arrived < FLOOR * seconds:
                raise _Broken(f"it sent {arrived} bytes in {seconds:.0f} s, less than {FLOOR} a second")
            since, arrived = time.monotonic(), 0


@contextmanager
def _network() -> Iterator[None]:
    """Turn all that requests, urllib3 and sockets raise into our two exceptions."""
    try:
        yield
    except (InvalidSchema, InvalidURL, MissingSchema) as error:
        raise _Refused(_reason(error)) from error
    except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
        raise _Broken(_reason(error)) from error


def _reason(error: BaseException) -> str:
    """What the innermost exception says, in one line."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    if isinstance(error, IncompleteRead):
        return "the connection broke"
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return _plain(text or type(error).__name__)[:200].rstrip(".")


def _plain(text: str) -> str:
    """Without the user and password of a URL, and without what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in re.sub(r"(?<=//)[^/@\s]*@", "", text))


class _Part:
    """The partial download of a file, and the note of what it is a part of."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.path = place.with_name(f".{place.name}.part")
        self.note = place.with_name(f".{place.name}.part.json")
        self.data: BinaryIO

    @contextmanager
    def alone(self) -> Iterator["_Part"]:
        """Open it for this process alone; in the end nothing is left of an empty one."""
        with self.errors():
            self.place.parent.mkdir(parents=True, exist_ok=True)
            self.data = self.path.open("a+b", buffering=0)  # unbuffered: a kill loses nothing that has arrived
        with self.data:
            if not try_lock(self.data, self.path):
                raise LkcaError(f"{self.place} is being fetched by another process: wait until that one has ended.")
            try:
                yield self
            finally:
                if not self.size():
                    for path in (self.path, self.note):
                        with suppress(OSError):  # somebody took the folder away
                            path.unlink()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Say in one sentence what the disk does not do."""
        try:
            yield
        except OSError as error:
            raise LkcaError(
                f"{self.path} cannot be written ({error.strerror}): make room or make its folder writable, then call "
                "again, which goes on with what is there."
            ) from error

    def size(self) -> int:
        return os.fstat(self.data.fileno()).st_size

    def told(self, url: str) -> dict[str, str | int | None]:
        """The note, empty if it is of another URL or unreadable."""
        with suppress(OSError, ValueError):
            note = json.loads(self.note.read_text(encoding="utf-8"))
            if isinstance(note, dict) and note.keys() == {"url", "validator", "length"} and note["url"] == url:
                return note
        return {}

    def begin(self, note: dict[str, str | int | None]) -> None:
        self.clear()  # first: a kill in between must not leave old bytes with a new note
        with self.errors():
            self.note.write_text(json.dumps(note), encoding="utf-8")

    def clear(self) -> None:
        with self.errors():
            self.data.truncate(0)

    def write(self, block: bytes) -> None:
        with self.errors():
            rest = memoryview(block)
            while rest:
                rest = rest[self.data.write(rest) :]

    def check_room(self, bytes: int) -> None:
        with self.errors():
            free = shutil.disk_usage(self.path.parent).free
        if bytes > free:
            raise LkcaError(f"{self.place} needs {decimal(bytes)} more, but its disk has {decimal(free)}: make room.")

    def digest(self) -> str:
        with self.errors():
            self.data.seek(0)
            return hashlib.file_digest(self.data, "sha256").hexdigest()

    def finish(self) -> None:
        with self.errors():
            os.fsync(self.data.fileno())  # a name after a power cut shall mean the whole file
            os.replace(self.path, self.place)
            self.note.unlink(missing_ok=True)


class _Counter:
    """How far a download is: a bar in a terminal, a line every tenth or half a minute in a log."""

    def __init__(self, name: str, have: int, total: int | None) -> None:
        console = Console()
        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
        self.bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self.task = self.bar.add_task(name, total=total, completed=have)
        self.name, self.total, self.last, self.since = name, total, have, time.monotonic()

    def __enter__(self) -> "_Counter":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def now(self, have: int) -> None:
        """So many bytes are there."""
        self.bar.update(self.task, completed=have)
        tenth = self.total and have * 10 // self.total > self.last * 10 // self.total
        if self.bar.disable and (tenth or time.monotonic() - self.since > 30):
            of = f" of {decimal(self.total)} ({have * 100 // self.total} %)" if self.total else ""
            print(f"{self.name}: {decimal(have)}{of}", flush=True)
            self.last, self.since = have, time.monotonic()
